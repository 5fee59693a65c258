"""A store with searches in it, and the commands that read one."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import insert

from schedsearch.execution.loop import Limits, run_study
from schedsearch.execution.scoring import Scoring
from schedsearch.samplers.settings import GSearchSettings
from schedsearch.store.idempotency import Reply
from schedsearch.store.service import ServiceStore
from schedsearch.store.tables import ChangeRow
from tests.unit.execution.synthetic import (
    CHUNK,
    SEARCH,
    STUDY,
    SUBJECT,
    Place,
    evaluate,
    local,
    spec,
)
from tests.unit.store.strategies import CERTIFICATION, COMPARISON, EXHIBIT, PICTURE

COMMANDS = (("list",), ("show", STUDY), ("export", STUDY, "schedule.json"), ("db", "check"))


def _serve(service: ServiceStore) -> None:
    """What a service keeps: a row of each kind, every cell of it filled."""
    late = datetime(2030, 1, 1, tzinfo=UTC)
    token = service.add_token("people", "admin", late, "salt", "digest")
    service.add_session(token.id, "digest", late)
    service.revoke(service.add_token("others", "read", late, "salt", "digest").id)
    service.add_audit("people", "create", STUDY, "127.0.0.1", {"of": "other"})
    service.add_launch(STUDY, {"study": STUDY}, "people", "local")
    service.queue(STUDY)
    service.take(1)
    service.claim(STUDY, 1, {"host": "here", "pid": 1})
    service.end_launch(STUDY, 1, "failed", "no memory")
    service.begin_reply("people", "key", "digest")
    service.end_reply("people", "key", Reply(201, {"ETag": "1"}, "{}"))
    service.add_sample_set("digest", "mine", 3, 4096, "people")


@cache
def searched_store() -> bytes:
    """A store with a finished search, and one that has not finished and is held."""
    lists = {"screens": list(SEARCH.screens), "guess": list(SEARCH.guess)}
    names = GSearchSettings.model_fields.keys() - {"sampler", "spent"}
    chosen = {name: getattr(SEARCH, name) for name in names}
    settings = GSearchSettings.model_validate(chosen | lists)
    with TemporaryDirectory() as folder:
        place = Place(Path(folder))
        with place.store() as store:
            for name in (STUDY, "other"):
                store.create_study(replace(spec(name), search=settings.plain()))
                scoring = Scoring(name, SUBJECT, store, local(evaluate), CHUNK)
                limits = Limits(None if name == STUDY else 3)
                run_study(name, SEARCH, scoring, store, limits=limits)
            store.begin_certification(STUDY, CERTIFICATION.request, ["a1", "b2"])
            store.end_certification(STUDY, CERTIFICATION)
            store.put_comparison(STUDY, COMPARISON)
            store.add_exhibits(STUDY, 1, [(EXHIBIT, PICTURE)])
            store.acquire("other")
            _serve(store.service)
            with store._database.writing() as connection:  # what a server's store has
                mark = {"mark": "c0ffee", "created": datetime.now(UTC)}
                connection.execute(insert(ChangeRow), mark)
        return place.database.read_bytes()
