"""Write docs/evidence.md and its picture from what bench/evidence.py measured.

python bench/evidence_page.py
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from schedsearch.app.markdown import table

ROOT = Path(__file__).parents[1]
MODELS = ("demo", "demo-deep", "smollm2")
PAGE, PICTURE = Path("docs/evidence.md"), Path("docs/images/evidence.png")
PUBLISHED_FIT = {"sigmoid": ".023", "logistic": ".026", "linear": ".040"}  # docs/method.md
DEPTHS = (0.15, 0.3, 0.5, 0.7, 0.85)

Found = Mapping[str, Any]


def read() -> dict[str, Found]:
    """What was measured, by model."""
    folder = ROOT / "bench/results"
    return {
        name: json.loads((folder / f"evidence-{name}.json").read_text(encoding="utf-8"))
        for name in MODELS
    }


def share(value: float) -> str:
    """A number below one, as in `.51`; `1.00` and `-.02` keep what they need."""
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def interval(found: Found) -> str:
    """A mean with its 95 % interval."""
    return f"{share(found['value'])} [{share(found['low'])}, {share(found['high'])}]"


def per_model(results: Mapping[str, Found], rows: Sequence[tuple[str, str, Any]]) -> str:
    """A table with a line for each (what, paper, cell of a model)."""
    lines = [[what, paper, *map(cell, results.values())] for what, paper, cell in rows]
    return table(["", "paper", *results], lines)


def withdrawn(found: Found) -> list[tuple[float, Found]]:
    """Depth as a share of the layers, and what is left when vision is hidden from there on."""
    layers = found["layers"]
    rows = found["calibration"]["withdrawn from layer"]
    return [(int(layer) / layers, row) for layer, row in rows.items()]


def at_depth(depth: float) -> Any:
    """Cell with the score when vision is hidden from the layer nearest to a depth on."""

    def cell(found: Found) -> str:
        at, row = min(withdrawn(found), key=lambda one: abs(one[0] - depth))
        return f"{interval(row['score'])} from layer {round(at * found['layers'])}"

    return cell


def first_without_loss(found: Found) -> str:
    """The first layer from which vision can go while the interval still reaches the full score."""
    rows = withdrawn(found)
    whole = rows[-1][1]["score"]["value"]
    enough = [at for at, row in rows if row["score"]["high"] >= whole]
    return f"layer {round(enough[0] * found['layers'])} of {found['layers']}"


def drop(kind: str, name: str) -> Any:
    """Cell with the drop of one row."""
    return lambda found: interval(found[kind][name]["drop"]) if name in found[kind] else "itself"


def rows_of(results: Mapping[str, Found], kind: str) -> list[str]:
    """Names that occur with any model, in their order."""
    return list(dict.fromkeys(name for found in results.values() for name in found[kind]))


def page(results: Mapping[str, Found]) -> str:
    """The whole page."""
    text = (ROOT / "bench/evidence.template.md").read_text(encoding="utf-8")
    measured_at = {
        "models": per_model(
            results,
            [
                ("decoder layers", "32", lambda one: str(one["layers"])),
                ("vision tokens of an image", "576", lambda one: str(one["vision tokens"])),
                ("full model", "48.97, mean of 12", lambda one: interval(one["full"])),
                ("ranker of the search", "text", lambda one: f"`{one['ranker']['name']}`"),
                (
                    "found schedule, FLOPs ratio",
                    ".430",
                    lambda one: share(one["found"]["flops"]),
                ),
                (
                    "found schedule, drop on the same scale",
                    ".20 of 48.97",
                    lambda one: interval(one["found"]["drop"]),
                ),
            ],
        ),
        "rankings": per_model(
            results,
            [
                (
                    "neighbouring layers, mean tau",
                    ".7 and more",
                    lambda one: interval(one["calibration"]["tau, neighbours"]),
                ),
                (
                    "all pairs, mean tau",
                    ".68 to .85",
                    lambda one: share(one["calibration"]["tau, all pairs"]),
                ),
                (
                    "all pairs, least and most",
                    ".09 (layer 1) and .85",
                    lambda one: " and ".join(map(share, one["calibration"]["tau, least and most"])),
                ),
                (
                    "two random orders",
                    "not given",
                    lambda one: interval(one["calibration"]["tau, random"]),
                ),
            ],
        ),
        "fits": per_model(
            results,
            [
                (
                    f"{name}, mean distance from the found curve",
                    PUBLISHED_FIT[name],
                    lambda one, name=name: share(one["fit"][name]["mean_error"]),
                )
                for name in PUBLISHED_FIT
            ],
        ),
        "rankers": per_model(
            results,
            [
                (
                    f"`{name}`",
                    {"text": "its own"}.get(name, "not given"),
                    drop("rankers", name),
                )
                for name in rows_of(results, "rankers")
            ]
            + [
                (
                    "one ratio in all layers, the search's ranker",
                    "not given",
                    lambda one: interval(one["uniform ratio"]["drop"]),
                ),
                (
                    "full model, image downsampled",
                    "not given",
                    lambda one: interval(one["downsampled"]["drop"]),
                ),
            ],
        ),
        "depth": per_model(
            results,
            [
                (f"hidden from {depth:.0%} of the depth on", "not given", at_depth(depth))
                for depth in DEPTHS
            ]
            + [("first layer without loss", "not given", first_without_loss)],
        ),
        "transfer": per_model(
            results,
            [
                (
                    f"curve of {name}" if name != "its own" else "its own curve",
                    {"its own": "67.65"}.get(name, "65.91 (LLaVA's)" if "LLaVA" in name else "-"),
                    drop("curves at its FLOPs", name),
                )
                for name in rows_of(results, "curves at its FLOPs")
            ],
        ),
    }
    for name, what in measured_at.items():
        text = text.replace(f"<!-- {name} -->", what.strip())
    return text


def picture(results: Mapping[str, Found]) -> Figure:
    """Where vision is needed, and what each ranker loses."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, (name, found) in enumerate(results.items()):
        rows = withdrawn(found)
        left.errorbar(
            [at for at, _ in rows],
            [row["score"]["value"] for _, row in rows],
            [
                [row["score"]["value"] - row["score"]["low"] for _, row in rows],
                [row["score"]["high"] - row["score"]["value"] for _, row in rows],
            ],
            marker=".",
            label=name,
        )
        drops = {ranker: row["drop"] for ranker, row in found["rankers"].items()}
        drops["downsampled"] = found["downsampled"]["drop"]
        right.bar(
            [at + (place - 1) * 0.27 for at in range(len(drops))],
            [one["value"] for one in drops.values()],
            0.25,
            yerr=[
                [one["value"] - one["low"] for one in drops.values()],
                [one["high"] - one["value"] for one in drops.values()],
            ],
            label=name,
        )
        right.set_xticks(range(len(drops)), drops, rotation=35, ha="right")
    left.set(xlabel="vision hidden from this share of the depth on", ylabel="accuracy", ylim=(0, 1))
    right.set(ylabel="drop at the found counts")
    left.legend(frameon=False)
    return figure


def main() -> None:
    """Write both."""
    results = read()
    (ROOT / PAGE).write_text(page(results), encoding="utf-8")
    picture(results).savefig(ROOT / PICTURE, dpi=130)


if __name__ == "__main__":
    main()
