"""The service as an ASGI application."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from starlette.types import ASGIApp

from schedsearch.app.backends import Backend, LocalBackend
from schedsearch.app.config import StudyConfig
from schedsearch.app.launching import Caretaker, Launching
from schedsearch.app.sample_pictures import SamplePictures
from schedsearch.app.uploads import Uploads
from schedsearch.service.api import (
    access,
    comparison,
    events,
    exhibits,
    searches,
    sets,
    studies,
    system,
    trials,
)
from schedsearch.service.api.common import Office
from schedsearch.service.assets import Assets
from schedsearch.service.auth import Gate
from schedsearch.service.events import Watcher
from schedsearch.service.guard import Guard
from schedsearch.service.pages import (
    cluster_page,
    compare_page,
    login,
    start_page,
    studies_page,
    study_page,
    tokens_page,
    trial_page,
)
from schedsearch.service.pages.page import compile_templates
from schedsearch.service.problems import Problem, add_handlers
from schedsearch.service.settings import ServiceSettings
from schedsearch.service.views import Views
from schedsearch.store.address import file_of, url_of
from schedsearch.store.store import open_store
from schedsearch.version import VERSION

API = "/api/v1"
PAGES = (
    login,
    studies_page,
    compare_page,
    start_page,
    cluster_page,
    tokens_page,
    study_page,
    trial_page,
)
_PATIENCE = 5.0
"""Seconds that a request waits for a store's server that fails."""
_AT_ONCE = 2
"""So many requests are worked on together, besides those that take seconds; others wait.

All share one interpreter: with more, each takes longer, they take the processor from a search on
the same host, and their transactions last, which keeps SQLite from emptying its log.
"""


class _Guarded(FastAPI):
    """An application whose every answer passes the guard, those of the framework too."""

    def __init__(self, hosts: Iterable[str], **options: Any) -> None:
        self._hosts = tuple(hosts)
        super().__init__(**options)

    def openapi(self) -> dict[str, Any]:
        """The document, with what routes refer to that take or answer more than it knows of."""
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for model in (Problem, StudyConfig):
            described = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= described.pop("$defs", {})
            schemas[model.__name__] = described
        return document

    def build_middleware_stack(self) -> ASGIApp:
        """The guard, and within it all else."""
        return Guard(super().build_middleware_stack(), self._hosts)


def make_app(settings: ServiceSettings, backend: Backend | None = None) -> FastAPI:
    """The application of a service; its store is opened here.

    Args:
        settings: How it is set up.
        backend: Begins coordinators; default: processes on this host.

    Raises:
        InputError: The store cannot be opened.
    """
    file = file_of(url_of(settings.store))
    address = str(file.absolute()) if file else settings.store  # for processes elsewhere
    store = open_store(address, patience=_PATIENCE)
    settings.folder.mkdir(parents=True, exist_ok=True)
    received, permitted = settings.folder / "sets", settings.permitted
    uploads = Uploads(store.service, received, settings.quota, permitted.samples)
    # What is kept of a study has whole paths, also those of uploads, and can be sent again.
    permitted = replace(permitted, data=(*permitted.data, received))
    launching = Launching(
        store,
        backend or LocalBackend(address, settings.folder / "launches"),
        permitted,
        uploads.file,
        settings.searches,
    )
    pictures = SamplePictures(store, permitted, uploads.file, settings.folder / "pictures")
    caretaker = Caretaker(launching)
    office = Office(store, Views(store), launching, caretaker, uploads, pictures, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        compile_templates()
        app.state.watcher = Watcher(store)
        app.state.unpacking = CapacityLimiter(1)
        app.state.thinking = CapacityLimiter(1)
        app.state.drawing = CapacityLimiter(1)  # matplotlib is not made for several at once
        current_default_thread_limiter().total_tokens = _AT_ONCE
        office.caretaker.start()
        yield
        uploads.close()
        pictures.close()
        office.caretaker.close()
        await app.state.watcher.close()
        store.close()

    app = _Guarded(
        settings.hosts,
        title="schedsearch",
        version=VERSION,
        description="Searches for the vision tokens that each decoder layer needs.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
        max_body_size=settings.body,
    )
    app.state.office, app.state.gate = office, Gate(store.service, settings.failures)
    app.state.assets = Assets()
    add_handlers(app)
    for part in (studies, searches, trials, exhibits, comparison, events, sets, access, system):
        app.include_router(part.router, prefix=API)
    app.include_router(system.probes)
    for page in PAGES:
        app.include_router(page.router)
    app.mount("/static/{version}", app.state.assets, name="static")
    return app
