"""After the context, however it ends, the model is exactly what it was before."""

import threading
from typing import Any

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from schedsearch import RankerSpec, Schedule, UnsupportedError, reduce
from schedsearch.testing.subject import Breakdown, breaking
from tests.engine.stepping import Stepper
from tests.engine.tiny import (
    CONFIGURATIONS,
    KEEP,
    TOLERANCE,
    TinyLlava,
    build,
    pad,
    question,
    shared,
)

SCHEDULE = Schedule(KEEP)
SAMPLE = question(61)


HOOKS = ("hooks", "hooks_with_kwargs", "hooks_always_called")


def state(model: Any) -> dict[str, Any]:
    """Everything that hooking a model could change."""
    found: dict[str, Any] = {"generation": model.generation_config.to_dict()}
    for name, module in model.named_modules():
        own = vars(module)
        hooks = {key: list(own[key]) for key in own if key.endswith(HOOKS)}
        config = own.get("config")
        attention = getattr(config, "_attn_implementation", None)
        found[name] = (sorted(own), hooks, id(config), vars(config).keys() if config else None)
        found[name] += (attention, own.get("forward"), own.get("generate"))
    return found


@pytest.fixture
def model() -> Any:
    model = build(TinyLlava())
    model(**SAMPLE)  # transformers leaves marks of its own at the first forward
    return model


@pytest.mark.parametrize("ranker", ["last", "random"])
@pytest.mark.parametrize("tiny", CONFIGURATIONS, ids=str)
def test_leaving_the_context_restores_model_and_outputs(tiny: TinyLlava, ranker: str) -> None:
    model = build(tiny)
    expected = model(**SAMPLE).logits
    before = state(model)

    with reduce(model, Schedule(KEEP, RankerSpec(ranker))):
        reduced = model(**SAMPLE).logits
        model.generate(**SAMPLE, max_new_tokens=2)
        assert state(model) != before

    assert state(model) == before
    assert torch.equal(model(**SAMPLE).logits, expected)
    assert not torch.equal(reduced, expected)


