"""A search where vision is needed in the first two layers only and a tenth of the answers change.

10 layers, 100 tokens, keep-all .75, 600 samples to search on; tolerance .01, certified on others.
As a study runs it, in its own order of reading and with its early stops. "Change without getting
better or worse" can be read in two ways:

* `answers`: other words of the same worth (`Reworded`). No score changes.
* `scores`: as many are lost as found (`Model`), so the mean stays as it is and each score may not.

Where scores change, what a certificate can prove is limited whatever the bound: `limits` has the
greatest probability that any test can have, by Neyman and Pearson, and how many samples are needed.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from believe import ALPHA, proven
from erring import Cost
from erring import search as study
from scipy.special import gammaln
from truth import FIRST, Model, Reworded, Target

from schedsearch.core.bounds import Flips
from schedsearch.core.power import needed
from schedsearch.core.schedule import Schedule

TOLERANCE, RATE, LINKS = 0.01, 0.1, (1, 3, 10)
READINGS: Mapping[str, type[Model]] = {"answers": Reworded, "scores": Model}
ALLOWANCES: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "noise 1": {"noise": 1.0},
    "spread, noise 1": {"spread": True, "noise": 1.0},
    "noise 1.645": {"noise": 1.645},
    "spread, noise 1.645": {"spread": True, "noise": 1.645},
}
METHODS: Mapping[str, Mapping[str, Any]] = {
    "galloping": {"screens": (50,)},
    "bisection": {"method": "bisection"},
}


def model_of(reading: str, seed: int) -> Model:
    """The model of a seed."""
    return READINGS[reading](10, 0.75, RATE, True, seed, n_max=100, plain=True)


def searched(model: Model, **settings: Any) -> Cost:
    """What the search found and asked."""
    target = Target(model, model.draw(600, 1))
    return study(target, tolerance=TOLERANCE, first=FIRST, **settings)


def above_floor(model: Model, found: Cost) -> float:
    """FLOPs ratio above that of the schedule which keeps nothing where nothing is needed."""
    floor = Schedule((1.0,) * FIRST + (0.0,) * (model.layers - FIRST))
    return model.ratio(Schedule.from_counts(found.counts, model.n_max)) - model.ratio(floor)


def certified(model: Model, found: Cost, unseen: int, links: int) -> bool:
    """Whether the result itself is proven on so many samples, as the last of so many links."""
    return _proven(model, found.counts, unseen, links)


@cache  # most searches end at the floor
def _proven(model: Model, counts: tuple[int, ...], unseen: int, links: int) -> bool:
    end = Schedule.from_counts(counts, model.n_max)
    return proven(model, model.draw(unseen, 2), end, TOLERANCE, links) == end


def rows(reading: str, seeds: int) -> Iterator[dict[str, Any]]:
    """Each search over the seeds, galloping beside bisection with the same settings."""
    models = [model_of(reading, seed) for seed in range(seeds)]
    naive = [searched(model, **METHODS["bisection"]).questions for model in models]
    for allowance, settings in ALLOWANCES.items():
        ends = {
            method: [searched(model, **how, **settings) for model in models]
            for method, how in METHODS.items()
        }
        for method, found in ends.items():
            above = [above_floor(*pair) for pair in zip(models, found, strict=True)]
            asked = [cost.questions for cost in found]
            halved = [cost.questions for cost in ends["bisection"]]
            yield {
                "reading": reading,
                "search": ", ".join(filter(None, (method, allowance))),
                "above_floor": mean(above),
                "within": mean(one <= 0.02 for one in above),
                "questions": mean(asked),
                "most_questions": max(asked),
                "at_most_bisection": _share(asked, naive),
                "at_most_same_bisection": _share(asked, halved),
                "passes": mean(cost.passes for cost in found),
                "certified": {
                    f"{unseen} samples, {links} links": mean(
                        certified(*pair, unseen, links) for pair in zip(models, found, strict=True)
                    )
                    for unseen in (2000, 8000)
                    for links in LINKS
                },
            }


def _share(asked: list[int], halved: list[int]) -> float:
    return mean(a <= b for a, b in zip(asked, halved, strict=True))


def best_power(n: int, rate: float = RATE) -> float:
    """Greatest probability with which any test proves the tolerance where nothing is lost.

    Of a true drop 0 against one of exactly the tolerance, both with the same share of flips: the
    likelihood ratio is the most powerful test at level alpha (Neyman and Pearson 1933), and what
    proves more than this single pair is no more powerful on it.
    """
    flips = np.arange(n + 1)
    flips = flips[_binomial(flips, n, rate) > 1e-12]
    ratios, null, free = [], [], []
    for count in flips:
        lost = np.arange(count + 1)
        share = (rate + TOLERANCE) / (2 * rate)
        weight = _binomial(count, n, rate)
        null.append(weight * _binomial(lost, count, share))
        free.append(weight * _binomial(lost, count, 0.5))
        ratios.append(lost * np.log(0.5 / share) + (count - lost) * np.log(0.5 / (1 - share)))
    order = np.argsort(-np.concatenate(ratios), kind="stable")
    spent, won = np.cumsum(np.concatenate(null)[order]), np.cumsum(np.concatenate(free)[order])
    last = int(np.searchsorted(spent, ALPHA))
    rest = (ALPHA - spent[last - 1]) / (spent[last] - spent[last - 1])
    return float(won[last - 1] + rest * (won[last] - won[last - 1]))


def _binomial(k: np.ndarray, n: int, share: float) -> np.ndarray:
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    found: np.ndarray = np.exp(ways + k * np.log(share) + (n - k) * np.log1p(-share))
    return found


def limits() -> dict[str, Any]:
    """What can be proven where scores change."""
    seen = Flips(200_000, *(2 * [round(200_000 * RATE / 2)]))
    return {
        "best_power": {str(n): best_power(n) for n in (2000, 8000)},
        "needed": {
            str(power): needed(seen, TOLERANCE, ALPHA, power=power) for power in (0.8, 0.95, 0.99)
        },
    }


def main(args: argparse.Namespace) -> None:
    """Print a line for each search, and write all of them."""
    found, body = [], {"seeds": args.seeds, "limits": limits()}
    print(body["limits"])
    for reading in READINGS:
        for row in rows(reading, args.seeds):
            found.append(row)
            print(row, flush=True)
            if args.out:
                args.out.write_text(json.dumps({**body, "rows": found}, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--out", type=Path)
    main(parser.parse_args())
