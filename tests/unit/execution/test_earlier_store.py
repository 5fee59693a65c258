"""A study of a store from before trials on part of the samples had a state of their own."""

import json
import sqlite3
from dataclasses import replace
from functools import partial

from alembic import command

from schedsearch.core.trial import TrialState
from schedsearch.execution.loop import Limits
from schedsearch.store import schema, upgrade
from schedsearch.store.address import url_of
from schedsearch.store.tables import REVISION
from tests.unit.execution.synthetic import LAYERS, N_MAX, SEARCH, STUDY, SUBJECT, Place, new_place
from tests.unit.execution.test_reading import unequal

SCREENED = replace(SEARCH, method="gallop", screens=(4,), tolerance=0.0)
BOUNDED = replace(SUBJECT, greatest=0.9)
VISIONS = " ".join(map(str, SUBJECT.n_visions))
SIZES = {"layers": LAYERS, "n_max": N_MAX, "n_visions": VISIONS}
SPEC_0002 = {
    "name": STUDY,
    "model": "none",
    "calibration": "synthetic",
    "calibration_digest": "c0ffee",
    "metric": "score",
    "sampler": {
        "name": "g-search",
        "params": {"layers": LAYERS, "n_max": N_MAX, "n_visions": VISIONS},
    },
    "family": {"name": "layerwise", "params": {}},
}
INNER = partial(unequal, misses=())


def as_of_revision_0002(place: Place, folder) -> Place:
    """The same store as an earlier schedsearch has written it."""
    folder.mkdir()
    earlier = Place(folder)
    database = schema._opened(url_of(earlier.database), "create")
    with database.writing() as connection:
        config = schema._alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    database.close()
    connection = sqlite3.connect(earlier.database)
    connection.execute("ATTACH ? AS now", (str(place.database),))
    tables = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")
    for (name,) in tables.fetchall():
        if name not in ("schedsearch_version", "sqlite_sequence", schema.VERSION_TABLE):
            columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({name})")]
            listed = ", ".join(f'"{column}"' for column in columns)
            own = {"state": "replace(state, 'SCREENED', 'COMPLETE')"}
            for figure in ("score", "n", "flops_ratio", "kv_ratio", "drop"):
                own[figure] = f"CASE state WHEN 'SCREENED' THEN -0.17 ELSE \"{figure}\" END"
            own["n"] = "CASE state WHEN 'SCREENED' THEN samples ELSE n END"
            chosen = (
                own.get(one, f'"{one}"') if name == "trial" else f'"{one}"' for one in columns
            )
            connection.execute(
                f"INSERT INTO main.{name} ({listed}) SELECT {', '.join(chosen)} FROM now.{name}"  # noqa: S608
            )
    connection.execute("UPDATE study SET spec = ?", (json.dumps(SPEC_0002),))
    connection.commit()
    connection.close()
    return earlier


def test_study_of_an_earlier_store_goes_on_to_the_same_result(tmp_path):
    whole = new_place(tmp_path / "whole")
    expected = whole.search(SCREENED, INNER, subject=BOUNDED)
    begun = new_place(tmp_path / "begun")
    begun.search(SCREENED, INNER, subject=BOUNDED, limits=Limits(trials=4))
    screened = [one.number for one in begun.trials() if one.state is TrialState.SCREENED]
    assert screened

    earlier = as_of_revision_0002(begun, tmp_path / "earlier")
    assert upgrade(earlier.database) == ("0002", REVISION)
    run = earlier.search(SCREENED, INNER, subject=BOUNDED)

    assert run.best.schedule == expected.best.schedule
    asked = [(trial.params, trial.state, trial.measurement) for trial in whole.trials()]
    assert [(one.params, one.state, one.measurement) for one in earlier.trials()] == asked
