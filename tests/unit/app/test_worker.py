"""What goes to other processes to open a worker there."""

import json
import pickle
from pathlib import Path

import pytest

from schedsearch.app.bootstrap import DataRef
from schedsearch.app.worker import WorkerSpec
from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.errors import DataError, InputError
from schedsearch.evaluation.data.jsonl import JsonlSet
from schedsearch.evaluation.metrics import make_metric

METRIC = make_metric("exact_match")


def sent(spec: WorkerSpec) -> WorkerSpec:
    """The worker's description in another process."""
    copy: WorkerSpec = pickle.loads(pickle.dumps(spec.open)).__self__  # noqa: S301
    return copy


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = []
    for number, sample in enumerate(ShapesVQA("calibration", 3)):
        sample.images[0]().save(tmp_path / f"{number}.png")
        row = {"question": sample.question, "answer": sample.answers[0], "image": f"{number}.png"}
        rows.append(json.dumps(row))
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(rows))
    return path


def test_folder_of_a_model_has_its_whole_path_elsewhere_and_the_same_name(tmp_path, monkeypatch):
    (tmp_path / "studies" / "own").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    spec = sent(WorkerSpec("own", METRIC, DataRef(), folder=Path("studies")))

    assert (spec.model, spec.name) == (str(tmp_path / "studies" / "own"), "own")
    assert sent(spec).name == "own"


def test_embedded_model_and_its_data_are_names_elsewhere():
    spec = sent(WorkerSpec("demo", METRIC, DataRef("demo:calibration", 12)))

    assert (spec.model, spec.name, spec.data) == ("demo", "demo", DataRef("demo:calibration", 12))


def test_file_that_is_named_goes_with_its_samples(questions):
    here = JsonlSet(questions)

    for limit in (None, 2):
        data = sent(WorkerSpec("demo", METRIC, DataRef(str(questions), limit))).data

        assert not isinstance(data, DataRef)
        assert [one.question for one in data] == [one.question for one in here][:limit]
        assert (data.name, data.split) == (here.name, "calibration")
        assert (data.digest() == here.digest()) == (limit is None)


def test_file_that_cannot_be_read_is_refused_here(questions):
    (questions.parent / "1.png").unlink()

    with pytest.raises(DataError, match=r"questions\.jsonl:2: image .*1\.png cannot be read"):
        sent(WorkerSpec("demo", METRIC, DataRef(str(questions))))


def test_model_object_is_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"a model object \(object\).*save_pretrained"):
        sent(WorkerSpec(object(), METRIC, DataRef()))
