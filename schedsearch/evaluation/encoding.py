"""From samples to token ids and pixel values, once per sample.

Prompts are what a chat with the model would send: the processor's chat template around one user
turn, images first, in their order, then the question.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

from schedsearch.core.flops import SampleTokens
from schedsearch.core.sample import Sample
from schedsearch.core.shown import shown
from schedsearch.errors import DataError, UnsupportedError
from schedsearch.evaluation.data.images import image_key, open_image
from schedsearch.evaluation.data.jsonl import sample_key
from schedsearch.models.adapters import adapter_for
from schedsearch.models.wrappers import input_device

Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Names of the vision inputs and their shapes without the first dimension, which is joined."""

_NOT_VISION = ("input_ids", "attention_mask")


@dataclass(frozen=True)
class EncodedSample:
    """A sample's prompt.

    Attributes:
        id: The sample's.
        key: Hash of its content; seeds whatever is random about it.
        images: Hash of each image.
        text: The rendered prompt, before images are expanded to tokens.
        tokens: `(n,)` long token ids on the CPU, one per vision token.
        n_vision: How many of them are vision tokens.
        layout: Samples of equal layout can share a batch.
    """

    id: str
    key: str
    images: tuple[str, ...]
    text: str
    tokens: torch.Tensor
    n_vision: int
    layout: Layout

    @property
    def counts(self) -> SampleTokens:
        """Vision and text tokens of the prompt, for FLOPs."""
        return SampleTokens(self.n_vision, len(self.tokens) - self.n_vision)


@dataclass(frozen=True)
class Row:
    """One row of a batch: a prompt, and the answer that is forced after it.

    Attributes:
        sample: Where it comes from.
        prompt: The sample's prompt.
        answer: Token ids; empty where the model answers itself, or nobody asks.
    """

    sample: Sample
    prompt: EncodedSample
    answer: tuple[int, ...] = ()

    @property
    def sample_id(self) -> str:
        """The sample's id."""
        return self.sample.id

    @property
    def width(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt.tokens) + len(self.answer)

    @property
    def bucket(self) -> tuple[int, int, Layout]:
        """Equal for rows that run together without padding, before and after every cut."""
        return self.width, self.prompt.n_vision, self.prompt.layout


def by_id(samples: Iterable[Sample]) -> dict[str, Sample]:
    """Samples by id, in their order.

    Raises:
        DataError: There are none, or two share an id.
    """
    found: dict[str, Sample] = {}
    for sample in samples:
        if sample.id in found:
            raise DataError(
                f"two samples have the id {shown(sample.id)}; give every sample its own"
            )
        found[sample.id] = sample
    if not found:
        raise DataError("the sample set is empty; scores need at least one sample")
    return found


