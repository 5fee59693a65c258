"""`schedsearch profile` on the embedded model."""

import json

import pytest
from PIL import Image

from schedsearch.core.latency import LatencyModel

QUICK = ("-n", 6, "--batch", 2, "--repeats", 1)


def test_profile_writes_a_latency_model_and_a_picture(run, tmp_path):
    out = tmp_path / "deep" / "latency.json"
    ran = run("profile", "demo", *QUICK, "--out", out, "--json")

    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    latency = LatencyModel.load(out)
    assert json.loads(latency.to_json())["latency"] == result["latency"]
    assert latency.layers == 8
    assert (latency.tokens[0], latency.tokens[-1]) == (
        latency.conditions.n_text,
        latency.conditions.n_text + 64,
    )
    assert latency.conditions.batch == 2
    checks = result["checks"]
    assert [check["name"] for check in checks] == [
        "full model",
        *("uniform", "step", "sigmoid") * 2,
    ]
    errors = [abs(check["predicted_ms"] - check["measured_ms"]) for check in checks]
    assert latency.error_ms == pytest.approx(sum(errors) / 7)
    shares = [100 * e / check["measured_ms"] for e, check in zip(errors, checks, strict=True)]
    assert result["error_percent"] == pytest.approx(sum(shares) / 7)
    assert len({round(check["flops_ratio"], 1) for check in checks}) == 3
    with Image.open(out.with_suffix(".png")) as image:
        assert image.format == "PNG"


def test_profile_prints_tables_and_repeats_prompts_where_there_are_too_few(run, tmp_path):
    out = tmp_path / "latency.json"
    ran = run("profile", "demo", "-n", 1, "--batch", 3, "--repeats", 1, "--out", out)
    assert ran.code == 0, ran.err
    for text in ("all but the decoder layers", "one of 8 layers", "sigmoid", "mean absolute error"):
        assert text in ran.out
    assert LatencyModel.load(out).conditions.batch == 3


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--out", "latency.png"), "not the name of a JSON file"),
        (("--ranker", "best"), "`ranker.name` must be one of"),
        (("--data", "demo:test"), "is not a split"),
    ],
)
def test_unusable_argument_is_one_error(run, tmp_path, monkeypatch, args, expected):
    monkeypatch.chdir(tmp_path)
    ran = run("profile", "demo", *QUICK, *args)
    assert ran.code == 2
    assert expected in ran.err
    assert "Traceback" not in ran.err
    assert not list(tmp_path.iterdir())
