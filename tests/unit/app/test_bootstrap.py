"""What the name of a model stands for."""

from pathlib import Path

import pytest
from PIL import Image

from schedsearch.app.bootstrap import (
    DataRef,
    model_elsewhere,
    model_place,
    open_model,
    open_samples,
)
from schedsearch.demo import checkpoint_path
from schedsearch.errors import DataError, InputError


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A working directory, and beside it the folder of a study file."""
    for name in ("work", "studies"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work", tmp_path / "studies"


@pytest.mark.parametrize("name", ["own", "models/own", "./own", "../other", "demo-like"])
def test_folder_beside_the_study_file_is_the_model(folders, name):
    _, studies = folders
    (studies / name).mkdir(parents=True)
    assert model_place(name, studies) == str(studies / name)


def test_absolute_and_home_folders_and_hub_ids_stay(folders, monkeypatch):
    work, studies = folders
    (work / "own").mkdir()
    monkeypatch.setenv("HOME", str(work))
    assert model_place(str(work / "own"), studies) == str(work / "own")
    assert model_place("~/own", studies) == str(work / "own")
    assert model_place("llava-hf/llava-1.5-7b-hf", studies) == "llava-hf/llava-1.5-7b-hf"
    assert model_place("own") == "own"


@pytest.mark.parametrize("deep", [False, True])
def test_embedded_models_keep_their_names(folders, deep):
    name = "demo-deep" if deep else "demo"
    (folders[1] / name).mkdir()
    assert model_place(name, folders[1]) == str(checkpoint_path(deep=deep))


@pytest.mark.parametrize("name", ["own", "./own", "models/own"])
def test_other_processes_load_a_folder_by_its_whole_path(folders, name, monkeypatch):
    studies = folders[1]
    (studies / name).mkdir(parents=True)
    monkeypatch.chdir(studies.parent)
    assert model_elsewhere(name, Path("studies")) == str(studies / name)


def test_other_processes_load_by_name_what_is_no_folder(folders):
    work, studies = folders
    (studies / "demo").mkdir()
    (work / "own").touch()
    for name in ("demo", "own", "llava-hf/llava-1.5-7b-hf"):
        assert model_elsewhere(name, studies) == name


def test_folder_with_its_whole_path_need_be_there_for_other_processes_alone(folders):
    assert model_elsewhere("/nowhere/own", folders[1]) == "/nowhere/own"
    with pytest.raises(InputError, match="is a path, but the folder"):
        model_elsewhere("./own", folders[1])


def test_folder_of_the_working_directory_is_not_taken_silently(folders):
    work, studies = folders
    (work / "models" / "own").mkdir(parents=True)
    with pytest.raises(InputError) as refused:
        model_place("models/own", studies)
    assert f"{studies / 'models/own'} does not exist" in str(refused.value)
    assert "write ../work/models/own" in str(refused.value)


@pytest.mark.parametrize("name", ["./own", "../own", "a/b/c", "own/", "a\\b", "my own", "~/own"])
def test_path_to_nothing_is_called_a_path(folders, name):
    with pytest.raises(InputError) as refused:
        model_place(name, folders[1])
    assert f"{name} is a path, but the folder " in str(refused.value)
    assert "connect" not in str(refused.value)


def test_name_that_may_be_either_says_first_which_folder_is_missing(folders):
    _, studies = folders
    with pytest.raises(InputError) as refused:
        open_model("models/own", studies)
    assert str(refused.value).startswith(f"there is no folder {studies / 'models/own'}, and from")


@pytest.mark.parametrize("name", ["n" * 300, "./" + "n" * 300, "~nobody-here/x", "a\0b"])
def test_name_that_no_file_has_is_no_fault_of_ours(folders, name):
    _, studies = folders
    try:
        assert model_place(name, studies) == name
    except InputError as error:
        assert "does not exist" in str(error)


@pytest.mark.parametrize(
    ("name", "called"),
    [("--limit", {}), ("data.held_out_samples", {"limit_name": "data.held_out_samples"})],
)
def test_generated_set_is_bounded_by_the_name_that_users_know(name, called):
    open_samples(DataRef("demo:calibration", 100_000, **called))
    with pytest.raises(DataError, match=f"`{name}` must be at most 100000 .* got 1000000000;"):
        open_samples(DataRef("demo:calibration", 10**9, **called))


@pytest.mark.usefixtures("folders")
def test_file_may_be_asked_for_more_samples_than_there_are():
    Image.new("RGB", (8, 8)).save("a.png")
    Path("a.jsonl").write_text('{"question": "q ?", "image": "a.png"}')
    assert len(list(open_samples(DataRef("a.jsonl", 10**30)))) == 1


@pytest.mark.usefixtures("folders")
def test_reading_says_how_far_it_is():
    Image.new("RGB", (8, 8)).save("a.png")
    Path("a.jsonl").write_text("\n".join(['{"question": "q ?", "image": "a.png"}'] * 3))
    told = []
    open_samples(DataRef("a.jsonl"), progress=lambda name: lambda *now: told.append((name, *now)))
    assert told == [("reading a.jsonl", done, 3) for done in (1, 2, 3)]
