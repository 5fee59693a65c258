"""What a G-Search believes of its result, what is true, and what can be certified of it.

The models are those of truth.py. Each way of reading shares the same samples in all: some for the
search, the others for `Flips` on a `chain` of ten links. Questions come from the product's own
sampler; a count is asked of all samples, so that its cost is not measured here.

* `ways`: the certified FLOPs ratio, and the drop believed and true, of every way.
* `shares`: the same for other shares of the samples that the search gets.
* `drops`: the drop believed and true of models of 30 layers that are searched on 300 samples.
* `kept`: how often a certified schedule loses more than the tolerance: alpha at most.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from truth import FIRST, POPULATION, Drops, Model, Samples

from schedsearch.core.bounds import Flips, certified
from schedsearch.core.chain import chain
from schedsearch.core.power import resolution
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Measurement, Trial, TrialState
from schedsearch.samplers.greedy import GSearch

ALPHA, LINKS = 0.05, 10

Read = Callable[[Schedule, int], Measurement]
"""What a search is told of a schedule; the number is the layer that it asks for."""


def measured(drop: float, error: float, n: int) -> Measurement:
    """What a search is told."""
    return Measurement(1 - drop, error, n, 0.5, 0.5, drop, error)


def mean_of(drops: Drops) -> Measurement:
    """What is measured on some samples."""
    return measured(float(drops.mean()), float(drops.std(ddof=1)) / len(drops) ** 0.5, len(drops))


@dataclass(frozen=True)
class Found:
    """The end of a search: its result, the drop that it was told of it, and what it asked."""

    schedule: Schedule
    believed: float
    questions: int


def search(model: Model, read: Read, coarse: int = 1, **settings: Any) -> Found:
    """A G-Search that is told what `read` says.

    Args:
        model: What is searched.
        read: Answers.
        coarse: Only multiples of so many tokens are asked.
        settings: Of `GSearch`.
    """
    sampler = GSearch(layers=model.layers, n_max=model.n_max // coarse, first=FIRST, **settings)
    trials: list[Trial] = []
    while questions := sampler.ask(trials):
        for one in questions:
            told = read(one.schedule, int(one.params["layer"]))
            number, state = len(trials), TrialState.COMPLETE
            trials.append(Trial(number, one.params, one.schedule, state, told))
    best = sampler.best(trials)
    assert best is not None and best.measurement is not None
    return Found(best.schedule, best.measurement.drop or 0.0, len(trials))


def smoothed(model: Model, found: Found) -> Found:
    """The sigmoid over the layers that is nearest to the counts found and nowhere below them."""
    depth = np.linspace(0, 1, model.layers - FIRST)
    kept = np.array(found.schedule.keep[FIRST:])
    curves = [
        floor + (1 - floor) / (1 + np.exp(steepness * (depth - middle)))
        for steepness in np.geomspace(1, 200, 12)
        for middle in np.linspace(0, 1, 13)
        for floor in (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
    ]
    lifted = [np.minimum(1, curve * (kept / curve).max()) for curve in curves]
    counts = np.ceil(min(lifted, key=lambda curve: float(curve.sum())) * model.n_max - 1e-9)
    full = (model.n_max,) * FIRST
    schedule = Schedule.from_counts((*full, *map(int, counts)), model.n_max)
    return replace(found, schedule=schedule)


Way = Callable[[Model, Samples, float], Found]


def reading(told: Callable[[Drops], Measurement] = mean_of, **settings: Any) -> Way:
    """All samples answer every question."""

    def way(model: Model, samples: Samples, tolerance: float) -> Found:
        def read(schedule: Schedule, _layer: int) -> Measurement:
            return told(model.drops(samples, schedule))

        found = search(model, read, tolerance=tolerance, **settings)
        return replace(found, believed=float(model.drops(samples, found.schedule).mean()))

    return way


def margin(z: float) -> Way:
    """So many standard errors are added to every drop."""

    def told(drops: Drops) -> Measurement:
        plain = mean_of(drops)
        assert plain.drop is not None and plain.drop_standard_error is not None
        return replace(plain, drop=plain.drop + z * plain.drop_standard_error)

    return reading(told)


def folds(model: Model, samples: Samples, tolerance: float) -> Found:
    """Every layer has samples of its own, that no other layer reads."""
    size = len(samples) // (model.layers - FIRST)
    if size < 2:
        return Found(Schedule.full(model.layers), 0.0, 0)

    def read(schedule: Schedule, layer: int) -> Measurement:
        start = (layer - FIRST) * size
        return mean_of(model.drops(samples, schedule)[start : start + size])

    return search(model, read, tolerance=tolerance)


def thresholdout(model: Model, samples: Samples, tolerance: float) -> Found:
    """Half of the samples propose; the other half is asked only where they differ, with noise.

    Dwork et al., arXiv 1506.02629, with noise of half a standard error at the tolerance.
    """
    rng, half = np.random.default_rng(model.seed), len(samples) // 2
    scale = (tolerance / half) ** 0.5 / 2

    def read(schedule: Schedule, _layer: int) -> Measurement:
        drops = model.drops(samples, schedule)
        seen, other = mean_of(drops[:half]), float(drops[half:].mean())
        assert seen.drop is not None and seen.drop_standard_error is not None
        if abs(seen.drop - other) <= 2 * scale + rng.laplace(0, scale):
            return seen
        return replace(seen, drop=other + rng.laplace(0, scale) if min(schedule.keep) < 1 else 0.0)

    return search(model, read, tolerance=tolerance)


def coarsely(model: Model, samples: Samples, tolerance: float) -> Found:
    """Counts are multiples of an eighth of the tokens."""

    def read(schedule: Schedule, _layer: int) -> Measurement:
        return mean_of(model.drops(samples, schedule))

    return search(model, read, coarse=model.n_max // 8, tolerance=tolerance)


def along_a_curve(model: Model, samples: Samples, tolerance: float) -> Found:
    """As before, then the sigmoid through the counts."""
    return smoothed(model, reading()(model, samples, tolerance))


BEFORE, NOW = "as before", "spread, noise 1.645"
WAYS: Mapping[str, Way] = {
    BEFORE: reading(),
    "margin .5": margin(0.5),
    "margin 1": margin(1.0),
    "margin 1.645": margin(1.645),
    "margin for 200 looks": margin(3.48),
    "a fold for each layer": folds,
    "Thresholdout": thresholdout,
    "an eighth of the grid": coarsely,
    "slack .3": reading(slack=0.3),
    "a sigmoid": along_a_curve,
    "spread": reading(spread=True),
    "noise 1": reading(noise=1.0),
    "spread, noise .5": reading(spread=True, noise=0.5),
    "spread, noise 1": reading(spread=True, noise=1.0),
    NOW: reading(spread=True, noise=1.645),
}


def proven(
    model: Model, samples: Samples, found: Schedule, tolerance: float, most: int = LINKS
) -> Schedule:
    """The cheapest of so many links that is proven on samples which the search has not seen."""
    links = chain(found, model.n_max, most)
    evidence = (Flips.of(list(map(int, model.drops(samples, link)))) for link in links)
    count = certified((flips.p_value(tolerance) for flips in evidence), ALPHA)
    return links[count - 1] if count else Schedule.full(model.layers)


def oracle(model: Model, tolerance: float) -> float:
    """The least FLOPs ratio that a search finds which knows the truth, spread or not."""

    def read(schedule: Schedule, _layer: int) -> Measurement:
        return measured(model.true_drop(schedule), 0.0, POPULATION)

    ends = [search(model, read, tolerance=tolerance, spread=spread) for spread in (False, True)]
    return min(model.ratio(end.schedule) for end in ends)


def run(
    model: Model, total: int, tolerance: float, ways: Sequence[str], share: float = 0.5
) -> Iterator[dict[str, Any]]:
    """What becomes of each way on the same samples."""
    samples = model.draw(total, 1)
    cut = round(total * share)
    seen, unseen = samples.part(0, cut), samples.part(cut, total)
    flips = round(len(unseen) * model.rate / 2)
    resolved = resolution(Flips(len(unseen), flips, flips)).resolves(tolerance)
    least = oracle(model, tolerance)
    for way in ways:
        found = WAYS[way](model, seen, tolerance)
        end = proven(model, unseen, found.schedule, tolerance)
        yield {
            "way": way,
            "layers": model.layers,
            "full_score": model.full_score,
            "rate": model.rate,
            "nested": model.nested,
            "seed": model.seed,
            "samples": total,
            "share": share,
            "resolved": resolved,
            "oracle": least,
            "found": model.ratio(found.schedule),
            "certified": model.ratio(end),
            "believed": found.believed,
            "unseen": float(model.drops(unseen, found.schedule).mean()),
            "true": model.true_drop(found.schedule),
            "certified_true": model.true_drop(end),
            "questions": found.questions,
        }


def cells(totals: Sequence[int], seeds: int) -> Iterator[tuple[Model, int]]:
    """The models and numbers of samples of a table; every other model does not nest."""
    for total in totals:
        for full_score, rate in ((1.0, 0.0), (0.9, 0.03), (0.75, 0.1)):
            for layers in (8, 16, 32):
                for seed in range(seeds):
                    nested = full_score == 1 or seed % 2 == 0
                    yield Model(layers, full_score, rate, nested, seed), total


def ways(args: argparse.Namespace, share: float = 0.5) -> Iterator[dict[str, Any]]:
    """The rows of `ways`."""
    for model, total in cells(args.samples, args.seeds):
        yield from run(model, total, args.tolerance, args.ways, share)


def shares(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of `shares`."""
    for share in (0.15, 0.25, 0.5, 0.75):
        yield from ways(args, share)


