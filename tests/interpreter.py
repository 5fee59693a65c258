"""An interpreter that has imported some modules, and runs each program in a copy of itself."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SERVER = """
import gc, importlib, json, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
gc.freeze()  # or every copy would go through all of it when it ends
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
for stream, path in enumerate((os.devnull, asked["out"], asked["err"])):
    os.dup2(os.open(path, os.O_RDWR), stream)
os.chdir(asked["folder"])
sys.argv[1:] = asked["args"]
exec(compile(asked["program"], "<string>", "exec"), {"__name__": "__main__"})
"""


class Interpreter:
    """What `python -c PROGRAM ARGS` does, without the time that the imports take.

    A program finds in `sys.modules` what the given ones import, and nothing of this process or of
    another program.

    Args:
        modules: Imported once.
        environment: Variables that differ.
    """

    def __init__(self, *modules: str, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-c", _SERVER, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def run(self, program: str, *args: str, folder: Path) -> "subprocess.CompletedProcess[str]":
        """Run a program in a folder, where it also finds modules."""
        assert self._process.stdin and self._process.stdout
        with (
            tempfile.NamedTemporaryFile(mode="r", encoding="utf-8") as out,
            tempfile.NamedTemporaryFile(mode="r", encoding="utf-8") as err,
        ):
            asked = {"program": program, "args": args, "folder": str(folder)}
            asked |= {"out": out.name, "err": err.name}
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(list(args), code, out.read(), err.read())

    def __enter__(self) -> "Interpreter":
        return self

    def __exit__(self, *_error: Any) -> None:
        self._process.communicate()
