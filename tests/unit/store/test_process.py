import os
import subprocess
import sys
from dataclasses import replace

import pytest

from schedsearch.store import process
from schedsearch.store.process import Process

HERE = Process.current()


@pytest.fixture
def child():
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield running
    running.kill()
    running.communicate()


def as_holder(pid: int) -> Process:
    """What the process `pid` would have said of itself."""
    return replace(HERE, pid=pid, started=process._start(pid) or "")


def test_this_process_runs():
    assert HERE.pid == os.getpid()
    assert HERE.runs() is True


def test_process_runs_until_it_ends(child):
    holder = as_holder(child.pid)
    assert holder.runs() is True
    child.kill()
    child.wait()
    assert holder.runs() is False


def test_killed_process_that_nobody_collected_has_ended(child):
    holder = as_holder(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert holder.runs() is False


def test_later_process_with_the_same_number_is_another_one(child):
    assert replace(as_holder(child.pid), started="1").runs() is False


# Containers on two machines may have one host name; then what differs is the boot.
@pytest.mark.parametrize(
    "elsewhere", [{"host": "node7"}, {"namespace": "pid:[1]"}, {"boot": "5c1e8f2a"}]
)
def test_process_elsewhere_is_not_guessed_dead(elsewhere):
    assert replace(HERE, **elsewhere).runs() is None


def test_without_proc_the_number_alone_decides(child, monkeypatch, tmp_path):
    monkeypatch.setattr(process, "_PROC", tmp_path)
    holder = replace(Process.current(), pid=child.pid)
    assert (holder.boot, holder.namespace, holder.started) == ("", "", "")
    assert holder.runs() is True
    child.kill()
    child.wait()
    assert holder.runs() is False


def test_program_name_with_spaces_and_parentheses_does_not_confuse_the_start_time(tmp_path):
    program = tmp_path / "a) R 1 (b c"
    program.symlink_to("/bin/sleep")
    running = subprocess.Popen([program, "60"])
    try:
        plain = subprocess.run(
            ["ps", "-o", "state=", "-p", str(running.pid)], capture_output=True, check=True
        )
        assert plain.stdout.strip() in (b"S", b"R", b"D")
        assert int(process._start(running.pid)) >= int(HERE.started)
    finally:
        running.kill()
        running.wait()
