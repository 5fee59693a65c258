"""Settings shared by all tests."""

import os
import signal

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Read when torch loads: the test models are so small that threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings  # noqa: E402

settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci")

# In the background of a shell Ctrl-C is ignored, and every process that a test starts would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
