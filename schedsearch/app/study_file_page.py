"""The tables of the reference of study files, made from the models that check them.

What stands between `<!-- made: NAME -->` and `<!-- end -->` is made; the rest is written by hand.

    python -m schedsearch.app.study_file_page docs/study-file.md
    python -m schedsearch.app.study_file_page --check docs/study-file.md
"""

import argparse
import inspect
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from schedsearch.app.config import CertifyConfig, DataConfig, SharesConfig, StudyConfig
from schedsearch.app.docstrings import attributes, entries, summary
from schedsearch.app.running import RunConfig
from schedsearch.app.sample_size import LEAST_SAMPLES, half_width, lucky, most_lost
from schedsearch.core.power import least_detectable
from schedsearch.core.section import GREATEST, Section
from schedsearch.evaluation.data.rows import KEYS
from schedsearch.evaluation.metrics import METRICS, ComparedMetric, FunctionMetric
from schedsearch.reduction.rankers import RANKERS
from schedsearch.samplers import SAMPLERS
from schedsearch.samplers.family_settings import BudgetSettings, FamilySettings
from schedsearch.samplers.settings import GSearchSettings

_LEAST = (
    f"Fewer than {LEAST_SAMPLES} calibration samples are refused: a schedule that loses every "
    f"second answer passes on n samples with probability .5^n, and a search asks some fifty times; "
    f"50 * .5^{LEAST_SAMPLES} is {50 * lucky(LEAST_SAMPLES):.3f}, with one sample fewer "
    f"{50 * lucky(LEAST_SAMPLES - 1):.3f}."
)

_SAMPLE: Mapping[str, str] = {
    "id": "Text or whole number, unique in the file; left out: the line's number.",
    "question": "Text; required. The chat template is added.",
    "answer": "The reference answer: a text, or a number, whose text is taken as it stands. Only "
    "metrics that compare with the full model need neither this nor `answers`.",
    "answers": "In place of `answer`: a list of reference answers.",
    "image": "File of the image; this or `images` is required. It must lie inside the image "
    "folder; addresses (`https:`, `data:` and the like) are not read.",
    "images": "In place of `image`: a list of files, in the order in which the prompt shows them.",
    "kind": "Text; reports have a table by kind.",
}

