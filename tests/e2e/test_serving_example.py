"""The serving example answers over HTTP what the reduced model answers."""

import base64
import importlib.util
import io
import json
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from schedsearch import reduce
from schedsearch.app.bootstrap import example_schedule
from tests.engine.embedded import QUESTIONS, REDUCED, embedded, prompt_of

pytest.importorskip("fastapi", reason="needs fastapi")
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "serve.py"
SAMPLES = list(QUESTIONS)[:24]


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("serve", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def client() -> Any:
    from fastapi.testclient import TestClient

    return TestClient(loaded().make_app(*embedded(), "demo"))


def request(sample: Any, **more: Any) -> dict[str, Any]:
    content = io.BytesIO()
    sample.images[0]().save(content, "PNG")
    url = "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": sample.question},
    ]
    return {"model": "demo", "messages": [{"role": "user", "content": parts}], **more}


def answers() -> list[str]:
    model, processor = embedded()
    found = []
    for sample in SAMPLES:
        prompt = prompt_of(sample)
        tokens = model.generate(**prompt, max_new_tokens=4, do_sample=False)
        new = tokens[0, prompt["input_ids"].shape[1] :]
        found.append(processor.decode(new, skip_special_tokens=True).strip())
    return found


def test_requests_at_once_get_the_answers_of_the_reduced_model() -> None:
    model, _ = embedded()
    full = answers()
    with reduce(model, REDUCED):
        expected = answers()
        http = client()

        def ask(sample: Any) -> Any:
            return http.post("/v1/chat/completions", json=request(sample, max_tokens=4))

        with ThreadPoolExecutor(4) as pool:
            replies = list(pool.map(ask, SAMPLES))

    assert [reply.status_code for reply in replies] == [200] * len(SAMPLES)
    found = [reply.json()["choices"][0]["message"] for reply in replies]
    assert found == [{"role": "assistant", "content": text} for text in expected]
    assert expected != full
    body = replies[0].json()
    assert (body["object"], body["model"]) == ("chat.completion", "demo")
    width = prompt_of(SAMPLES[0])["input_ids"].shape[1]
    assert body["usage"]["prompt_tokens"] == width
    assert body["usage"]["total_tokens"] == width + body["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"stream": True}, 400, "does not stream"),
        ({"messages": [{"role": "user"}]}, 400, "cannot be read.*content"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}],
                    }
                ]
            },
            400,
            "must be a data URL",
        ),
        ({"max_tokens": 0}, 422, "greater than or equal to 1"),
    ],
)
def test_what_the_example_cannot_answer_is_refused(
    change: dict[str, Any], status: int, message: str
) -> None:
    reply = client().post("/v1/chat/completions", json={**request(SAMPLES[0]), **change})

    assert reply.status_code == status
    assert message.split(".*")[-1] in reply.text


def shown(image: Image.Image, kind: str) -> dict[str, Any]:
    content = io.BytesIO()
    image.save(content, kind)
    url = "data:image/any;base64," + base64.b64encode(content.getvalue()).decode()
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


def test_images_reach_the_model_as_searches_show_them() -> None:
    read = loaded().read_messages

    _, (grey,) = read([shown(Image.new("I;16", (4, 4), 30_000), "PNG")])

    assert (grey.mode, grey.getpixel((0, 0))) == ("RGB", (117, 117, 117))


def test_images_without_a_known_range_are_refused_with_the_remedy() -> None:
    message = shown(Image.new("F", (4, 4), 0.5), "TIFF")

    reply = client().post("/v1/chat/completions", json={"messages": [message]})

    assert reply.status_code == 400
    assert "save 8 bits a channel" in reply.text


def test_the_example_serves_the_embedded_model_on_the_loopback_address(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="needs uvicorn")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.skip("port 8000 is taken")
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(EXAMPLE), "demo", str(example_schedule())],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr
    try:
        log = []
        for line in server.stderr:
            log.append(line)
            if "Uvicorn running on http://127.0.0.1:8000" in line:
                break
        else:
            pytest.fail("".join(log))
        post = urllib.request.Request(
            "http://127.0.0.1:8000/v1/chat/completions",
            json.dumps(request(SAMPLES[0], max_tokens=4)).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(post, timeout=60) as reply:  # noqa: S310
            assert json.load(reply)["choices"][0]["message"]["content"]
    finally:
        server.terminate()
        server.communicate(timeout=30)
