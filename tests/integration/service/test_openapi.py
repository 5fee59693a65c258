"""Schemathesis asks a service what its document allows, and what it forbids; with all checks."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest
import uvicorn

from schedsearch.app.tokens import create_token
from schedsearch.execution.loop import run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.service.app import make_app
from schedsearch.service.settings import ServiceSettings
from schedsearch.store.store import Store
from tests.integration.searched import searched_store
from tests.integration.service.conftest import Noted
from tests.integration.service.test_trials import SETTINGS
from tests.unit.execution.synthetic import CHUNK, SEARCH, SUBJECT, evaluate, local, spec

PAGE = Path(__file__).parents[3]
KEPT = ("synthetic", "other", "small")
DOOMED = [f"s{number}" for number in range(300)]
TOKENS = range(3, 300)
SETS = [f"{number:064x}" for number in range(300)]
_OF_STUDIES = "(|/content|/clone|/trials|/trials/{number}/answers)"
SCREENED = f"/api/v1/(studies|studies:validate|sets|tokens|audits|studies/{{name}}{_OF_STUDIES})"
"""Where more is asked for than a schema can say: of a study's file, an archive, a cursor (which
this list must have given), an ETag, the letters of a name."""


@dataclass
class Asked:
    """A service that listens.

    Attributes:
        url: Of it.
        token: For admins.
    """

    url: str
    token: str


def launched(store: Store, backend: Noted) -> None:
    """Have a study searched that the service was asked for, as a coordinator does."""
    store.service.add_launch("small", CONTENT, "me", backend.name)
    store.service.queue("small")
    store.service.take(1)
    store.service.claim("small", 1, {"host": "here", "pid": 1})
    store.create_study(replace(spec("small"), search=SETTINGS.plain()))
    scoring = Scoring("small", SUBJECT, store, local(evaluate), CHUNK)
    run_study("small", SEARCH, scoring, store)
    store.service.end_launch("small", 1, "finished")


CONTENT = {
    "study": "small",
    "model": "demo",
    "data": {"calibration": "demo:calibration", "calibration_samples": 12},
    "search": {"tolerance": 1, "floor": 60, "first": 7},
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> Iterator[Asked]:
    """A service with studies and sets: one searched here, one launched, one held, many not yet."""
    folder = tmp_path_factory.mktemp("asked")
    (folder / "store.db").write_bytes(searched_store())
    settings = ServiceSettings(
        str(folder / "store.db"), folder / "service", searches=3, failures=10**9
    )
    backend = Noted()
    app = make_app(settings, backend)
    store = app.state.office.store
    for number in TOKENS:
        store.service.add_token(f"t{number}", "read", None, "salt", "digest")
    token = create_token(store.service, "asks", "admin", None).text
    launched(store, backend)
    for name in DOOMED:
        store.service.add_launch(name, {**CONTENT, "study": name}, "me", backend.name)
    for digest in SETS:
        (folder / "service" / "sets" / digest).mkdir()
        (folder / "service" / "sets" / digest / "samples.jsonl").touch()
        store.service.add_sample_set(digest, "mine", 1, 4096, "me")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield Asked(f"http://127.0.0.1:{listener.getsockname()[1]}", token)
        server.should_exit = True
        thread.join()


def config(token: str) -> str:
    """How schemathesis comes by what is there."""
    values = {
        "kept": [*KEPT, "s0", "s1", "s2"],
        "doomed": DOOMED[3:],
        "new": [f"n{number}" for number in range(300)],
        "numbers": list(range(30)),
        "tokens": list(TOKENS),
        "models": ["demo"],
        "sets": ["demo:calibration"],
        "uploaded": SETS[2:],
        "listed": SETS[:2],
    }
    dictionaries = [f"{name} = {{ values = {json.dumps(of)} }}" for name, of in values.items()]
    shares = {
        "path.name": ("kept", 0.8),
        "path.number": ("numbers", 0.8),
        "query.trial": ("numbers", 0.5),
        "path.token": ("tokens", 0.8),
        "path.digest": ("listed", 0.8),
        "body.study": ("new", 0.8),
        "body.model": ("models", 0.9),
        "body.data.calibration": ("sets", 0.9),
    }
    parameters = [
        f'"{place}" = {{ dictionary = "{name}", probability = {share} }}'
        for place, (name, share) in shares.items()
    ]
    return "\n".join(
        [
            "max-stream-events = 1",
            "request-timeout = 30",
            *([f'headers = {{ Authorization = "Bearer {token}" }}'] if token else []),
            'hooks = "tests.integration.service.openapi_hooks"',
            "[dictionaries]",
            *dictionaries,
            "[parameters]",
            *parameters,
            "[[operations]]",
            'include-method = "DELETE"',
            'include-path = "/api/v1/studies/{name}"',
            'parameters = { "path.name" = { dictionary = "doomed", probability = 0.8 } }',
            "[[operations]]",
            'include-method = "DELETE"',
            'include-path = "/api/v1/sets/{digest}"',
            'parameters = { "path.digest" = { dictionary = "uploaded", probability = 0.8 } }',
            "[[operations]]",
            f"include-path-regex = '^{SCREENED}$'",
            "[operations.checks.positive_data_acceptance]",
            'expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422"]',
        ]
    )


FEW, LEAST, MANY = ("--phases=fuzzing", "-n3"), ("--phases=fuzzing", "-n1"), ("-n70",)


@pytest.mark.parametrize(
    ("with_token", "options", "least", "most_do"),
    [
        (True, FEW, 100, 18),
        (False, LEAST, 30, 0),
        pytest.param(True, MANY, 5000, 25, marks=pytest.mark.full),
        pytest.param(False, MANY, 5000, 0, marks=pytest.mark.full),
    ],
)
def test_service_answers_as_its_document_says(
    asked, tmp_path, with_token, options, least, most_do, caplog
):
    token = asked.token if with_token else ""
    (tmp_path / "schemathesis.toml").write_text(config(token))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file=schemathesis.toml", "run"]
    ended = subprocess.run(
        [
            *command,
            f"{asked.url}/api/v1/openapi.json",
            *options,
            *("--checks=all", "--seed=0", "--generation-database=none", "--no-color"),
            *("--continue-on-failure", "--report=json", "--report-json-path=report.json"),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(PAGE),
            "FUZZED_TOKEN": asked.token.split("_")[1],
            "FUZZED_STUDIES": " ".join(KEPT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["operations"]["tested"] == report["operations"]["total"]
    assert report["test_cases"]["generated"] >= least
    assert "a defect" not in caplog.text
    accepted = {
        operation
        for operation, phases in report["valid_rates"].items()
        if any(rates["accepted"] for rates in phases.values())
    }
    studies = {one for one in accepted if re.search("/studies", one)}
    assert len(accepted) >= most_do, f"little was tested: {accepted}"
    assert bool(studies) == with_token
    # A token that is revoked stays so: this one was good for every case.
    headers = {"Authorization": f"Bearer {asked.token}"}
    assert httpx2.get(f"{asked.url}/api/v1/token", headers=headers).status_code == 200
