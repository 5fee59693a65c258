"""The pages of studies: what they say of searches in every state."""

import os
import platform
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from schedsearch.app.baselines import at_equal_cost
from schedsearch.app.config import parse_study
from schedsearch.app.configured import prepare
from schedsearch.app.happened import decisions, questions, timeline
from schedsearch.app.points import BEST, FRONT, UNKNOWN, WITHIN, limits
from schedsearch.app.slices import slices
from schedsearch.app.study_view import StudyView
from schedsearch.core.pareto import full
from schedsearch.core.stint import process_name
from schedsearch.core.trial import TrialState
from schedsearch.service.pages import study_page
from schedsearch.store.store import open_store
from tests.integration.service.conftest import STUDY
from tests.integration.service.test_access import logged_in
from tests.unit.store.strategies import COMPARISON

API = "/api/v1"
THIS_PROCESS = process_name(os.getpid(), platform.node())
SEARCHED = """
study: small
model: demo
data: {calibration: demo:calibration, calibration_samples: 30}
ranker: local
search: {tolerance: 0.04, first: 4}
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A store with a finished search."""
    folder = tmp_path_factory.mktemp("searched")
    with prepare(parse_study(SEARCHED, "study"), folder, folder / "store.db").open() as study:
        study.run()
    return folder / "store.db"


@pytest.fixture
def visited(serve, searched):
    """A service on it, and a browser that has logged in."""
    service = serve(store=str(searched))
    logged_in(service, service.token("launch"))
    return service


def test_list_has_every_study_with_its_result(visited):
    page = visited.client.get("/studies").text
    (found,) = re.findall(r'<a href="/studies/small">small</a>', page)
    assert "1 of 1 studies" in page
    assert "No study fits" in visited.client.get("/studies?q=other").text
    assert "1 of 1 studies" in visited.client.get("/studies?q=SMALL+demo&state=idle").text


@pytest.mark.parametrize("sort", ["name", "state", "created", "trials", "flops", "drop"])
def test_list_is_sorted_by_every_column(service, sort):
    logged_in(service, service.token("launch"))
    for name in ("b", "a"):
        answer = service.client.post(
            f"{API}/studies",
            content=STUDY.replace("small", name),
            headers=service.by("launch"),
        )
        assert answer.status_code == 201
    page = service.client.get(f"/studies?sort={sort}&descending=false").text
    assert "aria-sort" in page
    names = re.findall(r'<a href="/studies/(\w)">', page)
    assert names == (["b", "a"] if sort == "created" else ["a", "b"])


def test_table_behind_the_image_has_the_best_and_the_listed_trials(visited, monkeypatch):
    monkeypatch.setattr(study_page, "_ROWS", 5)
    view = StudyView(visited.store, "small")
    total = len(view.trials)
    for query in ("", "?sort=flops_ratio", "?descending=false"):
        page = visited.client.get(f"/studies/small{query}").text
        table = re.search(r'id="keeps-table">.*?</details>', page, re.DOTALL)[0]
        assert f"Table of {table.count('<tr') - 1} of {total} trials" in table
        rows = re.findall(r'<a href="[^"]*/trials/(\d+)">\1</a></th>(.*?)</tr>', table)
        listed = re.findall(r'<th scope="row"><a href="[^"]*/trials/(\d+)">Trial \1</a>', page)
        assert len(listed) == 5 < total
        numbers = [number for number, _ in rows]
        assert set(numbers) == {*listed, str(view.best_trial.number)}
        for number, cells in rows:
            keep = view.trials[int(number)].schedule.keep
            assert re.findall(r">([\d.]+)\N{NARROW NO-BREAK SPACE}%<", cells) == [
                f"{100 * one:.1f}" for one in keep
            ]
        assert 'figures/image.csv"' in page


def test_room_is_kept_for_what_a_search_will_prove(service):
    logged_in(service, service.token("launch"))
    certify = "calibration_samples: 12, certify: demo:certify, certify_samples: 40}"
    for name, text in (
        ("small", STUDY),
        ("proven", STUDY.replace("calibration_samples: 12}", certify)),
    ):
        sent = text.replace("study: small", f"study: {name}")
        headers = service.by("launch")
        assert (
            service.client.post(f"{API}/studies", content=sent, headers=headers).status_code == 201
        )
        page = service.client.get(f"/studies/{name}").text
        assert ("Nothing is proven yet" in page) == (name == "proven")
        assert "drop \N{LESS-THAN OR EQUAL TO} 1" in page
        assert "The search has not been started" in page


