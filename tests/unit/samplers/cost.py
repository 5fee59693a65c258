"""What a walk costs: a model of the work of an engine that goes on from shared layers."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from schedsearch.samplers.descent import Descent
from schedsearch.samplers.ledger import Verdict
from schedsearch.samplers.narrowing import Counts

N_MAX, SAMPLES, TEXT, CHUNK, PROBES = 576, 512, 64, 64, 8
ALLOWED = 1  # samples of 512 that may lose: a tolerance of 0.3 %

# 2412.00556, LLaVA-1.5-7B, 32 layers; measured off a figure.
PUBLISHED = (
    [1.0] * 2 + [0.65, 0.64] + [0.62] * 3 + [0.5] * 4 + [0.487] + [0.236] * 4 + [0.18] * 3
    + [0.077, 0.077, 0.075, 0.073, 0.071, 0.07, 0.06] + [0.04, 0.04, 0.035, 0.03, 0.03, 0.03]
)  # fmt: skip


def curve(layers: int) -> np.ndarray:
    """The published curve stretched to `layers`, as counts."""
    positions = np.linspace(0, len(PUBLISHED) - 1, layers).round().astype(int)
    return np.ceil(np.array(PUBLISHED)[positions] * N_MAX - 1e-6).astype(int)


class Engine:
    """Answers questions about samples with needs of their own, and counts the work.

    A trial asks its probes first, the samples that have lost under the mildest schedules, and ends
    at the first border of tasks after which it is hopeless. The layers that a task's last
    evaluation shares with the best schedule are kept; the next one of the same samples that agrees
    in them runs the others alone.

    Args:
        layers: Of the model.
        seed: Of the samples' needs: the curve times a factor that is normal around 0.6 with a
            deviation of 0.15, scaled such that all samples together need the curve itself. None
            for samples that all need the curve.
        screens: Borders of tasks besides the chunks.
        probes: How many there are at most.
    """

    def __init__(
        self, layers: int, seed: int | None, screens: Counts = (), probes: int = PROBES
    ) -> None:
        factors = np.ones(SAMPLES)
        if seed is not None:
            factors = np.random.default_rng(seed).normal(0.6, 0.15, SAMPLES).clip(0.05, 1.0)
            factors /= np.sort(factors)[::-1][ALLOWED]
        self.needs = np.ceil(np.minimum(factors[:, None] * curve(layers), N_MAX) - 1e-9)
        self.needs[:, :2] = 0
        self.layers = layers
        borders = sorted({*screens, *range(CHUNK, SAMPLES + 1, CHUNK)})
        self.parts = [range(*ends) for ends in zip([0, *borders], borders, strict=False)]
        self.flops = self.layer_forwards = self.asked = 0
        self._most = probes
        self._mildest = np.zeros(SAMPLES)
        self._known: dict[Counts, set[int]] = {}
        self._kept: dict[Counts, Counts] = {}

    @property
    def passes(self) -> float:
        """The work in full passes: keep-all on every sample."""
        return self.flops / (SAMPLES * self.layers * (N_MAX + TEXT))

    def losses(self, counts: Counts) -> np.ndarray:
        return (self.needs > np.array(counts)).any(axis=1)

    def accepts(self, counts: Counts) -> bool:
        return bool(self.losses(counts).sum() <= ALLOWED)

    def probes(self) -> list[int]:
        """Samples that have lost, those that lost under the mildest counts in front."""
        first = np.argsort(-self._mildest, kind="stable")[: self._most]
        return [int(sample) for sample in first if self._mildest[sample]]

    def ask(self, counts: Counts, samples: int | None, best: Counts) -> Verdict:
        """Say whether so many samples do not reject the counts."""
        self.asked += 1
        agreeing = (a == b for a, b in zip(counts, best, strict=True))
        shared = next((i for i, same in enumerate(agreeing) if not same), self.layers)
        probes, known = self.probes(), self._known.setdefault(counts, set())
        lost, read = self.losses(counts), np.zeros(SAMPLES, dtype=bool)
        parts = [part for part in self.parts if part.stop <= (samples or SAMPLES)]
        for part, again in [(probes, []), *((part, probes) for part in parts)]:
            if not known.issuperset(part):
                task = tuple(s for s in part if s not in known or s in again)
                self._evaluate(task, counts, min(shared, self.layers - 1))
                known.update(task)
            read[part] = True
            if part is not probes:
                losers = [sample for sample in part if lost[sample]]
                self._mildest[losers] = np.maximum(self._mildest[losers], sum(counts))
            if lost[read].sum() > ALLOWED:
                return Verdict(False, 1 if part is probes else part.stop, SAMPLES)
        return Verdict(True, samples or SAMPLES, SAMPLES)

    def _evaluate(self, task: Counts, counts: Counts, shared: int) -> None:
        kept = self._kept.get(task, ())
        reused = len(kept) if counts[: len(kept)] == kept else 0
        self.flops += len(task) * sum(count + TEXT for count in counts[reused:])
        self.layer_forwards += len(task) * (self.layers - reused)
        self._kept[task] = counts[:shared]


def run(engine: Engine, **settings: object) -> Counts:
    """Return the result of a walk whose questions the engine answers."""
    walk = Descent(engine.layers, N_MAX, **settings).rounds()
    here = next(walk)
    while True:
        ask = partial(engine.ask, samples=here.samples, best=here.settled)
        try:
            here = walk.send([ask(counts) for counts in here.candidates])
        except StopIteration as end:
            return end.value


def naive(engine: Engine) -> tuple[Counts, float, int]:
    """Bisect each layer over the whole grid, with all samples and the full depth every time.

    Returns:
        The result, the work in full passes, and the layers run times samples. Counts above those
        of the layer before are no schedule: the layer before is asked instead.
    """
    settled, tokens, questions = (N_MAX,) * engine.layers, engine.layers * (N_MAX + TEXT), 1
    for layer in range(2, engine.layers):
        low, high = -1, N_MAX
        while high - low > 1:
            middle = (low + high) // 2
            rest = (min(middle, settled[layer]),) * (engine.layers - layer)
            counts = settled[:layer] + rest
            tokens += sum(counts) + engine.layers * TEXT
            questions += 1
            low, high = (low, middle) if engine.accepts(counts) else (middle, high)
        settled = settled[:layer] + (min(high, settled[layer]),) * (engine.layers - layer)
    passes = tokens / (engine.layers * (N_MAX + TEXT))
    return settled, passes, questions * engine.layers * SAMPLES


def slope(sizes: Sequence[float], work: Sequence[float]) -> float:
    """Return the exponent with which the work grows, by least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(work), 1)[0])


def cost(counts: Counts) -> float:
    """Tokens of all layers, those of the text included."""
    return math.fsum(counts) + len(counts) * TEXT
