"""An OpenAI-compatible endpoint for a reduced model: chat completions, images as data URLs.

pip install fastapi uvicorn; python serve.py MODEL schedule.json
"""

import base64
import sys
import threading
import time
from typing import Any

import torch
from fastapi import FastAPI, HTTPException
from PIL import Image
from pydantic import BaseModel, Field

import schedsearch
from schedsearch.app.bootstrap import open_model
from schedsearch.errors import DataError
from schedsearch.evaluation.data.images import decode, upright


class Chat(BaseModel):
    """What this example reads of a request; it answers greedily."""

    messages: list[dict[str, Any]]
    max_tokens: int = Field(default=256, ge=1)
    stream: bool = False


def read_messages(messages: list[dict[str, Any]]) -> tuple[list[Any], list[Image.Image]]:
    """The messages as a processor's chat template wants them, and their images in order."""
    chat, images = [], []
    for message in messages:
        content, parts = [], message["content"]
        for part in [{"type": "text", "text": parts}] if isinstance(parts, str) else parts:
            if part["type"] == "text":
                content.append({"type": "text", "text": part["text"]})
            elif part["image_url"]["url"].startswith("data:"):
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                images.append(upright(decode(data, "of a part"), "of a part"))
                content.append({"type": "image"})
            else:
                raise ValueError("an image must be a data URL")
        chat.append({"role": message["role"], "content": content})
    return chat, images


def make_app(model: Any, processor: Any, name: str) -> FastAPI:
    """The endpoint. Requests run in threads and wait for each other at one lock."""
    app, lock = FastAPI(), threading.Lock()

    @app.post("/v1/chat/completions")
    def complete(request: Chat) -> dict[str, Any]:
        if request.stream:
            raise HTTPException(400, "this example does not stream; leave `stream` out")
        try:
            chat, images = read_messages(request.messages)
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise HTTPException(400, f"`messages` cannot be read: {error!r}") from None
        with lock, torch.inference_mode():
            text = processor.apply_chat_template(chat, add_generation_prompt=True)
            inputs = processor(text=text, images=images or None, return_tensors="pt")
            inputs = inputs.to(model.device, model.dtype)
            tokens = model.generate(**inputs, max_new_tokens=request.max_tokens, do_sample=False)
        prompt = inputs["input_ids"].shape[1]
        count = tokens.shape[1] - prompt
        answer = processor.decode(tokens[0, prompt:], skip_special_tokens=True).strip()
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}}
        choice["finish_reason"] = "length" if count == request.max_tokens else "stop"
        usage = {"prompt_tokens": prompt, "completion_tokens": count}
        return {
            "id": f"chatcmpl-{time.time_ns()}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": name,
            "choices": [choice],
            "usage": {**usage, "total_tokens": prompt + count},
        }

    return app


if __name__ == "__main__":
    import uvicorn

    model, processor = open_model(sys.argv[1])
    with schedsearch.reduce(model, schedsearch.Schedule.load(sys.argv[2])):
        uvicorn.run(make_app(model, processor, sys.argv[1]), host="127.0.0.1", port=8000)
