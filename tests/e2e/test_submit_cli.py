"""What the commands for clusters refuse before anything is sent; the rest takes a cluster."""

import pytest

from schedsearch.store.store import open_store

NOBODY = "http://127.0.0.1:1"


def test_study_that_is_searched_is_not_submitted(run, folder):
    with open_store(folder / "store.db") as store:
        store.acquire("small")
        ended = run(
            "submit", folder / "study.yaml", "--address", NOBODY, "--store", folder / "store.db"
        )
    assert ended.code == 1
    assert "study `small` is being searched by process" in ended.err
    assert "schedsearch stop" in ended.err


def test_password_is_not_sent_to_a_cluster(run, folder):
    store = "postgresql+psycopg://me:hush@127.0.0.1:1/x"
    asked = ["--address", NOBODY, "--store", store, "--pass-store", "--detach"]
    ended = run("submit", folder / "study.yaml", *asked)
    assert ended.code == 2
    assert "SCHEDSEARCH_STORE" in ended.err and "hush" not in ended.err


def test_cluster_at_which_nobody_answers_is_one_line(run, folder):
    ended = run("submit", folder / "study.yaml", "--address", NOBODY, "--detach")
    assert ended.code == 1
    assert ended.err.count("\n") == 1 and f"{NOBODY} says no: Connection refused" in ended.err


def test_search_that_is_resumed_was_begun_somewhere(run, folder):
    ended = run("resume", "small", "--store", folder / "store.db")
    assert ended.code == 2
    assert "`--address` or `--server` must say where the search was begun" in ended.err
    ended = run("resume", "small", "--store", folder / "store.db", "--address", NOBODY)
    assert ended.code == 1 and f"{NOBODY} says no: Connection refused" in ended.err


@pytest.mark.parametrize("given", [["--backend", "ray"], ["--address", NOBODY]])
def test_service_on_ray_needs_a_backend_and_an_address(run, tmp_path, given):
    ended = run("serve", "--store", tmp_path / "s.db", *given)
    assert ended.code == 2
    assert "`--backend ray` and `--address` go together" in ended.err


def test_workers_of_a_service_are_those_of_ray(run, tmp_path):
    ended = run("serve", "--store", tmp_path / "s.db", "--gpus-per-worker", 1)
    assert ended.code == 2
    assert "`--gpus-per-worker` is for `--backend ray`" in ended.err
