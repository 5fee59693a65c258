"""Hosts in one machine: network namespaces whose links meet in a switch of our own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOSTS = ("head", "node", "server", "client")
_NET = "10.77.0"


@dataclass(frozen=True)
class Network:
    """The hosts, and what is between them.

    Attributes:
        prefix: Of the names of the namespaces.
        switch: Process of the switch.
    """

    prefix: str
    switch: "subprocess.Popen[str]"

    def address(self, host: str) -> str:
        return f"{_NET}.{HOSTS.index(host) + 1}"

    def on(self, host: str) -> list[str]:
        """What runs a command on a host."""
        return ["ip", "netns", "exec", self.prefix + host]

    def link(self, host: str, delay: float = 0.0, loss: float = 0.0) -> None:
        """Change the link of a host; a loss of 1 cuts it.

        Args:
            host: Which.
            delay: Seconds that each frame takes, in each direction.
            loss: Share of the frames that get lost, in each direction.
        """
        assert self.switch.stdin is not None
        self.switch.stdin.write(f"{host} {delay} {loss}\n")
        self.switch.stdin.flush()

    def end(self, host: str) -> None:
        """End all that runs on a host, and nothing else."""
        for name in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes(host):
                with suppress(ProcessLookupError):
                    os.kill(pid, name)
            until = time.monotonic() + 5
            while self.processes(host) and time.monotonic() < until:
                time.sleep(0.1)

    def processes(self, host: str) -> list[int]:
        listed = _ip("netns", "pids", self.prefix + host)
        return [int(pid) for pid in listed.split()]


@contextmanager
def network() -> Iterator[Network]:
    """Hosts that reach each other; skips the test where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("hosts in network namespaces need root")
    prefix = f"ss{os.getpid()}-"
    try:
        _ip("netns", "add", f"{prefix}switch")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces can be made here: {error}")
    made = [f"{prefix}switch"]
    switch = None
    try:
        for number, host in enumerate(HOSTS, 1):
            _ip("netns", "add", prefix + host)
            made.append(prefix + host)
            inside = ("-n", prefix + host)
            _ip(
                "-n",
                f"{prefix}switch",
                "link",
                "add",
                host,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                prefix + host,
            )
            _ip(*inside, "addr", "add", f"{_NET}.{number}/24", "dev", "eth0")
            for name in ("lo", "eth0"):
                _ip(*inside, "link", "set", name, "up")
            _ip("-n", f"{prefix}switch", "link", "set", host, "up")
        command = [sys.executable, "-m", "tests.hosts.switch", *HOSTS]
        switch = subprocess.Popen(
            ["ip", "netns", "exec", f"{prefix}switch", *command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            text=True,
        )
        net = Network(prefix, switch)
        try:
            yield net
        finally:
            for host in HOSTS:
                net.end(host)
    finally:
        if switch is not None:
            switch.communicate(timeout=10)
        for name in reversed(made):
            _ip("netns", "del", name)


def _ip(*arguments: str) -> str:
    command: Sequence[str] = ("ip", *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
