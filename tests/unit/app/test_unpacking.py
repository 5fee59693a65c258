"""Archives that mean harm, or are broken: nothing is written outside, nor more than is allowed."""

import io
import os
import stat
import struct
import tarfile
import zipfile

import pytest

from schedsearch.app import unpacking
from schedsearch.app.unpacking import TooLargeError, unpack
from schedsearch.errors import DataError
from tests.archives import tar, tar_of, zipped

MOST = 1 << 20


@pytest.fixture
def unpacked(tmp_path):
    """Unpack an archive; return what is in the folder then."""
    folder = tmp_path / "outer" / "set"
    folder.mkdir(parents=True)

    def run(archive, kind="tar", most=MOST):
        path = tmp_path / "archive"
        path.write_bytes(archive)
        try:
            unpack(path, kind, folder, most)
        finally:
            beside = [one for one in tmp_path.rglob("*") if not one.is_relative_to(folder)]
            assert sorted(beside) == [path, folder.parent]
        return {
            str(one.relative_to(folder)): one.read_bytes()
            for one in folder.rglob("*")
            if one.is_file()
        }

    return run


def member(name, kind=tarfile.REGTYPE, target=""):
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_plain_files_are_unpacked(unpacked, kind):
    files = {"a": b"1", "b/c d.é": b"22", "./e": b"", "b/.//f": b"3"}
    archive = zipped(files) if kind == "zip" else tar(files, "w:gz" if "gz" in kind else "w")
    found = {"a": b"1", "b/c d.é": b"22", "e": b"", "b/f": b"3"}
    assert unpacked(archive, kind) == found


def test_folders_may_stand_in_archives_too(unpacked):
    folders = [(member(name, tarfile.DIRTYPE), b"") for name in (".", "./a", "./a/")]
    assert unpacked(tar_of([*folders, (member("a/b"), b"1")])) == {"a/b": b"1"}
    assert unpacked(zipped({"z/": b"", "z/b": b"1"}), "zip") == {"a/b": b"1", "z/b": b"1"}


LEADING_ELSEWHERE = [
    "../escaped",
    "a/../../escaped",
    "a/..",
    "/tmp/escaped",  # noqa: S108 - must not be written
    "//escaped",
    "..\\escaped",
    "C:\\escaped",
    "a\nb",
    "/".join("abcdefghijk"),
    "",
    ".",
    "x" * 300,
]


@pytest.mark.parametrize("name", LEADING_ELSEWHERE)
def test_names_that_lead_elsewhere_are_refused_in_tar(unpacked, name):
    with pytest.raises(DataError, match="must be a path|is no name|cannot be written"):
        unpacked(tar({name: b"1"}))


@pytest.mark.parametrize("name", [name for name in LEADING_ELSEWHERE if name])
def test_names_that_lead_elsewhere_are_refused_in_zip(unpacked, name):
    with pytest.raises(DataError, match="must be a path|is no name|cannot be written"):
        unpacked(zipped({name: b"1"}), "zip")


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CONTTYPE,
        b"Z",
    ],
)
def test_links_and_devices_are_refused_in_tar(unpacked, kind):
    with pytest.raises(DataError, match="a link or a device"):
        unpacked(tar_of([(member("a"), b"1"), (member("b", kind, "a"), b"")]))


@pytest.mark.parametrize("target", ["..", "/etc", "a"])
def test_nothing_is_written_through_a_link(unpacked, target):
    link = member("link", tarfile.SYMTYPE, target)
    with pytest.raises(DataError, match="a link or a device"):
        unpacked(tar_of([(link, b""), (member("link/escaped"), b"1")]))


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused_in_zip(unpacked, mode):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.create_system, entry.external_attr = 3, (mode | 0o777) << 16
        archive.writestr(entry, "../..")
    with pytest.raises(DataError, match="a link or a device"):
        unpacked(made.getvalue(), "zip")


