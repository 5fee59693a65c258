"""What is in use is not written into, whichever way it is reached."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedsearch.core.files import check_target, write_file
from schedsearch.core.guards import guarded, one_command
from schedsearch.core.kinds import json_kind
from schedsearch.core.reading import read_file
from schedsearch.core.streams import open_stream
from schedsearch.errors import InputError, RunError

NOTE = json_kind("a note", "test.note")
OLD = b'{"format": "test.note/1", "text": "old"}'


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.json"
    path.write_bytes(OLD)
    return path


@contextlib.contextmanager
def descriptor(path: Path) -> Iterator[Path]:
    """A path by which this process reaches a file that it has open."""
    number = os.open(path, os.O_RDWR)
    try:
        yield Path(f"/dev/fd/{number}")
    finally:
        os.close(number)


def refused(path: Path) -> None:
    for write in (check_target, lambda path, kind: write_file(path, b"new", kind)):
        with pytest.raises(InputError, match=f"{path}: is in use by this very command"):
            write(path, NOTE)


def test_guarded_file_is_not_reached_through_a_descriptor(note):
    with guarded(note), descriptor(note) as number:
        refused(number)
        with pytest.raises(InputError, match="is in use"), open_stream(number):
            pass
        link = note.with_name("link")
        link.symlink_to(number)
        refused(link)
    assert note.read_bytes() == OLD


def test_guarded_file_is_not_reached_by_a_second_name(note):
    second = note.with_name("second.json")
    os.link(note, second)
    with guarded(note):
        refused(second)


def test_file_of_no_concern_is_written_through_a_descriptor(note):
    with guarded(note.with_name("other")), descriptor(note) as number:
        check_target(number, NOTE)
        write_file(number, b"new", NOTE)
    assert note.read_bytes().startswith(b"new")


def test_what_a_command_reads_it_does_not_write(note):
    with one_command():
        check_target(note, NOTE)
    with one_command():
        assert read_file(note) == OLD
        refused(note)
        with descriptor(note) as number:
            refused(number)
    write_file(note, b"new", NOTE)


@pytest.mark.parametrize("by", ["name", "descriptor"])
def test_what_a_command_writes_it_does_not_read(note, by):
    with one_command(), descriptor(note) as number:
        check_target(note if by == "name" else number, NOTE)
        with pytest.raises(OSError, match="this very command writes there"):
            read_file(note)
    assert read_file(note) == OLD


def test_pipe_is_read_and_written_at_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    both = os.open(pipe, os.O_RDWR)
    with one_command(), descriptor(pipe) as number, guarded(pipe):
        write_file(number, OLD, NOTE)
    assert os.read(both, 1000) == OLD
    os.close(both)


STREAM = """
import sys
from pathlib import Path
from schedsearch.core.guards import guarded, one_command
from schedsearch.core.reading import read_file
from schedsearch.errors import InputError
with one_command():
    try:
        if sys.argv[1] == "guarded":
            with guarded(Path("note.json")):
                pass
        read_file(Path("note.json"))
    except (InputError, OSError) as error:
        print(error)
        print(error, file=sys.stderr)
"""


@pytest.mark.parametrize("way", ["guarded", "read"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("mode", ["ab", "rb+"])
def test_stream_of_a_command_does_not_go_to_what_is_in_use(note, way, stream, mode):
    with note.open(mode) as target:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: target}
        ran = subprocess.run([sys.executable, "-c", STREAM, way], cwd=note.parent, **streams)
    assert note.read_bytes() == OLD
    said = ran.stderr if stream == "stdout" else ran.stdout
    name = "standard output" if stream == "stdout" else "standard error"
    assert f"{name} of this very command goes there" in said.decode()


@pytest.mark.parametrize("closed", [1, 9])
def test_closed_descriptor_is_refused_before_the_work(closed):
    program = f"""
import os
from pathlib import Path
from tests.unit.core.test_guards import NOTE, check_target
os.closerange({closed}, {closed} + 1)
check_target(Path("/dev/fd/{closed}"), NOTE)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 1
    assert f"/dev/fd/{closed}: cannot be written" in ran.stderr


def test_stream_that_nobody_reads_any_more_is_failed_work():
    reader, writer = os.pipe()
    os.close(reader)
    path = Path(f"/dev/fd/{writer}")
    check_target(path, NOTE)
    with pytest.raises(RunError, match=f"{path} cannot be written .Broken pipe.; send it"):
        write_file(path, OLD, NOTE)
    os.close(writer)
