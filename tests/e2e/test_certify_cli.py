"""Certificates from the command line, and what a search says last."""

import json
import signal
import time
from itertools import product

import pytest

from schedsearch import RunError, Schedule
from schedsearch.app import conclude
from schedsearch.app.held_out import HeldOut
from schedsearch.store.place import ReadOnlyPlace
from schedsearch.store.store import open_store
from schedsearch.store.terms import HEARTBEAT
from tests.pace import some

STUDY = """
study: small
model: demo
data:
  calibration: demo:calibration
  calibration_samples: 12
{data}
search: {{tolerance: 0.5, floor: 60, first: 7}}
"""
BEGINS = """
study: {}
model: demo
data:
  calibration: demo:{}
  calibration_samples: 12
  {}
search:
  sampler: random
  trials: 1
  family: linear
  budget: {{flops: 0.9}}
  warm_start: ["{}"]
"""
CERTIFY = "  certify: demo:certify\n  certify_samples: 40"


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(data=CERTIFY, more=""):
        (tmp_path / "study.yaml").write_text(STUDY.format(data=data) + more)
        return "study.yaml"

    return write


def test_search_certifies_last_and_everything_after_carries_the_claim(run, written, tmp_path):
    searched = run("search", written())
    assert searched.code == 0, searched.err
    assert "loses at most 50.0 points of exact_match" in searched.out
    assert searched.out.rstrip().endswith("which did not choose it.")

    certified = run("certify", "study.yaml", "--out", "c.json", "--json")
    assert certified.code == 0, certified.err
    claim = json.loads(certified.out)["certificate"]["claim"]
    assert Schedule.load("c.json").certificate.claim == claim

    exported = run("export", "small", "e.json")
    assert claim in exported.out
    assert Schedule.load("e.json").certificate.claim == claim
    applied = run("apply", "demo", "e.json", "--limit", "4", "--repeats", "1")
    assert claim in applied.out
    assert "other weights" not in applied.err and "precision" not in applied.err + applied.out
    other = run("apply", "demo", "e.json", "--limit", "4", "--repeats", "1", "--dtype", "bfloat16")
    assert "proven in another precision (float32) than this model's (bfloat16)" in other.out

    refused = run("certify", "study.yaml", "--tolerance", "0.4")
    assert refused.code == 2
    assert "has looked at 40 of the 40 images" in refused.err

    content = json.loads((tmp_path / "e.json").read_text("utf-8"))
    content["schedule"]["keep"][-1] = 0.0
    (tmp_path / "e.json").write_text(json.dumps(content))
    edited = run("apply", "demo", "e.json", "--limit", "4")
    assert edited.code == 2
    assert "nothing is proven of one that was edited" in edited.err


def test_search_reports_no_drop_of_its_result_by_the_samples_that_chose_it(run, written):
    searched = run("search", written(data=""))
    *_, costs, last = searched.out.splitlines()
    assert "FLOPs ratio" in costs and "drop" not in costs
    assert "What it loses is not known" in last and "`data.certify`" in last
    for command in (("show", "small"), ("export", "small", "e.json")):
        said = run(*command).out
        assert "What it loses is not known" in said
    refused = run("certify", "study.yaml")
    assert refused.code == 2
    assert "names no `data.certify`" in refused.err


def test_search_without_certify_samples_measures_its_result_on_held_out_ones(run, written):
    file = written("  held_out: demo:held-out\n  held_out_samples: 20")
    searched = run("search", file)
    assert searched.code == 0, searched.err
    last = searched.out.splitlines()[-1]
    assert "on 20 samples of ShapesVQA held-out, which did not choose it" in last
    assert last in run("show", "small").out

    exported = run("export", "small", "e.json")
    assert last in exported.out
    with open("e.json") as written_file:
        scores = json.load(written_file)["results"]["scores"]
    assert [(one["split"], one["n"]) for one in scores] == [("calibration", 12), ("held-out", 20)]

    again = json.loads(run("search", file, "--json").out)
    assert again["loss"]["drop"]["n"] == 20 and f"{again['loss']['drop']['value']:.3f}" in last
    reported = run("report", file)
    assert "random tokens" in reported.out
    assert last in run("show", "small").out

    other = written("  held_out: demo:held-out\n  held_out_samples: 12")
    assert "on 12 samples of ShapesVQA held-out" in run("search", other).out
    seen = written("  held_out: demo:held-out\n  held_out_samples: 1")
    refused = run("search", seen)
    assert refused.code == 2 and "at least 2 held-out samples" in refused.err


def test_held_out_samples_that_fail_take_nothing_from_the_result(run, written, monkeypatch):
    def fail(*_arguments, **_named):
        raise RunError("the device is on fire; put it out")

    monkeypatch.setattr(conclude, "compare", fail)
    searched = run("search", written("  held_out: demo:held-out\n  held_out_samples: 20"))
    assert searched.code == 0
    assert "what the result loses is not measured: the device is on fire" in searched.err
    assert "What it loses is not known" in searched.out