def test_study_that_was_not_started_says_so_and_can_be(service):
    logged_in(service, service.token("launch"))
    service.client.post(f"{API}/studies", content=STUDY, headers=service.by("launch"))
    page = service.client.get("/studies/small").text
    assert "No trial yet" in page
    csrf = re.search(r'name="csrf" value="([^"]+)"', page).group(1)
    refused = service.client.post("/studies/small/start", data={"csrf": "guessed"})
    assert refused.status_code == 403
    answer = service.client.post(
        "/studies/small/start", data={"csrf": csrf}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/studies/small")
    page = service.client.get("/studies/small").text
    assert "queued" in page
    assert "waits until there is room" in page
    service.client.post("/studies/small/stop", data={"csrf": csrf})
    assert service.store.service.launch("small").state == "CREATED"


def test_failed_study_says_why(service):
    logged_in(service, service.token("read"))
    service.client.post(f"{API}/studies?start=true", content=STUDY, headers=service.by("launch"))
    launch = service.store.service.take(1)
    assert launch is not None
    service.store.service.claim("small", launch.attempt, {})
    service.store.service.end_launch("small", launch.attempt, "failed", "the disk is <full>")
    page = service.client.get("/studies/small").text
    assert "the disk is &lt;full&gt;" in page
    assert "<button" not in page.partition("<main")[2], "who only reads can change nothing"


def test_study_page_stands_the_best_out_and_links_every_trial(visited, searched):
    page = visited.client.get("/studies/small").text
    with open_store(searched, read_only=True) as store:
        view = StudyView(store, "small").snapshot()
        best, trials = view.best_trial, view.trials
    (marked,) = re.findall(r'<tr class="best">\s*<th scope="row"><a[^>]*>Trial (\d+)<', page)
    assert int(marked) == best.number
    assert f"{100 * best.measurement.flops_ratio:.1f}" in page
    for trial in trials:
        assert re.search(rf'href="[^"]*/studies/small/trials/{trial.number}"', page)


def test_pruned_and_failed_trials_can_be_hidden(visited, searched):
    with open_store(searched, read_only=True) as store:
        trials = store.trials("small")
    hidden = {one.number for one in trials if one.state in (TrialState.PRUNED, TrialState.FAIL)}
    assert hidden
    page = visited.client.get("/studies/small?hide=true").text.partition('id="rows"')[2]
    shown = {int(one) for one in re.findall(r">Trial (\d+)</a>", page)}
    assert shown == {one.number for one in trials} - hidden


def test_everything_is_there_once_the_whole_is_asked_for(visited):
    visited.client.app.state.office.views._few = 0
    page = visited.client.get("/studies/small").text
    assert "data-unfinished" in page
    assert 'id="curve"' not in page
    whole = visited.client.get("/studies/small?whole=true").text
    assert 'id="curve"' in whole
    assert "data-unfinished" not in whole
    assert "data-unfinished" not in visited.client.get("/studies/small").text, "it is kept"


def test_points_are_the_trials(visited, searched):
    content = visited.client.get("/studies/small/points").content
    with open_store(searched, read_only=True) as store:
        view = StudyView(store, "small").snapshot()
        trials, best = view.trials, view.best_trial
        within = limits(view)
    n = len(trials)
    assert len(content) == 9 * n
    cost, drop = np.frombuffer(content[: 8 * n], "<f4").reshape(2, n)
    kinds = np.frombuffer(content[8 * n :], np.uint8)
    for trial in trials:
        measured, kind = trial.measurement, kinds[trial.number]
        if measured is None:
            assert np.isnan(drop[trial.number])
            assert kind == UNKNOWN
        else:
            assert cost[trial.number] == pytest.approx(measured.flops_ratio)
            assert drop[trial.number] == pytest.approx(measured.drop)
            assert (kind & 3 == WITHIN) == (measured.drop <= within.drop)
    assert [int(one) for one in np.flatnonzero(kinds & BEST)] == [best.number]
    assert kinds[best.number] & FRONT


def test_image_has_a_byte_for_every_layer_of_every_trial(visited, searched):
    content = visited.client.get("/studies/small/keeps").content
    with open_store(searched, read_only=True) as store:
        trials = store.trials("small")
    keep = [one for trial in trials for one in trial.schedule.keep]
    assert np.frombuffer(content, np.uint8) / 255 == pytest.approx(keep, abs=0.5 / 255)


def test_questions_times_and_decisions_follow_from_the_trials(searched):
    with open_store(searched, read_only=True) as store:
        view = StudyView(store, "small").snapshot()
        attempts = store.last_attempts("small")
        asked, spans, log = (
            questions(view),
            timeline(view.trials, attempts),
            decisions(view, attempts),
        )
        best = view.best_trial
        curves = at_equal_cost(view, best.measurement.flops_ratio)
        facts = view.spec.facts
    assert [one.trial for one in asked] == [
        one.number for one in view.trials if one.params.get("pass")
    ]
    refused = {one.trial for one in asked if one.answer == "refused"}
    pruned = {one.number for one in view.trials if one.state is TrialState.PRUNED}
    assert pruned <= refused
    assert [one.trial for one in spans] == [one.number for one in view.trials]
    assert {one.lane for one in spans} == {0}, "one after another"
    assert {one.worker for one in spans} == {THIS_PROCESS}
    assert log[-1].words.startswith("the full model was measured")
    assert f"{best.params['count']} of {max(facts.n_visions)} vision tokens" in log[0].words
    assert {one.name for one, _ in curves} == {"uniform", "linear", "FastV-style step"}


def test_names_with_odd_letters_are_shown_and_led_to(service, searched):
    logged_in(service, service.token("launch"))
    with open_store(searched, read_only=True) as store:
        spec = store.spec("small")
    service.store.create_study(replace(spec, name="<b>ä & ü 100%?#"))
    page = service.client.get("/studies").text
    assert "<b>" not in page
    (place,) = re.findall(r'<th scope="row"><a href="([^"]+)">', page)
    shown = service.client.get(place)
    assert shown.status_code == 200
    assert "&lt;b&gt;ä &amp; ü 100%?#" in shown.text


def test_study_that_is_not_there_says_so(visited):
    answer = visited.client.get("/studies/other")
    assert answer.status_code == 404
    assert "There is no study `other`." in answer.text


@pytest.mark.parametrize("figure", ["curve", "questions", "costs", "timeline", "image"])
def test_every_plot_can_be_taken_away(visited, figure):
    page = visited.client.get("/studies/small").text
    heads = {
        "curve": b"layer,best,",
        "costs": b"trial,FLOPs ratio,drop,",
        "image": b"trial,layer 0",
    }
    begun = heads.get(figure, b"trial,")
    for kind, begins in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("csv", begun)):
        place = f"/studies/small/figures/{figure}.{kind}"
        assert f'href="{place}" download' in page
        answer = visited.client.get(place)
        assert answer.content.startswith(begins)
        named = answer.headers["content-disposition"]
        assert named == f'attachment; filename="small.{figure}.{kind}"'


