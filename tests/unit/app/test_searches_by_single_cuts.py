"""Searches that begin with what single cuts suggest: what they measure, keep and leave alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from schedsearch.app.samplers import make_sampler, resolve, search_of
from schedsearch.app.search_config import parse_search
from schedsearch.core.facts import Facts
from schedsearch.core.flops import DecoderShape, SampleTokens, flops_ratio
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Effort
from schedsearch.samplers.auto import Auto
from schedsearch.samplers.greedy import GSearch
from schedsearch.store.store import open_store
from tests.pace import some

LAYERS, N_MAX = 8, 64
SUBJECT = Subject(
    name="few",
    digest="c0ffee",
    split="calibration",
    ids=("a", "b"),
    keys=("a", "b"),
    tokens=(SampleTokens(N_MAX, 9),) * 2,
    shape=DecoderShape(LAYERS, 32, 4, 2, 8, 64, 100),
    target=None,
    context={},
)
G_SEARCH = {"tolerance": 0.01, "guess": "additive"}
BAYES = {"sampler": "bayes", "budget": {"feasible": 0.4}, "warm_start": ["additive"]}
FRONTIER = {"sampler": "frontier", "max_drop": 0.01, "warm_start": ["additive"]}
ADDITIVE = {"sampler": "additive", "max_drop": 0.01}
AUTO = {"sampler": "auto", "tolerance": 0.01}
# Of 64 tokens: what a cut at a layer needs to lose nothing.
NEEDS = (64, 64, 48, 48, 32, 16, 16, 0)


def lost(schedule: Schedule, share: float | None = None) -> float:
    """Rises where the cut is, with what it (or another share) takes from its need."""
    count, layer = min(schedule.counts(N_MAX)), schedule.keep.index(min(schedule.keep))
    return max(0, NEEDS[layer] - (count if share is None else share * N_MAX)) / 16


def spec_of(settings: dict, folder: Path, measured: list[int], name: str = "s") -> StudySpec:
    """The specification, once the study is stored; `measured` gets numbers of schedules."""

    def divergences(schedules, samples):
        assert samples == 50
        measured.append(len(schedules))
        return [lost(schedule) for schedule in schedules], 1.5

    facts = Facts.of(SUBJECT.shape, SUBJECT.tokens)
    with open_store(folder / "s.db") as store:
        found = resolve(
            parse_search(settings), SUBJECT, name, store, folder, divergences=divergences
        )
        spec = StudySpec(name, "m", "c", "digest", "exact_match", found.plain(), facts)
        store.create_study(spec)
    return spec


@pytest.mark.parametrize("settings", [G_SEARCH, BAYES, FRONTIER, ADDITIVE, AUTO], ids=str)
def test_study_that_exists_keeps_what_it_began_with_and_what_that_has_cost(tmp_path, settings):
    measured: list[int] = []
    first = spec_of(settings, tmp_path, measured)
    assert measured == [6 * 6]
    assert first.spent == 1.5
    assert spec_of(settings, tmp_path, measured) == first
    assert measured == [6 * 6]
    with open_store(tmp_path / "s.db") as store:
        assert store.effort("s") == Effort(1.5, 0.0)


@pytest.mark.parametrize(
    "settings",
    some([G_SEARCH, BAYES, FRONTIER, ADDITIVE, AUTO], fast=[G_SEARCH, BAYES, ADDITIVE, AUTO]),
    ids=str,
)
def test_each_of_several_rankers_has_single_cuts_of_its_own(tmp_path, settings):
    needs = {RankerSpec("last"): 1.0, RankerSpec("text"): 0.5, RankerSpec("local"): 0.25}
    rankers, facts = tuple(needs), Facts.of(SUBJECT.shape, SUBJECT.tokens)
    measured: list[str] = []

    def measures(ranker: RankerSpec):
        def divergences(schedules, _samples):
            measured.append(ranker.name)
            kept = [min(one.keep) / needs[ranker] for one in schedules]
            return [lost(one, share) for one, share in zip(schedules, kept, strict=True)], 1.5

        return divergences

    def opened(name: str, *chosen: RankerSpec) -> StudySpec:
        with open_store(tmp_path / "s.db") as store:
            given = parse_search(settings), chosen, SUBJECT, name, store, tmp_path, list, measures
            several = chosen if len(chosen) > 1 else ()
            spec = StudySpec(
                name,
                "m",
                "c",
                "digest",
                "exact_match",
                search_of(*given),
                facts,
                chosen[0],
                rankers=several,
            )
            store.create_study(spec)
        return spec

    spec = opened("several", *rankers)
    assert opened("several", *rankers) == spec
    assert measured == ["last", "text", "local"]
    assert spec.spent == 4.5
    alone = [make_sampler(opened(one.name, one)) for one in rankers]
    assert list(make_sampler(spec).searches) == alone
    assert alone[0] != replace(alone[1], ranker=rankers[0])


def test_several_rankers_share_the_single_cuts_that_a_person_has_given(tmp_path):
    settings = parse_search(ADDITIVE | {"divergences": [[0.0] * 6] * 6, "spent": 2.0})
    rankers = RankerSpec("last"), RankerSpec("text")
    with open_store(tmp_path / "s.db") as store:
        search = search_of(settings, rankers, SUBJECT, "s", store, tmp_path, list, lambda _: None)
    assert search["spent"] == 2.0
    assert "by_ranker" not in search


def test_single_cuts_that_a_person_has_given_are_kept_too(tmp_path):
    measured: list[int] = []
    given = spec_of(ADDITIVE | {"divergences": [[0.0] * 6] * 6}, tmp_path, measured)
    assert spec_of(ADDITIVE, tmp_path, measured) == given
    assert not measured


@pytest.mark.parametrize(
    "settings", [G_SEARCH | {"guess": [64] * 8}, BAYES | {"warm_start": ["published"]}], ids=str
)
def test_what_asks_for_no_single_cuts_measures_none_and_says_nothing_of_them(tmp_path, settings):
    measured: list[int] = []
    spec = spec_of(settings, tmp_path, measured)
    assert not measured
    assert "spent" not in spec.search
    assert spec.spent == 0


def test_guess_is_what_each_layer_needs_alone(tmp_path):
    sampler = make_sampler(spec_of(G_SEARCH, tmp_path, []))
    assert isinstance(sampler, GSearch)
    # 5 % of the greatest loss, 3 nats, are 2.4 tokens.
    assert [need - guess for need, guess in zip(NEEDS, sampler.guess, strict=True)] == [
        *(0, 0, 2, 2, 2, 2, 2, 0)
    ]


def test_auto_is_the_search_guided_by_single_cuts_and_goes_on_with_as_many_trials(tmp_path):
    guided = make_sampler(spec_of(G_SEARCH, tmp_path, [], "guided"))
    sampler = make_sampler(spec_of(AUTO | {"trials": 3, "first": 2}, tmp_path, []))
    assert isinstance(guided, GSearch) and isinstance(sampler, Auto)
    assert (sampler.guess, sampler.tolerance, sampler.trials) == (guided.guess, 0.01, 3)
    assert (sampler.shape, sampler.tokens) == (SUBJECT.shape, SUBJECT.tokens)


def test_search_within_a_budget_begins_at_the_curve_predicted_for_it(tmp_path):
    def curve_at(share: float) -> Schedule:
        budget = {"budget": {"feasible": share}, "family": "layerwise"}
        (start,) = make_sampler(spec_of(BAYES | budget, tmp_path, [], f"{share}")).starts
        return Schedule((1.0, 1.0, *start.values()))

    # Nothing is lost at a FLOPs ratio that .4 of the range allows; .2 allows less.
    assert curve_at(0.4).counts(N_MAX) == NEEDS
    least = flops_ratio(SUBJECT.shape, Schedule((1.0, 1.0, *[0.0] * 6)), SUBJECT.tokens)
    limit = least + 0.2 * (1 - least)
    assert limit - 0.02 < flops_ratio(SUBJECT.shape, curve_at(0.2), SUBJECT.tokens) <= limit


def test_frontier_begins_with_curves_at_equal_steps_of_the_cost(tmp_path):
    sampler = make_sampler(spec_of(FRONTIER, tmp_path, []))
    budgets = [start["budget"] for start in sampler.starts]
    assert len(budgets) == 4
    space = sampler.space["budget"]
    steps = [high - low for low, high in zip([space.low, *budgets], budgets, strict=False)]
    assert max(steps) - min(steps) < 0.03
    assert budgets[-1] < space.high