@pytest.mark.parametrize(
    ("wish", "handler"),
    some(
        product(("stop", "pause", "free"), (signal.default_int_handler, signal.SIG_IGN)),
        fast=[
            ("stop", signal.default_int_handler),
            ("pause", signal.SIG_IGN),
            ("free", signal.default_int_handler),
        ],
    ),
)
def test_last_step_is_seen_and_ended_by_others_and_goes_on(
    run, written, monkeypatch, wish, handler
):
    monkeypatch.setenv(HEARTBEAT, "0.05")
    seen = []

    def watched(bench, name, *rest):
        found = values(bench, name, *rest)
        with open_store("schedsearch.db", create=False) as store:
            while not (look := store.study("small").progress) or look.done < look.samples:
                time.sleep(0.05)
            seen.append(look)
            store.free("small") if wish == "free" else store.wish("small", wish)
            time.sleep(0.5 if handler is signal.SIG_IGN else 20)
        return found

    values, before = HeldOut.values, signal.signal(signal.SIGINT, handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(HeldOut, "values", watched)
            ended = run("search", written())
    finally:
        signal.signal(signal.SIGINT, before)
    said = {"stop": "stopped; continue", "pause": "paused; continue", "free": "lost the lease"}
    assert (ended.code, said[wish] in ended.err) == (wish == "free", True), ended.err
    [look] = seen
    assert look.phase == "the result is judged: full model"
    assert (look.done, look.samples, look.evaluated, look.trials_left) == (40, 40, 40, 0)
    assert look.best_flops_ratio is not None

    assert "loses at most 50.0 points" in run("search", "study.yaml").out


def test_last_step_that_is_interrupted_says_how_to_go_on(run, written, monkeypatch):
    def interrupted(*_arguments, **_named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(HeldOut, "values", interrupted)
        ended = run("search", written())
    assert ended.code == 130
    assert "interrupted; continue with: schedsearch search study.yaml" in ended.err
    assert "loses at most 50.0 points" in run("search", "study.yaml").out


def test_read_only_store_is_shown_and_exported_with_what_its_result_loses(
    run, written, monkeypatch
):
    run("search", written("  held_out: demo:held-out\n  held_out_samples: 20"))
    monkeypatch.setattr(ReadOnlyPlace, "_connect_in_place", lambda *_: None)  # it is copied
    for command in (("show", "small"), ("export", "small", "e.json")):
        said = run(*command)
        assert said.code == 0 and "which did not choose it" in said.out, said.err


def test_search_on_shares_of_one_set(run, written):
    searched = run("search", written("  shares: {search: 0.5, certify: 0.5}"), "--json")
    assert searched.code == 2
    assert "must have at least 10 samples, but got 6" in searched.err
    text = STUDY.format(data="  shares: {search: 0.4, certify: 0.6}").replace("12", "40")
    with open("study.yaml", "w") as file:
        file.write(text)
    searched = run("search", "study.yaml", "--json")
    assert searched.code == 0, searched.err
    found = json.loads(searched.out)
    assert found["best"]["measurement"]["n"] == 16
    assert found["certification"]["n"] == 24


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ("  certify: demo:calibration\n  certify_samples: 5", "", "shows the image of calibration"),
        (CERTIFY, "metric: log_likelihood", "metric log_likelihood has no bounds"),
        ("", "certify: {tolerance: 0.1}", "names no `data.certify`"),
        (CERTIFY, "certify: {tasks: {colour: 0.1}}", "the `kind` 'colour' of `certify.tasks`"),
    ],
)
def test_what_cannot_be_certified_is_refused(run, written, data, more, message):
    searched = run("search", written(data, more))
    assert searched.code == 2
    assert message in searched.err


@pytest.mark.parametrize(
    ("split", "more"), [("certify", "\ncertify: {tolerance: 0.5}"), ("held_out", "")]
)
def test_set_on_which_a_start_was_searched_is_refused_before_the_search(run, tmp_path, split, more):
    former, later = tmp_path / "former.yaml", tmp_path / "later.yaml"
    former.write_text(BEGINS.format("former", "certify", "", "published"))
    assert run("search", former, "--store", tmp_path / "s.db").code == 0

    judges = f"{split}: demo:certify\n  {split}_samples: 12{more}"
    later.write_text(BEGINS.format("later", "calibration", judges, "study:former"))
    refused = run("search", later, "--store", tmp_path / "s.db")
    assert refused.code == 2
    assert "study `later` begins with the result of study `former`" in refused.err
    with open_store(tmp_path / "s.db", create=False) as store:
        assert store.trials("later") == []


def test_default_tolerance_of_0_is_refused(run, written, tmp_path):
    text = (tmp_path / written()).read_text().replace("tolerance: 0.5", "tolerance: 0")
    (tmp_path / "study.yaml").write_text(text)
    assert "`certify.tolerance` is missing" in run("search", "study.yaml").err
