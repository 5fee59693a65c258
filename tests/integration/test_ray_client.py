"""Clients of a real Ray cluster, whose head begins a process for each of them."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

import psutil
import pytest

from tests.token_cluster import TokenCluster, token_cluster

CONNECT = """
import logging, sys
from schedsearch.execution.cluster.connection import connect, leave
logging.basicConfig()
connect(sys.argv[1])
leave()
"""


@pytest.mark.full
@pytest.mark.parametrize(("failing", "code"), [(1, 0), (3, 1)])
def test_client_whose_server_does_not_come_up_asks_again(failing: int, code: int) -> None:
    with token_cluster(1) as cluster:
        command = [sys.executable, "-c", CONNECT, cluster.clients]
        with (
            tempfile.TemporaryFile("w+") as told,
            subprocess.Popen(command, env=os.environ, stderr=told) as client,
        ):
            killed = set[int]()
            while client.poll() is None:
                if len(killed) < failing and (found := servers(cluster) - killed):
                    for pid in found:
                        psutil.Process(pid).kill()
                    killed |= found
                time.sleep(0.01)
            told.seek(0)
            said = told.read()
    assert client.returncode == code, said
    assert said.count("lets nobody in yet") == min(failing, 2), said
    if code:
        assert "no Ray cluster could be joined at ray://" in said.splitlines()[-1]
        assert "failure from server: RuntimeError: " in said.splitlines()[-1], said


def servers(cluster: TokenCluster) -> set[int]:
    """Processes that the head has begun for clients."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = process.cmdline()
            if "--mode=specific-server" in line and process.environ().get("HOME") == str(
                cluster.folder
            ):
                found.add(process.pid)
    return found