def test_timeline_names_workers_above_their_lanes_and_in_tables(visited):
    page, worker = visited.client.get("/studies/small").text, THIS_PROCESS
    assert f"<p>{worker}</p>" in page
    assert f"<td>{worker}</td></tr>" in page
    assert 'aria-label="Trials at work over time; workers known: 1"' in page
    table = visited.client.get("/studies/small/figures/timeline.csv").text.splitlines()
    assert table[0] == "trial,state,began,ended,lane,worker"
    assert all(row.endswith(f",0,{worker}") for row in table[1:])


def test_curves_of_a_trial_and_of_studies_can_be_taken_away(visited):
    for page, place, name in (
        ("/studies/small/trials/0", "/studies/small/trials/0/curve", "small.0.curve"),
        ("/compare?study=small", "/compare/curves", "compared.curves"),
    ):
        shown = visited.client.get(page).text
        for kind, begins in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("csv", b"layer,")):
            (link,) = re.findall(rf'href="({place}\.{kind}[^"]*)" download', shown)
            answer = visited.client.get(link)
            assert answer.content.startswith(begins)
            named = answer.headers["content-disposition"]
            assert named == f'attachment; filename="{name}.{kind}"'
    assert visited.client.get("/compare/curves.csv").status_code == 422


def test_report_is_made_without_the_model(visited):
    assert 'href="/studies/small/report.html" download' in visited.client.get("/studies/small").text
    answer = visited.client.get("/studies/small/report.html")
    assert answer.headers["content-disposition"] == 'attachment; filename="small.report.html"'
    assert "<h1>Study small</h1>" in answer.text
    assert "data:image/png;base64," in answer.text
    assert "LlavaForConditionalGeneration, 8 layers" in answer.text
    assert "ShapesVQA calibration, 30 samples" in answer.text
    assert "no model was loaded" in answer.text
    assert "Beside this file" not in answer.text


