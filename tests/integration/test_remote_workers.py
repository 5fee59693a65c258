"""A coordinator whose workers are elsewhere loads no model and opens no image."""

import json
import subprocess
import sys

from schedsearch.demo.shapesvqa import ShapesVQA

SEARCH = """
import sys
from schedsearch import open_study
from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.app.compare import compare
from tests.integration.spawned import Spawned

with open_study(
    "demo",
    sys.argv[2],
    name="remote",
    sampler={"tolerance": 0.5, "floor": 32},
    store=sys.argv[1],
    executor=Spawned,
) as study:
    run = study.run(n_trials=3)
    assert run.closed == 3, run
    assert run.evaluated > 0
    assert "PIL.Image" not in sys.modules
    held_out = open_samples(DataRef("demo:held-out", 12))
    found = compare(study, held_out, study.best, lambda _name: lambda _done, _all: None, repeats=1)
    assert {row.name for row in found.rows if row.score} >= {"full model", "random tokens"}
    study.executor.close()
loaded = [name for name in ("torch", "transformers") if name in sys.modules]
assert not loaded, loaded
print(study.spec.weights)
"""


def test_a_search_and_its_comparison_with_remote_workers_import_no_torch(tmp_path):
    rows = []
    for number, sample in enumerate(ShapesVQA("calibration", 12)):
        sample.images[0]().save(tmp_path / f"{number}.png")
        row = {"question": sample.question, "answer": sample.answers[0], "image": f"{number}.png"}
        rows.append(json.dumps(row))
    questions = tmp_path / "questions.jsonl"
    questions.write_text("\n".join(rows))
    ended = subprocess.run(
        [sys.executable, "-c", SEARCH, str(tmp_path / "s.db"), str(questions)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()