PLACES = {
    "middle of a layer": ("language_model.layers.3.mlp", 1),
    "middle of a decode step": ("language_model.layers.3.mlp", 3),
    "ranking layer": ("language_model.layers.1.self_attn", 1),
    "vision tower": ("vision_tower", 1),
    "final norm": ("language_model.norm", 1),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_exception_inside_generate_restores_the_model(model: Any, place: str) -> None:
    name, call = PLACES[place]
    expected = model.generate(**SAMPLE, max_new_tokens=4, do_sample=False)
    with breaking(model.model.get_submodule(name), call):
        before = state(model)
        with pytest.raises(Breakdown), reduce(model, SCHEDULE):
            model.generate(**SAMPLE, max_new_tokens=4)
        assert state(model) == before
    assert torch.equal(model.generate(**SAMPLE, max_new_tokens=4, do_sample=False), expected)


@pytest.mark.parametrize("place", PLACES)
def test_the_reduction_survives_a_failed_generate(model: Any, place: str) -> None:
    name, call = PLACES[place]

    with reduce(model, SCHEDULE) as reduction:
        expected = model.generate(**SAMPLE, max_new_tokens=4, do_sample=False)
        kept = reduction.kept
        with breaking(model.model.get_submodule(name), call), pytest.raises(Breakdown):
            model.generate(**SAMPLE, max_new_tokens=4)

        again = model.generate(**SAMPLE, max_new_tokens=4, do_sample=False)
        assert torch.equal(again, expected)
        assert all(torch.equal(reduction.kept[layer], kept[layer]) for layer in kept)


def test_the_inputs_of_a_failed_forward_are_forgotten(model: Any) -> None:
    """They would pass for those of whoever calls the decoder next, and hold images in memory."""
    with reduce(model, SCHEDULE):
        with breaking(model.model.vision_tower, 1), pytest.raises(Breakdown):
            model(**SAMPLE)
        with pytest.raises(UnsupportedError, match="decoder was called without"):
            model.get_decoder()(inputs_embeds=torch.zeros(1, 81, 64))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_of_the_caller_restores_the_model(model: Any, error: Any) -> None:
    before = state(model)

    with pytest.raises(error), reduce(model, SCHEDULE):
        model(**SAMPLE)
        raise error

    assert state(model) == before


def test_a_failed_entry_leaves_nothing_behind(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = model.get_decoder().layers[4]
    before = state(model)

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise Breakdown

    with monkeypatch.context() as patch:
        patch.setattr(type(layer), "register_forward_pre_hook", refuse)
        with pytest.raises(Breakdown), reduce(model, SCHEDULE):
            pass

    assert state(model) == before
    with reduce(model, SCHEDULE):
        model(**SAMPLE)


def test_a_generate_of_its_own_comes_back(model: Any) -> None:
    original = model.generate
    seen = []

    def generate(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["max_new_tokens"])
        return original(*args, **kwargs)

    model.generate = generate

    with reduce(model, SCHEDULE):
        model.generate(**SAMPLE, max_new_tokens=2)

    assert model.generate is generate
    assert seen == [2]


def test_two_schedules_in_a_row_do_not_mix(model: Any) -> None:
    other = Schedule((1.0, 0.5, 0.5, 0.5, 0.5, 0.5), RankerSpec("text"))
    expected = []
    for schedule in (SCHEDULE, other):
        fresh = build(TinyLlava())
        with reduce(fresh, schedule) as reduction:
            expected.append((fresh(**SAMPLE).logits, dict(reduction.kept)))

    for schedule, (logits, kept) in zip((SCHEDULE, other), expected, strict=True):
        with reduce(model, schedule) as reduction:
            # Another object with the same weights: equal up to rounding, schedules differ by .1.
            assert (model(**SAMPLE).logits - logits).abs().max() < TOLERANCE
            assert reduction.kept.keys() == kept.keys()
    assert (expected[0][0] - expected[1][0]).abs().max() > 0.1


def test_a_second_reduction_of_the_same_model_is_refused(model: Any) -> None:
    with reduce(model, SCHEDULE):
        inside = state(model)
        expected = model(**SAMPLE).logits
        with pytest.raises(UnsupportedError, match="already active"), reduce(model, SCHEDULE):
            pass
        assert state(model) == inside
        assert torch.equal(model(**SAMPLE).logits, expected)

    with reduce(model, SCHEDULE):
        pass


def test_another_thread_is_refused_a_second_reduction(model: Any) -> None:
    errors = []

    def enter() -> None:
        try:
            with reduce(model, SCHEDULE):
                pass
        except UnsupportedError as error:
            errors.append(str(error))

    with reduce(model, SCHEDULE):
        in_thread(enter)
    in_thread(enter)

    assert len(errors) == 1
    assert "already active" in errors[0]


def in_thread(work: Any) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_two_models_reduce_at_once() -> None:
    one, two = build(TinyLlava(), seed=1), build(TinyLlava(), seed=2)
    other = Schedule((1.0, 0.5, 0.5, 0.5, 0.5, 0.5))
    with reduce(one, SCHEDULE):
        expected_one = Stepper(one, SAMPLE).greedy(3)[0]
    with reduce(two, other):
        expected_two = Stepper(two, SAMPLE).greedy(3)[0]

    with reduce(one, SCHEDULE), reduce(two, other):
        steps_one, steps_two = Stepper(one, SAMPLE), Stepper(two, SAMPLE)
        assert torch.equal(steps_two.greedy(3)[0], expected_two)
        assert torch.equal(steps_one.greedy(3)[0], expected_one)


@pytest.mark.parametrize("pause", ["ranking attention", "reduced layer"])
def test_threads_share_a_reduced_model_without_mixing(
    monkeypatch: pytest.MonkeyPatch, pause: str
) -> None:
    """Stops one thread inside its prefill until the other has generated an answer."""
    model = shared()
    slow, fast = question(62, behind=6), pad([question(63), question(64, images=2)], "left")
    settings = {"max_new_tokens": 3, "do_sample": False}
    layer = 1 if pause == "ranking attention" else 3
    reached, done = threading.Event(), threading.Event()
    attend = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def waiting(module: Any, *args: Any, **kwargs: Any) -> Any:
        result = attend(module, *args, **kwargs)
        if threading.current_thread().name == "slow" and getattr(module, "layer_idx", 0) == layer:
            reached.set()
            assert done.wait(timeout=60)
        return result

    with reduce(model, SCHEDULE) as reduction:
        expected_slow = model.generate(**slow, **settings)
        expected_fast = model.generate(**fast, **settings)
        found: list[Any] = []

        def answer() -> None:
            found.append(model.generate(**slow, **settings))
            found.append(reduction.kept[2].shape)

        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", waiting)
        thread = threading.Thread(target=answer, name="slow")
        thread.start()
        assert reached.wait(timeout=60)
        assert torch.equal(model.generate(**fast, **settings), expected_fast)
        done.set()
        thread.join(timeout=60)

        assert torch.equal(found[0], expected_slow)
        assert found[1] == (1, 32 + 11)


def test_a_thread_describes_its_own_prompts_only() -> None:
    model = shared()
    with reduce(model, Schedule(KEEP, RankerSpec("random"))) as reduction:
        model(**SAMPLE)
        expected = reduction.kept[2]
        in_thread(lambda: reduction.prompt(keys=["another"]))
        logits = model(**SAMPLE).logits
        assert torch.equal(reduction.kept[2], expected)

        reduction.prompt(keys=["another"])
        assert (model(**SAMPLE).logits - logits).abs().max() > TOLERANCE
