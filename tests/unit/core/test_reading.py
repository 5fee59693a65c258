import os
from pathlib import Path

import pytest

from schedsearch.core.reading import counted, place_of, read_file


def test_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"\x00\xff")
    assert read_file(tmp_path / "file") == b"\x00\xff"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full"])
def test_device_is_no_file(device):
    with pytest.raises(OSError, match="it is a device"):
        read_file(Path(device))


def test_pipe_is_read_only_where_it_may_be(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no file"):
        read_file(tmp_path / "pipe", pipes=False)


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "loop"])
def test_name_that_is_none_is_an_error_of_the_system(tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError):
        read_file(tmp_path / name)


def test_places_are_relative_to_a_folder_or_to_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert place_of("a", tmp_path) == tmp_path / "a"
    assert str(place_of("~/a", tmp_path)) == "/home/me/a"
    assert place_of("~nobody-here/a", tmp_path) == tmp_path / "~nobody-here/a"


def test_items_are_counted_when_they_are_done():
    told = []
    for item in counted("abc", lambda *now: told.append(now)):
        told.append(item)
    assert told == ["a", (1, 3), "b", (2, 3), "c", (3, 3)]
