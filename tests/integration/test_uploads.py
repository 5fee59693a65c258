"""Uploads without HTTP: what becomes of sets that are wrong, cut off, too heavy, or sent twice."""

import gzip
import io
import os
import signal
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from schedsearch.app import received
from schedsearch.app.unpacking import TooLargeError
from schedsearch.app.uploads import Uploads
from schedsearch.errors import DataError, InputError, RunError
from schedsearch.store.launches import StateError
from schedsearch.store.store import open_store
from tests.archives import png, rows, tar, zipped

FILES = {"rows.jsonl": rows("a.png"), "a.png": png("red")}


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store.db") as opened:
        yield opened.service


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sets"


@pytest.fixture
def uploads(store, folder):
    return Uploads(store, folder, 10 << 20, samples=100)


def send(uploads, archive, kind="tar"):
    upload = uploads.begin(len(archive))
    try:
        upload.write(archive)
        return upload.keep(kind, "mine", "somebody")
    finally:
        upload.close()


def names(folder):
    """What is in the folder, besides the file that servers lock."""
    return {path.name for path in folder.iterdir()} - {".lock"}


def refused(uploads, folder, archive, error=DataError, kind="tar"):
    """What is said of an archive that leaves nothing behind."""
    with pytest.raises(error) as raised:
        send(uploads, archive, kind)
    assert type(raised.value) is error
    assert names(folder) == set()
    assert uploads.sets() == []
    assert str(folder) not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    "files",
    [
        {"a.png": png("red")},
        FILES | {"more.JSONL": rows("a.png")},
        {f"inner/{name}": content for name, content in FILES.items()},
        {"samples.jsonl/a.png": png("red"), "rows.jsonl": rows("samples.jsonl/a.png")},
        {"samples.jsonl/a.png": png("red")},
    ],
)
def test_archive_has_one_file_of_rows_at_its_top(uploads, folder, files):
    assert "must have one file *.jsonl at its top" in refused(uploads, folder, tar(files))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"r.jsonl": b""}, "r.jsonl is empty"),
        ({"r.jsonl": b"\xff"}, "r.jsonl:1: the file must be UTF-8"),
        ({"r.jsonl": b"[" * 100_000}, "r.jsonl:1: the line is nested too deeply"),
        ({"r.jsonl": rows("a.png")}, "r.jsonl:1: image a.png cannot be read"),
        ({"r.jsonl": rows("../../store.db")}, "outside the image folder"),
        ({"r.jsonl": rows("/etc/passwd")}, "outside the image folder"),
        ({"r.jsonl": rows("http://localhost/a.png")}, "is an address"),
        ({"r.jsonl": rows("a"), "a": b"x"}, "in no format that Pillow knows"),
        ({"r.jsonl": rows("a"), "a": zipped({"a.png": png("red")})}, "in no format"),
        ({"r.jsonl": rows("a.png"), "a.png": png("red")[:-30]}, "cannot be decoded"),
        ({"r.jsonl": rows("r.jsonl")}, "in no format that Pillow knows"),
    ],
)
def test_set_is_checked_as_a_file_is(uploads, folder, files, said):
    assert said in refused(uploads, folder, tar(files))


def test_postscript_is_not_run(uploads, folder, tmp_path, monkeypatch):
    drawn, ran = io.BytesIO(), tmp_path / "ran"
    Image.new("RGB", (8, 8)).save(drawn, "EPS")
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    files = {"r.jsonl": rows("a.eps"), "a.eps": drawn.getvalue()}
    assert "cannot be decoded" in refused(uploads, folder, tar(files))
    assert not ran.exists()


def test_number_of_samples_is_bounded(uploads, folder):
    files = {"r.jsonl": rows(*["a.png"] * 101), "a.png": png("red")}
    assert "at most 100 lines, but got 101" in refused(uploads, folder, tar(files), TooLargeError)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_other_archives_than_stated_are_refused(uploads, folder, kind):
    other = zipped(FILES) if kind != "zip" else tar(FILES)
    assert f"must be {kind}" in refused(uploads, folder, other, kind=kind)


def test_bomb_is_refused_and_leaves_nothing(uploads, folder):
    bomb = tar(FILES | {"b": bytes(64 << 20)}, "w:gz")
    said = refused(uploads, folder, bomb, TooLargeError, "tar.gz")
    assert "takes more room" in said