class Encoder:
    """Turns samples into what a model takes; encodes each sample once.

    Args:
        model: A multimodal model with an adapter.
        processor: Its processor.
        template: Jinja chat template; default: the processor's own.
        max_cache_bytes: Pixel values are kept up to this bound, and recomputed beyond it.

    Raises:
        UnsupportedError: The model has no adapter, or there is no chat template.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        template: str | None = None,
        max_cache_bytes: int = 1 << 30,
    ) -> None:
        self._model = model
        self._adapter = adapter_for(model)
        self._processor = processor
        self._template = template or getattr(processor, "chat_template", None)
        if not self._template:
            raise UnsupportedError(
                f"{type(processor).__name__} has no chat template; pass `template`, a Jinja chat "
                "template that puts a placeholder for each image"
            )
        weights = next(model.parameters())
        self.device = input_device(model)
        self._dtype = weights.dtype
        ids = list(self._adapter.vision_token_ids(model))
        self._placeholders: list[str] = processor.tokenizer.convert_ids_to_tokens(ids)
        self._answer_gap = self._find_answer_gap()
        self._encoded: dict[str, EncodedSample] = {}
        self._vision: dict[str, dict[str, torch.Tensor]] = {}
        self._free_bytes = max_cache_bytes

    def encode(self, sample: Sample) -> EncodedSample:
        """The sample's prompt.

        Raises:
            DataError: An image is broken, or the prompt has no vision tokens.
        """
        if sample.id not in self._encoded:
            encoded, vision = self._process(sample)
            self._encoded[sample.id] = encoded
            # Scans are cyclic: what came first is kept, because evicting the oldest would evict
            # each sample just before it is needed again.
            size = sum(value.nbytes for value in vision.values())
            if size <= self._free_bytes:
                self._free_bytes -= size
                self._vision[sample.id] = vision
        return self._encoded[sample.id]

    def inputs(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Arguments of the model for rows of one bucket, on its device.

        Returns:
            `input_ids` `(batch, width)`, and the vision inputs joined along dimension 0.
        """
        answers = [row.prompt.tokens.new_tensor(row.answer) for row in rows]
        ids = [
            torch.cat([row.prompt.tokens, answer])
            for row, answer in zip(rows, answers, strict=True)
        ]
        vision = [self._vision.get(row.sample_id) or self._process(row.sample)[1] for row in rows]
        inputs = {name: torch.cat([one[name] for one in vision]) for name in vision[0]}
        for name in self._adapter.token_inputs:
            if name in inputs:  # answers are text
                inputs[name] = pad(inputs[name], (0, len(rows[0].answer)))
        inputs["input_ids"] = torch.stack(ids)
        return {name: value.to(self.device) for name, value in inputs.items()}

    def answer_tokens(self, sample: Sample, answer: str) -> tuple[int, ...]:
        """Token ids that the answer adds to the sample's prompt, without an end token.

        Prompt and answer are tokenised together, separated as the chat template separates them;
        this is the tokenisation the model was trained on.

        Raises:
            DataError: The tokenizer cannot express the answer.
        """
        tokenize = self._processor.tokenizer
        prompt = self.encode(sample).text
        tail = self._answer_gap + answer
        head: list[int] = tokenize(prompt, add_special_tokens=False).input_ids
        whole: list[int] = tokenize(prompt + tail, add_special_tokens=False).input_ids
        tokens = tuple(whole[len(head) :])
        if whole[: len(head)] != head:
            tokens = tuple(tokenize(tail, add_special_tokens=False).input_ids)
        if not tokens or tokenize.unk_token_id in tokens:
            raise DataError(
                f"sample {shown(sample.id)}: the tokenizer cannot express the answer "
                f"{shown(answer)}; correct it or remove the sample"
            )
        return tokens

    def decode(self, tokens: torch.Tensor) -> list[str]:
        """Texts of generated tokens `(batch, n)`, without special tokens."""
        texts = self._processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _process(self, sample: Sample) -> tuple[EncodedSample, dict[str, torch.Tensor]]:
        for placeholder in self._placeholders:
            if placeholder in sample.question:
                raise DataError(
                    f"sample {shown(sample.id)}: the question contains {shown(placeholder)}, which "
                    "stands for an image; remove it, images are put before the question"
                )
        text = self._render(sample.question, len(sample.images))
        try:
            images = [open_image(source) for source in sample.images]
        except DataError as error:
            raise DataError(f"sample {shown(sample.id)}: {error}") from error
        inputs = self._tensors(sample.id, text, images)
        tokens = inputs["input_ids"][0]
        n_vision = int(self._adapter.vision_mask(self._model, tokens[None]).sum())
        if n_vision == 0:
            raise DataError(
                f"sample {shown(sample.id)} has no vision tokens in its prompt; give it an image, "
                "and check that the chat template puts a placeholder for it"
            )
        vision = {
            name: value.to(self._dtype) if value.is_floating_point() else value
            for name, value in inputs.items()
            if name not in _NOT_VISION
        }
        layout = tuple((name, tuple(value.shape[1:])) for name, value in sorted(vision.items()))
        key = sample_key(sample, images)
        pixels = tuple(map(image_key, images))
        return EncodedSample(sample.id, key, pixels, text, tokens, n_vision, layout), vision

    def _tensors(self, sample_id: str, text: str, images: list[Any]) -> Mapping[str, torch.Tensor]:
        # Some templates write the begin token themselves; the tokenizer must not add another.
        begin = self._processor.tokenizer.bos_token
        special = not (begin and text.startswith(begin))
        try:
            inputs: Mapping[str, torch.Tensor] = self._processor(
                text=[text],
                images=images or None,
                return_tensors="pt",
                add_special_tokens=special,
            )
        except Exception as error:  # processors check their input in many ways
            raise DataError(
                f"sample {shown(sample_id)}: the processor refused its {len(images)} images and "
                f"prompt {shown(text)}: {error}; check images and chat template"
            ) from error
        return inputs

    def _render(self, question: str, images: int, answer: str | None = None) -> str:
        parts = [{"type": "image"}] * images + [{"type": "text", "text": question}]
        messages = [{"role": "user", "content": parts}]
        if answer is not None:
            content = [{"type": "text", "text": answer}]
            messages.append({"role": "assistant", "content": content})
        try:
            text: str = self._processor.apply_chat_template(
                messages, chat_template=self._template, add_generation_prompt=answer is None
            )
        except Exception as error:  # a template is a program
            raise UnsupportedError(
                f"the chat template failed: {error}; pass a `template` that takes user turns whose "
                "content is a list of image and text parts"
            ) from error
        return text

    def _find_answer_gap(self) -> str:
        """White space between prompt and answer, as the chat template writes a whole dialogue."""
        prompt, marker = self._render("?", 1), "answer"
        try:
            dialogue = self._render("?", 1, marker)
        except UnsupportedError:  # not every template takes assistant turns
            dialogue = ""
        if dialogue.startswith(prompt):
            gap, found, _ = dialogue[len(prompt) :].partition(marker)
            if found and not gap.strip():
                return gap
        return "" if prompt[-1:].isspace() else " "
