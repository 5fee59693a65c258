"""Sets that are uploaded by REST: kept once, listed, named by studies, deleted, refused."""

import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from schedsearch.app.unpacking import TooLargeError
from schedsearch.evaluation.data.jsonl import JsonlSet
from tests.archives import png, rows, tar, zipped
from tests.integration.service.test_access import API, problem

TAR, GZIP, ZIP = "application/x-tar", "application/gzip", "application/zip"
FILES = {"rows.jsonl": rows("a.png", "more/b.png"), "a.png": png("red"), "more/b.png": png("blue")}
NOTES = {"notes.txt": b"none of it", ".DS_Store": b"", "._rows.jsonl": b"", "deep/er/x": b"1"}


def upload(service, archive, kind=GZIP, headers=None, name="mine"):
    headers = (headers or service.by("launch")) | {"Content-Type": kind}
    return service.client.post(
        f"{API}/sets", content=archive, headers=headers, params={"name": name}
    )


def sets(service):
    return service.client.get(f"{API}/sets", headers=service.by("read")).json()


def left_over(service):
    """What lies in the folder of sets besides those that are kept."""
    there = {path.name for path in (service.settings.folder / "sets").iterdir()}
    return sorted(there - {one["digest"] for one in sets(service)} - {".lock"})


def test_set_is_kept_under_the_digest_that_its_file_has_anywhere(service, tmp_path):
    made = upload(service, tar(FILES, "w:gz"))
    assert made.status_code == 201, made.text
    for name, content in FILES.items():
        path = tmp_path / "there" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    body = made.json()
    assert body["digest"] == JsonlSet(tmp_path / "there" / "rows.jsonl").digest()
    assert (body["name"], body["samples"], body["by"]) == ("mine", 2, "launch (token 1)")
    assert body["bytes"] == 3 * 4096
    assert made.headers["location"] == f"{API}/sets/{body['digest']}"
    shown = service.client.get(made.headers["location"], headers=service.by("read"))
    assert shown.json() == body
    assert sets(service) == [body]
    assert left_over(service) == []


@pytest.mark.parametrize(
    ("kind", "archive"),
    [
        (TAR, tar(dict(reversed(FILES.items())))),
        (TAR, tar({f"./{name}": content for name, content in FILES.items()})),
        (ZIP, zipped(FILES)),
        (GZIP, tar(FILES | NOTES, "w:gz")),
    ],
)
def test_same_content_is_kept_once_whatever_its_archive(service, kind, archive):
    first = upload(service, tar(FILES, "w:gz")).json()
    again = upload(service, archive, kind, name="again")
    assert again.status_code == 200
    assert again.json() == first
    assert sets(service) == [first]
    assert left_over(service) == []


def test_files_that_no_row_names_are_not_kept(service):
    made = upload(service, tar(FILES | {"notes.txt": b"1", "x/y/z.png": png("red")}, "w:gz")).json()
    folder = service.settings.folder / "sets" / made["digest"]
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert kept == {"samples.jsonl", "a.png", "more/b.png"}
    assert not (folder / "x").exists()


def test_uploads_and_deletions_are_audited(service):
    digest = upload(service, tar(FILES, "w:gz")).json()["digest"]
    answer = service.client.delete(f"{API}/sets/{digest}", headers=service.by("launch"))
    assert answer.status_code == 204
    audits = service.client.get(f"{API}/audits", headers=service.by("admin")).json()["audits"]
    assert [(one["action"], one["object"]) for one in audits] == [
        ("delete set", digest),
        ("upload set", digest),
    ]


def test_reader_may_look_at_sets_and_nothing_else(service):
    reader = service.by("read")
    problem(upload(service, tar(FILES, "w:gz"), headers=reader), 403)
    digest = upload(service, tar(FILES, "w:gz")).json()["digest"]
    assert service.client.get(f"{API}/sets/{digest}", headers=reader).status_code == 200
    problem(service.client.delete(f"{API}/sets/{digest}", headers=reader), 403)


def test_nobody_uploads_without_a_token_however_large(service):
    archive = b"\x1f\x8b" + bytes(2 << 20)
    problem(upload(service, archive, headers={"X": "y"}), 401)


def test_set_that_is_not_there_is_not_found(service):
    for method in ("get", "delete"):
        answer = service.client.request(
            method, f"{API}/sets/{'0' * 64}", headers=service.by("launch")
        )
        assert "no uploaded set" in problem(answer, 404)


@pytest.mark.parametrize("digest", ["x", "..%2f..", "0" * 63, "A" * 64])
def test_name_that_is_no_digest_is_refused(service, digest):
    answer = service.client.delete(f"{API}/sets/{digest}", headers=service.by("launch"))
    assert answer.status_code in (404, 422)
    problem(answer, answer.status_code)


@pytest.mark.parametrize("kind", ["", "application/json", "application/x-7z-compressed"])
def test_other_kinds_are_refused(service, kind):
    assert "application/zip" in problem(upload(service, tar(FILES), kind), 415)


@pytest.mark.parametrize("name", ["", "x" * 101, "\0"])
def test_name_that_cannot_be_kept_is_refused(service, name):
    problem(upload(service, tar(FILES), TAR, name=name), 422)
    assert left_over(service) == []


def test_faults_are_told_as_the_command_line_tells_them(service, tmp_path):
    wrong = rows("a.png") + b'{"question": "q", "answer": "x", "image": "none.png"}\n{"imag": 1}\n'
    answer = upload(service, tar({"mine.jsonl": wrong, "a.png": png("red")}), TAR)
    detail = problem(answer, 422)
    assert detail.startswith("mine.jsonl:2: image none.png cannot be read")
    assert detail.endswith("; 1 more line has faults")
    assert str(tmp_path) not in detail
    assert left_over(service) == []


