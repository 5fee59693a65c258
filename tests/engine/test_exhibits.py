"""Exhibits show what the masked reference keeps, what the model says, and what it sees."""

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from schedsearch import RankerSpec, Schedule, UnsupportedError
from schedsearch.core.exhibit import KEPT_BYTES, PICTURE_BYTES, ScoredSample
from schedsearch.core.sample import Grid, Sample
from schedsearch.evaluation import evaluator as evaluators
from schedsearch.evaluation import exhibits, sheet
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from schedsearch.evaluation.pictures import picture_of
from schedsearch.models.adapters import adapter_for
from schedsearch.models.layout import TokenGrid
from schedsearch.testing import masked_forward
from tests.engine.embedded import IDS, QUESTIONS, REDUCED, Listed, embedded, prompt_of
from tests.engine.families import FAMILIES, LAYERS
from tests.engine.processors import PROCESSORS

ASKED = [ScoredSample(name, 0.25, 0.75) for name in IDS[:12]]


def bits(kept: bytes, n: int) -> list[int]:
    return np.flatnonzero(np.unpackbits(np.frombuffer(kept, np.uint8))[:n]).tolist()


@pytest.fixture(scope="module")
def shots():
    model, processor = embedded()
    metric = make_metric("exact_match")
    return Evaluator(model, processor, QUESTIONS, metric).exhibits(REDUCED, ASKED)


def test_kept_tokens_are_those_of_the_masked_reference(shots):
    model, _ = embedded("eager")  # which shows its attention
    for (exhibit, _), sample in zip(shots, QUESTIONS, strict=False):
        inputs = prompt_of(sample)
        vision = adapter_for(model).vision_mask(model, inputs["input_ids"])[0]
        rows = [inputs["input_ids"].shape[1] - 1]
        ids = adapter_for(model).vision_token_ids(model)
        _, masked = masked_forward(model, inputs, REDUCED.keep, rows, None, ids)
        places = {column: at for at, column in enumerate(vision.nonzero().flatten().tolist())}
        expected = set(places.values())
        assert exhibit.n_vision == len(places)
        for layer, kept in enumerate(exhibit.kept):
            if layer in masked:
                expected = {places[column] for column in masked[layer]}
            assert set(bits(kept, len(places))) == expected, layer


def test_counts_are_those_of_the_schedule_and_sets_are_nested(shots):
    assert [one.name for one, _ in shots] == [one.id for one in ASKED]
    for exhibit, _ in shots:
        assert exhibit.counts == REDUCED.counts(exhibit.n_vision)
        sets = [set(bits(one, exhibit.n_vision)) for one in exhibit.kept]
        assert all(later <= layer for layer, later in pairwise(sets))
        for layer, kept in enumerate(sets):
            ((view, gone),) = exhibit.removed(layer)
            assert {*range(view.tokens)} - {*gone} == kept


def test_answers_are_what_the_model_says(shots):
    model, processor = embedded()
    said = [one.full_answer for one, _ in shots]
    for sample, answer in zip(QUESTIONS, said, strict=False):
        inputs = prompt_of(sample)
        output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
        tokens = output[:, inputs["input_ids"].shape[1] :]
        assert processor.batch_decode(tokens, skip_special_tokens=True)[0].strip() == answer
    assert any(one.changed for one, _ in shots)
    exhibit = shots[3][0]
    assert (exhibit.place, exhibit.score, exhibit.full_score) == (3, 0.25, 0.75)
    assert exhibit.question == list(QUESTIONS)[3].question


def test_picture_is_the_image_and_its_grid_covers_it(shots):
    for (exhibit, raw), sample in zip(shots, QUESTIONS, strict=False):
        (view,) = exhibit.views
        assert (view.rows, view.columns, view.box) == (8, 8, (0.0, 0.0, 1.0, 1.0))
        assert len(raw) <= PICTURE_BYTES
        assert (exhibit.width, exhibit.height) == Image.open(io.BytesIO(raw)).size == (64, 64)
        shown = np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"), dtype=float)
        whole = np.asarray(sample.images[0]().convert("RGB").resize((64, 64)), dtype=float)
        assert abs(shown - whole).mean() < 1e-6  # small enough to lose nothing


