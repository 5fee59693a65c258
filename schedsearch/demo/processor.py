"""Tokenizer, image processor and chat template of the demo model, built without any download."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

from schedsearch.demo.questions import words

PAD, BOS, EOS, UNKNOWN, IMAGE = "<pad>", "<s>", "</s>", "<unk>", "<image>"
USER, ASSISTANT = "USER:", "ASSISTANT:"
PIXEL_MEAN = PIXEL_STD = 0.5

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] + ' ' }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def vocabulary() -> dict[str, int]:
    """Token ids of all words; special tokens come first."""
    tokens = [PAD, BOS, EOS, UNKNOWN, IMAGE, USER, ASSISTANT, *words()]
    return {token: number for number, token in enumerate(tokens)}


def build_processor(size: int = 64, patch: int = 8) -> Any:
    """A `LlavaProcessor` for square images of `size` pixels cut into patches of `patch` pixels."""
    tokenizer = Tokenizer(WordLevel(vocabulary(), unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, vocabulary()[BOS])]
    )
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": size},
            crop_size={"height": size, "width": size},
            image_mean=[PIXEL_MEAN] * 3,
            image_std=[PIXEL_STD] * 3,
        ),
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token=PAD,
            bos_token=BOS,
            eos_token=EOS,
            unk_token=UNKNOWN,
            additional_special_tokens=[IMAGE],
            padding_side="left",
        ),
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def save_processor(folder: Path, size: int = 64, patch: int = 8) -> None:
    """Write the processor's files beside the weights, where `AutoProcessor` finds them."""
    build_processor(size, patch).save_pretrained(folder)