def test_what_held_out_samples_said_is_shown_with_the_result_that_it_is_of(
    serve, searched, tmp_path
):
    shutil.copy(searched, tmp_path / "copy.db")
    service = serve(store=str(tmp_path / "copy.db"))
    logged_in(service, service.token("read"))
    pages = "/studies/small", "/compare?study=small"
    for page in pages:
        shown = service.client.get(page).text
        assert "Not compared yet" in shown and "schedsearch report STUDY.yaml" in shown
    best = StudyView(service.store, "small").best
    odd = replace(COMPARISON.rows[2], reason="<b>no room</b> in /home/some/where.bin")
    for schedule, current in ((best, True), (COMPARISON.schedule, False)):
        rows = *COMPARISON.rows[:2], odd
        found = replace(COMPARISON, schedule=schedule, rows=rows, certified=None)
        service.store.put_comparison("small", found)
        for page in pages:
            shown = service.client.get(page).text
            assert '0.8000 <span class="note whole">[0.7000, 0.9000]</span>' in shown
            assert '0.0000 <span class="note whole">[\N{MINUS SIGN}0.1000, 0.1000]' in shown
            assert "not available: &lt;b&gt;no room&lt;/b&gt; in where.bin" in shown
            assert re.search(r'exact_match(<span class="under">| on )80 samples of shapes', shown)
            assert ("of an earlier result" in shown) == (not current)
            assert "Not compared yet" not in shown
        report = service.client.get("/studies/small/report.html").text
        assert ("On 80 held-out samples the found schedule loses" in report) == current
        assert ("no model was loaded" in report) == (not current)


def test_search_without_a_family_has_no_parameters_to_show(visited):
    assert 'id="model"' not in visited.client.get("/studies/small").text
    answer = visited.client.get("/studies/small/model")
    assert answer.status_code == 422
    assert "searches no parameters of a family" in answer.text


@pytest.mark.full
def test_surrogate_agrees_with_what_was_measured(serve, tmp_path):
    """In the middle of its interval where a trial was measured, and unsure far from all."""
    text = SEARCHED.replace("small", "curve").replace("ranker: local\n", "")
    text = text.replace(
        "{tolerance: 0.04, first: 4}",
        "{sampler: bayes, family: sigmoid, budget: {feasible: 0.4}, trials: 7}",
    )
    with prepare(parse_study(text, "study"), tmp_path, tmp_path / "store.db").open() as study:
        study.run()
        view = study.snapshot()
    found = slices(view)
    assert {one.parameter.name for one in found} == set(view.best_trial.params)
    best = full(view.best_trial)
    for one in found:
        assert all(each.low <= each.drop <= each.high for each in one.expected)
        near = min(one.expected, key=lambda each: abs(each.share - one.best))
        assert near.low - 0.05 <= best[1] <= near.high + 0.05
    service = serve(store=str(tmp_path / "store.db"))
    logged_in(service, service.token("read"))
    assert 'data-src="/studies/curve/model"' in service.client.get("/studies/curve").text
    part = service.client.get("/studies/curve/model")
    assert part.status_code == 200
    assert all(f"<h3>{name}</h3>" in part.text for name in view.best_trial.params)
    for kind, begins in (("png", b"\x89PNG"), ("csv", b"parameter,importance,value,trial,drop,")):
        place = f"/studies/curve/figures/parameters.{kind}"
        assert f'href="{place}" download' in part.text
        assert service.client.get(place).content.startswith(begins)