def test_sparse_files_are_refused(unpacked):
    # A terabyte that takes no room in the archive: offset, bytes there, and the whole size.
    sparse = member("a", tarfile.GNUTYPE_SPARSE)
    header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(DataError, match="a sparse file"):
        unpacked(bytes(header) + bytes(1024))


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("twin", ["a", "./a", "b/../a"])
def test_names_that_stand_twice_are_refused(unpacked, kind, twin):
    made = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr("a", "1")
            archive.writestr(twin, "2")
    else:
        made.write(tar_of([(member("a"), b"1"), (member(twin), b"2")]))
    with pytest.raises(DataError, match="twice|must be a path"):
        unpacked(made.getvalue(), kind)


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_file_cannot_be_a_folder_too(unpacked, names):
    with pytest.raises(DataError, match="cannot be written"):
        unpacked(tar(dict.fromkeys(names, b"1")))


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_bomb_is_cut_at_the_bytes_that_are_left(unpacked, kind, tmp_path):
    files = {"small": b"1", "bomb": bytes(64 << 20)}
    archive = zipped(files) if kind == "zip" else tar(files, "w:gz")
    assert len(archive) < 100_000
    with pytest.raises(TooLargeError, match="'bomb' takes more room"):
        unpacked(archive, kind)
    written = sum(one.stat().st_size for one in (tmp_path / "outer").rglob("*") if one.is_file())
    assert written <= MOST


def test_entries_that_share_their_bytes_are_refused(unpacked):
    # One deflated file that ten entries of the directory point at.
    single = zipped({"a0": bytes(100)})
    start, end = single.index(b"PK\x01\x02"), single.index(b"PK\x05\x06")
    entries = b"".join(single[start:end].replace(b"a0", b"a%d" % n) for n in range(10))
    ending = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 10, 10, len(entries), start, 0)
    made = single[:start] + entries + ending
    assert len(zipfile.ZipFile(io.BytesIO(made)).namelist()) == 10
    with pytest.raises(DataError, match="cannot be read"):
        unpacked(made, "zip")


def test_many_small_files_are_counted_in_whole_blocks(unpacked):
    with pytest.raises(TooLargeError, match="takes more room"):
        unpacked(tar({str(number): b"1" for number in range(MOST // 4096 + 1)}))


def test_number_of_members_is_bounded(unpacked, monkeypatch):
    monkeypatch.setattr(unpacking, "MEMBERS", 10)
    folders = [(member(f"d{number}", tarfile.DIRTYPE), b"") for number in range(11)]
    assert unpacked(tar_of(folders[:10])) == {}
    with pytest.raises(TooLargeError, match="at most 10 files and folders"):
        unpacked(tar_of(folders))


@pytest.mark.parametrize("stated", [10, 10_000_000])
def test_zip_that_lies_about_a_size_is_refused(unpacked, stated):
    archive = zipped({"a": bytes(100_000)})
    field = struct.pack("<L", 100_000)
    assert archive.count(field) == 2  # before the content, and in the directory
    with pytest.raises(DataError, match="cannot be read|the archive says"):
        unpacked(archive.replace(field, struct.pack("<L", stated)), "zip")


def test_tar_that_lies_about_a_size_is_refused(unpacked):
    liar = member("a")
    liar.size = 1 << 40
    with pytest.raises(DataError, match="cannot be read"):
        unpacked(liar.tobuf() + bytes(4096))


def test_archives_in_archives_stay_files(unpacked):
    inner = zipped({"../escaped": bytes(10 << 20)})
    assert unpacked(tar({"inner.zip": inner})) == {"inner.zip": inner}


def test_encrypted_files_are_refused(unpacked):
    archive = bytearray(zipped({"a": b"1"}))
    for flag in (6, archive.index(b"PK\x01\x02") + 8):
        archive[flag] |= 1
    with pytest.raises(DataError, match="is encrypted"):
        unpacked(bytes(archive), "zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_methods_that_unpack_without_bounds_are_refused(unpacked, method):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr("a", bytes(1000))
    with pytest.raises(DataError, match="another method than deflate"):
        unpacked(made.getvalue(), "zip")


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_broken_archives_are_refused(unpacked, kind):
    files = {"a": os.urandom(50_000)}
    whole = zipped(files) if kind == "zip" else tar(files, "w:gz" if "gz" in kind else "w")
    for broken in (whole[:30_000], b"", whole[1:]):
        with pytest.raises(DataError, match=f"cannot be read as {kind}"):
            unpacked(broken, kind)


def test_rights_of_members_are_not_taken_over(unpacked, tmp_path):
    entry = member("a")
    entry.mode, entry.uid = 0o6777, 12345
    unpacked(tar_of([(entry, b"1")]))
    found = (tmp_path / "outer" / "set" / "a").stat()
    assert found.st_mode & 0o7111 == 0
    assert found.st_uid == os.getuid()
