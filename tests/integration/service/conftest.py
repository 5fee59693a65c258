"""A service in this process, on a real store, and people who ask it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from schedsearch.app.permitted import Permitted
from schedsearch.app.tokens import create_token
from schedsearch.service.app import make_app
from schedsearch.service.settings import ServiceSettings
from schedsearch.store.access import Scope
from schedsearch.store.launches import Launch
from schedsearch.store.store import Store

STUDY = """
study: small
model: demo
data: {calibration: demo:calibration, calibration_samples: 12}
search: {tolerance: 1, floor: 60, first: 7}
"""


@dataclass
class Noted:
    """A backend that only notes what it was asked to begin; whether that lives is set by hand."""

    name: str = "noted"
    begun: list[Launch] = field(default_factory=list)
    alive: bool | None = True

    def begin(self, launch: Launch) -> None:
        self.begun.append(launch)

    def lives(self, _launch: Launch) -> bool | None:
        return self.alive


@dataclass
class Service:
    """A running service and how to ask it."""

    client: TestClient
    store: Store
    backend: Noted
    settings: ServiceSettings

    def token(self, scope: Scope = "admin", lifetime: timedelta | None = None) -> str:
        return create_token(self.store.service, scope, scope, lifetime).text

    def by(self, scope: Scope) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(scope)}"}


Serve = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    opened: list[TestClient] = []

    def start(**options: object) -> Service:
        given = {"store": str(tmp_path / "store.db"), "folder": tmp_path / "service"} | options
        settings, backend = ServiceSettings(**given), Noted()  # type: ignore[arg-type]
        app = make_app(settings, backend)
        client = TestClient(
            app,
            base_url="http://localhost",
            raise_server_exceptions=False,
            root_path=settings.root_path,
        )
        client.__enter__()
        app.state.office.caretaker.close()  # tests look after launches themselves
        opened.append(client)
        return Service(client, app.state.office.store, backend, settings)

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def service(serve: Serve, tmp_path: Path) -> Service:
    """A service that lets studies name models and data in one folder each."""
    for name in ("models", "data"):
        (tmp_path / name).mkdir()
    permitted = Permitted((tmp_path / "models",), ("llava-hf/",), (tmp_path / "data",))
    return serve(permitted=permitted)
