"""The ways in which the fuzz calls a reduced model."""

import contextlib
import copy
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from schedsearch.errors import InputError
from schedsearch.reduction.reduction import Reduction
from schedsearch.testing.reference import Inputs, appended, masking, padded
from schedsearch.testing.subject import STEPS, Breakdown, Subject, breaking, by_hand
from tests.engine.fuzz.cases import SPECIAL, Case, assistant, laid_out, prompts
from tests.engine.fuzz.check import RELATIVE, Answer, Wrong, masks


@dataclass(frozen=True)
class Work:
    """What a route works with: the case, its model inside a reduction, and its dice."""

    case: Case
    made: Subject
    reduction: Reduction
    dice: random.Random

    @property
    def prompts(self) -> list[Inputs]:
        """The rows of the case."""
        return prompts(self.case)

    def settings(self, tokens: int) -> dict[str, Any]:
        """Of `generate`; a placeholder that it answers with could not be replayed."""
        tiny = self.made.model.config.get_text_config().vocab_size == 200
        hidden = list(range(SPECIAL, 200)) if tiny else list(self.made.vision_tokens)
        return {
            "max_new_tokens": tokens,
            "do_sample": False,
            "suppress_tokens": hidden,
            "return_dict_in_generate": True,
            "output_logits": True,
        }

    def generated(self, rows: Sequence[Inputs], tokens: int = 5, **settings: Any) -> list[Answer]:
        """What `generate` says of a batch."""
        batch = padded(rows, "left")
        output = self.made.model.generate(**batch, **self.settings(tokens), **settings)
        return self.answers(rows, output, batch["input_ids"].shape[1])

    def answers(self, rows: Sequence[Inputs], output: Any, width: int) -> list[Answer]:
        """Answers of a batch, each up to its end token."""
        logits = torch.stack(output.logits, dim=1)
        found = []
        for row, prompt in enumerate(rows):
            said = output.sequences[row, width:].tolist()
            size = next((n + 1 for n, token in enumerate(said) if token in self.ends), len(said))
            found.append(Answer(prompt, said[:size], logits[row, :size]))
        return found

    @property
    def ends(self) -> tuple[int, ...]:
        """End tokens."""
        ids = self.made.model.generation_config.eos_token_id
        return () if ids is None else (ids,) if isinstance(ids, int) else tuple(ids)


def forward(work: Work) -> list[Answer]:
    """Prompts alone, in one forward."""
    rows = work.prompts
    batch = padded(rows, work.case.side)
    logits = work.made.model(**batch, use_cache=work.dice.random() < 0.5).logits
    last = (batch["attention_mask"] * torch.arange(logits.shape[1])).argmax(1)
    return [Answer(row, (), logits[n, last[n]][None]) for n, row in enumerate(rows)]


def labels(work: Work) -> list[Answer]:
    """Prompts with answers behind, told apart by labels or by their lengths."""
    rows, side = work.prompts, work.case.side
    answers = [work.made.answer[: work.dice.randint(1, STEPS)] for _ in rows]
    whole = [appended(row, answer) for row, answer in zip(rows, answers, strict=True)]
    batch = padded(whole, side)
    width = batch["input_ids"].shape[1]
    told = torch.full_like(batch["input_ids"], -100)
    ends = []
    for row, (one, answer) in enumerate(zip(whole, answers, strict=True)):
        gap = width - one["input_ids"].shape[1] if side == "left" else 0
        ends.append(gap + one["input_ids"].shape[1] - len(answer))
        told[row, ends[-1] : ends[-1] + len(answer)] = torch.tensor(answer)
    if work.dice.random() < 0.3:
        work.reduction.prompt(lengths=ends)
        logits = work.made.model(**batch).logits
    else:
        logits = work.made.model(**batch, labels=told).logits
    return [
        Answer(row, answer, logits[n, ends[n] - 1 : ends[n] + len(answer)])
        for n, (row, answer) in enumerate(zip(rows, answers, strict=True))
    ]


def greedy(work: Work) -> list[Answer]:
    """`generate` as most people call it."""
    return work.generated(work.prompts)


def sampling(work: Work) -> list[Answer]:
    """Sampled answers, whatever they are."""
    torch.manual_seed(work.case.seed)
    batch = padded(work.prompts, "left")
    settings = {**work.settings(5), "do_sample": True, "temperature": 1.5}
    output = work.made.model.generate(**batch, **settings)
    return work.answers(work.prompts, output, batch["input_ids"].shape[1])


def beams(work: Work) -> list[Answer]:
    """Beam search, against beam search on the masked model."""
    made, schedule, (prompt,) = work.made, work.case.schedule, work.prompts
    settings = {**work.settings(4), "num_beams": 3, "num_return_sequences": 3}
    settings |= {"output_scores": True, "output_logits": False}
    found = made.model.generate(**prompt, **settings)
    how = masks(made, schedule, prompt, work.reduction)
    with masking(made.twin, prompt["input_ids"][0], schedule.keep, **how):
        expected = made.twin.generate(**prompt, **settings, use_cache=False)
    scores, wanted = found.sequences_scores, expected.sequences_scores
    if (scores - wanted).abs().max() > RELATIVE * max(1.0, wanted.abs().max().item()):
        raise Wrong(f"beams score {scores.tolist()} in place of {wanted.tolist()}")
    if not torch.equal(found.sequences, expected.sequences):
        raise Wrong("beams say something else")
    return []


def lookup(work: Work) -> list[Answer]:
    """Speculation from the prompt's own words."""
    (prompt,) = work.prompts
    tail = [token for token in work.made.answer[:3]]
    return work.generated([appended(prompt, tail + tail[:2])], 8, prompt_lookup_num_tokens=3)


