"""Commands on the embedded model: what they print, write, refuse and return."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from schedsearch import Schedule
from tests.e2e.conftest import KEEP


@pytest.fixture
def questions(tmp_path):
    """A JSONL file with one image."""
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "red.png")
    lines = [
        {"question": "what color is at a1 ?", "answer": "red", "image": "red.png"},
        {"question": "is there a red circle ?", "answers": ["no"], "images": ["red.png"]},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_help_loads_no_torch():
    program = (
        "import sys; sys.argv = ['schedsearch', '--help']\n"
        "from schedsearch.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'schedsearch.cli' in sys.modules\n"
        "print([name for name in ('torch', 'transformers', 'sqlalchemy') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "apply" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "[]"


def test_apply_reports_cost_time_and_quality(run, schedule):
    ran = run("apply", "demo", schedule, "-n", 24, "--repeats", 1, "--json")

    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert result["samples"] == 24
    assert result["keep"] == list(KEEP)
    assert 0.4 < result["flops_ratio"] < 0.8
    assert 0.4 < result["kv_ratio"] < 0.8
    assert result["prefill_speedup"] > 0
    quality = result["quality"]
    assert quality["drop"]["value"] == pytest.approx(
        quality["full"]["value"] - quality["reduced"]["value"]
    )
    changed = quality["changed"]
    assert all(change["full"] != change["reduced"] for change in changed)


def test_apply_prints_tables_for_people(run, schedule):
    ran = run("apply", "demo", schedule, "-n", 12, "--repeats", 1)
    assert ran.code == 0, ran.err
    for text in ("FLOPs ratio", "KV cache ratio", "faster", "random tokens", "changed answers"):
        assert text in ran.out


def test_keep_all_changes_nothing(run, tmp_path):
    Schedule.full(8).save(tmp_path / "full.json")
    ran = run("apply", "demo", tmp_path / "full.json", "-n", 12, "--repeats", 1, "--json")
    result = json.loads(ran.out)
    assert result["flops_ratio"] == result["kv_ratio"] == 1.0
    assert result["quality"]["changed"] == []
    assert result["quality"]["drop"]["value"] == 0.0


def test_apply_takes_questions_and_images_from_disk(run, schedule, questions):
    ran = run("apply", "demo", schedule, "--data", questions, "--repeats", 1, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["samples"] == 2


def test_analyze_writes_a_picture_and_its_figures(run, tmp_path):
    picture = tmp_path / "deep" / "analysis.png"
    ran = run("analyze", "demo", "-n", 6, "--schedules", 5, "--out", picture, "--json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert len(result["attention"]["tau"]) == 8
    assert [row["layer"] for row in result["withdrawals"]] == list(range(1, 9))
    objectives = result["objectives"]
    assert len(objectives["schedules"]) == 5
    told = {"answer_match", "kl_divergence", "last_state_cosine"}
    assert set(objectives["beyond_cost"]) == told
    assert set(objectives["spearman"]) == told | {"FLOPs ratio"}
    with Image.open(picture) as image:
        assert image.format == "PNG"


@pytest.mark.full
def test_analyze_says_what_numbers_of_samples_tell_apart(run):
    ran = run("analyze", "demo", "--power", "-n", 12, "--json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert len(result["seen"]) == 3
    detected = [row["detectable"] for row in result["sizes"]]
    assert detected == sorted(detected, reverse=True)
    proven = [row["proves"] for row in result["tolerances"]]
    assert proven == sorted(proven, reverse=True) and proven[-1] > 0
    assert "samples to prove it" in run("analyze", "demo", "--power", "-n", 12).out


def test_analyze_leaves_objectives_out_where_there_are_no_answers(run, tmp_path, questions):
    lines = [
        {"question": f"is there a {one} circle ?", "image": "red.png"} for one in ("red", "blue")
    ]
    questions.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    words = ("analyze", "demo", "--metric", "answer_match", "--data", questions, "--json")
    ran = run(*words, "--out", tmp_path / "silent.png")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["objectives"] is None


def test_demo_eval_counts_every_kind(run):
    ran = run("demo", "eval", "--split", "validation", "-n", 24, "--json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert sum(kind["n"] for kind in result["kinds"].values()) == result["overall"]["n"] == 24


def test_demo_run_leaves_a_picture(run, tmp_path):
    ran = run("demo", "run", "-n", 24, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert (tmp_path / "out" / "schedule.png").stat().st_size > 10_000


def test_doctor_finds_everything_here(run):
    ran = run("doctor", "--json")
    assert ran.code == 0
    checks = {check["name"]: check for check in json.loads(ran.out)}
    assert checks["torch"]["ok"] and checks["embedded model"]["ok"]


def test_missing_package_names_its_extra():
    program = (
        "import sys; sys.argv = ['schedsearch', 'list']; sys.modules['sqlalchemy'] = None\n"
        "from schedsearch.cli import main; main()"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "pip install 'schedsearch[search]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_verbose_says_what_was_loaded(run):
    ran = run("-v", "demo", "eval", "-n", 4, "--split", "validation")
    assert "LlavaForConditionalGeneration" in ran.err


def written(tmp_path, content):
    path = tmp_path / "schedule.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def file_of(keep, **more):
    return {"format": "schedsearch.schedule/1", "schedule": {"keep": keep}, **more}


OTHER = {"architecture": "OtherForConditionalGeneration", "layers": 8}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (file_of([1, 1, 0.5]), "one ratio for each of the model's 8 decoder layers"),
        (file_of([1] * 4 + [0.2, 0.3, 0.1, 0.1]), "`keep` must be non-increasing, but got 0.2"),
        (file_of([1, 1, 1.5] + [0.5] * 5), "`keep` must lie in [0, 1], but got 1.5 at layer 2"),
        (file_of([0.5] * 8), "`keep` must be 1 at layer 0"),
        (file_of(KEEP, target=OTHER), "made for OtherForConditionalGeneration"),
        (file_of(KEEP, keeep=1), "`keeep` is no field"),
        ({**file_of(KEEP), "format": "schedsearch.schedule/2"}, "newer"),
        ('{"format": ', "line 1"),
    ],
)
def test_unusable_schedule_is_one_error(run, tmp_path, content, expected):
    path = written(tmp_path, content)
    ran = run("apply", "demo", path, "-n", 4)
    assert ran.code == 2
    assert expected in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"question": "q ?", "answer": "a", "image": "gone.png"}', "gone.png"),
        ('{"question": "q ?", "answer": "a", "image": "broken.png"}', "broken.png"),
        ('{"question": "q ?", "answer": "a"}', "image"),
        ('{"question": "q ?", ', "not JSON"),
        ("", "the line is empty"),
    ],
)
def test_unusable_line_is_one_error_with_its_number(
    run, schedule, questions, tmp_path, line, expected
):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    first, second = questions.read_text(encoding="utf-8").splitlines()
    questions.write_text(f"{first}\n{line}\n{second}\n", encoding="utf-8")
    ran = run("apply", "demo", schedule, "--data", questions)
    assert ran.code == 2
    assert expected in ran.err
    assert "questions.jsonl:2: " in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("apply", "nowhere/to-be-found/here", "SCHEDULE"), "does not exist"),
        (("apply", "demo", "missing.json"), "missing.json"),
        (("apply", "demo", "SCHEDULE", "--data", "demo:test"), "is not a split"),
        (("apply", "demo", "SCHEDULE", "--data", "missing.jsonl"), "missing.jsonl"),
        (("apply", "demo", "SCHEDULE", "--metric", "accurate"), "exact_match"),
        (("analyze", "demo", "--ranker", "random", "-n", "4"), "read attention"),
        (("analyze", "demo", "--power", "-n", "1"), "at least 2"),
        (("analyze", "demo", "--store", "s.db"), "add that, or leave it out"),
        (("demo", "eval", "--split", "test"), "is not a split"),
        (("analyze", "demo", "-n", "2", "--out", "a.xyz"), "not the name of a picture"),
        (("analyze", "demo", "-n", "2", "--out", "."), "not the name of a picture"),
    ],
)
def test_unusable_argument_is_one_error(run, schedule, args, expected):
    ran = run(*(schedule if arg == "SCHEDULE" else arg for arg in args))
    assert ran.code == 2
    assert expected in ran.err
    assert "Traceback" not in ran.err


def test_text_only_model_is_refused(run, schedule, tmp_path):
    from transformers import LlamaConfig

    LlamaConfig(hidden_size=32, num_hidden_layers=8, num_attention_heads=2).save_pretrained(
        tmp_path / "text"
    )
    ran = run("apply", tmp_path / "text", schedule, "-n", 4)
    assert ran.code == 2
    assert "multimodal" in ran.err