def drops(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of `drops`."""
    for seed in range(args.models):
        full_score, rate = ((1.0, 0.0), (0.9, 0.03), (0.75, 0.1))[seed % 3]
        model = Model(30, full_score, rate, full_score == 1 or seed % 2 == 0, seed)
        yield from run(model, 600, 0.01, (BEFORE, NOW))


def table(rows: Sequence[Mapping[str, Any]], *keys: str) -> Iterator[str]:
    """Lines of a table: what is left above the oracle, and the gap, by these keys."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    for group, found in groups.items():
        above = [row["certified"] - row["oracle"] for row in found]
        gap = mean(row["true"] - row["believed"] for row in found)
        honest = mean(row["true"] - row["unseen"] for row in found)
        yield (
            f"| {' | '.join(map(str, group))} | {median(above):.3f} | {mean(above):.3f} | "
            f"{mean(row['true'] for row in found):.4f} | {gap:+.4f} | {honest:+.4f} | "
            f"{mean(row['questions'] for row in found):.0f} |"
        )


def kept(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Whether a certified schedule keeps its promise, over random models."""
    for seed in range(args.runs):
        yield promise(seed)


def promise(seed: int) -> dict[str, Any]:
    """One model, searched by one of two ways and certified; no way may break a certificate."""
    rng = np.random.default_rng([seed, 99])
    full_score, layers = float(rng.uniform(0.75, 1.0)), int(rng.integers(8, 33))
    rate, total = float(rng.uniform(0, 0.1)), int(np.exp(rng.uniform(np.log(100), np.log(5000))))
    model = Model(layers, full_score, rate, bool(rng.integers(2)), seed)
    tolerance, way = float(rng.choice([0.01, 0.02, 0.05])), (BEFORE, "spread, noise 1")[seed % 2]
    seen, unseen = np.split(np.arange(total), [total // 2])
    samples = model.draw(total, 1)
    found = WAYS[way](model, samples.part(0, len(seen)), tolerance)
    end = proven(model, samples.part(len(seen), total), found.schedule, tolerance)
    return {
        "way": way,
        "seed": seed,
        "samples": len(unseen),
        "tolerance": tolerance,
        "certified": model.ratio(end),
        "certified_true": model.true_drop(end),
        "broken": model.true_drop(end) > tolerance,
    }


PARTS: Mapping[str, Callable[[argparse.Namespace], Iterator[dict[str, Any]]]] = {
    "ways": ways,
    "shares": shares,
    "drops": drops,
    "kept": kept,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--samples", nargs="+", type=int, default=[600, 2000, 5000])
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for row in PARTS[args.part](args):
        rows.append(row)
        if args.out:
            settings = {key: value for key, value in vars(args).items() if key != "out"}
            args.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")
    if args.part in ("ways", "shares", "drops"):
        print(
            "| ... | median above the oracle | mean | true drop | - believed | - unseen | asked |"
        )
        for keys in (("way", "share"), ("way", "share", "resolved"), ("way", "rate", "samples")):
            print(*table(rows, *keys), sep="\n", end="\n\n")
    else:
        for way in dict.fromkeys(row["way"] for row in rows):
            broken = [row["broken"] for row in rows if row["way"] == way]
            print(f"{way}: {sum(broken)} of {len(broken)} certificates do not hold")


if __name__ == "__main__":
    main()
