"""Calibration sets that were uploaded: named by their content, and read from a folder here."""

import re
from pathlib import Path

from schedsearch.errors import InputError
from schedsearch.store.service import ServiceStore

_DIGEST = re.compile(r"[0-9a-f]{64}")
FILE = "samples.jsonl"


class Uploads:
    """Sets in a folder, one folder each.

    Args:
        store: Knows whose they are.
        folder: Has them.
        quota: Most bytes of all together.
    """

    def __init__(self, store: ServiceStore, folder: Path, quota: int) -> None:
        self._store = store
        self._folder = folder
        self._quota = quota

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