def test_header_that_takes_all_memory_takes_none_of_ours(uploads, folder):
    # Text of a pax header is read at once, and counts as no file.
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, received.MEMORY
    zeros = gzip.compress(bytes(16 << 20), 1)
    archive = gzip.compress(header.tobuf()) + zeros * (received.MEMORY // (16 << 20))
    assert len(archive) < 12 << 20
    roomy = Uploads(uploads._store, folder, 1 << 30)
    assert "MiB of memory" in refused(roomy, folder, archive, kind="tar.gz")
    assert send(uploads, tar(FILES))[1]


def test_upload_that_is_cut_off_leaves_nothing(uploads, folder):
    upload = uploads.begin()
    upload.write(tar(FILES)[:2000])
    assert len(names(folder)) == 1
    upload.close()
    assert names(folder) == set()


def test_what_is_on_its_way_to_one_server_stays_when_another_starts(uploads, store, folder):
    kept, _ = send(uploads, tar(FILES))
    half = uploads.begin()
    half.write(b"half of it")
    before = names(folder)
    assert len(before) == 2
    after = Uploads(store, folder, 10 << 20)
    assert names(folder) == before
    assert after.sets() == [kept]
    half.close()
    assert names(folder) == {kept.digest}


def test_archives_on_their_way_share_what_is_left(uploads, folder):
    first = uploads.begin()
    first.write(bytes(9 << 20))
    second = uploads.begin()
    with pytest.raises(TooLargeError):
        second.write(bytes(2 << 20))
    with pytest.raises(TooLargeError):
        uploads.begin(2 << 20)
    first.close()
    second.write(bytes(2 << 20))
    second.close()
    assert names(folder) == set()


def test_same_set_sent_by_several_at_once_is_kept_once(uploads, folder):
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: send(uploads, tar(FILES)), range(3)))
    assert sorted(new for _, new in found) == [False, False, True]
    assert len({entry for entry, _ in found}) == 1
    assert names(folder) == {found[0][0].digest}


def test_other_order_of_rows_is_another_set(uploads):
    images = {"a.png": png("red"), "b.png": png("blue")}
    first, _ = send(uploads, tar({"r.jsonl": rows("a.png", "b.png")} | images))
    second, _ = send(uploads, tar({"r.jsonl": rows("b.png", "a.png")} | images))
    renamed, new = send(
        uploads, tar({"s.jsonl": rows("c", "b"), "c": png("red")} | {"b": png("blue")})
    )
    assert first.digest != second.digest
    assert (renamed, new) == (first, False)


def test_set_whose_files_were_lost_can_be_sent_again(uploads, folder):
    kept, _ = send(uploads, tar(FILES))
    (folder / kept.digest).rename(folder.parent / "elsewhere")
    assert uploads.sets() == []
    with pytest.raises(InputError, match="no uploaded set"):
        uploads.remove(kept.digest)
    again, new = send(uploads, tar(FILES))
    assert (again.digest, new) == (kept.digest, True)
    assert uploads.file(kept.digest).is_file()


@pytest.mark.parametrize("state", ["QUEUED", "STARTED"])
def test_set_in_use_is_not_deleted(uploads, store, folder, state):
    kept, _ = send(uploads, tar(FILES))
    store.add_launch("s", {"data": {"held_out": str(uploads.file(kept.digest))}}, "me", "local")
    store.queue("s")
    if state == "STARTED":
        store.take(1)
    with pytest.raises(StateError, match="study `s`, which is"):
        uploads.remove(kept.digest)
    assert uploads.sets() == [kept]
    if state == "STARTED":
        store.end_launch("s", 1, "finished")
    else:
        store.withdraw("s")
    uploads.remove(kept.digest)
    assert names(folder) == set()
    assert store.sample_sets() == []


@pytest.fixture
def at_work(uploads, folder):
    """Refuse a set with far more images than a test waits for, once its process has been met."""

    def meet(end, error):
        image = png("red", (2000, 2000))
        archive = tar({"r.jsonl": rows(*["a.png"] * 100), "a.png": image})
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(refused, uploads, folder, archive, error)
            while uploads._child is None and not asked.done():
                time.sleep(0.01)
            end(uploads._child)
            return asked.result()

    return meet


def test_service_that_ends_waits_for_no_archive(at_work, uploads, folder):
    assert "the service is ending" in at_work(lambda _: uploads.close(), RunError)
    assert "the service is ending" in refused(uploads, folder, tar(FILES), RunError)


@pytest.mark.parametrize(
    ("ending", "said"),
    [(signal.SIGSEGV, "breaks what reads it"), (signal.SIGALRM, "within 900 s")],
)
def test_set_that_breaks_its_reader_or_takes_too_long_is_refused(at_work, uploads, ending, said):
    assert said in at_work(lambda child: child.send_signal(ending), DataError)
    assert send(uploads, tar(FILES))[1]


def test_process_that_reads_archives_imports_nothing_from_where_the_server_stands(
    uploads, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    assert send(uploads, tar(FILES))[1]