def assisted_by_itself(work: Work) -> list[Answer]:
    """Speculation by the very model that is reduced."""
    return work.generated(work.prompts, 6, assistant_model=work.made.model)


def assisted_by_another(work: Work) -> list[Answer]:
    """Speculation by a model that guesses differently."""
    helper = assistant(work.case.family, work.case.attention)
    return work.generated(work.prompts, 6, assistant_model=helper)


def two_turns(work: Work) -> list[Answer]:
    """A second question on the cache of the first."""
    made, (prompt,) = work.made, work.prompts
    width = prompt["input_ids"].shape[1]
    first = made.model.generate(**prompt, **work.settings(3))
    said = first.sequences[0, width:].tolist() + made.answer[: work.dice.randint(1, 6)]
    turn = appended(prompt, said)
    text = {name: value for name, value in turn.items() if not name.startswith("pixel")}
    second = made.model.generate(**text, **work.settings(3), past_key_values=first.past_key_values)
    (answer,) = work.answers([turn], second, width + len(said))
    return [Answer(prompt, [*said, *answer.tokens], answer.logits, behind=len(said))]


def rearranged(work: Work) -> list[Answer]:
    """Forwards by hand on a cache whose rows were moved, repeated, left out or copied."""
    rows, dice = work.prompts, work.dice
    held = list(range(len(rows)))
    changes: list[Callable[[Any], Any]] = []
    for _ in range(dice.randint(0, 2)):
        kind = dice.choice(["reorder", "repeat", "select", "copy"])
        if kind == "reorder":
            order = torch.tensor(dice.sample(range(len(held)), len(held)))
            changes.append(lambda cache, order=order: cache.reorder_cache(order))
            held = [held[n] for n in order.tolist()]
        elif kind == "repeat":
            changes.append(lambda cache: cache.batch_repeat_interleave(2))
            held = [row for row in held for _ in range(2)]
        elif kind == "select":
            chosen = torch.tensor(dice.sample(range(len(held)), dice.randint(1, len(held))))
            changes.append(lambda cache, chosen=chosen: cache.batch_select_indices(chosen))
            held = [held[n] for n in chosen.tolist()]
        else:
            changes.append(copy.deepcopy)

    def change(cache: Any) -> Any:
        for one in changes:
            cache = one(cache) or cache
        return cache

    size = dice.randint(1, STEPS)
    chunks = (size, STEPS - size) if size < STEPS else (STEPS,)
    logits = by_hand(work.made, padded(rows, work.case.side), chunks, change, held)
    answer = work.made.answer[:STEPS]
    return [Answer(rows[origin], answer, logits[n]) for n, origin in enumerate(held)]


def nested(work: Work) -> list[Answer]:
    """Another prompt in the middle of this one."""
    made, dice = work.made, work.dice
    inner = laid_out(made, dice.choice(sorted(made.samples)), "middle")
    answers: list[Answer] = []

    def other() -> None:
        if dice.random() < 0.5:
            answers.extend(work.generated([inner], 3))
        else:
            answers.append(Answer(inner, (), made.model(**inner).logits[0, -1:]))

    layer = dice.choice(made.adapter.layers(made.model))
    with _interrupting(layer, dice.randint(1, 3), other):
        answers += work.generated(work.prompts)
    return answers


def after_an_exception(work: Work) -> list[Answer]:
    """The next call after one that broke somewhere inside, with a description of its own."""
    made, dice = work.made, work.dice
    layer = dice.choice(made.adapter.layers(made.model))
    parts = [layer, layer.get_submodule("self_attn"), made.model.get_input_embeddings()]
    parts.append(made.adapter.decoder(made.model).get_submodule("norm"))
    if dice.random() < 0.5:
        work.reduction.prompt(lengths=[2] * len(work.prompts))
    with (
        contextlib.suppress(Breakdown, InputError),  # the description may fit no prompt
        breaking(dice.choice(parts), dice.randint(1, 3)),
    ):
        work.generated(work.prompts)
    return work.generated(work.prompts)


def threads(work: Work) -> list[Answer]:
    """Two threads at once."""
    found: list[Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with torch.no_grad():
                found.extend(work.generated(work.prompts))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        own = work.generated(work.prompts[::-1])
    finally:
        thread.join(timeout=120)
    if errors:
        raise errors[0]
    return found + own


@contextlib.contextmanager
def _interrupting(module: Any, call: int, work: Callable[[], None]) -> Iterator[None]:
    calls = 0

    def hook(_module: Any, _args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            work()

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class Route:
    """A way to call a model.

    Attributes:
        run: Calls it.
        rows: How many prompts a batch may have.
        pads_right: Whether padding may stand on the right.
    """

    run: Callable[[Work], list[Answer]]
    rows: tuple[int, ...] = (1, 2, 3)
    pads_right: bool = False


ROUTES = {
    "forward": Route(forward, pads_right=True),
    "labels": Route(labels, pads_right=True),
    "greedy": Route(greedy),
    "sampling": Route(sampling),
    "beams": Route(beams, (1,)),
    "lookup": Route(lookup, (1,)),
    "assisted by itself": Route(assisted_by_itself, (1,)),
    "assisted by another": Route(assisted_by_another, (1,)),
    "two turns": Route(two_turns, (1,)),
    "rearranged": Route(rearranged, pads_right=True),
    "nested": Route(nested),
    "after an exception": Route(after_an_exception),
    "threads": Route(threads, (1, 2)),
}
