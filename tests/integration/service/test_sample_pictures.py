"""Pictures of samples that searches have seen: which may be looked at, and which never."""

import io
import json
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
from PIL import Image

from schedsearch.app.config import parse_study
from schedsearch.app.configured import prepare
from schedsearch.app.permitted import Permitted
from schedsearch.app.pictured import Searched, write_pictures
from schedsearch.core.exhibit import PICTURE_BYTES
from schedsearch.demo import open_data
from schedsearch.errors import DataError
from schedsearch.evaluation.data.images import open_image
from schedsearch.evaluation.data.jsonl import JsonlSet, sample_key
from tests.integration.service.test_access import logged_in

API = "/api/v1"
NAME = "small"
SAMPLES = 14
FILE = """
study: small
model: demo
data: {calibration: rows.jsonl}
ranker: local
search: {tolerance: 0.5, first: 6, floor: 60}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a set of samples, and a store with a search of it."""
    folder = tmp_path_factory.mktemp("data")
    with (folder / "rows.jsonl").open("w") as rows:
        for number, sample in enumerate(open_data("demo", "calibration", SAMPLES)):
            open_image(sample.images[0]).save(folder / f"{number}.png")
            row = {"id": str(number), "question": sample.question, "answer": sample.answers[0]}
            rows.write(json.dumps({**row, "image": f"{number}.png"}) + "\n")
    with prepare(parse_study(FILE, "s"), folder, folder / "store.db").open() as study:
        study.run()
    return folder


@pytest.fixture
def folder(data, tmp_path):
    """A copy of it."""
    return shutil.copytree(data, tmp_path / "data")


def asked(serve, folder, content=None, **permitted):
    """A service whose store says that the study was sent with some content."""
    given = {"data": (folder,)} | permitted
    service = serve(store=str(folder / "store.db"), permitted=Permitted(**given))
    if content is not None:
        search = {"tolerance": 0.5, "first": 6, "floor": 60}
        sent = {"study": NAME, "model": "demo", "search": search, "data": content}
        service.store.service.add_launch(NAME, sent, "somebody", "local")
    logged_in(service, service.token("read"))
    return service


def pictures(service):
    """Pictures of the answers of trial 2, by sample, when they have been made."""
    page = service.client.get(f"/studies/{NAME}/trials/2")
    assert page.status_code == 200, page.text
    keys, deadline = service.client.app.state.office.pictures.keys, time.monotonic() + 60
    while keys(NAME) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert keys(NAME) is not None
    found = {}
    place = f"{API}/studies/{NAME}/trials/2/answers"
    for one in service.client.get(place).json()["answers"]:
        answer = service.client.get(f"{place}/{one['sample']}/picture")
        if answer.status_code == 200:
            assert answer.headers["content-type"] == "image/webp"
            found[one["sample"]] = answer.content
        else:
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
    return found


def test_picture_is_that_of_the_sample(serve, folder):
    service = asked(serve, folder, {"calibration": "rows.jsonl"})
    found = pictures(service)
    samples = {sample_key(one): one for one in JsonlSet(folder / "rows.jsonl")}
    assert found.keys() == samples.keys()
    for key, raw in found.items():
        assert len(raw) <= PICTURE_BYTES
        shown = Image.open(io.BytesIO(raw)).convert("RGB")
        assert shown.tobytes() == open_image(samples[key].images[0]).tobytes()
    nobody = {"cookie": ""}
    place = f"{API}/studies/{NAME}/trials/2/answers/{next(iter(found))}/picture"
    service.client.cookies.clear()
    assert service.client.get(place, headers=nobody).status_code == 401
    assert service.client.get(place, headers=service.by("read")).status_code == 200


def test_page_shows_changed_samples_with_their_pictures(serve, folder):
    service = asked(serve, folder, {"calibration": str(folder / "rows.jsonl")})
    change = "UPDATE evaluation SET score = 0 WHERE sample_id % 2 AND counts_id = 3"
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        database.execute(change)
    first = service.client.get(f"/studies/{NAME}/trials/2").text
    found = pictures(service)
    page = service.client.get(f"/studies/{NAME}/trials/2").text
    places = page.count('<img class="look"')
    assert places == page.count('data-label="Now"') == SAMPLES // 2
    assert "being read" not in page
    assert "being read" in first and 'class="look"' not in first
    assert any(f"/answers/{key}/picture" in page for key in found)


