"""What a model says of given answers, and what it answers itself; inside a reduction or not."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from schedsearch.errors import UnsupportedError
from schedsearch.evaluation.metrics import AnswerPredictions, Compared
from schedsearch.models.adapters import adapter_for


def end_tokens(model: Any) -> tuple[int, ...]:
    """Token ids that end an answer.

    Raises:
        UnsupportedError: The model names none.
    """
    ids = model.generation_config.eos_token_id
    if ids is None:
        raise UnsupportedError(
            "the model's generation config names no end token, so no answer is ever complete; set "
            "`model.generation_config.eos_token_id`"
        )
    return (ids,) if isinstance(ids, int) else tuple(ids)


def force_answers(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    answers: Sequence[tuple[int, ...]],
    ends: Sequence[int],
) -> AnswerPredictions:
    """Judge answers by one forward over prompts and answers.

    Any of several end tokens ends an answer: their probabilities add up.

    Args:
        model: The model.
        inputs: Its arguments; `input_ids` `(batch, width)` end with the answers, unpadded.
        answers: Token ids of each row's answer, without end token.
        ends: End tokens.
    """
    steps = max(len(answer) for answer in answers) + 1
    logits = model(**inputs, logits_to_keep=steps, use_cache=False).logits.float()
    total = logits.logsumexp(-1)
    likeliest = logits.argmax(-1)
    # Answers stand at the end, so short ones are padded in front.
    padded = [(-1,) * (steps - 1 - len(answer)) + answer for answer in answers]
    targets = torch.tensor(padded, device=logits.device, dtype=torch.long)
    padding = targets < 0
    target_logits = logits[:, :-1].gather(2, targets.clamp(min=0)[..., None])[..., 0]
    target_log_probs = (target_logits - total[:, :-1]).masked_fill(padding, 0.0)
    end_ids = torch.tensor(ends, device=logits.device)
    end_log_probs = logits[:, -1, end_ids].logsumexp(-1) - total[:, -1]
    ended = torch.isin(likeliest[:, -1:], end_ids)
    return AnswerPredictions(
        torch.cat([target_log_probs, end_log_probs[:, None]], dim=1),
        torch.cat([(likeliest[:, :-1] == targets) | padding, ended], dim=1),
    )


def read_off(
    model: Any, inputs: Mapping[str, torch.Tensor], rows: int, ends: Sequence[int], what: Compared
) -> tuple[torch.Tensor, list[bool]]:
    """What stands in the last rows of a batch after one forward.

    Args:
        model: The model.
        inputs: Its arguments, unpadded.
        rows: How many rows of each sample.
        ends: End tokens.
        what: See `ComparedMetric.compares`.

    Returns:
        `(batch, rows)` token ids or `(batch, rows, size)` float32, and whether all logits, or the
        states, of each sample were finite.
    """
    seen: list[torch.Tensor] = []
    decoder = adapter_for(model).decoder(model)
    handle = decoder.register_forward_hook(lambda _module, _args, output: seen.append(output[0]))
    try:
        logits = model(**inputs, logits_to_keep=rows, use_cache=False).logits
    finally:
        handle.remove()
    found = (seen[0][:, -rows:] if what == "states" else logits).float()
    finite: list[bool] = found.isfinite().flatten(1).all(1).tolist()
    if what != "tokens":
        return found, finite
    likeliest = found.argmax(-1)
    ended = torch.isin(likeliest, torch.tensor(ends, device=likeliest.device))
    return likeliest.masked_fill(ended, ends[0]), finite


def greedy_answers(
    model: Any, inputs: Mapping[str, torch.Tensor], max_new_tokens: int, ends: Sequence[int]
) -> tuple[torch.Tensor, list[bool]]:
    """Answer by plain greedy decoding, whatever the checkpoint's generation settings ask for.

    Args:
        model: The model.
        inputs: Its arguments; `input_ids` `(batch, width)` are prompts without padding.
        max_new_tokens: Longest answer.
        ends: End tokens.

    Returns:
        Token ids `(batch, n)` of the answers, and whether all logits of each row were finite.
    """
    ids = inputs["input_ids"]
    watch = _FiniteLogits()
    output: torch.Tensor = model.generate(
        **inputs,
        attention_mask=torch.ones_like(ids),
        generation_config=GenerationConfig(
            max_new_tokens=max_new_tokens,
            eos_token_id=list(ends),
            pad_token_id=ends[0],
            do_sample=False,
            num_beams=1,
            temperature=1.0,
            top_k=50,
            top_p=1.0,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
        ),
        logits_processor=LogitsProcessorList([watch]),
    )
    assert watch.finite is not None
    return output[:, ids.shape[1] :], watch.finite.tolist()


class _FiniteLogits(LogitsProcessor):  # type: ignore[misc]
    """Remembers which rows ever had a logit that was not finite; changes nothing."""

    finite: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        finite = scores.isfinite().all(-1)
        self.finite = finite if self.finite is None else self.finite & finite
        return scores
