"""Schedule files: read with every rule checked, written in one step, their schema published.

A file with a higher major version is refused, because its meaning cannot be known here.

    python -m schedsearch.core.schedule_file > docs/schema/schedsearch.schedule-1.json
    python -m schedsearch.core.schedule_file --check docs/schema/schedsearch.schedule-1.json
"""

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from schedsearch.core.canonical import unique_keys, whole_number
from schedsearch.core.files import write_file
from schedsearch.core.kinds import json_kind
from schedsearch.core.reading import read_file
from schedsearch.core.schedule_format import (
    FORMAT,
    MAJOR,
    NAME,
    ScheduleFile,
    explain,
    json_schema,
)
from schedsearch.core.shown import shown
from schedsearch.core.streams import is_stream
from schedsearch.errors import InputError, ScheduleError

SCHEDULE = json_kind("a schedule file", NAME)


def read_schedule_file(path: str | os.PathLike[str]) -> ScheduleFile:
    """Return the content of a schedule file; the rules of `keep` are not its, but `Schedule`'s.

    Raises:
        ScheduleError: The file cannot be read, is not JSON, is of another format or breaks its
            rules; the message leads with the file and the key path.
    """
    try:
        data = json.loads(
            _read(Path(path)),
            object_pairs_hook=unique_keys,
            parse_constant=_refuse_number,
            parse_float=_finite,
            parse_int=whole_number,
        )
        _check_format(data)
        return ScheduleFile.model_validate(data)
    except json.JSONDecodeError as error:
        raise ScheduleError(
            f"{path}: line {error.lineno} column {error.colno} is not JSON ({error.msg}); pass a "
            f"schedule file, as `schedsearch export` writes it"
        ) from None
    except RecursionError:
        raise ScheduleError(f"{path}: is nested too deeply to be a schedule file") from None
    except ValidationError as error:
        raise ScheduleError(f"{path}: {explain(error)}") from None
    except (InputError, ValueError) as error:
        raise ScheduleError(f"{path}: {error}") from None


def write_schedule_file(
    path: str | os.PathLike[str], file: ScheduleFile, *, force: bool = False
) -> None:
    """Write the file in one step: a reader sees the old content or the new, never a part.

    Args:
        path: In a folder that exists; `-` is standard output.
        file: The content.
        force: Replace a file that is no schedule file, too.

    Raises:
        ScheduleError: The place cannot be written or must not be replaced; what was there is
            untouched.
        RunError: The disk is full, or a stream cannot be written.
    """
    target = Path(path)
    try:
        content = schedule_bytes(file)
    except ScheduleError as error:
        raise ScheduleError(f"{path}: {error}") from None
    try:
        if not is_stream(target):
            os.stat(os.path.join(target.parent, "."))
        write_file(target, content, SCHEDULE, force=force)
    except (OSError, ValueError) as error:
        raise ScheduleError(
            f"{path}: cannot be written ({getattr(error, 'strerror', None) or error}); name a file "
            f"in a folder that exists and is writable"
        ) from error
    except InputError as error:
        raise ScheduleError(str(error)) from error


def schedule_bytes(file: ScheduleFile) -> bytes:
    """Return the content of a schedule file.

    Raises:
        ScheduleError: `extensions` cannot be expressed as JSON.
    """
    try:
        # Readers of before certificates know no such field.
        without = {"certificate"} if file.certificate is None else None
        content = file.model_dump(exclude=without)
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
    except ValueError as error:
        raise ScheduleError(
            f"`extensions` must be expressible as JSON in UTF-8 ({error}); correct them"
        ) from None


def _read(path: Path) -> str:
    try:
        text = read_file(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise ScheduleError("there is no such file; check the path") from None
    except IsADirectoryError:
        raise ScheduleError("is a folder; name the schedule file inside it") from None
    except UnicodeDecodeError as error:
        raise ScheduleError(
            f"byte {error.start} is not UTF-8; a schedule file is JSON text in UTF-8"
        ) from None
    except OSError as error:
        raise ScheduleError(
            f"cannot be read ({error.strerror or error}); check path and permissions"
        ) from None
    if not text.strip():
        raise ScheduleError("is empty; export the schedule again")
    return text


def _refuse_number(text: str) -> float:
    raise ScheduleError(f"numbers must be finite, but got {text:.60}; correct or remove the value")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)


def _check_format(data: object) -> None:
    if not isinstance(data, dict):
        raise ScheduleError(
            f"a schedule file must hold a JSON object, but got {type(data).__name__}; "
            f'begin with {{"format": "{FORMAT}", "schedule": ...}}'
        )
    found = data.get("format", "nothing")
    if found == FORMAT:
        return
    version = re.fullmatch(rf"{re.escape(NAME)}/([1-9][0-9]*)", str(found))
    if version and int(version[1]) > MAJOR:
        raise ScheduleError(
            f"`format` {found} was written by a newer schedsearch; upgrade schedsearch to read it"
        )
    raise ScheduleError(
        f'`format` must be "{FORMAT}", but got {shown(found)}; pass a schedule file'
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the JSON Schema, or compare a published one; 1 when it differs from the code."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare FILE with the code")
    args = parser.parse_args(argv)
    text = json.dumps(json_schema(), indent=2) + "\n"
    if args.check is None:
        sys.stdout.write(text)
        return 0
    if args.check.is_file() and args.check.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(
        f"{args.check} differs from the code; write it anew: python -m {__spec__.name} > "
        f"{args.check}\n"
    )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
