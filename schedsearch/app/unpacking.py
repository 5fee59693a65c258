"""Archives from people who are not known, unpacked into a folder and nowhere else.

Nothing that an archive says of itself is believed: bytes are counted as they are written, and every
member is a file or a folder with a plain relative name, or the archive is refused. Owners,
permissions and times are not taken over, and archives in it stay files.
"""

import errno
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal

from schedsearch.core.shown import shown
from schedsearch.errors import DataError, RunError

Kind = Literal["tar", "tar.gz", "zip"]

MEMBERS = 100_000
"""The most files and folders of an archive."""

_DEPTH = 10
_CHUNK = 1 << 20
_BLOCK = 4096
_TAR_MAGIC = 257
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_NAMES_AT_FAULT = (
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
)


class TooLargeError(DataError):
    """An archive, or what it unpacks to, takes more room than there is."""


@dataclass(frozen=True)
class _Member:
    """What an archive has.

    Attributes:
        name: As the archive has it.
        what: `file`, `folder`, or what it is instead.
        size: Bytes of the file, as the archive says.
        open: Opens the content of a file.
    """

    name: str
    what: str
    size: int
    open: Callable[[], IO[bytes] | None]


def on_disk(size: int) -> int:
    """Bytes that a file takes, in whole blocks, so that many small files are not free."""
    return max(1, -(-size // _BLOCK)) * _BLOCK


def begins_as(kind: Kind, archive: Path) -> bool:
    """Say whether a file begins as an archive of a kind does."""
    with archive.open("rb") as file:
        start = file.read(_TAR_MAGIC + 5)
    if kind == "tar":
        return start[_TAR_MAGIC:] == b"ustar"
    return start.startswith(b"\x1f\x8b" if kind == "tar.gz" else b"PK")


def unpack(archive: Path, kind: Kind, folder: Path, most: int) -> None:
    """Unpack an archive.

    Args:
        archive: The file.
        kind: Of the archive.
        folder: Is there and empty; after an error it has a part of the files.
        most: Bytes that the files may take together, each in whole blocks.

    Raises:
        TooLargeError: They take more, or are too many.
        DataError: The archive is broken, or has something else than files with plain names.
        RunError: The files cannot be written here.
    """
    try:
        if kind == "zip":
            with zipfile.ZipFile(archive) as packed:
                _write(_of_zip(packed), folder, most)
        else:
            with tarfile.open(archive, "r:gz" if kind == "tar.gz" else "r:") as tape:
                _write(_of_tar(tape), folder, most)
    except (DataError, RunError, MemoryError):
        raise
    except Exception as error:  # readers raise whatever a broken archive leads them to
        said = str(error) or type(error).__name__
        raise DataError(
            f"the archive cannot be read as {kind}: {said:.200}; pack it again"
        ) from None


def _of_tar(tape: tarfile.TarFile) -> Iterator[_Member]:
    for entry in tape:
        if entry.issparse():
            what = "a sparse file"
        elif entry.isdir():
            what = "folder"
        else:
            what = "file" if entry.type in _PLAIN else "a link or a device"
        yield _Member(entry.name, what, entry.size, partial(tape.extractfile, entry))


def _of_zip(packed: zipfile.ZipFile) -> Iterator[_Member]:
    for entry in packed.infolist():
        mode = stat.S_IFMT(entry.external_attr >> 16)
        if entry.is_dir():
            what = "folder"
        elif mode not in (0, stat.S_IFREG):
            what = "a link or a device"
        elif entry.flag_bits & _ENCRYPTED:
            what = "encrypted"
        elif entry.compress_type not in _METHODS:
            what = "compressed by another method than deflate"
        else:
            what = "file"
        yield _Member(entry.filename, what, entry.file_size, partial(packed.open, entry))


def _write(members: Iterator[_Member], folder: Path, most: int) -> None:
    left, known = most, set()
    for number, member in enumerate(members):
        if number == MEMBERS:
            raise TooLargeError(
                f"an archive must have at most {MEMBERS} files and folders; leave out what no row "
                "names"
            )
        parts = _parts(member)
        if member.what == "folder":
            _make_folder(folder.joinpath(*parts), member)
            continue
        if member.what != "file":
            raise DataError(
                f"{shown(member.name)} must be a plain file, but is {member.what}; pack the files "
                "themselves"
            )
        if not parts or parts in known:
            raise DataError(
                f"{shown(member.name)} stands in the archive twice, or is no name; pack it once"
            )
        known.add(parts)
        path = folder.joinpath(*parts)
        _make_folder(path.parent, member)
        left -= on_disk(_copy(member, path, left))


def _parts(member: _Member) -> tuple[str, ...]:
    """The name, in parts; none for the folder itself.

    Raises:
        DataError: It leads elsewhere, or is none.
    """
    parts = member.name.split("/")
    # `tar` writes `./` before names, and some tools `/` behind those of folders.
    plain = [part for part in parts if part not in ("", ".")]
    faulty = (
        member.name.startswith("/")
        or ".." in parts
        or not member.name.isprintable()
        or "\\" in member.name
        or len(plain) > _DEPTH
    )
    if faulty:
        raise DataError(
            f"{shown(member.name)} must be a path below the archive's top, of printable letters, "
            f"with `/` between at most {_DEPTH} parts and without `..`; rename it"
        )
    return tuple(plain)


def _copy(member: _Member, path: Path, left: int) -> int:
    """Write a file, and return its bytes."""
    source, written = member.open(), 0
    assert source is not None
    with source, _new_file(path, member) as target:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if on_disk(written) > left:
                raise TooLargeError(
                    f"{shown(member.name)} takes more room than the {left} bytes that are left for "
                    "the files of this archive; send fewer or smaller images, or have sets deleted"
                )
            _put(target, chunk)
    if written != member.size:
        raise DataError(
            f"{shown(member.name)} has {written} bytes, but the archive says {member.size}; pack "
            "it again"
        )
    return written


def _make_folder(path: Path, member: _Member) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritten(member, error) from None


def _new_file(path: Path, member: _Member) -> IO[bytes]:
    try:
        return path.open("xb")
    except OSError as error:
        raise _unwritten(member, error) from None


def _put(target: IO[bytes], chunk: bytes) -> None:
    try:
        target.write(chunk)
        target.flush()  # closing must not be the first to find that there is no room
    except OSError as error:
        raise RunError(f"the archive cannot be unpacked here: {error.strerror}") from None


def _unwritten(member: _Member, error: OSError) -> DataError | RunError:
    if error.errno in _NAMES_AT_FAULT:
        return DataError(
            f"{shown(member.name)} cannot be written: {error.strerror}; rename it, and give no "
            "file the name of a folder"
        )
    return RunError(f"the archive cannot be unpacked here: {error.strerror}")