_BEGIN, _END = "<!-- made: {} -->", "<!-- end -->"
_BLOCK = re.compile(r"<!-- made: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def blocks() -> dict[str, str]:
    """What the page has between its marks, by name, as Markdown."""
    if set(_SAMPLE) != set(KEYS):
        raise RuntimeError(f"describe the keys of a sample: {set(_SAMPLE) ^ set(KEYS)}")
    head = ("samples", "one answer weighs", "lost at most if none is", "told from 0", *_CHANGED)
    return {
        "keys": _table(StudyConfig),
        "data": _table(DataConfig),
        "shares": _table(SharesConfig),
        "certify": _table(CertifyConfig),
        "run": _table(RunConfig),
        "sample": _rows(("key", "value"), ((f"`{key}`", _SAMPLE[key]) for key in KEYS)),
        "search": "\n\n".join(_searches()),
        "metric": _rows(("name", "score of a sample", "range", "needs answers"), _metrics()),
        "ranker": _rows(("name", "order", "`ranker_params`"), _rankers()),
        "scorer": _rows(("argument", "meaning"), _arguments()),
        "sizes": _rows(head, _sizes()),
        "least": _LEAST,
    }


def made(text: str) -> str:
    """The page with every block made anew.

    Raises:
        KeyError: It marks a block that does not exist.
    """
    parts = blocks()

    def block(found: re.Match[str]) -> str:
        return f"{_BEGIN.format(found[1])}\n\n{parts[found[1]]}\n\n{_END}"

    return _BLOCK.sub(block, text)


def _searches() -> list[str]:
    families = [one for one in SAMPLERS.built_in if issubclass(SAMPLERS[one], FamilySettings)]
    budgeted = [one for one in SAMPLERS.built_in if issubclass(SAMPLERS[one], BudgetSettings)]
    parts: list[str] = []
    for name in SAMPLERS.built_in:
        if name not in families:
            section = SAMPLERS[name]
            more = issubclass(section, GSearchSettings) and section is not GSearchSettings
            table = _table(section, GSearchSettings if more else None)
            parts += [f"### `sampler: {name}`", summary(section), table]
    parts += [
        "### All other samplers",
        "They search the parameters of a family of curves: [families](method.md#the-families).",
        _table(FamilySettings),
        f"### {', '.join(f'`{one}`' for one in budgeted)}: a budget",
        "[Budgets](method.md#budgets) are what a schedule may cost.",
        _table(BudgetSettings, FamilySettings),
    ]
    for name in families:
        section = SAMPLERS[name]
        base = BudgetSettings if issubclass(section, BudgetSettings) else FamilySettings
        own = _table(section, base)
        parts += [f"### `sampler: {name}`", summary(section), *([own] if own else [])]
    return parts


def _table(model: type[Section], base: type[Section] | None = None) -> str:
    """Keys of a section; with a base, those that it has not or has otherwise."""
    schema = model.model_json_schema()
    meant = attributes(model)
    rows = []
    for key, field in model.model_fields.items():
        inherited = base.model_fields.get(key) if base else None
        if inherited is not None and (key == "sampler" or _same(inherited, field)):
            continue
        default = "" if field.is_required() else _default(field.default)
        rows.append((f"`{key}`", _type(schema["properties"][key]), default, meant[key]))
    return _rows(("key", "type", "default", "meaning"), rows) if rows else ""


def _same(inherited: FieldInfo, field: FieldInfo) -> bool:
    return (inherited.annotation, inherited.default) == (field.annotation, field.default)


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON Schema in words."""
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema or "oneOf" in schema:
        return "section"
    kind = schema["type"]
    if kind == "boolean":
        return "`true`, `false`"
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    if kind == "object":
        inside = schema.get("additionalProperties")
        return f"mapping of names to {_type(inside)}" if isinstance(inside, dict) else "section"
    name = {"string": "text", "integer": "whole number", "number": "number"}[kind]
    bounds = [
        word.format(schema[bound])
        for bound, word in (
            ("minimum", "from {}"),
            ("exclusiveMinimum", "above {}"),
            ("maximum", "to {}"),
            ("exclusiveMaximum", "below {}"),
        )
        if schema.get(bound, GREATEST) != GREATEST
    ]
    return " ".join([name, *bounds])


def _default(value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _metrics() -> Iterable[tuple[str, ...]]:
    for name in METRICS.built_in:
        made = METRICS[name]
        compares = isinstance(made, type) and issubclass(made, ComparedMetric)
        yield f"`{name}`", summary(made), _range(made), "no" if compares else "yes"


def _range(metric: Any) -> str:
    """Between which bounds the scores of a metric lie."""
    if metric.binary:
        return "0 or 1"
    ends = (metric.least, metric.greatest)
    low, high = (f"{end:g}" if math.isfinite(end) else "" for end in ends)
    return f"{low} to {high}" if low and high else f"up to {high}" if high else "any"


def _rankers() -> Iterable[tuple[str, ...]]:
    for name in RANKERS.built_in:
        made = RANKERS[name]
        given = inspect.signature(made).parameters.values()
        params = (f"`{one.name}` ({_default(one.default)[1:-1]})" for one in given)
        yield f"`{name}`", summary(made), ", ".join(params) or "none"


def _arguments() -> Iterable[tuple[str, ...]]:
    for name, meaning in entries(FunctionMetric, "Args").items():
        yield f"`{name}`", meaning


_SHARES = (0.01, 0.05, 0.2)
_CHANGED = tuple(f"half-width, c = {share:g}" for share in _SHARES)


def _sizes() -> Iterable[tuple[str, ...]]:
    for n in (LEAST_SAMPLES, 30, 100, 300, 1000, 4000):
        widths = (f"{half_width(n, share):.3f}" for share in _SHARES)
        least = f"{least_detectable(n):.4f}"
        yield str(n), f"{1 / n:.4f}", f"{most_lost(n):.4f}", least, *widths


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Make the tables of a page anew, or compare them; 1 when they differ from the code."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("page", type=Path, help="the page")
    parser.add_argument("--check", action="store_true", help="only compare")
    args = parser.parse_args(argv)
    text = args.page.read_text(encoding="utf-8")
    new = made(text)
    if not args.check:
        args.page.write_text(new, encoding="utf-8")
    elif new != text:
        sys.stderr.write(
            f"{args.page} differs from the code; make it anew: python -m {__spec__.name} "
            f"{args.page}\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