def test_archive_larger_than_the_quota_is_refused_before_it_is_read(serve):
    service = serve(quota=100_000)

    def endless():
        raise AssertionError("it was read")
        yield b""

    headers = service.by("launch") | {"Content-Length": str(10**12)}
    detail = problem(upload(service, endless(), headers=headers), 413)
    assert "100000 are left" in detail


def test_archive_that_does_not_tell_its_size_is_cut_at_the_quota(serve):
    service = serve(quota=4 << 20)
    pieces = (b"\x1f\x8b" * (1 << 19) for _ in range(5))
    assert "have sets deleted" in problem(upload(service, pieces), 413)
    assert left_over(service) == []


def test_sets_together_stay_below_the_quota_and_deletion_makes_room(serve):
    service = serve(quota=40_000)

    def one(red):
        # Little in an archive, and half the quota on disk.
        image = png((red, 0, 0)) + bytes(18_000)
        return tar({"rows.jsonl": rows("a.png"), "a.png": image}, "w:gz")

    first = upload(service, one(1))
    assert first.status_code == 201
    assert "bytes that are left" in problem(upload(service, one(2)), 413)
    path = f"{API}/sets/{first.json()['digest']}"
    assert service.client.delete(path, headers=service.by("launch")).status_code == 204
    assert upload(service, one(2)).status_code == 201
    assert left_over(service) == []


def study(digest):
    return (
        f"study: small\nmodel: demo\ndata: {{calibration: 'set:{digest}'}}\n"
        "search: {tolerance: 1}\n"
    )


def test_set_that_a_study_waits_for_is_not_deleted(service):
    digest = upload(service, tar(FILES, "w:gz")).json()["digest"]
    headers, path = service.by("launch"), f"{API}/sets/{digest}"
    made = service.client.post(f"{API}/studies?start=true", content=study(digest), headers=headers)
    assert made.status_code == 201, made.text
    assert "study `small`" in problem(service.client.delete(path, headers=headers), 409)
    file = service.settings.folder / "sets" / digest / "samples.jsonl"
    assert service.store.service.launch("small").content["data"]["calibration"] == str(file)
    service.client.post(f"{API}/studies/small/stop", headers=headers)
    service.store.service.withdraw("small")
    service.store.service.end_launch("small", 1, "stopped")
    assert service.client.delete(path, headers=headers).status_code == 204
    assert not file.exists()
    detail = problem(
        service.client.post(f"{API}/studies:validate", content=study(digest), headers=headers), 422
    )
    assert "no uploaded set" in detail


def test_sets_outlive_the_server(service, serve):
    digest = upload(service, tar(FILES, "w:gz")).json()["digest"]
    other = serve()
    assert [one["digest"] for one in sets(other)] == [digest]
    names = other.client.get(f"{API}/names", headers=other.by("read")).json()
    assert f"set:{digest}" in names["sets"]


LEAVES = """
import sys
from pathlib import Path
from schedsearch.app.uploads import Uploads
from schedsearch.store.store import open_store

begun = Uploads(open_store(sys.argv[1]).service, Path(sys.argv[2]), 10**6).begin()
begun.write(b"half of an archive")
print("begun", flush=True)
sys.stdin.read()
"""


def test_what_a_living_server_unpacks_is_left_alone_and_what_a_dead_one_left_is_cleared(serve):
    first = serve()
    folder = first.settings.folder / "sets"
    command = [sys.executable, "-c", LEAVES, first.settings.store, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"begun\n"
        left = left_over(serve())
        assert len(left) == 1, "it is on its way"
        other.kill()
    assert left_over(first) == left
    serve()
    assert left_over(first) == []


def kept(service, archive):
    """What a service says that is sent an archive; by the use case, which threads may share."""
    sent = service.client.app.state.office.uploads.begin()
    try:
        sent.write(archive)
        return sent.keep("tar.gz", "mine", "me")[1]
    except TooLargeError:
        return "too large"
    finally:
        sent.close()


def test_servers_with_one_folder_keep_a_set_once_and_one_quota(serve):
    both = serve(quota=30_000), serve(quota=30_000)
    one, *more = (tar(FILES | {"a.png": png((red, 0, 9))}, "w:gz") for red in (1, 2, 3))
    with ThreadPoolExecutor() as threads:
        assert sorted(threads.map(kept, both, (one, one))) == [False, True]
        assert len(sets(both[0])) == 1
        assert sorted(map(str, threads.map(kept, both, more))) == ["True", "too large"]
    assert len(sets(both[0])) == 2
    assert left_over(both[1]) == []


def test_image_of_another_set_cannot_be_named(service):
    digest = upload(service, tar(FILES, "w:gz")).json()["digest"]
    spying = tar({"rows.jsonl": rows(f"../../{digest}/a.png")}, "w:gz")
    assert "outside the image folder" in problem(upload(service, spying), 422)


def test_image_that_unpacks_to_too_many_pixels_is_refused(service):
    wide = bytearray(png("red"))
    wide[16:24] = struct.pack(">LL", 30_000, 30_000)
    wide[29:33] = struct.pack(">L", zlib.crc32(wide[12:29]))
    detail = problem(
        upload(service, tar({"r.jsonl": rows("a.png"), "a.png": bytes(wide)}), TAR), 422
    )
    assert "decompression bomb" in detail
