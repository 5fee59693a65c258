"""Two Ray nodes with a token, PostgreSQL with TLS, and a client, each on a host of its own."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hosts.network import ROOT, Network, network
from tests.postgres import Server, programs_folder, server

GCS, CLIENTS = 6379, 10001  # ports of the head
_PASSWORD = secrets.token_hex(8)


@dataclass(frozen=True)
class Site:
    """The hosts with what runs on them.

    Attributes:
        net: The hosts.
        folder: Of Ray, the token and the certificate; a short path, as sockets need.
        server: As who is on its host reaches it.
    """

    net: Network
    folder: Path
    server: Server

    @property
    def url(self) -> str:
        """Of the server's `postgres` database, over the network and with TLS."""
        host = self.net.address("server")
        trusted = f"sslmode=verify-full&sslrootcert={self.folder}/server.crt"
        return f"postgresql+psycopg://postgres:{_PASSWORD}@{host}/postgres?{trusted}"

    @property
    def ray(self) -> str:
        return f"ray://{self.net.address('head')}:{CLIENTS}"

    @property
    def environment(self) -> dict[str, str]:
        """Of whoever uses the cluster."""
        return {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120",  # of a busy machine
            "PYTHONPATH": str(ROOT),
        }

    def start_ray(self, host: str) -> None:
        """Have a node with room for one worker on a host."""
        address = self.net.address(host)
        where = [f"--address={self.net.address('head')}:{GCS}"]
        if host == "head":
            where = ["--head", f"--port={GCS}", f"--ray-client-server-port={CLIENTS}"]
            where += ["--include-dashboard=false", f"--temp-dir={self.folder}"]
        command = [str(Path(sys.executable).parent / "ray"), "start", *where]
        command += [f"--node-ip-address={address}", "--num-cpus=1", "--disable-usage-stats"]
        command += ["--object-store-memory=100000000"]
        with (self.folder / f"{host}.out").open("a") as said:
            subprocess.run(
                [*self.net.on(host), *command],
                env=self.environment,
                stdout=said,
                stderr=said,
                check=True,
                timeout=120,
            )

    def has_ray(self, host: str) -> bool:
        """Whether the node is up."""
        names = [Path(f"/proc/{pid}/comm") for pid in self.net.processes(host)]
        return "raylet" in [name.read_text().strip() for name in names if name.exists()]


@pytest.fixture(scope="module")
def site():
    for program in ("openssl", "runuser"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    with network() as net, tempfile.TemporaryDirectory(prefix="ss", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        with database(net, Path(folder)) as running:
            made = Site(net, Path(folder), running)
            (made.folder / "token").write_text(secrets.token_hex(32))
            (made.folder / "token").chmod(0o600)
            made.start_ray("head")
            made.start_ray("node")
            yield made
            for host in ("client", "node", "head"):
                net.end(host)


@contextmanager
def database(net: Network, folder: Path) -> Iterator[Server]:
    """A server on its host, which lets in who comes with TLS and the password."""
    with server() as made:
        made.execute(f"ALTER USER postgres PASSWORD '{_PASSWORD}'")
        made.stop("fast")
        data = made.folder / "data"
        certificate = folder / "server.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
            + ["-subj", "/CN=server", "-addext", f"subjectAltName=IP:{net.address('server')}"]
            + ["-keyout", str(data / "server.key"), "-out", str(certificate)],
            check=True,
            capture_output=True,
        )
        (data / "server.crt").write_bytes(certificate.read_bytes())
        owner = data.stat()
        for name in ("server.key", "server.crt"):
            os.chown(data / name, owner.st_uid, owner.st_gid)
            (data / name).chmod(0o600)
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("hostssl all all 10.77.0.0/24 scram-sha-256\n")
        options = f"-k {made.folder} -c listen_addresses='*' -c fsync=off -c ssl=on"
        start = ["-D", str(data), "-l", str(made.folder / "log"), "-w", "-o", options, "start"]
        on_its_host(net, made, "pg_ctl", *start)
        yield made


def on_its_host(net: Network, made: Server, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs there, as the owner of its data."""
    programs = programs_folder()
    assert programs is not None
    subprocess.run(
        [*net.on("server"), "runuser", "-u", "postgres", "--", str(programs / program), *arguments],
        cwd=made.folder,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )


def until(found, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.1)
