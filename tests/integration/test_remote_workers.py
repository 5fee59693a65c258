"""A coordinator whose workers are elsewhere loads no model, and its files need not be there."""

import json
import subprocess
import sys

from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.evaluation.data.jsonl import JsonlSet, sample_key

SEARCH = """
import shutil, sys
from schedsearch import open_study
from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.app.compare import compare
from tests.integration.spawned import Spawned

def alone(open_worker):
    workers = Spawned(open_worker)
    shutil.rmtree(sys.argv[2])
    return workers

with open_study(
    "demo",
    sys.argv[2] + "/questions.jsonl",
    name="remote",
    sampler={"tolerance": 0.5, "floor": 32},
    store=sys.argv[1],
    executor=alone,
) as study:
    run = study.run(n_trials=3)
    assert run.closed == 3, run
    assert run.evaluated > 0
    held_out = open_samples(DataRef("demo:held-out", 12))
    found = compare(study, held_out, study.best, lambda _name: lambda _done, _all: None, repeats=1)
    assert {row.name for row in found.rows if row.score} >= {"full model", "random tokens"}
loaded = [name for name in ("torch", "transformers") if name in sys.modules]
assert not loaded, loaded
print(study.spec.weights, study.spec.calibration_digest, *study.subject.keys, sep="\\n")
"""


def test_a_search_and_its_comparison_with_remote_workers_import_no_torch(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for number, sample in enumerate(ShapesVQA("calibration", 12)):
        sample.images[0]().save(folder / f"{number}.png")
        row = {"question": sample.question, "answer": sample.answers[0], "image": f"{number}.png"}
        rows.append(json.dumps(row))
    (folder / "questions.jsonl").write_text("\n".join(rows))
    here = JsonlSet(folder / "questions.jsonl")
    keys = [sample_key(sample) for sample in here]
    ended = subprocess.run(
        [sys.executable, "-c", SEARCH, str(tmp_path / "s.db"), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    weights, *found = ended.stdout.split()
    assert weights
    assert found == [here.digest(), *keys]
