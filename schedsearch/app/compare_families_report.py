"""The folder of a comparison under equal budgets: compare.md, compare.png, compare.json."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import to_json

from schedsearch.app.compare_families_plot import save_family_comparison
from schedsearch.app.markdown import escape, estimate, table
from schedsearch.app.plots import check_picture
from schedsearch.app.report_text import without_folders
from schedsearch.core.files import Kind, check_folder, check_target, write_file
from schedsearch.core.kinds import json_kind

if TYPE_CHECKING:
    from schedsearch.app.compare_families import AtBudget, Entry, FamilyComparison


FORMAT = "schedsearch.comparison/1"

_TITLE = "# Families under equal budgets: "
_DATA = json_kind("a comparison of families", FORMAT.partition("/")[0])
_TEXT = Kind("a comparison of families", re.compile(rb"\A" + re.escape(_TITLE.encode())))


def check_family_comparison(folder: Path, force: bool = False) -> None:
    """Refuse a folder that `write_family_comparison` would refuse, before the work.

    Raises:
        InputError: It cannot be written or holds other files by these names, or matplotlib is
            missing.
    """
    check_folder(folder)
    check_picture(folder / "compare.png", force)
    check_target(folder / "compare.json", _DATA, force=force)
    check_target(folder / "compare.md", _TEXT, force=force)


def write_family_comparison(found: "FamilyComparison", folder: Path, force: bool = False) -> Path:
    """Write compare.md, compare.png and compare.json, and return their folder.

    Args:
        found: What was measured.
        folder: Made if it does not exist.
        force: Replace files of other kinds, too.

    Raises:
        InputError: The folder cannot be written or holds other files by these names, or
            matplotlib is missing.
    """
    check_family_comparison(folder, force)
    save_family_comparison(found, folder / "compare.png", force)
    data = to_json({"format": FORMAT, **vars(found)}, indent=2, inf_nan_mode="null")
    write_file(folder / "compare.json", data + b"\n", _DATA, force=force)
    write_file(folder / "compare.md", render(found).encode(), _TEXT, force=force)
    return folder


def render(found: "FamilyComparison") -> str:
    """The comparison in Markdown."""
    parts = [
        f"{_TITLE}{escape(found.study)}",
        f"{escape(found.data)}, {found.samples} samples that no search has seen; digest "
        f"{found.data_digest}. Full model: {escape(found.metric)} {estimate(found.full)}.",
        "![Scores by family and budget, and the schedules](compare.png)",
        f"Each family could try {found.trials} schedules on {found.calibration_samples} "
        f"calibration samples, chosen by the same Bayesian optimisation but for random monotone; "
        f"one with fewer members was tried out. The best of each on the calibration set is "
        f"compared here. All rank tokens alike. Brackets are 95 % intervals, each for itself and "
        f"not corrected for their number; differences are paired by sample.",
    ]
    for one in found.rounds:
        parts += [f"## Budget {one.budget}", _table(one, found), verdict(one)]
    if found.found is not None:
        row = found.found.row
        assert row.score is not None
        parts.append(
            f"Beside, not at equal cost: {escape(row.what)}: {estimate(row.score)} at a FLOPs "
            f"ratio of {row.flops_ratio:.4f}."
        )
    whats = {one.row.name: one.row.what for each in found.rounds for one in each.entries}
    parts.append(
        "\n".join(f"* **{escape(name)}**: {escape(what)}." for name, what in whats.items())
    )
    return "\n\n".join(parts) + "\n"


def verdict(one: "AtBudget") -> str:
    """What the data say of P-Sigmoid under one budget, flattering or not."""
    from schedsearch.app.compare_families import FASTV, OURS, VTW, VTW_ABOVE

    if one.ahead:
        names = [
            f"{name} (the interval {'excludes' if sure else 'includes'} 0)"
            for name, sure in one.ahead.items()
        ]
        words = f"Ahead of {OURS} on held-out samples: {', '.join(names)}."
    else:
        words = f"{OURS} is at or above every other row on held-out samples."
    missing = [entry.row.name for entry in one.entries if entry.row.score is None]
    if missing:
        words += f" Not available: {', '.join(missing)}."
    for name in (FASTV, VTW, VTW_ABOVE):
        beaten = one.beaten(name)
        if beaten is not None:
            words += (
                f" Better than {name}, and the interval excludes 0: {'yes' if beaten else 'no'}."
            )
    return words


def _table(one: "AtBudget", found: "FamilyComparison") -> str:
    headers = ("", escape(found.metric), "minus P-Sigmoid", "FLOPs ratio", "KV ratio", "tried")
    return table(headers, [_cells(entry) for entry in one.entries])


def _cells(entry: "Entry") -> tuple[str, ...]:
    row = entry.row
    if row.score is None:
        return escape(row.name), f"not available: {escape(without_folders(row.reason))}", *[""] * 4
    difference = "" if row.difference is None else estimate(row.difference, "+")
    ratios = (f"{row.flops_ratio:.4f}", f"{row.kv_ratio:.4f}")
    return escape(row.name), estimate(row.score), difference, *ratios, str(entry.evaluations)
