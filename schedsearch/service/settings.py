"""How a service is set up."""

from dataclasses import dataclass, field
from pathlib import Path

from schedsearch.app.permitted import Permitted

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ServiceSettings:
    """How a service is set up.

    Attributes:
        store: SQLite file, or the URL of a database.
        folder: What uploads and coordinators write.
        permitted: What studies may name.
        hosts: Names by which it is asked for.
        root_path: Where a reverse proxy has it, such as `/schedsearch`.
        searches: The most that run at once; others wait.
        body: Most bytes of a body, but for uploads.
        quota: Most bytes of all uploaded sets together, files in whole blocks.
        secure: Whether browsers reach it by https alone.
        failures: Wrong tokens of one address in a minute, after which it is told to wait.
    """

    store: str
    folder: Path
    permitted: Permitted = field(default_factory=Permitted)
    hosts: tuple[str, ...] = LOOPBACK
    root_path: str = ""
    searches: int = 1
    body: int = 1 << 20
    quota: int = 10 << 30
    secure: bool = False
    failures: int = 10
