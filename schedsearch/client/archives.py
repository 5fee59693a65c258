"""Sets of samples on their way to a service: a JSONL file and its images as one stream."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from schedsearch.core.sample_files import image_inside, images_of_rows, read_whole
from schedsearch.errors import InputError

SAMPLES = "samples.jsonl"
_CHUNK = 1 << 20
_KINDS = {
    ".tar": "application/x-tar",
    ".tar.gz": "application/gzip",
    ".tgz": "application/gzip",
    ".zip": "application/zip",
}


def kind_of(path: Path) -> str:
    """Media type of an archive, by its name.

    Raises:
        InputError: It is no archive that a service takes.
    """
    for ending, kind in _KINDS.items():
        if path.name.lower().endswith(ending):
            return kind
    raise InputError(
        f"{path}: must be a folder with {SAMPLES}, a JSONL file, or an archive whose name ends "
        f"with {', '.join(_KINDS)}; name one of these"
    )


def read_archive(path: Path) -> Iterator[bytes]:
    """The bytes of an archive, in parts."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def packed(samples: Path, images: Path) -> Iterator[bytes]:
    """A gzipped tar archive of a JSONL file and the images that it names, in parts.

    Equal files give equal bytes: times and owners are left out.

    Args:
        samples: The JSONL file.
        images: Folder that its images are relative to.

    Raises:
        InputError: The file or an image cannot be read, or an image lies elsewhere.
    """
    content = read_whole(samples)
    names = images_of_rows(samples, content)
    sink = _Sink()
    with (
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=sink, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        _add(archive, SAMPLES, content)
        yield sink.taken()
        for name in names:
            _add(archive, name, read_whole(image_inside(samples, images, name)))
            yield sink.taken()
    yield sink.taken()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


class _Sink(io.RawIOBase):
    """Takes what is written, and gives it away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, part: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]
        self._parts.append(bytes(part))
        return len(part)

    def taken(self) -> bytes:
        whole, self._parts = b"".join(self._parts), []
        return whole
