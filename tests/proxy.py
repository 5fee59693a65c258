"""A proxy between a program and a PostgreSQL server that cuts connections at their commits."""

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SOCKET = ".s.PGSQL.5432"
_READY = b"Z"


class Proxy:
    """Passes on what client and server say; a `COMMIT` may be the last that is said.

    Args:
        server: Folder of the server's socket.
        folder: Where this one's is made.

    Attributes:
        cuts: Asked with the number of each commit, from 1; says whether it is cut `before` the
            server has it, `after` the server has done it, or not at all.
        commits: How many there were.
    """

    def __init__(self, server: Path, folder: Path) -> None:
        self.cuts: Callable[[int], str] = lambda _number: ""
        self.commits = 0
        self.folder = folder
        self._server = str(server / _SOCKET)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / _SOCKET))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        cut = threading.Event()
        with client, server, ended(client, server), suppress(OSError, EOFError):
            server.connect(self._server)
            # What a client says first has no type; a length alone.
            server.sendall(_message(client, kind=b""))
            threading.Thread(target=self._answer, args=(server, client, cut), daemon=True).start()
            while True:
                said = _message(client)
                moment = self._moment(said)
                if moment == "before":
                    return
                if moment == "after":
                    cut.set()
                server.sendall(said)

    def _moment(self, said: bytes) -> str:
        if said[5:] != b"COMMIT\0":
            return ""
        self.commits += 1
        return self.cuts(self.commits)

    def _answer(self, server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
        with ended(client, server), suppress(OSError, EOFError):
            while True:
                said = _message(server)
                if not cut.is_set():
                    client.sendall(said)
                elif said[:1] == _READY:
                    break


@contextmanager
def ended(*ends: socket.socket) -> Iterator[None]:
    """Whoever waits for them in another thread hears of their end, unlike of their closing."""
    yield
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _message(sender: socket.socket, kind: bytes | None = None) -> bytes:
    """One message as it comes: its type, its length without the type, its content."""
    kind = _read(sender, 1) if kind is None else kind
    length = _read(sender, 4)
    return kind + length + _read(sender, int.from_bytes(length, "big") - 4)


def _read(sender: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = sender.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return found


@contextmanager
def proxied(server: Path) -> Iterator[Proxy]:
    """A proxy in a folder of its own, to be given as the host."""
    with tempfile.TemporaryDirectory(prefix="px", dir="/tmp") as folder:  # noqa: S108 - short
        proxy = Proxy(server, Path(folder))
        try:
            yield proxy
        finally:
            proxy.close()
