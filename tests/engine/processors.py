"""Processors of every family, of their real classes, around a tokenizer of a few words.

Image processors are the PIL ones, which need no torchvision. Video processors need it, so
processors of families with videos get none.
"""

from collections.abc import Callable
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    CLIPImageProcessorPil,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    GotOcr2ImageProcessorPil,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    InternVLProcessor,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionProcessor,
    LlavaProcessor,
    PixtralImageProcessorPil,
    PreTrainedTokenizerFast,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
    SmolVLMImageProcessorPil,
)

from tests.engine.families import END, IMAGE, PINPOINTS, START, VIDEO

WORDS = "what is in the picture ? a red cup on one table two blue dogs user assistant".split()
PLACEHOLDER = "<image>"
NAMES = {
    "image_token": PLACEHOLDER,
    "context_image_token": PLACEHOLDER,
    "video_token": "<video>",
    "start_image_token": "<start>",
    "end_image_token": "<end>",
    "vision_bos_token": "<start>",
    "vision_eos_token": "<end>",
    "boi_token": "<start>",
    "eoi_token": "<end>",
}
FAKE = ("<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "\n", "\n\n")


def tokenizer() -> Any:
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}
    vocabulary |= {word: 5 + number for number, word in enumerate(WORDS)}
    vocabulary |= {PLACEHOLDER: IMAGE, "<video>": VIDEO, "<start>": START, "<end>": END}
    cells = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    for number, token in enumerate((*FAKE, "[IMG_BREAK]", "[IMG_END]", *cells)):
        vocabulary[token] = 160 + number
    model = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106
    model.pre_tokenizer = WhitespaceSplit()
    special = [word for word in vocabulary if word not in WORDS]
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",  # noqa: S106
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        additional_special_tokens=special[4:],
        padding_side="left",
        extra_special_tokens=NAMES,
    )


def template(image: str) -> str:
    return (
        "{% for message in messages %}{{ message['role'] + ' ' }}"
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}" + image + " "
        "{% else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %}assistant{% endif %}"
    )


def without_video(cls: Any) -> Any:
    """The class, content without a video processor: those need torchvision."""

    def check(self: Any, name: str, value: Any) -> Any:
        return (
            type(value) if value is None else cls.check_argument_for_proper_class(self, name, value)
        )

    return type(cls.__name__, (cls,), {"check_argument_for_proper_class": check})


SIDE16 = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
SQUARE16 = {"size": {"height": 16, "width": 16}}


def llava() -> Any:
    images = CLIPImageProcessorPil(**SIDE16)
    return LlavaProcessor(
        images,
        tokenizer(),
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template(PLACEHOLDER),
    )


def llava_next() -> Any:
    images = LlavaNextImageProcessorPil(**SIDE16, image_grid_pinpoints=PINPOINTS)
    return LlavaNextProcessor(
        images,
        tokenizer(),
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template(PLACEHOLDER),
    )


def llava_onevision() -> Any:
    images = LlavaOnevisionImageProcessorPil(**SQUARE16, image_grid_pinpoints=PINPOINTS)
    return without_video(LlavaOnevisionProcessor)(
        images,
        tokenizer(),
        None,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=template(PLACEHOLDER),
    )


def internvl() -> Any:
    images = GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, max_patches=3)
    return without_video(InternVLProcessor)(
        images, tokenizer(), None, image_seq_length=16, chat_template=template(PLACEHOLDER)
    )


def qwen(cls: Any) -> Callable[[], Any]:
    def make() -> Any:
        images = Qwen2VLImageProcessorPil(
            patch_size=4, merge_size=2, size={"shortest_edge": 64, "longest_edge": 1024}
        )
        return without_video(cls)(
            images, tokenizer(), None, chat_template=template("<start>" + PLACEHOLDER + "<end>")
        )

    return make


def gemma3() -> Any:
    images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    return Gemma3Processor(
        images, tokenizer(), chat_template=template("<start>"), image_seq_length=16
    )


def idefics3() -> Any:
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
    )
    return Idefics3Processor(
        images, tokenizer(), image_seq_len=16, chat_template=template(PLACEHOLDER)
    )


def smolvlm() -> Any:
    """Its own class needs num2words for videos, and expands images as Idefics3's does."""
    images = SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
    )
    return Idefics3Processor(
        images, tokenizer(), image_seq_len=16, chat_template=template(PLACEHOLDER)
    )


class Pixtral(LlavaProcessor):
    """Pixtral's own class needs torchvision; this expands images as it does."""

    def __call__(self, *, images: Any, text: list[str], **kwargs: Any) -> Any:
        kwargs.pop("return_tensors")
        vision = self.image_processor(images, return_tensors="pt")
        prompt = text[0]
        for height, width in vision["image_sizes"].tolist():
            row = PLACEHOLDER * (width // self.patch_size) + "[IMG_BREAK]"
            prompt = prompt.replace(f"{PLACEHOLDER} ", row * (height // self.patch_size), 1)
        return {**self.tokenizer([prompt], return_tensors="pt", **kwargs), **vision}


def pixtral(merge: int) -> Callable[[], Any]:
    def make() -> Any:
        side = 4 * merge
        images = PixtralImageProcessorPil(
            size={"longest_edge": 32}, patch_size={"height": side, "width": side}
        )
        return Pixtral(images, tokenizer(), patch_size=side, chat_template=template(PLACEHOLDER))

    return make


PROCESSORS = {
    "llava": llava,
    "pixtral": pixtral(1),
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "internvl_qwen2": internvl,
    "internvl_llama": internvl,
    "qwen2_vl": qwen(Qwen2VLProcessor),
    "qwen2_5_vl": qwen(Qwen2_5_VLProcessor),
    "qwen3_vl": qwen(Qwen3VLProcessor),
    "idefics3": idefics3,
    "smolvlm": smolvlm,
    "mistral3": pixtral(2),
    "gemma3": gemma3,
}
