"""Single cuts measured by a worker: what reuse leaves out, and that it changes nothing."""

from statistics import fmean

import pytest

from schedsearch.core.flops import flops_ratio
from schedsearch.core.sample import FirstSamples
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Task
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.evaluation.worker import ModelWorker
from schedsearch.samplers.single_cuts import single_cuts
from tests.engine.embedded import QUESTIONS, embedded

SAMPLES, LAYERS = 8, 8
CUTS = [
    Schedule(one.keep, RankerSpec("local")) for one in single_cuts(LAYERS, 1, (0.0, 0.25, 0.75))
]


def measured(prefix_bytes=None):
    worker = ModelWorker(
        *embedded(), make_metric("exact_match"), "demo", [QUESTIONS], max_prefix_bytes=prefix_bytes
    )
    return worker.means("kl_divergence", QUESTIONS.split, CUTS, SAMPLES)


def test_means_are_those_of_the_first_samples_alone():
    means, _ = measured()
    few = FirstSamples(QUESTIONS, SAMPLES)
    evaluator = Evaluator(*embedded(), few, make_metric("kl_divergence"), max_prefix_bytes=0)
    ids = tuple(sample.id for sample in few)
    for at in (0, 4, len(CUTS) - 1):
        scores = evaluator.evaluate(Task(CUTS[at], QUESTIONS.split, ids))
        assert means[at] == fmean(one.score for one in scores)


def test_layers_before_a_cut_run_once_for_all_cuts():
    means, work = measured()
    same, without = measured(prefix_bytes=0)
    assert means == same

    few = FirstSamples(QUESTIONS, SAMPLES)
    evaluator = Evaluator(*embedded(), few, make_metric("kl_divergence"))
    tokens, full = evaluator.sample_tokens(), evaluator.full_work().flops
    ratios = [flops_ratio(evaluator._shape, one, tokens) for one in CUTS]
    # The full model itself is one pass; of each cut the layers before it are left out, and all
    # full layers run once more together.
    deeper = [
        ratio - next(at for at, keep in enumerate(one.keep) if keep < 1) / LAYERS
        for one, ratio in zip(CUTS, ratios, strict=True)
    ]
    assert without.flops / full == pytest.approx(1 + sum(ratios))
    assert work.flops / full == pytest.approx(1 + (LAYERS - 1) / LAYERS + sum(deeper))
