"""A tiny run of the whole recipe: interrupted, continued, damaged."""

import errno
import json
import os

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from schedsearch.demo.card import load_results, write_card
from schedsearch.demo.recipe import Recipe
from schedsearch.demo.train import STATE_FILE, Progress, run_stages, train
from schedsearch.errors import InputError, RunError

TINY = Recipe(
    steps=20,
    seed=3,
    shares=(0.2, 0.1, 0.1),
    tower_images=2,
    images=2,
    questions=4,
    save_every=3,
    evaluate_every=100,
    validation_samples=12,
    hidden=32,
    layers=2,
)


class Interrupted(Exception):
    pass


def ignore(progress):
    del progress


def full_disk(_descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt_at(monkeypatch, wanted):
    """Raise instead of taking the `wanted`-th optimiser step of this process."""
    import schedsearch.demo.train as module

    taken = 0
    step = module._step

    def counted(*args):
        nonlocal taken
        if taken == wanted:
            raise Interrupted
        taken += 1
        return step(*args)

    monkeypatch.setattr(module, "_step", counted)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return run_stages(TINY, folder / STATE_FILE, ignore).model.state_dict()


@pytest.mark.parametrize("at", [1, 4, 7, 13, 19])
def test_a_continued_run_ends_with_the_same_bits(tmp_path, monkeypatch, uninterrupted, at):
    """Steps 4 and 13 lie on and off the boundary of a stage; 1 lies before the first state."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, at)
        with pytest.raises(Interrupted):
            run_stages(TINY, tmp_path / STATE_FILE, ignore)

    continued = run_stages(TINY, tmp_path / STATE_FILE, ignore).model.state_dict()

    assert continued.keys() == uninterrupted.keys()
    for name, weight in uninterrupted.items():
        assert torch.equal(continued[name], weight), name


def test_every_part_of_the_model_learns(uninterrupted):
    from schedsearch.demo.stages import new_learner

    start = new_learner(TINY).model.state_dict()

    for part in ("vision_tower", "multi_modal_projector", "language_model", "lm_head"):
        moved = [
            not torch.equal(start[name], uninterrupted[name]) for name in start if part in name
        ]
        assert any(moved), part


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "other"])
def test_a_damaged_state_is_named_with_its_remedy(tmp_path, monkeypatch, damage):
    state = tmp_path / STATE_FILE
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        with pytest.raises(Interrupted):
            run_stages(TINY, state, ignore)
    whole = state.read_bytes()
    if damage == "other":
        torch.save({"weights": torch.zeros(2)}, state)
    else:
        state.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[damage])

    with pytest.raises(InputError) as caught:
        run_stages(TINY, state, ignore)

    assert str(state) in str(caught.value)
    assert "delete the file" in str(caught.value)


def test_another_recipe_does_not_continue_a_run(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        with pytest.raises(Interrupted):
            train(tmp_path, recipe=TINY, report=ignore)

    with pytest.raises(InputError, match="seed=3 there and 0 here"):
        train(tmp_path, steps=20, report=ignore)


def test_an_interrupted_write_leaves_the_former_state(tmp_path, monkeypatch, uninterrupted):
    state = tmp_path / STATE_FILE
    with monkeypatch.context() as patch:
        interrupt_at(patch, 7)
        with pytest.raises(Interrupted):
            run_stages(TINY, state, ignore)
    left = state.with_name(f".{STATE_FILE}.0123abcd.partial")
    left.write_bytes(b"half a sta")

    continued = run_stages(TINY, state, ignore).model.state_dict()

    assert not left.exists()
    assert all(torch.equal(continued[name], weight) for name, weight in uninterrupted.items())


def test_a_state_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)

    with pytest.raises(RunError, match=f"{STATE_FILE}: the training state cannot be written"):
        run_stages(TINY, tmp_path / STATE_FILE, ignore)


def test_a_run_reports_and_leaves_a_complete_checkpoint(tmp_path, uninterrupted):
    reports: list[Progress] = []
    threads = torch.get_num_threads()

    folder = train(tmp_path, recipe=TINY, report=reports.append, held_out=24)

    assert [report.stage for report in reports] == list(TINY.stage_steps())
    assert [report.done for report in reports] == [4, 6, 8, 20]
    assert set(reports[-1].accuracy) >= {"overall", "withdrawn", "exist", "count"}
    assert torch.get_num_threads() == threads
    loaded = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float16)
    name = "model.language_model.layers.1.mlp.up_proj.weight"
    # Another training, on one thread: sums in another order differ in the last bits of a half.
    torch.testing.assert_close(
        loaded.state_dict()[name], uninterrupted[name].half(), rtol=1e-3, atol=1e-3
    )
    card = (folder / "README.md").read_text()
    assert "seed 3 and 20 steps" in card
    assert "hidden from layer 1 on" in card
    assert "tau" not in card


def test_the_card_can_be_rewritten_with_tau(tmp_path):
    folder = train(tmp_path, recipe=TINY, report=ignore, held_out=24)
    results = load_results(folder)

    write_card(folder, results, tau=[0.25])

    card = (folder / "README.md").read_text()
    assert "| 0, 1 | 0.25 |" in card
    assert json.loads((folder / "results.json").read_text())["samples"] == 24
    assert f"| all | {results.full.overall.share:.3f} |" in card


def test_a_checkpoint_that_cannot_be_written_is_named_and_leaves_the_former(tmp_path, monkeypatch):
    folder = train(tmp_path, recipe=TINY, report=ignore, held_out=24)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setattr(os, "fsync", full_disk)

    with pytest.raises(RunError, match="checkpoint: the checkpoint cannot be written"):
        train(tmp_path, recipe=TINY, report=ignore, held_out=24)

    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert {file.name for file in tmp_path.iterdir()} == {STATE_FILE, "checkpoint"}


@pytest.mark.parametrize(
    "files", [{"config.json": "{}"}, {"README.md": "# My own model"}, {"notes.txt": ""}]
)
def test_a_checkpoint_folder_of_something_else_is_refused_before_training(tmp_path, files):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)

    with pytest.raises(InputError, match="checkpoint: exists and is not a checkpoint of this"):
        train(tmp_path, recipe=TINY, report=ignore)

    assert {file.name: file.read_text() for file in folder.iterdir()} == files
    assert list(tmp_path.iterdir()) == [folder]
    train(tmp_path, recipe=TINY, report=ignore, held_out=24, force=True)
    assert {*files, "model.safetensors"} <= {file.name for file in folder.iterdir()}


@pytest.mark.parametrize(("option", "value"), [("threads", 0), ("steps", 5), ("seed", -1)])
def test_unusable_numbers_are_refused_by_name(tmp_path, option, value):
    with pytest.raises(InputError, match=f"`{option}` must be"):
        train(tmp_path, report=ignore, **{option: value})


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")

    with pytest.raises(InputError, match="taken: cannot be used as a folder"):
        train(tmp_path / "taken", steps=20)
