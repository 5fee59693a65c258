"""Calibration sets that were uploaded: named by their content, and read from a folder here."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from schedsearch.app.received import FILE, SECONDS, Received
from schedsearch.app.unpacking import Kind, TooLargeError, begins_as
from schedsearch.core.partials import new_partial, remove_left_overs
from schedsearch.errors import DataError, InputError, RunError
from schedsearch.store.launches import StateError
from schedsearch.store.sample_sets import SampleSetEntry
from schedsearch.store.service import ServiceStore

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PART = "part"
"""What folders are called that hold what is on its way; locked as long as their server lives."""

_LOCK = ".lock"
"""File that is locked by whoever changes which sets there are."""

_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")


class Uploads:
    """Sets in a folder, one folder each; only servers on the same store write there.

    A set is there if both the store and the folder have it.

    Args:
        store: Knows whose they are.
        folder: Has them; made here, and cleared of what servers left that have gone.
        quota: Most bytes of all together, files in whole blocks. Archives on their way may take
            as much again, and so may the one that is being unpacked.
        samples: The most of a set.
    """

    def __init__(
        self, store: ServiceStore, folder: Path, quota: int, samples: int = 20_000
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._folder = folder.resolve()
        self._quota = quota
        self._samples = samples
        self._arriving = 0
        self._changing = threading.Lock()
        self._unpacking = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()
        remove_left_overs(self._folder / _PART)

    def file(self, digest: str) -> Path:
        """The JSONL file of a set.

        Raises:
            InputError: There is none.
        """
        if _DIGEST.fullmatch(digest):
            path = self._folder / digest / FILE
            if path.is_file():
                return path
        raise InputError(f"there is no uploaded set {digest!r:.80}; upload it first")

    def sets(self) -> list[SampleSetEntry]:
        """All sets, oldest first."""
        return [one for one in self._store.sample_sets() if (self._folder / one.digest).is_dir()]

    def find(self, digest: str) -> SampleSetEntry | None:
        """A set; None where there is none."""
        return next((one for one in self.sets() if one.digest == digest), None)

    def left(self) -> int:
        """Bytes that further sets may take."""
        return max(0, self._quota - sum(one.bytes for one in self.sets()))

    def begin(self, expected: int = 0) -> "Upload":
        """A place for an archive.

        Args:
            expected: Its bytes, as far as they are known.

        Raises:
            TooLargeError: There is no room for it.
        """
        upload = Upload(self, self._folder, self.left())
        try:
            upload.check(expected)
        except TooLargeError:
            upload.close()
            raise
        return upload

    def remove(self, digest: str) -> None:
        """Delete a set.

        Raises:
            InputError: There is none.
            StateError: A study that waits or is at work names it.
        """
        with _place(self._folder) as gone, self._alone():
            path = str(self.file(digest))
            for launch in self._store.launches():
                named = path in launch.content.get("data", {}).values()
                if named and launch.state in ("QUEUED", "STARTED"):
                    raise StateError(
                        f"set {digest} is named by study `{launch.study}`, which is "
                        f"{launch.state}; stop that first"
                    )
            (self._folder / digest).rename(gone / digest)
            self._store.remove_sample_set(digest)

    def close(self) -> None:
        """Give up what is being unpacked, so that nobody waits for it."""
        self._closed.set()
        if (child := self._child) is not None:
            child.kill()

    def arrived(self, size: int, left: int) -> None:
        """Count bytes of archives that are here for as long as it takes; negative: they have gone.

        Raises:
            TooLargeError: They are more than what is left for them.
        """
        with self._changing:
            if size > 0 and self._arriving + size > left:
                raise self._too_large(left)
            self._arriving += size

    def _too_large(self, left: int) -> TooLargeError:
        return TooLargeError(
            f"the archive takes more room than there is: all sets together may take "
            f"{self._quota} bytes, of which {left} are left; have sets deleted"
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads, and other servers, from changing which sets there are."""
        with self._changing, (self._folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def keep(self, place: Path, kind: Kind, name: str, who: str) -> tuple[SampleSetEntry, bool]:
        """What `Upload.keep` returns, of the archive in a place."""
        with self._unpacking:  # so that what is left stays left
            found = self._received(place, kind)
            with self._alone():
                known = self.find(found.digest)
                if known is not None:
                    return known, False
                if found.size > (left := self.left()):  # other servers have kept sets meanwhile
                    raise self._too_large(left)
                if any(one.digest == found.digest for one in self._store.sample_sets()):
                    self._store.remove_sample_set(found.digest)  # its files were lost
                self._store.add_sample_set(found.digest, name, found.samples, found.size, who)
                (place / "set").rename(self._folder / found.digest)
                added = self.find(found.digest)
        assert added is not None
        return added, True

    def _received(self, place: Path, kind: Kind) -> Received:
        (place / "set").mkdir()
        command = [sys.executable, "-P", "-m", "schedsearch.app.received"]
        asked = [place / "archive", kind, place / "set", self.left(), self._samples]
        environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        if self._closed.is_set():
            raise RunError(_ENDING)
        self._child = subprocess.Popen(  # noqa: S603 - no part of the command is from the network
            [*command, *map(str, asked)],
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        if self._closed.is_set():  # meanwhile
            self._child.kill()
        written, _ = self._child.communicate()
        status, self._child = self._child.returncode, None
        if self._closed.is_set():
            raise RunError(_ENDING)
        if status:
            raise _crashed(status)
        found = Received(**json.loads(written))
        if found.status != "found":
            raise _FAULTS[found.status](found.fault)
        return found


_ENDING = "the service is ending; send the set again later"
_FAULTS: dict[str, Callable[[str], Exception]] = {
    "wrong": DataError,
    "too large": TooLargeError,
    "failed": RunError,
}


class Upload:
    """An archive on its way, which leaves nothing behind unless it is kept.

    Args:
        uploads: Where it goes.
        folder: Has a place for it.
        left: Bytes that it may take.
    """

    def __init__(self, uploads: Uploads, folder: Path, left: int) -> None:
        self._uploads = uploads
        self._left = left
        self._size = 0
        self._held = ExitStack()
        self._place = self._held.enter_context(_place(folder))
        self._file = (self._place / "archive").open("wb")

    def check(self, expected: int) -> None:
        """Say at once that an archive of so many bytes has no room.

        Raises:
            TooLargeError: It has none.
        """
        self._uploads.arrived(expected, self._left)
        self._uploads.arrived(-expected, self._left)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            TooLargeError: There is no room for them.
            RunError: They cannot be written.
        """
        self._uploads.arrived(len(chunk), self._left)
        self._size += len(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise RunError(f"the archive cannot be stored here: {error.strerror}") from None

    def keep(self, kind: Kind, name: str, who: str) -> tuple[SampleSetEntry, bool]:
        """Unpack and check the archive, and keep its set unless that is here.

        Args:
            kind: Of the archive.
            name: What people call the set.
            who: Whoever sends it.

        Returns:
            The set, and whether it is new.

        Raises:
            TooLargeError: It has no room.
            DataError: It is no set that can be used; the message has the line, as for a file.
            RunError: The service cannot keep it.
        """
        self._file.close()
        if not begins_as(kind, self._place / "archive"):
            raise DataError(f"the archive must be {kind}, but begins otherwise; send its real kind")
        return self._uploads.keep(self._place, kind, name, who)

    def close(self) -> None:
        """Remove what is here, but for a set that is kept."""
        self._file.close()
        self._held.close()
        self._uploads.arrived(-self._size, self._left)
        self._size = 0


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """A folder in the folder for as long as it takes, which other servers leave alone."""
    place, lock = new_partial(folder / _PART, is_folder=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)


def _crashed(status: int) -> DataError:
    if status == -signal.SIGALRM:
        return DataError(
            f"the set must be unpacked and checked within {SECONDS} s, but takes longer; send "
            "fewer or smaller images"
        )
    return DataError(
        "the set cannot be checked: its archive or an image breaks what reads it; save images as "
        "PNG or JPEG"
    )
