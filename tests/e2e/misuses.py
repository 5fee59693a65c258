"""Every way to misuse every parameter, found by walking the commands themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.main import get_command

from schedsearch.cli import app

LONG = "n" * 300
UNDECODABLE = "d\udc80"

VALID = {
    "study file": "study.yaml",
    "schedule": "schedule.json",
    "data": "questions.jsonl",
    "folder": ".",
    "model": "demo",
    "store": "store.db",
    "name": "small",
    "budget": "feasible:0.5",
    "cluster": "http://127.0.0.1:1",
}

_NAMES = {
    "budget": "budget",
    "data": "data",
    "file": "study file",
    "images": "folder",
    "model": "model",
    "out": "output file",
    "schedule": "schedule",
    "source": "store",
    "store": "store",
    "studies": "name",
    "study": "name",
    "target": "store",
}
"""What parameters are for, by their names, where the type alone does not tell."""

_FREE = ("revision", "device_map", "optuna")
"""Words that only the hub, accelerate or Optuna understand."""

_EXCEPTIONS = {
    ("db backup", "file"): "output file",
    ("serve", "data"): "folder",
    ("serve", "folder"): "output folder",
    ("serve", "models"): "folder",
    ("token create", "name"): "title",
    **{
        (command, "address"): "cluster"
        for command in ("submit", "resume", "jobs", "workers", "logs")
    },
}

_QUICK = {
    "limit": "2",
    "repeats": "1",
    "samples": "2",
    "schedules": "0",
    "seconds_per_pass": "1",
    "steps": "20",
    "trials": "1",
}
"""Numbers that keep short what a misuse does not end at once."""

_FILE = {
    "missing": "none",
    "directory": "empty",
    "unreadable": "unreadable",
    "device": "/dev/zero",
    "loop": "loop",
    "300 characters": LONG,
    "undecodable": UNDECODABLE,
    "below a file": "schedule.json/x",
}
_OUTPUT = {
    "unwritable": "locked/out{}",
    "device": "/dev/full",
    "loop": "loop{}",
    "300 characters": LONG + "{}",
    "below a file": "study.yaml/out{}",
}
"""With the suffix of the default."""

MISUSES = {
    "study file": {**_FILE, "wrong": "schedule.json", "garbage": "garbage"},
    "schedule": {**_FILE, "wrong": "study.yaml", "garbage": "garbage"},
    "data": {**_FILE, "wrong": "wrong.jsonl", "garbage": "garbage", "no split": "demo:none"},
    "folder": {**_FILE, "directory": "hidden", "wrong": "study.yaml"},
    "model": {name: f"./{value}" for name, value in _FILE.items() if value[0] != "/"}
    | {"device": "/dev/zero", "long hub id": LONG, "no hub id": "a/b/c", "nothing": ""},
    "store": {
        **_FILE,
        "wrong": "study.yaml",
        "garbage": "garbage",
        "read-only": "read-only.db",
        "no server": "postgresql://nobody@127.0.0.1:1/none",
        "no database": "mysql://x/y",
        "nothing": "",
    },
    "output file": {**_OUTPUT, "directory": "folder{}", "other file": "other{}"},
    "output folder": {**_OUTPUT, "file": "study.yaml"},
    "name": {"missing": "none", "300 characters": LONG, "undecodable": UNDECODABLE, "nothing": ""},
    "title": {"300 characters": LONG, "undecodable": UNDECODABLE, "nothing": ""},
    "budget": {"wrong": "much", "nan": "flops:nan", "inf": "flops:inf", "300 characters": LONG},
    "word": {"wrong": "none", "300 characters": LONG, "undecodable": UNDECODABLE, "nothing": ""},
    "cluster": {
        "wrong": "none",
        "no port": "http://127.0.0.1:x",
        "300 characters": f"http://{LONG}:1",
        "undecodable": UNDECODABLE,
        "nobody": "http://127.0.0.1:1",
        "nothing": "",
    },
    "whole number": {
        "wrong": "x",
        "negative": "-1",
        "nan": "nan",
        "30 digits": "1" + "0" * 30,
        "5000 digits": "9" * 5000,
    },
    "number": {
        "wrong": "x",
        "negative": "-1",
        "nan": "nan",
        "inf": "inf",
        "400 digits": "9" * 400,
        "5000 digits": "9" * 5000,
    },
}


@dataclass(frozen=True)
class Case:
    """One misuse of one parameter of one command."""

    command: str
    parameter: str
    misuse: str
    args: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.command} {self.parameter}: {self.misuse}"


_ENDLESS = ("serve",)
"""Commands that do not end by themselves: misused here by numbers alone, which are read first; the
rest is in tests/e2e/test_service.py."""


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command by the words that call it."""
    command = command or get_command(app)
    inside = getattr(command, "commands", None)
    if inside is None:
        yield " ".join(path), command
        return
    for name, each in inside.items():
        yield from commands(each, (*path, name))


def kind(command: str, parameter: Any) -> str:
    """What a parameter is for; empty for a flag.

    Raises:
        LookupError: Nobody has said, of a new one.
    """
    annotation = parameter.type_descriptor.annotation
    if (command, parameter.name) in _EXCEPTIONS:
        return _EXCEPTIONS[command, parameter.name]
    if annotation in (int, float):
        return "whole number" if annotation is int and not parameter.name == "verbose" else "number"
    if annotation is bool or parameter.name in _FREE:
        return ""
    if parameter.name in _NAMES:
        if parameter.name == "budget" and annotation is float:
            return "number"
        if parameter.name == "out" and "folder" in (parameter.help or "").lower():
            return "output folder"
        return _NAMES[parameter.name]
    if annotation is Path:
        raise LookupError(f"say in misuses.py what `{parameter.name}` of `{command}` is for")
    return "word"


def call(command: str, found: Any, **given: str) -> tuple[str, ...]:
    """A command line that is right but for what is given."""
    if "images" in given:
        given = {"data": VALID["data"], **given}
    arguments, options = [], []
    for parameter in found.params:
        what = kind(command, parameter)
        if parameter.name in given:
            value = given[parameter.name]
        elif parameter.required or what in ("store", "cluster"):
            value = VALID.get(what, "new/out.json")
        elif parameter.name in _QUICK:
            value = _QUICK[parameter.name]
        else:
            continue
        if parameter.param_type_name == "argument":
            arguments.append(value)
        else:
            options += [f"{parameter.opts[0]}={value}"]
    return (*command.split(), *options, "--", *arguments)


def cases() -> Iterator[Case]:
    """All of them."""
    for command, found in commands():
        words = tuple(command.split())
        whole = call(command, found)
        yield Case(command, "option", "unknown", (*words, "--none"))
        if not any(parameter.nargs == -1 for parameter in found.params):
            extra = ["x"] * (1 + sum(one.param_type_name == "argument" for one in found.params))
            yield Case(command, "argument", "extra", (*whole[: whole.index("--") + 1], *extra))
        if any(parameter.required for parameter in found.params):
            yield Case(command, "argument", "missing", words)
        for parameter in found.params:
            if command in _ENDLESS and kind(command, parameter) != "whole number":
                continue
            for misuse, value in MISUSES.get(kind(command, parameter), {}).items():
                suffix = Path(str(parameter.default or "")).suffix
                args = call(command, found, **{parameter.name: value.format(suffix)})
                yield Case(command, parameter.name, misuse, args)
