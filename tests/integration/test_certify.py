"""From a search to its certificate, on the embedded model."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from schedsearch import DataError, InputError, Schedule, open_study, reduce
from schedsearch.app.attended import attended
from schedsearch.app.bootstrap import silent
from schedsearch.app.held_out import HeldOut
from schedsearch.app.report import write_report, write_schedule
from schedsearch.app.report_certificate import verdict
from schedsearch.app.report_text import render
from schedsearch.app.study import Study
from schedsearch.core import bounds, intervals
from schedsearch.core.certificate import Certification
from schedsearch.core.sample import Part
from schedsearch.core.trial import Task
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.models.fingerprint import remember_files, weights_fingerprint
from schedsearch.models.loading import load_model
from schedsearch.reduction import certified as runtime
from tests.engine.embedded import Listed, embedded

SEARCH = {"tolerance": 0.2, "first": 6, "floor": 24}
FRESH, FEW = ShapesVQA("certify", 40), ShapesVQA("certify", 24)


def opened(folder: Path, name: str = "s", *, n: int = 20, **options: Any) -> Study:
    model, processor = options.pop("loaded", None) or embedded()
    settings = {"sampler": SEARCH, "store": folder / "s.db", "name": name, **options}
    return open_study(model, ShapesVQA("calibration", n), processor=processor, **settings)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Iterator[Study]:
    with opened(tmp_path_factory.mktemp("certified")) as made:
        made.run()
        yield made


@pytest.fixture(scope="module")
def found(study) -> Certification:
    return study.certify(FRESH, 0.2)


@cache
def drops(schedule: Schedule) -> list[float]:
    evaluator = Evaluator(*embedded(), FRESH, make_metric("exact_match"))
    ids = tuple(one.id for one in FRESH)
    full, own = (
        [one.score for one in evaluator.evaluate(Task(tried, "certify", ids))]
        for tried in (Schedule.full(8), schedule)
    )
    return [a - b for a, b in zip(full, own, strict=True)]


def test_certified_schedule_is_the_last_that_its_own_scores_prove(found):
    assert 0 < found.proven <= len(found.links)
    for number, link in enumerate(found.links):
        own = drops(link.schedule)
        assert link.drop.value == pytest.approx(intervals.mean(own).value)
        p_value = bounds.Flips.of(own).p_value(0.2)
        assert link.p_value == p_value
        assert (p_value <= 0.05) == (number < found.proven)
    best = found.best
    assert best.schedule == found.links[found.proven - 1].schedule
    proof = best.schedule.certificate
    assert proof.bound == bounds.Flips.of(drops(best.schedule)).upper_bound(0.05)
    assert (proof.n, proof.tolerance, proof.alpha) == (40, 0.2, 0.05)
    assert (proof.data_digest, proof.schedule) == (FRESH.digest(), best.schedule.digest())


def test_drop_of_the_found_schedule_is_that_on_samples_which_did_not_choose_it(found, study):
    assert found.found.schedule == study.best
    assert found.found.drop.value == pytest.approx(intervals.mean(drops(study.best)).value)


def test_same_request_is_answered_from_the_store(study, found, monkeypatch):
    monkeypatch.setattr(study.executor, "submit", lambda *_: pytest.fail("evaluated again"))
    assert study.certify(FRESH, 0.2) == found
    assert study.certification == found


@pytest.mark.parametrize("change", [{"tolerance": 0.1}, {"tolerance": 0.2, "alpha": 0.1}])
def test_another_request_on_the_same_samples_is_refused(study, found, change):
    with pytest.raises(InputError, match="has looked at 40 of the 40 .*give fresh ones"):
        study.certify(FRESH, **change)
    with pytest.raises(InputError, match="has looked at 40 of the 70 .*the samples have changed"):
        study.certify(ShapesVQA("certify", 70), 0.2)
    assert study.certification == found


def test_search_that_went_on_needs_fresh_samples(tmp_path):
    with opened(tmp_path) as study:
        study.run(n_trials=3)
        study.certify(FEW, 0.5)
        study.run()
        with pytest.raises(InputError, match="another chain of schedules, since the search has"):
            study.certify(FEW, 0.5)
        again = study.certify(ShapesVQA("certify", 24, seed=1), 0.5)
        assert study.store.certifications("s")[-1] == again


def test_interrupted_certification_goes_on_and_looks_at_no_other_chain(tmp_path, monkeypatch):
    with opened(tmp_path) as study:
        study.run()
        with monkeypatch.context() as broken:
            broken.setattr("schedsearch.app.certify.bounds.certified", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                study.certify(FEW, 0.5)
        with pytest.raises(InputError, match="another tolerance"):
            study.certify(FEW, 0.4)
        assert study.certify(FEW, 0.5).proven


def test_attempt_that_proves_nothing_takes_back_what_was_proven(tmp_path):
    with opened(tmp_path) as study:
        study.run()
        first = study.certify(FEW, 0.5)
        assert (first.attempt, first.certificate.attempt) == (1, 1)
        assert "attempt 1 of this study." in verdict(first)
        failed = study.certify(ShapesVQA("certify", 12, seed=1), 0.05)
        assert (failed.attempt, failed.proven) == (2, 0)
        assert study.certified == first.best.schedule  # of a greater tolerance
        begun = study.created()

        lost = study.certify(ShapesVQA("certify", 3, seed=2), 0.5)
        assert (lost.attempt, lost.proven) == (3, 0)
        assert "for this tolerance or a smaller one is taken back" in verdict(lost)
        assert study.certified is None
        write_schedule(study, tmp_path / "s.json")
        assert Schedule.load(tmp_path / "s.json").certificate is None
        assert first.certificate.claim not in render(study, None).replace("\\", "")

        again = study.certify(ShapesVQA("certify", 24, seed=3), 0.5)
        assert study.certified == again.best.schedule
        assert again.certificate.attempt == 4
        assert "(attempt 4 of this study; " in again.certificate.claim
        assert study.created() > begun
        write_schedule(study, tmp_path / "s.json")
        assert Schedule.load(tmp_path / "s.json").certificate == again.certificate


def test_result_that_came_after_the_proof_is_not_said_to_have_failed(tmp_path):
    with opened(tmp_path) as study:
        study.run(n_trials=3)
        former = study.certify(FEW, 0.5).found.schedule
        study.run()
        assert study.best != former
        text = render(study, None)
    assert f"trial {study.best_trial.number}, of which nothing was to be proven yet" in text
    assert "could not be proven" not in text.split("## Cert")[0]


def test_samples_of_one_image_make_no_interval_shorter(tmp_path):
    copies = [replace(one, id=f"{one.id}-{n}") for one in FRESH for n in range(2)]
    with opened(tmp_path) as study:
        study.run()
        found = study.certify(Listed(*copies, split="certify"), 0.5, per_image=2).found
    assert (found.score.value, found.score.n) == (1, 80)
    assert found.score.low == intervals.of_scores([1.0] * 40).low


def test_set_that_a_study_was_searched_on_judges_none_that_begins_with_it(tmp_path):
    (model, processor), known = embedded(), ShapesVQA("calibration", 20)
    begins = {"sampler": "random", "trials": 1, "budget": {"flops": 0.9}, "family": "linear"}
    options = {"processor": processor, "store": tmp_path / "s.db"}
    with opened(tmp_path, "a") as first:
        first.run()
    for number, (name, start) in enumerate((("b", "study:a"), ("c", "study:b"))):
        options |= {"name": name, "sampler": begins | {"warm_start": [start]}}
        with open_study(model, ShapesVQA("calibration", 20, seed=1), **options) as study:
            study.run()
            with pytest.raises(InputError, match=f"`{name}` begins .* study `a` .*certify samples"):
                study.certify(known, 0.5)
            with pytest.raises(InputError, match="study `a` .*held-out samples"):
                HeldOut(study, Part(known, frozenset(one.id for one in known), "held-out"), silent)
            assert study.store.check().rows["certification"] == number
            assert study.certify(FEW, 0.5).attempt == 1


def test_what_was_wished_while_the_last_trial_was_at_work_holds_for_the_last_step(tmp_path):
    with opened(
        tmp_path, sampler={"sampler": "random", "trials": 1, "budget": {"flops": 0.9}}
    ) as one:
        run = one.run(callbacks=[lambda study, _trial: study.store.wish(study.name, "pause")])
        assert run.ending == "finished"
        with attended(one, run, silent) as last:
            one.certify(FRESH, 0.5, progress=last.start)
        assert last.ending == "paused"
        assert one.certification is None
        with attended(one, one.run(), silent) as last:
            one.certify(FRESH, 0.5, progress=last.start)
        assert last.ending == "finished"
        assert one.store.study(one.name).progress.phase == "the result is judged: found schedule"


def test_too_few_samples_say_how_many_it_takes(tmp_path):
    with opened(tmp_path) as study:
        study.run()
        found = study.certify(ShapesVQA("certify", 12), 0.05)
    assert (found.proven, found.best, found.certificate) == (0, None, None)
    assert len(found.links) == 1
    assert 12 < found.needed < 2000


def test_samples_that_the_search_has_seen_are_refused(study):
    with pytest.raises(DataError, match="certify sample .* shows the image of calibration sample"):
        study.certify([*ShapesVQA("calibration", 1), *ShapesVQA("certify", 5)], 0.2)


def test_metric_without_bounds_is_refused(tmp_path):
    with opened(tmp_path, metric="log_likelihood", sampler={"tolerance": 9, "first": 7}) as study:
        study.run()
        with pytest.raises(InputError, match="log_likelihood has no bounds.*give a `Func"):
            study.certify(FRESH, 0.2)
        assert study.store.check().rows["certification"] == 0


def test_weights_that_differ_are_refused(tmp_path):
    model, processor = load_model(embedded()[0].config._name_or_path, device="cpu")
    with opened(tmp_path, loaded=(model, processor)) as study:
        study.run()
        model.lm_head.weight.data[0] += 1
        with pytest.raises(InputError, match="weights .* are not those that study `s` searched"):
            study.certify(FRESH, 0.2)
        assert study.store.check().rows["certification"] == 0


@pytest.mark.parametrize(("asked", "message"), [(0.0, "must be above 0"), (2.0, "at most 1")])
def test_tolerance_that_nothing_proves_is_refused(study, asked, message):
    with pytest.raises(InputError, match=message):
        study.certify(ShapesVQA("certify", 5, seed=9), asked)


def test_exported_schedule_carries_the_certificate(study, found, tmp_path):
    write_schedule(study, tmp_path / "s.json")
    loaded = Schedule.load(tmp_path / "s.json")
    assert loaded == found.best.schedule
    assert loaded.certificate == found.certificate
    content = json.loads((tmp_path / "s.json").read_text("utf-8"))
    assert content["results"]["flops_ratio"] == found.best.flops_ratio
    assert [one["split"] for one in content["results"]["scores"]] == ["certify"]
    begun = study.store.certification_times(study.name)[-1]
    assert content["provenance"]["created"] == f"{begun:%Y-%m-%dT%H:%M:%SZ}"
    write_schedule(study, tmp_path / "t.json", trial=study.best_trial)
    assert Schedule.load(tmp_path / "t.json").certificate is None


def test_report_says_the_claim(study, found, tmp_path):
    text = (write_report(study, None, tmp_path / "r") / "report.md").read_text("utf-8")
    assert found.certificate.claim in text.replace("\\", "")
    assert "## Certificate" in text
    assert "did not choose it" in text


def test_report_says_first_which_schedule_it_hands_out_and_what_is_proven_of_it(
    study, found, monkeypatch
):
    def summary() -> str:
        return render(study, None).split("\n\n")[1].replace("\\", "")

    claim, best = found.certificate.claim, study.best_trial
    assert found.best.schedule == study.best
    assert summary().startswith("schedule.json is the found schedule. ")
    assert f" of its KV cache. **{claim}** The found schedule loses" in summary()
    assert "cheaper" not in summary()

    whole = Schedule.full(8)
    link = replace(found.found, schedule=whole, flops_ratio=0.9321)
    proof = replace(found.certificate, schedule=whole.digest())
    milder = replace(found, links=(link, *found.links), proven=1, certificate=proof)
    monkeypatch.setattr(Study, "certification", property(lambda _: milder))
    certified, cheaper = summary().split(" The search found a cheaper one, ")
    assert certified.startswith("schedule.json is the certified schedule. ")
    assert "93.2 % of the decoder's FLOPs" in certified and certified.endswith(f"**{claim}**")
    assert cheaper.startswith(f"trial {best.number}, of which that could not be proven")
    assert f"{100 * best.measurement.flops_ratio:.1f} % of the decoder's FLOPs" in cheaper

    monkeypatch.setattr(Study, "certification", property(lambda _: None))
    assert "is not certified" in summary() and claim not in summary()


def test_certify_samples_say_what_the_found_schedule_loses_and_not_what_the_certified_one_does(
    study, found, monkeypatch
):
    lost = study.loss(study.best)
    assert (lost.data, lost.drop) == (found.request.data, found.found.drop)
    whole = Schedule.full(8)
    link = replace(found.found, schedule=whole)
    proof = replace(found.certificate, schedule=whole.digest())
    milder = replace(found, links=(link, *found.links), proven=1, certificate=proof)
    monkeypatch.setattr(Study, "certification", property(lambda _: milder))
    assert study.certified == whole
    assert study.loss(study.certified) is None  # it was chosen by these samples
    assert study.loss(study.best) == lost


def test_runtime_says_the_claim_and_warns_of_other_weights(found, caplog):
    schedule, (model, _) = found.best.schedule, embedded()
    runtime._said.clear()
    with caplog.at_level(logging.INFO, "schedsearch"):
        for _ in range(2):
            with reduce(model, schedule):
                pass
    assert [one.levelname for one in caplog.records] == ["INFO"]
    assert caplog.messages == [found.certificate.claim]
    caplog.clear()
    other, _ = load_model(model.config._name_or_path, device="cpu")
    other.lm_head.weight.data[0] += 1
    with caplog.at_level(logging.WARNING, "schedsearch"), reduce(other, schedule):
        pass
    (said,) = caplog.messages
    assert "proven of other weights" in said


def quantized(model: Any) -> None:
    model.config.quantization_config = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


@pytest.mark.parametrize(
    ("dtype", "change", "own"),
    [
        ("bfloat16", None, "bfloat16"),
        ("float16", None, "float16"),
        ("float32", quantized, "float32, 4bit nf4"),
    ],
)
def test_runtime_warns_of_another_precision(found, caplog, dtype, change, own):
    schedule, proof = found.best.schedule, found.certificate
    assert (proof.dtype, proof.quantization) == ("float32", None)
    model, _ = load_model(embedded()[0].config._name_or_path, device="cpu", dtype=dtype)
    if change is not None:
        change(model)
    assert weights_fingerprint(model) in proof.weights
    with caplog.at_level(logging.WARNING, "schedsearch"), reduce(model, schedule):
        pass
    (said,) = caplog.messages
    assert f"proven in another precision (float32) than this model's ({own})" in said
    assert "certify the schedule with this model, loaded as it is served" in said


def test_certificate_without_a_dtype_speaks_of_the_weights_in_memory(found):
    proof = replace(found.certificate, dtype=None)
    path = embedded()[0].config._name_or_path
    model, _ = load_model(path, device="cpu", dtype="bfloat16")
    assert runtime.doubt(model, proof) is None
    with torch.no_grad():
        model.lm_head.weight.mul_(1.5)  # as if it had been quantised while it was loaded
    remember_files(model, path, None)
    assert weights_fingerprint(model) in proof.weights
    assert "than this model has in memory" in runtime.doubt(model, proof)


def test_runtime_warns_of_weights_and_adapters_that_come_later(found, caplog):
    schedule = found.best.schedule
    model, _ = load_model(embedded()[0].config._name_or_path, device="cpu")

    def said() -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "schedsearch"):
            for _ in range(2):
                with reduce(model, schedule):
                    pass
        return caplog.messages

    assert said() == []
    with torch.no_grad():
        model.lm_head.weight[0] += 1
    assert len(said()) == 1
    assert said() == []
    with torch.no_grad():
        model.lm_head.weight[0] -= 1
    said()
    model.add_adapter(LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    assert len(said()) == 1
    model.disable_adapters()
    assert len(said()) == 1
    model.to(torch.bfloat16)
    assert len(said()) == 1


def test_model_that_was_loaded_by_other_means_is_recognised(found, caplog):
    from transformers import AutoModelForImageTextToText

    name = embedded()[0].config._name_or_path
    model = AutoModelForImageTextToText.from_pretrained(name, dtype=torch.float32).eval()
    with caplog.at_level(logging.WARNING, "schedsearch"), reduce(model, found.best.schedule):
        pass
    assert caplog.messages == []


def test_every_kind_can_have_its_own_tolerance(tmp_path):
    kinds = {one.kind for one in FRESH}
    with opened(tmp_path) as study:
        study.run()
        found = study.certify(FRESH, tasks=dict.fromkeys(kinds, 0.5))
        loose = study.certify(ShapesVQA("certify", 40, seed=1), 0.5)
    assert found.links[0].p_value > loose.links[0].p_value  # of a few samples each
    assert replace(found.request, chain="") != replace(loose.request, chain="")
