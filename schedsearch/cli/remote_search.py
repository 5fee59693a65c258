"""Searches that a service runs, followed in a terminal: search, resume, watch."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from schedsearch.cli.output import errors, output, print_json
from schedsearch.cli.remote import CONFLICT, PLAIN, result, standing
from schedsearch.cli.search_display import SearchDisplay
from schedsearch.cli.studies import WHY
from schedsearch.client import Client, RefusedError, Status
from schedsearch.core.reading import place_of
from schedsearch.errors import InputError, RunError

if TYPE_CHECKING:
    from schedsearch.app.config import StudyConfig
    from schedsearch.client import Best, Study
    from schedsearch.core.trial import Trial

_NOT_FOUND = 404
_SPLITS = ("calibration", "certify", "held_out")


def search(url: str, file: Path, as_json: bool) -> None:
    """Have a service search a study file, follow that to its end, and tell the result."""
    from schedsearch.app.config import read_study_file

    config = read_study_file(file)
    with Client(url) as client:
        study = _started(client, config, _content(client, config, file))
        try:
            _follow(study, errors)
        except KeyboardInterrupt:
            again = shlex.join(["schedsearch", "watch", study.name, "--server", client.url])
            errors.print(f"the search goes on at the service; follow it with: {again}", **PLAIN)
            raise typer.Exit(130) from None
        _tell(client, study, file, as_json)


def resume(url: str, name: str, detach: bool, as_json: bool) -> None:
    """Have a service go on with a search, and follow that or say where it stands."""
    with Client(url) as client:
        client.studies.get(name).start()
    watch(url, name, detach, as_json)


def watch(url: str, name: str, once: bool, as_json: bool) -> None:
    """Follow a search that a service runs, until it ends; as JSON a line per change."""
    with Client(url) as client:
        study = client.studies.get(name)
        if as_json:
            _print_changes(study, once)
        elif once or not study.status.active:
            output.print(standing(study.status), **PLAIN)
        else:
            _follow(study, output)
            output.print(f"the search of {name} has ended", **PLAIN)


def _started(client: Client, config: "StudyConfig", content: Path | Mapping[str, Any]) -> "Study":
    """The study, searched on where the service has it already.

    Raises:
        InputError: The service refuses it, or has another one of this name.
    """
    try:
        known = client.studies.get(config.study)
    except RefusedError as error:
        if error.status != _NOT_FOUND:
            raise
        return client.studies.create(content, start=True)
    if known.content() != client.studies.validate(content):
        raise InputError(
            f"{client.url}: study `{known.name}` is there with other content; choose another name, "
            "or change that one"
        )
    settled = known.status.active or known.status.ending == "finished"
    return known if settled else known.start()


def _content(client: Client, config: "StudyConfig", file: Path) -> Path | Mapping[str, Any]:
    """What is sent of a study file: samples that lie here are uploaded first."""
    from schedsearch.demo import DATA

    data = config.data
    images = place_of(data.images, file.parent) if data.images else None
    sent: dict[Path, str] = {}
    named: dict[str, str] = {}
    for split in _SPLITS:
        name = getattr(data, split)
        if name is None or name.partition(":")[0] in DATA or name.startswith("set:"):
            continue
        path = place_of(name, file.parent)
        if path.is_file():
            if path not in sent:
                errors.print(f"sending {path} with its images", **PLAIN)
                sent[path] = client.sets.upload(path, path.stem, images).reference
            named[split] = sent[path]
    if not named:
        return file
    content = config.model_dump(mode="json", exclude_unset=True, exclude={"search"})
    content["search"] = config.search.plain()
    content["data"] = {**content["data"], **named}
    content["data"].pop("images", None)  # they are in the sets
    return content


def _follow(study: "Study", console: Console) -> None:
    """Draw what a service tells until the search has ended.

    Raises:
        RunError: It has failed.
    """
    waits = False
    with SearchDisplay(study.name, console) as display:

        def draw(event: "Status | Trial") -> None:
            nonlocal waits
            if not isinstance(event, Status):
                display.report(event)
            elif event.state == "running" and event.progress is not None:
                display.draw(event.progress, event.silence or 0.0)
            elif event.state == "queued" and not waits:
                waits = True
                errors.print(standing(event), **PLAIN)

        study.wait(on_event=draw)


def _print_changes(study: "Study", once: bool) -> None:
    def tell(event: "Status | Trial") -> None:
        if isinstance(event, Status):
            print_json(event, indent=None)
            output.file.flush()

    if once or not study.status.active:
        tell(study.status)
    else:
        study.wait(on_event=tell)


def _tell(client: Client, study: "Study", file: Path, as_json: bool) -> None:
    """What came of a search that has ended.

    Raises:
        RunError: Nothing.
    """
    ending = study.status.ending or ""
    best = _best(study) if ending == "finished" else None
    if as_json:
        told = None if best is None else {k: v for k, v in vars(best).items() if k != "content"}
        print_json({"study": study.name, "ending": ending, "best": told})
    elif best is not None:
        trials = sum(study.status.trials.values())
        output.print(f"{study.name}: {trials} trials", **PLAIN)
        result(study, best)
    if best is None:
        again = shlex.join(["schedsearch", "search", str(file), "--server", client.url])
        errors.print(f"{WHY.get(ending, 'ended')}; continue with: {again}", **PLAIN)


def _best(study: "Study") -> "Best":
    try:
        return study.best()
    except RefusedError as error:
        if error.status != CONFLICT:
            raise
        raise RunError(
            f"the search has ended without a result: {error}; look at its trials with `schedsearch "
            "show`, remove the cause, then search under a new study name"
        ) from None
