"""Fixtures of the store's tests."""

import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest

from schedsearch.store import open_store
from tests.unit.store.strategies import EVALUATIONS, FULL, HALF, SPEC, complete


@pytest.fixture
def path(tmp_path):
    """Where a store may be made."""
    return tmp_path / "runs.db"


@pytest.fixture
def folder():
    """A folder whose permissions bind this process too, which root's would not."""
    made = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        made.chmod(0o755)
        shutil.chown(made, 65534)
        os.seteuid(65534)
    yield made
    os.seteuid(os.getuid())
    made.chmod(0o755)
    shutil.rmtree(made)


@pytest.fixture
def store(path):
    """A store with one complete, one running and one waiting trial."""
    with open_store(path) as opened:
        opened.create_study(SPEC)
        context = opened.context_id(SPEC.name, "c0ffee", {})
        opened.add_scores(context, EVALUATIONS)
        with opened.lease(SPEC.name) as lease:
            trial = opened.open_trial(lease, {}, FULL)
            opened.close_trial(lease, complete(trial), opened.start_attempt(lease, 0))
            opened.open_trial(lease, {}, HALF)
            opened.start_attempt(lease, 1)
            opened.open_trial(lease, {"count": 3}, HALF)
        assert opened.check().problems == ()
        yield opened


@pytest.fixture
def file_size_limit():
    """Lets no file grow beyond a size in bytes: what a full disk or a quota does."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
