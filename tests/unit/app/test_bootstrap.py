"""What the name of a model stands for."""

import pytest

from schedsearch.app.bootstrap import model_place, open_model
from schedsearch.demo import checkpoint_path
from schedsearch.errors import InputError


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
