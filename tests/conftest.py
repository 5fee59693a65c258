"""Settings shared by all tests, and what `make test` leaves to `make test-full`."""

import gc
import os
import signal

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Read when torch loads: the test models are so small that threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests import skips  # noqa: E402
from tests.postgres import server  # noqa: E402

settings.register_profile(
    "fast", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("full", settings.get_profile("fast"))

# In the background of a shell Ctrl-C is ignored, and every process that a test starts would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the tests marked `full` too")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("full" if config.getoption("full") else "fast")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("full")]


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    skips.tell(config, terminalreporter)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and skips.fails(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_finish() -> None:
    """Spare collections of garbage, which some tests ask for, all that importing has made."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgresql_server():
    """A PostgreSQL server for all tests, each of which makes a database of its own."""
    with server() as running:
        yield running


@pytest.fixture
def postgresql(postgresql_server):
    """URL of its `postgres` database."""
    return postgresql_server.url


@pytest.fixture(scope="session")
def ray_cluster():
    """A Ray cluster of one node with room for two workers, which this process has joined."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        resources={"special": 1},
        include_dashboard=False,
        log_to_driver=False,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def ray_pool(request):
    """Workers for the tests of a module, which bring their own functions."""
    from tests.clusters import SharedPool

    request.getfixturevalue("ray_cluster")
    pool = SharedPool()
    yield pool
    pool.executor.close()
