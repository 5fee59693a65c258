"""Whatever a target is, it is replaced in one step, written through, or left as it was."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from schedsearch.core.files import (
    check_files,
    check_folder,
    check_target,
    replacing,
    replacing_files,
    write_file,
)
from schedsearch.core.guards import guarded
from schedsearch.core.kinds import json_kind
from schedsearch.core.partials import is_partial
from schedsearch.core.streams import STDOUT, is_stdout, is_stream
from schedsearch.errors import InputError, RunError

NOTE = json_kind("a note", "test.note")
OLD = b'{"format": "test.note/1", "text": "old"}'
NEW = b'{"format": "test.note/1", "text": "new"}'


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refused(path: Path, message: str, **options: bool) -> None:
    """Both before the work and after it, and nothing has changed."""
    for write in (check_target, lambda *a, **k: write_file(a[0], NEW, *a[1:], **k)):
        with pytest.raises(InputError, match=message) as caught:
            write(path, NOTE, **options)
        assert str(caught.value).startswith(f"{path}: ")


def test_file_is_made_with_its_folders_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "folder" / "note.json"
    check_target(path, NOTE)
    assert names(tmp_path) == set()
    write_file(path, NEW, NOTE)
    assert path.read_bytes() == NEW
    assert names(path.parent) == {"note.json"}


@pytest.mark.parametrize(
    "old", [OLD, b"", b' \n{\n "a": 1,\n "format" : "test.note/2"}', b"\xef\xbb\xbf" + OLD]
)
def test_file_of_the_same_kind_or_an_empty_one_is_replaced(tmp_path, old):
    path = tmp_path / "note.json"
    path.write_bytes(old)
    write_file(path, NEW, NOTE)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize(
    "other",
    [
        b"SQLite format 3\0",
        b"study: demo\n",
        b'{"format": "test.notes/1"}',
        b'{"form": "test.note/1"}',
        b'{"mine": {"format": "test.note/1"}}',
        b'{"mine": "\\"format\\": \\"test.note/1\\""}',
        b'{"mine": [1, "format", "test.note/1"]}',
        b'[{"format": "test.note/1"}]',
        b'{"format": ["test.note/1"]}',
        b'{"format": "test.note',
        b"{" * 70_000,
        b'{"mine":' * 20_000 + b'"format": "test.note/1"',
        b'print(\'{"format": "test.note/1"}\')',
    ],
)
def test_another_file_is_replaced_only_by_force(tmp_path, other):
    path = tmp_path / "note.json"
    path.write_bytes(other)
    refused(path, "exists and is not a note; name another file, or replace it with --force")
    assert path.read_bytes() == other
    check_target(path, NOTE, force=True)
    write_file(path, NEW, NOTE, force=True)
    assert path.read_bytes() == NEW


def test_guarded_file_is_not_replaced_even_by_force_nor_by_another_name(tmp_path):
    path, link = tmp_path / "note.json", tmp_path / "link.json"
    path.write_bytes(OLD)
    link.symlink_to(path)
    with guarded(path), guarded(link):
        for one in (path, link, tmp_path / "." / "note.json", tmp_path / "x" / ".." / "note.json"):
            refused(one, "is in use by this very command", force=True)
    with guarded(tmp_path / "later.json"):
        refused(tmp_path / "later.json", "is in use", force=True)
    write_file(path, NEW, NOTE)
    assert path.read_bytes() == NEW


def test_link_is_followed(tmp_path):
    path, link = tmp_path / "there" / "note.json", tmp_path / "link.json"
    path.parent.mkdir()
    link.symlink_to(path)
    write_file(link, OLD, NOTE)
    write_file(link, NEW, NOTE)
    assert link.is_symlink()
    assert path.read_bytes() == NEW
    assert names(path.parent) == {"note.json"}
    path.write_bytes(b"else")
    refused(link, "exists and is not a note")


def test_link_to_itself_is_refused(tmp_path):
    path = tmp_path / "loop.json"
    path.symlink_to(path)
    refused(path, "cannot be written")
    assert path.is_symlink()


def test_folder_is_refused(tmp_path):
    refused(tmp_path, "cannot be written, it is a folder; name a file inside it", force=True)


def test_place_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    for write in (check_target, lambda path, kind: write_file(path, NEW, kind)):
        with pytest.raises(InputError, match="file.*: cannot be"):
            write(tmp_path / "file" / "note.json", NOTE)
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize("name", ["n" * 300, "nul\0"])
def test_impossible_name_is_refused(tmp_path, name):
    refused(tmp_path / name, "cannot be written")
    assert names(tmp_path) == set()


def test_long_name_leaves_room_for_the_partial_one(tmp_path):
    write_file(tmp_path / ("ä" * 127), NEW, NOTE)
    assert names(tmp_path) == {"ä" * 127}


def test_rights_of_the_file_stay(tmp_path):
    path = tmp_path / "note.json"
    path.write_bytes(OLD)
    path.chmod(0o640)
    write_file(path, NEW, NOTE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_reader_sees_the_old_content_or_the_new(tmp_path):
    path = tmp_path / "note.json"
    path.write_bytes(OLD)
    with path.open("rb") as reader:
        write_file(path, NEW, NOTE)
        assert reader.read() == OLD
    assert path.read_bytes() == NEW


def test_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "note.json"
    path.write_bytes(OLD)

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="cannot be written .No space left"):
        write_file(path, NEW, NOTE)
    assert path.read_bytes() == OLD
    assert names(tmp_path) == {"note.json"}


KILLED = """
import os, signal, sys
from pathlib import Path
from schedsearch.core.files import replacing, replacing_files
from schedsearch.core.kinds import json_kind
target = Path(sys.argv[1])
with replacing(target, json_kind("a note", "test.note")) as part:
    part.write_bytes(b"half")
    with replacing_files(target.with_name("many"), "mark") as folder:
        (folder / "mark").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_next_writer_removes_what_a_killed_one_left_and_not_what_a_living_one_holds(tmp_path):
    path, many = tmp_path / "note.json", tmp_path / "many"
    path.write_bytes(OLD)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == OLD
    left = [one for one in tmp_path.iterdir() if one != path]
    assert len(left) == 2 and all(map(is_partial, left))

    (tmp_path / ".note.json.kept").write_bytes(b"somebody's")
    with replacing(path, NOTE) as living, replacing_files(many, "mark") as folder:
        (folder / "mark").write_bytes(b"whole")
        living.write_bytes(OLD)
        write_file(path, NEW, NOTE)
        assert living.exists() and folder.exists()
        assert path.read_bytes() == NEW
    assert names(tmp_path) == {"note.json", "many", ".note.json.kept"}
    assert path.read_bytes() == OLD
    assert (many / "mark").read_bytes() == b"whole"


