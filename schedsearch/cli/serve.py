"""Commands of the service: serve, and its tokens."""

import ipaddress
import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from schedsearch.cli.options import AsJson, GpusPerWorker, Workers
from schedsearch.cli.output import errors, output, print_json, show, table
from schedsearch.cli.studies import DEFAULT_STORE, StorePath
from schedsearch.errors import InputError

if TYPE_CHECKING:
    from schedsearch.app.submitting import RayBackend
    from schedsearch.store.access import Scope
    from schedsearch.store.service import ServiceStore

token = typer.Typer(name="token", help="Tokens of the service.", no_args_is_help=True)

Backend = Literal["local", "ray"]


def serve(
    store: StorePath = DEFAULT_STORE,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    folder: Annotated[
        Path | None,
        typer.Option(help="Uploads and logs; default: beside a SQLite store, `STORE.service`."),
    ] = None,
    models: Annotated[
        list[Path] | None, typer.Option(help="Folder of models that studies may name.")
    ] = None,
    hub: Annotated[
        list[str] | None,
        typer.Option(help="Beginning of hub ids that studies may name, such as llava-hf/."),
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder of JSONL files that studies may name.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Name by which the service is asked for.")
    ] = None,
    root_path: Annotated[
        str, typer.Option(help="Where a reverse proxy has it, such as /schedsearch.")
    ] = "",
    searches: Annotated[
        int, typer.Option(min=1, max=1000, help="The most that run at once; others wait.")
    ] = 1,
    quota: Annotated[
        int,
        typer.Option(min=0, max=1 << 60, metavar="BYTES", help="The most of all uploads together."),
    ] = 10 << 30,
    backend: Annotated[
        Backend, typer.Option(help="Where searches run: processes on this host, or jobs of Ray.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="With --backend ray: of its dashboard, such as http://head:8265."),
    ] = None,
    workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None,
    https: Annotated[
        bool, typer.Option("--https", help="Browsers reach it by https alone, through a proxy.")
    ] = False,
) -> None:
    """Serve studies over HTTP: create, launch, follow and export them; searches outlive it."""
    try:
        import uvicorn

        from schedsearch.service.app import make_app
        from schedsearch.service.settings import LOOPBACK, ServiceSettings
    except ModuleNotFoundError as error:
        raise InputError(
            f"the service needs {error.name}; pip install 'schedsearch[service]'"
        ) from None
    from schedsearch.app.permitted import Permitted

    settings = ServiceSettings(
        store=str(store),
        folder=(folder or _beside(str(store))).absolute(),
        permitted=Permitted(
            tuple(_folder("--models", path) for path in models or ()),
            tuple(hub or ()),
            tuple(_folder("--data", path) for path in data or ()),
        ),
        hosts=(*LOOPBACK, *([host] if not _is_any(host) else []), *(allow_host or ())),
        root_path=root_path.rstrip("/"),
        searches=searches,
        quota=quota,
        secure=https,
    )
    asked = {"workers": workers, "gpus_per_worker": gpus_per_worker}
    app = make_app(settings, _backend(backend, address, settings.store, asked))
    service = app.state.office.store.service
    if not any(one.revoked is None for one in service.tokens()):
        if not _is_loopback(host):
            raise InputError(
                f"a service at {host} is open to others, so it must have a token first; run "
                "`schedsearch token create NAME --scope admin` with the same store"
            )
        first = _first_token(service)
    else:
        first = None
    with _listening(host, port) as listener:
        bound = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        errors.print(f"Serving {escape(settings.store)} at http://{shown}:{bound}{root_path}")
        if first is not None:
            code = app.state.gate.offer(first)
            errors.print(
                f"Log in, once: http://{shown}:{bound}{root_path}/login?code={code}\n"
                f"Token of that, shown this once: {first}",
                soft_wrap=True,
            )
        config = uvicorn.Config(
            app,
            log_level="warning",
            root_path=settings.root_path,
            timeout_graceful_shutdown=8,
            server_header=False,
        )

        class Server(uvicorn.Server):
            """Waits for requests that are at work when it ends, but not for streams of events."""

            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                await app.state.watcher.close()
                await super().shutdown(sockets)

        Server(config).run(sockets=[listener])


@token.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    scope: Annotated[str, typer.Option(help="read, launch or admin.")] = "read",
    days: Annotated[
        float | None, typer.Option(min=0.001, max=36500, help="Until it expires; default: never.")
    ] = None,
    store: StorePath = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Make a token and print its secret, which is stored nowhere."""
    from schedsearch.app.tokens import create_token
    from schedsearch.store.store import open_store

    with open_store(store) as opened:
        lifetime = None if days is None else timedelta(days=days)
        made = create_token(opened.service, name, _scope(scope), lifetime)
    if as_json:
        print_json({"id": made.token.id, "token": made.text})
    else:
        output.print(made.text, markup=False, highlight=False, soft_wrap=True)


@token.command("list")
def list_tokens(store: StorePath = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """List tokens, without their secrets."""
    from schedsearch.store.store import open_store

    with open_store(store, read_only=True) as opened:
        found = opened.service.tokens()
    if as_json:
        print_json(found)
        return
    rows = table("id", "name", "scope", "created", "expires", "revoked")
    for one in found:
        times = [f"{time:%Y-%m-%d %H:%M}" if time else "" for time in (one.expires, one.revoked)]
        rows.add_row(
            str(one.id), escape(one.name), one.scope, f"{one.created:%Y-%m-%d %H:%M}", *times
        )
    show(rows)


@token.command("revoke")
def revoke(
    number: Annotated[int, typer.Argument(metavar="ID", help="As `token list` has it.")],
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Make a token good for nothing, and log out whoever came by it."""
    from schedsearch.store.store import open_store

    with open_store(store, create=False) as opened:
        found = opened.service.revoke(number)
    output.print(f"token {found.id}, {escape(found.name)}, is revoked")


def _first_token(service: "ServiceStore") -> str:
    from schedsearch.app.tokens import create_token

    return create_token(service, "browser", "admin").text


def _scope(text: str) -> "Scope":
    from schedsearch.store.access import SCOPES

    for scope in SCOPES:
        if scope == text:
            return scope
    raise InputError(f"`--scope` must be one of {', '.join(SCOPES)}, but got {text!r:.50}")


def _backend(
    name: str, address: str | None, store: str, asked: dict[str, float | None]
) -> "RayBackend | None":
    """What begins coordinators; None for processes on this host."""
    if (name == "ray") != (address is not None):
        raise InputError("`--backend ray` and `--address` go together; add or leave out the other")
    if address is None:
        for key, value in asked.items():
            if value is not None:
                option = f"--{key.replace('_', '-')}"
                raise InputError(f"`{option}` is for `--backend ray`; add that, or leave it out")
        return None
    from schedsearch.app.submitting import RayBackend

    return RayBackend(store, address, **asked)


def _beside(store: str) -> Path:
    if "://" in store:
        raise InputError("`--folder` must be given where the store is a server's; add it")
    return Path(f"{store}.service")


def _folder(option: str, path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"`{option}` must be a folder, but got {path}; make or correct it")
    return path.absolute()


def _is_any(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")  # noqa: S104 - recognised, not bound


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: Nobody can listen there.
    """
    try:
        kind = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][:3]
        # Of a socket that does not say it is TCP the event loop lets small answers wait for 40 ms.
        listener = socket.socket(*kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # whoever reads the address may come before the server is ready
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        raise InputError(
            f"nobody can listen at {host}:{port} ({reason}); choose another --host or --port"
        ) from None
    return listener
