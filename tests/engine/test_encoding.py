"""Prompts and answers as token ids, and what cannot be encoded."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from schedsearch.core.sample import Sample
from schedsearch.demo.processor import build_processor
from schedsearch.errors import DataError, UnsupportedError
from schedsearch.evaluation.encoding import EncodedSample, Encoder, Layout, Row, by_id
from tests.engine.embedded import QUESTIONS, Listed, embedded


def image() -> Image.Image:
    return Image.new("RGB", (64, 64), (0, 90, 0))


def sample(**changes: Any) -> Sample:
    fields = {
        "id": "s",
        "question": "what color is at d4 ?",
        "answers": ("purple",),
        "images": (image,),
    }
    return Sample(**{**fields, **changes})


def encoder(**options: Any) -> Encoder:
    return Encoder(*embedded(), **options)


def words(tokens: Any) -> list[str]:
    found: list[str] = embedded()[1].tokenizer.convert_ids_to_tokens(list(tokens))
    return found


def test_a_prompt_is_a_user_turn_with_images_before_the_question() -> None:
    encoded = encoder().encode(sample(images=(image, image)))

    seen = words(encoded.tokens)
    assert [word for word in seen if word != "<image>"] == [
        *("<s>", "USER:", "what", "color", "is", "at", "d4", "?", "ASSISTANT:")
    ]
    assert seen[2:130] == ["<image>"] * 128
    assert (encoded.counts.n_vision, encoded.counts.n_text) == (128, 9)


def test_an_answer_is_tokenised_as_it_stands_behind_the_prompt() -> None:
    assert words(encoder().answer_tokens(sample(), "purple")) == ["purple"]


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("{% for m in messages %}<image> {{ m['content'][-1]['text'] }} :\n{% endfor %}", ":\n"),
        ("{{ messages[0]['content'][0]['type'] and '<image>' }} :", "<image> :"),
        ("{% if messages|length > 1 %}{{ raise_exception('no') }}{% endif %}<image> :", ":"),
    ],
)
def test_an_answer_is_set_apart_also_where_the_template_does_not_tell_how(
    template: str, prompt: str
) -> None:
    made = encoder(template=template)

    assert made.encode(sample()).text.endswith(prompt)
    assert words(made.answer_tokens(sample(), "purple")) == ["purple"]


def test_a_begin_token_written_by_the_template_is_not_doubled() -> None:
    template = "<s> USER: <image> {{ messages[0]['content'][-1]['text'] }} ASSISTANT:"

    encoded = encoder(template=template).encode(sample())

    assert torch.equal(encoded.tokens, encoder().encode(sample()).tokens)


def row(width: int, n_vision: int, answer: int, layout: Layout = ()) -> Row:
    prompt = EncodedSample(
        "s", "key", (), "", torch.zeros(width, dtype=torch.long), n_vision, layout
    )
    return Row(sample(), prompt, (7,) * answer)


def test_rows_share_a_bucket_only_with_equal_width_vision_and_shapes() -> None:
    assert row(9, 4, 1).bucket == row(8, 4, 2).bucket
    assert row(9, 4, 1).bucket != row(9, 4, 2).bucket
    assert row(9, 4, 1).bucket != row(9, 5, 1).bucket
    assert row(9, 4, 1).bucket != row(9, 4, 1, (("pixel_values", (3, 8, 8)),)).bucket


class Counting:
    """A processor that counts how often it encodes."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.processor, name)

    def __call__(self, **kwargs: Any) -> Any:
        self.calls += 1
        return self.processor(**kwargs)


@pytest.mark.parametrize(("bound", "calls"), [(1 << 30, 3), (2 * 64 * 64 * 3 * 4, 5), (0, 9)])
def test_pixels_are_kept_within_the_bound_and_recomputed_beyond_it(bound: int, calls: int) -> None:
    model, processor = embedded()
    counting = Counting(processor)
    made = Encoder(model, counting, max_cache_bytes=bound)
    samples = list(QUESTIONS)[:3]

    inputs = []
    for _ in range(2):
        rows = [Row(one, made.encode(one)) for one in samples]
        inputs.append(made.inputs([rows[0]]))
        inputs.append(made.inputs([rows[1]]))
        inputs.append(made.inputs([rows[2]]))

    assert counting.calls == calls
    for first, again in zip(inputs[:3], inputs[3:], strict=True):
        assert all(torch.equal(first[name], again[name]) for name in first)


def _broken() -> Any:
    return "no image"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": ()}, "sample 's' has no vision tokens in its prompt; give it an image"),
        ({"images": (_broken,)}, "sample 's': an image source must return a PIL image"),
        ({"question": "what is <image> ?"}, "'s': the question contains '<image>'"),
    ],
)
def test_samples_that_cannot_be_encoded_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        encoder().encode(sample(**changes))

    assert message in str(caught.value)


@pytest.mark.parametrize("answer", ["mauve", " "])
def test_answers_that_the_tokenizer_cannot_express_are_refused(answer: str) -> None:
    with pytest.raises(DataError, match=f"'s': the tokenizer cannot express the answer '{answer}'"):
        encoder().answer_tokens(sample(), answer)


def test_a_template_without_placeholder_is_named_as_a_cause() -> None:
    with pytest.raises(DataError, match=r"the processor refused|check that the chat template"):
        encoder(template="{{ messages[0]['content'][-1]['text'] }}").encode(sample())


def _without_template(processor: Any) -> None:
    processor.chat_template = None


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (_without_template, {}, "LlavaProcessor has no chat template; pass `template`"),
        (lambda _: None, {"template": "{{ messages[9].x.y }}"}, "the chat template failed"),
    ],
)
def test_missing_and_failing_templates_are_errors_with_a_remedy(
    spoil: Callable[[Any], None], options: dict[str, Any], message: str
) -> None:
    processor = copy.copy(build_processor())
    spoil(processor)

    with pytest.raises(UnsupportedError, match=message):
        Encoder(embedded()[0], processor, **options)


def test_a_set_must_hold_samples_and_each_id_once() -> None:
    with pytest.raises(DataError, match="the sample set is empty"):
        by_id(Listed())
    with pytest.raises(DataError, match="two samples have the id 's'"):
        by_id(Listed(sample(), sample()))
