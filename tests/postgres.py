"""A real PostgreSQL server for tests, in a temporary folder, where one is installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        folder: Holds its data, its log and its socket.
        run: Runs one of PostgreSQL's programs.
        durable: Whether a commit waits for the disk, as it does by default.
    """

    folder: Path
    run: Callable[..., None]
    durable: bool = False

    @property
    def url(self) -> str:
        """Of its `postgres` database."""
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}"

    def start(self) -> None:
        fsync = "on" if self.durable else "off"
        options = f"-k {self.folder} -c listen_addresses='' -c fsync={fsync} -c max_connections=30"
        data, log = str(self.folder / "data"), str(self.folder / "log")
        self.run("pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", mode, "stop")

    @contextmanager
    def standby(self) -> Iterator["Server"]:
        """Another server that has each commit before it counts as one, and takes no changes."""
        other = replace(self, folder=self.folder / "standby")
        where = "-h", str(self.folder), "-U", "postgres", "-D", str(other.folder / "data")
        self.run("pg_basebackup", *where, "-R", "--no-sync")
        other.start()
        try:
            self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.execute("SELECT pg_reload_conf()")
            yield other
        finally:
            other.stop()

    def promote(self) -> None:
        """Have a standby take changes."""
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "promote")

    def execute(self, statement: str) -> None:
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()


@contextmanager
def server(durable: bool = False) -> Iterator[Server]:
    """A fresh server; skips the test where there is none."""
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: pip install 'psycopg[binary]'")
    programs = programs_folder()
    if programs is None:
        pytest.skip("PostgreSQL is missing; `make setup-system` brings it")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # noqa: S108 - a socket path is short
    user = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = "postgres"
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [programs / program, *arguments]
        subprocess.run(
            command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120
        )

    made = Server(folder, run, durable)
    try:
        data = str(folder / "data")
        run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder)


def programs_folder() -> Path | None:
    """The folder of PostgreSQL's programs; Debian keeps those of the server off the path."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).resolve().parent
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return packaged[-1].parent if packaged else None


def new_database(url: str) -> str:
    """URL of an empty schema on that server: a database for all purposes, and much faster made."""
    name = f"t{uuid.uuid4().hex}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{url}&options=-csearch_path%3D{name}"
