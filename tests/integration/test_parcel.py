"""What travels to a cluster with a study, and what must not."""

import json

import pytest

from schedsearch.app.config import check_study, read_study_file
from schedsearch.app.configured import prepare
from schedsearch.app.parcel import STUDY, pack
from schedsearch.app.submitting import readable_store, submit
from schedsearch.core.schedule import Schedule
from schedsearch.errors import DataError, InputError, RunError
from schedsearch.execution.cluster.connection import without_traceback
from schedsearch.execution.cluster.jobs import Jobs, job_id
from tests.archives import png, rows


def study(**data):
    search = {"tolerance": 0.05, "first": 1}
    asked = {"study": "own", "model": "demo", "data": data, "search": search}
    return check_study(asked, "study")


@pytest.fixture
def parcel(tmp_path):
    (tmp_path / "parcel").mkdir()
    return tmp_path / "parcel"


@pytest.fixture
def own(tmp_path):
    """A set whose images lie in a folder of their own."""
    (tmp_path / "pictures" / "in").mkdir(parents=True)
    names = [f"in/{k}.png" for k in range(12)]
    for k, name in enumerate(names):
        (tmp_path / "pictures" / name).write_bytes(png((k, k, k)))
    (tmp_path / "own.jsonl").write_bytes(rows(*names))
    return tmp_path


def test_packed_study_is_the_same_study_in_its_new_folder(own, parcel):
    config = study(calibration="own.jsonl", images="pictures")
    pack(config, own, parcel, workers=3)
    packed = read_study_file(parcel / STUDY)
    here = prepare(config, own, own / "a.db")
    there = prepare(packed, parcel, own / "b.db")
    assert there.calibration.digest() == here.calibration.digest()
    assert packed.search == config.search
    assert packed.run.model_dump(exclude_unset=True) == {"executor": "ray", "workers": 3}


def test_set_of_several_uses_travels_once(own, parcel):
    pack(study(calibration="own.jsonl", held_out="own.jsonl", images="pictures"), own, parcel)
    assert len(list(parcel.glob("set-*"))) == 1


def test_schedules_that_a_search_begins_with_travel(tmp_path, parcel):
    Schedule((1.0, 1.0, 0.5)).save(tmp_path / "former.json")
    search = {
        "sampler": "bayes",
        "budget": {"flops": 0.5},
        "warm_start": ["published", "former.json"],
    }
    data = {"calibration": "demo:calibration"}
    config = check_study({"study": "x", "model": "demo", "data": data, "search": search}, "study")
    pack(config, tmp_path, parcel)
    first, second = json.loads((parcel / STUDY).read_text())["search"]["warm_start"]
    assert first == "published"
    assert Schedule.load(parcel / second) == Schedule.load(tmp_path / "former.json")


def test_image_that_lies_elsewhere_does_not_travel(own, parcel):
    (own / "own.jsonl").write_bytes(rows("../own.jsonl"))
    with pytest.raises(DataError, match="images must lie in"):
        pack(study(calibration="own.jsonl", images="pictures"), own, parcel)


def test_folder_of_a_model_is_named_by_its_whole_path(tmp_path, parcel):
    (tmp_path / "model").mkdir()
    config = study(calibration="demo:calibration").model_copy(update={"model": "./model"})
    pack(config, tmp_path, parcel)
    assert json.loads((parcel / STUDY).read_text())["model"] == str(tmp_path / "model")


@pytest.mark.parametrize(
    "store",
    [
        "postgresql+psycopg://me:hush@db/x",
        "postgresql+psycopg://me@db/x?password=hush",
        "postgresql+psycopg://me@db/x?sslmode=require&sslpassword=hush",
    ],
)
def test_address_with_a_password_is_never_passed_to_a_job(store):
    with pytest.raises(InputError, match="PGPASSFILE") as refused:
        readable_store(store)
    assert "hush" not in str(refused.value)


def test_address_without_a_password_is_passed_as_it_is():
    store = "postgresql+psycopg://me@db/x?sslmode=verify-full&passfile=/secrets/pgpass"
    assert readable_store(store) == {"SCHEDSEARCH_STORE": store}


def test_address_at_which_nobody_is_is_told_in_one_message(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    config = study(calibration="demo:calibration")
    with pytest.raises(RunError, match=r"http://127.0.0.1:1 says no: Connection refused"):
        submit(Jobs("http://127.0.0.1:1"), config, tmp_path, None)


def test_ids_of_jobs_differ_where_studies_or_attempts_differ_and_fit_into_paths():
    names = ["a", "a/b", "a b", "a-b", "..", "-x", "ü" * 90, "ü" * 91, "a.v1", ""]
    found = [job_id(name, 1, attempt) for name in names for attempt in (1, 2)]
    assert len({*found}) == len(found)
    for one in found:
        assert one.isascii() and "/" not in one and not one.startswith((".", "-"))
        assert len(one) < 100
    assert job_id("demo", 1, 1) == "demo.v1" and job_id("demo", 1, 2) == "demo.v1.2"


def test_a_traceback_of_ray_is_told_by_its_last_line():
    said = (
        "runtime_env setup failed: Failed to set up runtime environment.\nCould not create it.\n"
        'Traceback (most recent call last):\n  File "agent.py", line 5, in run\n    raise\n'
        "ValueError: Local directory /x does not exist  on the cluster.\n\n"
    )
    assert without_traceback(said) == (
        "runtime_env setup failed: Failed to set up runtime environment. "
        "ValueError: Local directory /x does not exist on the cluster."
    )
    assert without_traceback("Job has\nended") == "Job has ended"
