"""What a case should give: the eager model with the dropped tokens masked, one prompt at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from schedsearch.core.schedule import Schedule
from schedsearch.reduction.reduction import Reduction
from schedsearch.testing.reference import Inputs, Kept, appended, masked_forward, ranking_rows
from schedsearch.testing.subject import Subject, kept_vision

RELATIVE = 1e-4
"""Of the largest logit, and of 1 at least. Other shapes sum in another order: 2e-5 seen."""


@dataclass(frozen=True)
class Answer:
    """What the model said of one prompt.

    Attributes:
        prompt: The prompt by itself.
        tokens: What followed it.
        logits: `(n, vocab)` behind the prompt and behind its first tokens.
        behind: How many of the tokens stood there before the first of the logits.
    """

    prompt: Inputs
    tokens: Sequence[int]
    logits: torch.Tensor
    behind: int = 0


class Wrong(AssertionError):
    """A reduced model said something else than the masked one."""


def check(made: Subject, schedule: Schedule, answer: Answer, reduction: Reduction) -> None:
    """Compare with the masked model.

    Raises:
        Wrong: Logits differ by more than rounding.
    """
    begin = answer.prompt["input_ids"].shape[1] - 1 + answer.behind
    fed = answer.tokens[: answer.behind + len(answer.logits) - 1]
    whole = appended(answer.prompt, fed)
    how = masks(made, schedule, answer.prompt, reduction)
    masked, _ = masked_forward(made.twin, whole, schedule.keep, **how)
    wanted = masked[begin : begin + len(answer.logits)]
    if not torch.isfinite(answer.logits).all():
        raise Wrong("logits are not finite")
    difference = (answer.logits - wanted).abs().max().item()
    bound = RELATIVE * max(1.0, wanted.abs().max().item())
    if difference > bound:
        raise Wrong(f"logits differ by {difference:.2e}, more than {bound:.1e}")


def effect(made: Subject, schedule: Schedule, answer: Answer, reduction: Reduction) -> float:
    """How much the dropped tokens change the logits behind a prompt."""
    how = masks(made, schedule, answer.prompt, reduction)
    masked, _ = masked_forward(made.twin, answer.prompt, schedule.keep, **how)
    full = made.twin(**answer.prompt, use_cache=False).logits[0]
    return (full - masked)[-1].abs().max().item()


def masks(
    made: Subject, schedule: Schedule, prompt: Inputs, reduction: Reduction
) -> dict[str, Any]:
    """Arguments of `masking` for one prompt.

    What a ranker without attention keeps is taken from the runtime, the prompt by itself: the
    rankers have tests of their own, and here it is what becomes of their choice that counts.
    """
    ranker, params, ids = schedule.ranker, dict(schedule.ranker.params), made.vision_tokens
    if ranker.name not in ("last", "text", "local"):
        return {"rows": [], "given": _kept(made, schedule, prompt, reduction), "vision_tokens": ids}
    local = ranker.name == "local"
    whose = str(params.get("rows", "text")) if local else ranker.name
    window = int(params.get("window", 2)) if local else 1
    return {"rows": ranking_rows(prompt, whose, ids), "vision_tokens": ids, "window": window}


def _kept(made: Subject, schedule: Schedule, prompt: Inputs, reduction: Reduction) -> Kept:
    made.model(**prompt)
    kept = kept_vision(made, reduction.kept, prompt, 0, reduction.kept)
    n_vision = sum(int((prompt["input_ids"] == token).sum()) for token in made.vision_tokens)
    counts = schedule.counts(n_vision)
    if any(len(columns) != counts[layer] for layer, columns in kept.items()):
        raise Wrong(f"kept {[len(one) for one in kept.values()]} of {counts}")
    return kept
