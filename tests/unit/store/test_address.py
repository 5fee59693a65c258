"""What messages say of the place that a store was given at."""

import os
import sys

import pytest

from schedsearch.app.stores import look
from schedsearch.errors import InputError
from schedsearch.store import open_store, schema
from schedsearch.store.address import name_of, url_of
from schedsearch.store.database import Database
from schedsearch.store.store import check_store, find_store, upgrade

LONG = f"{'a' * 300}/x.db"


def loop(folder):
    (folder / "there.db").symlink_to("back.db")
    (folder / "back.db").symlink_to("there.db")
    return folder / "there.db"


def dangling(folder):
    (folder / "link.db").symlink_to("missing.db")
    return folder / "link.db"


def pipe(folder):
    os.mkfifo(folder / "pipe.db")
    return folder / "pipe.db"


def below_a_file(folder):
    (folder / "file").touch()
    return folder / "file" / "runs.db"


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (loop, r"there\.db cannot be a store \(Too many levels of symbolic links\); give another"),
        (dangling, r"link\.db is a link to missing\.db, which does not exist; correct the link"),
        (pipe, r"must be a file, but .*pipe\.db is a pipe or device; name a file"),
        (below_a_file, r"runs\.db cannot be a store \(Not a directory\); give another path"),
        (lambda folder: folder / LONG, r"x\.db cannot be a store \(File name too long\); give"),
        (lambda folder: folder, "must be a file, but .* is a folder; name a file in it"),
    ],
)
@pytest.mark.parametrize(
    "use",
    [
        open_store,
        lambda path: open_store(path, read_only=True),
        lambda path: open_store(path, create=False),
        find_store,
        check_store,
        upgrade,
        lambda path: look(path, "study"),
        lambda path: look(path, "study", create=False),
    ],
)
def test_path_that_can_be_no_store_is_named_for_what_it_is(tmp_path, made, complaint, use):
    path = made(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(InputError, match=complaint) as error:
        use(path)
    assert "\n" not in str(error.value)
    assert sorted(os.listdir(tmp_path)) == before


def test_folder_that_is_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "folder").symlink_to("missing")
    for use in (open_store, lambda path: look(path, "study")):
        with pytest.raises(InputError, match=r"folder is no folder, so .*runs\.db cannot be made"):
            use(tmp_path / "folder" / "runs.db")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://me:secret@localhost/runs", "postgresql://me:***@localhost/runs"),
        ("postgresql://localhost/runs?password=secret", "postgresql://localhost/runs?password=***"),
        (
            "postgresql://me:secret@/runs?host=a&host=b:1&sslpassword=secret&sslmode=require",
            "postgresql://me:***@/runs?host=a,b:1&sslpassword=***&sslmode=***",
        ),
    ],
)
def test_messages_have_nothing_secret_of_a_url(url, name):
    pytest.importorskip("psycopg")
    assert name_of(url_of(url)) == name
    assert Database(url_of(url)).name == name
    assert str(schema.nothing(url_of(url))).startswith(f"{name} is empty")


SECRETS = ["me:secret@/runs?host=/nowhere", "/runs?host=/nowhere&user=me&password=secret"]


@pytest.mark.parametrize("place", SECRETS)
@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "sqlite", "mysql", "odd"])
@pytest.mark.parametrize("driver", [True, False])
def test_no_error_repeats_a_password(monkeypatch, scheme, place, driver):
    if not driver:
        monkeypatch.setitem(sys.modules, "psycopg", None)
    for use in (
        open_store,
        lambda url: open_store(url, read_only=True),
        check_store,
        upgrade,
        lambda url: look(url, "study", create=False),
    ):
        with pytest.raises(InputError) as error:
            use(f"{scheme}://{place}")
        assert "secret" not in str(error.value)