@pytest.mark.parametrize("name", ["internvl_qwen2", "qwen2_vl", "idefics3", "llava_next"])
def test_several_images_are_on_one_picture(name):
    model, processor = FAMILIES[name].build("sdpa"), PROCESSORS[name]()
    model.generation_config.eos_token_id = 2
    drawn = np.random.default_rng(3).integers(0, 256, (2, 16, 32, 3), dtype=np.uint8)
    images = tuple(lambda one=one: Image.fromarray(one) for one in drawn)
    sample = Sample("pair", "what is in the picture ?", ("red",), images)
    schedule = Schedule((1.0, 1.0, 0.5, 0.5, 0.25)[:LAYERS], RankerSpec("last"))
    made = Evaluator(model, processor, Listed(sample), make_metric("vqa_accuracy"))
    ((exhibit, raw),) = made.exhibits(schedule, [ScoredSample("pair", 0.0, 0.0)])
    assert exhibit.counts == schedule.counts(exhibit.n_vision)
    assert exhibit.knows_places == (name != "llava_next")
    if exhibit.knows_places:
        boxes = [view.box for view in exhibit.views]
        assert len({*boxes}) == len(boxes) > 1
        assert all(0 <= one.left < one.left + one.width <= 1 for one in boxes)
        assert all(0 <= one.top < one.top + one.height <= 1 for one in boxes)
    else:
        assert [view.rows for view in exhibit.views] == [1]
    assert Image.open(io.BytesIO(raw)).size == (exhibit.width, exhibit.height)
    assert max(exhibit.width, exhibit.height) <= 512


def test_pictures_are_small_whatever_they_show():
    noise = np.random.default_rng(5).integers(0, 256, (16, 1400, 1000, 3), dtype=np.uint8)
    images = [Image.fromarray(one) for one in noise]
    for count in (1, 2, 16):
        layout = [TokenGrid(Grid(2, 3), None)] * count
        raw, _, views = picture_of(layout, images[:count], 6 * count, None)
        assert len(raw) <= PICTURE_BYTES
        assert len(views) == count
    raw, _, (view,) = picture_of(layout, images, 95, None)  # other tokens than the grids have
    assert (view.rows, view.columns, view.box) == (1, 95, None)


def test_pillow_without_webp_is_an_error_with_its_remedy(monkeypatch):
    monkeypatch.setattr(sheet.features, "check", lambda _name: False)
    with pytest.raises(UnsupportedError, match="WebP.*install a wheel"):
        picture_of(None, [Image.new("RGB", (8, 8))], 4, None)


def test_sample_of_too_many_tokens_is_left_out(monkeypatch):
    model, processor = embedded()
    made = Evaluator(model, processor, QUESTIONS, make_metric("exact_match"))
    size = REDUCED.layers * 8
    monkeypatch.setattr(exhibits, "KEPT_BYTES", size - 1)
    assert made.exhibits(REDUCED, ASKED[:2]) == []
    monkeypatch.setattr(exhibits, "KEPT_BYTES", size)
    assert len(made.exhibits(REDUCED, ASKED[:2])) == 2
    assert size < KEPT_BYTES


def test_longest_answer_is_that_of_a_metric_that_generates(monkeypatch):
    model, processor = embedded()
    monkeypatch.setattr(evaluators, "_ANSWER", 0)  # not asked for
    made = Evaluator(model, processor, QUESTIONS, make_metric("vqa_accuracy"))
    (shot, *_) = made.exhibits(REDUCED, ASKED[:1])
    assert shot[0].full_answer


def test_model_is_as_before():
    model, processor = embedded()
    inputs = prompt_of(next(iter(QUESTIONS)))
    with torch.no_grad():
        before = model(**inputs).logits
        Evaluator(model, processor, QUESTIONS, make_metric("exact_match")).exhibits(
            REDUCED, ASKED[:2]
        )
        assert torch.equal(model(**inputs).logits, before)