def test_files_of_a_folder_are_replaced_the_mark_first_and_others_stay(tmp_path, monkeypatch):
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("a", "mark", "own"):
        (folder / name).write_bytes(b"old")
    moved = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda a, b: (moved.append(b.name), replace(a, b))[1])
    with replacing_files(folder, "mark") as part:
        for name in ("a", "mark", "z"):
            (part / name).write_bytes(b"new")
    assert moved == ["mark", "a", "z"]
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert contents == {"a": b"new", "mark": b"new", "z": b"new", "own": b"old"}
    assert names(tmp_path) == {"many"}


def test_failing_block_leaves_the_folder_as_it_was(tmp_path):
    with pytest.raises(RuntimeError), replacing_files(tmp_path / "many", "mark") as part:
        (part / "mark").write_bytes(b"new")
        raise RuntimeError
    assert names(tmp_path) == set()


def test_guarded_file_of_a_folder_keeps_the_whole_folder(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "z").write_bytes(b"in use")
    with (
        guarded(folder / "z"),
        pytest.raises(InputError, match="z: is in use"),
        replacing_files(folder, "a") as part,
    ):
        (part / "a").write_bytes(b"new")
        (part / "z").write_bytes(b"new")
    assert names(folder) == {"z"}
    assert (folder / "z").read_bytes() == b"in use"


def test_folder_is_known_by_its_mark(tmp_path):
    folder = tmp_path / "many"
    check_files(folder, NOTE, "mark")
    folder.mkdir()
    check_files(folder, NOTE, "mark")
    (folder / "own").write_bytes(b"x")
    for content in (None, b"else"):
        if content:
            (folder / "mark").write_bytes(content)
        with pytest.raises(InputError, match="many: exists and is not a note; name another folder"):
            check_files(folder, NOTE, "mark")
        check_files(folder, NOTE, "mark", force=True)
    (folder / "mark").write_bytes(OLD)
    check_files(folder, NOTE, "mark")


def test_folder_in_which_nothing_can_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for place in ("file", "file/deep", "nowhere"):
        with pytest.raises(InputError, match=f"{place}: cannot be used as a folder"):
            check_folder(tmp_path / place)
    with pytest.raises(InputError, match="-: is standard output, which takes no folder"):
        check_folder(STDOUT)
    check_folder(tmp_path / "not" / "yet")
    assert names(tmp_path) == {"file", "nowhere"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_the_right_to_write_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written in"):
        check_folder(tmp_path / "new")


def test_pipe_is_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert is_stream(pipe) and not is_stdout(pipe)
    check_target(pipe, NOTE)
    with pytest.raises(InputError, match="cannot be written"):
        write_file(pipe, NEW, NOTE)  # nobody reads
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(pipe, NEW, NOTE)
    assert os.read(reader, 1000) == NEW
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_device_is_written_through(tmp_path):
    """A terminal: where its name is, nobody can make a file, whatever the writer does wrong."""
    control, terminal = os.openpty()
    link = tmp_path / "terminal"
    link.symlink_to(os.ttyname(terminal))
    for target in (Path(os.ttyname(terminal)), link):
        check_target(target, NOTE)
        write_file(target, NEW, NOTE)
        assert os.read(control, 1000) == NEW
        assert stat.S_ISCHR(target.stat().st_mode)
    os.close(terminal)
    os.close(control)
    assert names(tmp_path) == {"terminal"}


WRITES = """
import sys
from pathlib import Path
from schedsearch.core.files import write_file
from schedsearch.core.kinds import json_kind
print("before")
write_file(Path(sys.argv[1]), b"content", json_kind("a note", "test.note"))
"""


def test_standard_output_has_many_names():
    for name in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        assert is_stdout(Path(name)) and is_stream(Path(name))
    for name in ("/dev/stderr", "/dev/fd/2", "1", "stdout"):
        assert not is_stdout(Path(name))


# Not /dev/stdout itself: a writer at fault, run by root, would replace it.
@pytest.mark.parametrize("name", ["-", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_is_written_through_whatever_it_is(tmp_path, name):
    if name == "link":
        name = str(tmp_path / "link")
        Path(name).symlink_to("/proc/self/fd/1")
    assert is_stdout(Path(name))
    file = tmp_path / "log"
    with file.open("wb") as stdout:
        stdout.write(b"earlier, ")
        stdout.flush()
        command = [sys.executable, "-u", "-c", WRITES, name]
        subprocess.run(command, stdout=stdout, check=True, cwd=tmp_path)
    assert file.read_bytes() == b"earlier, before\ncontent"
    piped = subprocess.run([sys.executable, "-u", "-c", WRITES, name], stdout=subprocess.PIPE)
    assert piped.stdout == b"before\ncontent"
