"""G-Search, and what lies around the curve that it finds."""

from dataclasses import replace
from typing import Any

import pytest

from schedsearch.core.facts import Facts
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.trial import Trial, TrialState
from schedsearch.errors import InputError
from schedsearch.samplers.auto import Auto
from schedsearch.samplers.greedy import GSearch
from schedsearch.samplers.settings import GSearchSettings
from schedsearch.samplers.which_ranker import WhichRanker
from tests.unit.samplers.synthetic import (
    Counts,
    all_or_nothing,
    arbitrary,
    complete,
    enqueued,
    failed,
    per_sample,
    running,
    search,
)

LAYERS, N_MAX = 8, 24
SHAPE, TOKENS = DecoderShape(LAYERS, 16, 2, 2, 8, 32, 100), (SampleTokens(N_MAX, 5),)
RANKER = RankerSpec("text")
COMMON: dict[str, Any] = {"layers": LAYERS, "n_max": N_MAX, "ranker": RANKER, "method": "bisection"}


def auto(**settings: Any) -> Auto:
    return Auto(**{**COMMON, "tolerance": 0.1, **settings}, shape=SHAPE, tokens=TOKENS)


def cost(trial: Trial) -> float:
    return flops_ratio(SHAPE, trial.schedule, TOKENS)


def accepted(trial: Trial) -> bool:
    return trial.measurement is not None and trial.measurement.drop <= 0.1


def beyond(trials: list[Trial]) -> list[Trial]:
    return [trial for trial in trials if "scale_2" in trial.params]


def additive(counts: Counts) -> list[float]:
    """Every layer loses more with each token that it lacks, a deep one less than a shallow one."""
    lacking = [(N_MAX - count) / N_MAX for count in counts]
    return [sum(0.3 * 0.4**layer * one**2 for layer, one in enumerate(lacking[2:]))] * 2


def test_search_begins_as_g_search_and_then_asks_only_what_is_cheaper_than_the_best():
    sampler = auto(trials=6)
    trials, _ = search(sampler, N_MAX, additive)
    alone, _ = search(GSearch(**COMMON, tolerance=0.1), N_MAX, additive)
    assert trials[: len(alone)] == alone
    assert beyond(trials) == trials[len(alone) :]
    assert len(beyond(trials)) == 6
    for number in range(len(alone), len(trials)):
        before = [trial for trial in trials[:number] if accepted(trial)]
        assert cost(trials[number]) < min(map(cost, before))


def test_where_losses_add_up_it_finds_what_the_greedy_order_has_passed_over():
    # Settled first, layer 2 may lose all that all layers together may.
    sampler = auto()
    trials, _ = search(sampler, N_MAX, additive)
    alone = GSearch(**COMMON, tolerance=0.1).best(trials)
    best = sampler.best(trials)
    assert alone is not None and best is not None
    assert accepted(best)
    assert cost(best) < cost(alone) - 0.02


@pytest.mark.parametrize("seed", range(4))
def test_result_is_the_cheapest_accepted_trial_of_a_model_that_errs(seed):
    verdicts = all_or_nothing(arbitrary(seed, 0.5, N_MAX))
    sampler = auto(trials=6)
    trials, _ = search(sampler, N_MAX, verdicts)
    best = sampler.best(trials)
    assert best is not None
    assert cost(best) == min(cost(trial) for trial in trials if accepted(trial))
    alone = GSearch(**COMMON, tolerance=0.1).best(trials)
    assert alone is not None and cost(best) <= cost(alone)


def test_where_every_layer_has_its_need_the_result_is_that_of_g_search():
    needs = (0, 0, 20, 12, 12, 5, 5, 1)
    sampler = auto(trials=6)
    trials, _ = search(sampler, N_MAX, per_sample([needs] * 4), stops=True)
    assert len(beyond(trials)) == 6
    assert {trial.state for trial in beyond(trials)} == {TrialState.PRUNED}
    best = sampler.best(trials)
    assert best is not None
    assert best.schedule.counts(N_MAX) == (24, 24, *needs[2:])


def test_nothing_is_asked_that_keeps_no_more_than_what_was_rejected():
    needs = (0, 0, 20, 12, 12, 5, 5, 1)
    trials, _ = search(auto(trials=6), N_MAX, per_sample([needs] * 4), stops=True)
    for asked in beyond(trials):
        for before in trials[: asked.number]:
            if before.state is TrialState.PRUNED:
                pairs = zip(asked.schedule.keep, before.schedule.keep, strict=True)
                assert any(own > other for own, other in pairs)


def test_search_is_over_where_nothing_is_cheaper():
    sampler = auto(tolerance=1.0)
    trials, _ = search(sampler, N_MAX, additive)
    assert not beyond(trials)
    assert sampler.finished(trials)


def test_open_trials_are_not_waited_for_but_no_more_are_open_than_may_be():
    sampler = auto(trials=5, concurrent_trials=3)
    trials, rounds = search(sampler, N_MAX, additive)
    start = len(trials) - 5
    assert rounds[-2:] == [3, 2]
    assert len({trial.schedule for trial in trials[start:]}) == 5
    # The question of the second is the same, whether or not the first is answered.
    assert sampler.ask(trials[: start + 1])[0].schedule == trials[start + 1].schedule


@pytest.mark.parametrize(("on_failure", "counted"), [("stop", 0), ("continue", 1)])
def test_failed_trial_counts_where_a_failure_ends_nothing(on_failure, counted):
    sampler = auto(trials=1, on_failure=on_failure)
    alone, _ = search(GSearch(**COMMON, tolerance=0.1), N_MAX, additive)
    (question,) = sampler.ask(alone)
    trials = [*alone, failed(len(alone), question)]
    assert sampler.status(trials).asked == len(alone) + counted
    assert sampler.finished(trials) == bool(counted)
    assert bool(sampler.ask(trials)) == (not counted)


def test_schedule_of_a_person_may_be_the_result():
    trials, _ = search(auto(trials=2), N_MAX, additive)
    theirs = Schedule.from_counts((24,) * 2 + (0,) * 6, N_MAX, RANKER)
    own = enqueued(len(trials), theirs, [0.0, 0.0])
    assert auto(trials=2).best([*trials, own]) == own


def test_it_follows_the_ranker_that_was_found():
    facts = Facts.of(SHAPE, TOKENS * 160)
    rankers = (RankerSpec("last"), RankerSpec("text"))
    searches = tuple(auto(ranker=one, trials=2) for one in rankers)
    sampler = WhichRanker(facts=facts, rankers=rankers, searches=searches)
    trials: list[Trial] = []
    while questions := sampler.ask(trials):
        for number, question in enumerate(questions, len(trials)):
            losses = additive(question.schedule.counts(N_MAX))
            trial = complete(number, question, losses)
            if question.samples is not None:
                part = replace(running(number, question), state=TrialState.SCREENED, reason="part")
                trial = replace(part, read=question.samples, expected=losses[0])
            trials.append(trial)
    assert sampler.finished(trials)
    assert len(beyond(trials)) == 2
    assert sampler.status(trials).asked == len(trials)
    assert sampler.name == "auto"


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="`trials` must be an integer"):
        auto(trials=0)
    assert "trials" not in GSearchSettings.model_fields
