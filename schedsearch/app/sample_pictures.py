"""Pictures of the samples that searches have seen, where a service may open their sets."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from schedsearch.app.config import check_study
from schedsearch.app.permitted import Permitted
from schedsearch.app.pictured import ENDING, Searched
from schedsearch.core.partials import new_partial, remove_left_overs
from schedsearch.errors import SchedsearchError
from schedsearch.store.store import Store

log = logging.getLogger(__name__)

_KEY = re.compile(r"[0-9a-f]{64}")
_SETS = 4
"""So many sets have pictures at once: of 2,000 samples they take at most 64 MB each."""

_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")


@dataclass(frozen=True)
class _Made:
    folder: Path
    keys: frozenset[str]


class SamplePictures:
    """Pictures by study and sample, made once for each set by a process of its own.

    Only what a study from the network could name is opened: embedded sets, uploaded ones, and files
    in the service's folders, each looked at anew, whatever the store says; and only what has the
    digest of the set that was searched is shown.

    Args:
        store: Has studies, and what was asked for.
        permitted: What may be opened.
        uploaded: From the digest of an uploaded set to its file; raises `InputError`.
        folder: For pictures; made when there are any, and cleared then of what servers left that
            have gone.
    """

    def __init__(
        self, store: Store, permitted: Permitted, uploaded: Callable[[str], Path], folder: Path
    ) -> None:
        self._store = store
        self._permitted = permitted
        self._uploaded = uploaded
        self._folder = folder
        self._place: Path | None = None
        self._held = -1
        self._pool = ThreadPoolExecutor(1, "pictures")
        self._lock = threading.Lock()
        self._made: OrderedDict[Searched, Future[_Made]] = OrderedDict()
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def keys(self, study: str) -> frozenset[str] | None:
        """Samples that have a picture; None while they are made, which this begins."""
        future = self._future(study)
        if future is None:
            return frozenset()
        return future.result().keys if future.done() else None

    def picture(self, study: str, sample: str) -> bytes | None:
        """The WebP of a sample; None where there is none, or none yet."""
        future = self._future(study)
        if future is None or not future.done() or sample not in future.result().keys:
            return None
        try:
            return (future.result().folder / f"{sample}{ENDING}").read_bytes()
        except FileNotFoundError:  # others were made meanwhile
            return None

    def close(self) -> None:
        """Make no more, and remove what was made."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.kill()
        self._pool.shutdown(cancel_futures=True)
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            os.close(self._held)

    def _future(self, study: str) -> "Future[_Made] | None":
        try:
            searched = self._searched(study)
        except (SchedsearchError, OSError):  # it names what may not be opened, or is not there
            return None
        with self._lock:
            if self._closed:
                return None
            if searched not in self._made:
                self._made[searched] = self._pool.submit(self._make, searched)
                while len(self._made) > _SETS:
                    _, old = self._made.popitem(last=False)
                    if not old.cancel():
                        old.add_done_callback(_forget)
            self._made.move_to_end(searched)
            return self._made[searched]

    def _searched(self, study: str) -> Searched:
        """The set of a study as it may be opened.

        Raises:
            SchedsearchError: It may not.
            OSError: It is not there.
        """
        spec, launch = self._store.spec(study), self._store.service.launch(study)
        digest = spec.calibration_digest
        if launch is None:
            try:
                name = str(self._uploaded(digest))
            except SchedsearchError:
                samples = len(spec.facts.samples())
                return Searched(digest, limit=samples, called=spec.calibration)
            return Searched(digest, name)
        config = check_study(launch.content, study)
        name, images = self._permitted.calibration(config, self._uploaded)
        data, changed = config.data, 0
        if os.path.isabs(name):
            changed = os.stat(name).st_mtime_ns
        shares = tuple(data.shares.given().items()) if data.shares else ()
        return Searched(
            digest,
            name,
            data.calibration_samples,
            str(images or ""),
            shares,
            config.seed,
            changed=changed,
        )

    def _make(self, searched: Searched) -> _Made:
        try:
            if self._place is None:
                self._folder.parent.mkdir(parents=True, exist_ok=True)
                remove_left_overs(self._folder)
                self._place, self._held = new_partial(self._folder, is_folder=True)
            folder = self._place / os.urandom(8).hex()
            folder.mkdir()
            return self._filled(folder, searched)
        except OSError as error:
            log.warning("no pictures of samples: %s", error)
            return _Made(self._folder, frozenset())

    def _filled(self, folder: Path, searched: Searched) -> _Made:
        command = [sys.executable, "-P", "-m", "schedsearch.app.pictured", str(folder)]
        environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        with self._lock:
            if self._closed:
                return _Made(folder, frozenset())
            child = self._child = subprocess.Popen(  # noqa: S603 - no part of the command is from the network
                command,
                env={**environment, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
                stdin=subprocess.PIPE,
            )
        child.communicate(json.dumps(asdict(searched)).encode())
        if child.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return _Made(folder, frozenset())
        names = [path.stem for path in folder.iterdir()]
        return _Made(folder, frozenset(filter(_KEY.fullmatch, names)))


def _forget(future: "Future[_Made]") -> None:
    if not future.cancelled() and future.result().keys:
        shutil.rmtree(future.result().folder, ignore_errors=True)