def test_embedded_and_uploaded_sets_are_known_by_their_digest(serve, tmp_path, folder):
    file = FILE.replace("rows.jsonl", "demo:calibration, calibration_samples: 14")
    with prepare(parse_study(file, "s"), tmp_path, tmp_path / "store.db").open() as study:
        study.run()
    service = serve(store=str(tmp_path / "store.db"))
    logged_in(service, service.token("read"))
    assert len(pictures(service)) == SAMPLES

    other = asked(serve, folder)
    digest = other.store.spec(NAME).calibration_digest
    place = other.settings.folder / "sets" / digest
    shutil.copytree(folder, place)
    (place / "rows.jsonl").rename(place / "samples.jsonl")
    assert len(pictures(other)) == SAMPLES


def test_nothing_is_opened_that_no_study_may_name(serve, folder, tmp_path):
    outside = shutil.copytree(folder, tmp_path / "outside")
    (folder / "link.jsonl").symlink_to(outside / "rows.jsonl")
    for name in (
        "link.jsonl",
        str(outside / "rows.jsonl"),
        "../outside/rows.jsonl",
        "set:" + "0" * 64,
    ):
        service = asked(serve, folder, {"calibration": name})
        assert pictures(service) == {}, name
        service.store.service.remove_launch(NAME, None)
    service = asked(serve, folder, {"calibration": "rows.jsonl", "images": str(outside)})
    assert pictures(service) == {}
    service.store.service.remove_launch(NAME, None)
    assert pictures(asked(serve, folder, {"calibration": "rows.jsonl"}, data=())) == {}


@pytest.mark.parametrize("change", ["image", "row", "gone"])
def test_set_that_is_another_now_is_not_shown(serve, folder, change):
    if change == "image":
        Image.new("RGB", (64, 64), "red").save(folder / "3.png")
    elif change == "row":
        rows = folder / "rows.jsonl"
        rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:-1]))
    else:
        (folder / "rows.jsonl").unlink()
    service = asked(serve, folder, {"calibration": "rows.jsonl"})
    assert pictures(service) == {}
    assert "being read" not in service.client.get(f"/studies/{NAME}/trials/2").text


def test_only_samples_of_the_trial_have_pictures(serve, folder):
    service = asked(serve, folder, {"calibration": "rows.jsonl"})
    known = pictures(service)
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        database.execute("DELETE FROM evaluation WHERE sample_id = 1 AND counts_id = 3")
    left = pictures(service)
    assert len(left) == len(known) - 1
    (gone,) = known.keys() - left.keys()
    for sample in (gone, "..%2F..%2Fstore.db", "0" * 64, "x" * 90):
        place = f"{API}/studies/{NAME}/trials/2/answers/{sample}/picture"
        assert service.client.get(place).status_code == 404


def test_parts_of_a_set_show_what_the_search_has_seen(folder, tmp_path):
    shares = "data: {calibration: rows.jsonl, shares: {search: 0.75, held_out: 0.25}}"
    file = FILE.replace("data: {calibration: rows.jsonl}", shares)
    ready = prepare(parse_study(file, "s"), folder, tmp_path / "s.db")
    part = Searched(
        ready.calibration.digest(),
        str(folder / "rows.jsonl"),
        shares=(("search", 0.75), ("held_out", 0.25)),
    )
    write_pictures(part, tmp_path)
    keys = {sample_key(one) for one in ready.calibration}
    assert {one.stem for one in tmp_path.glob("*.webp")} == keys
    assert 10 <= len(keys) < SAMPLES
    with pytest.raises(DataError, match="another now"):
        write_pictures(replace(part, seed=1), tmp_path)
    with pytest.raises(DataError, match="at most 2000"):
        write_pictures(Searched(part.digest, "demo:calibration", 2001), tmp_path)


@pytest.mark.full
def test_few_sets_are_kept_and_nothing_is_left(serve, folder):
    service = asked(serve, folder, {"calibration": "rows.jsonl"})
    assert pictures(service)
    place = service.settings.folder
    for moment in range(1, 7):  # each time another set, for all that is known
        time.sleep(0.01)
        (folder / "rows.jsonl").touch()
        assert len(pictures(service)) == SAMPLES, moment
    kept = list(place.glob(".pictures.*.partial/*"))
    assert len(kept) == 4
    service.client.__exit__(None, None, None)
    assert not list(place.glob(".pictures.*"))
