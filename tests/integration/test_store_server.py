"""A PostgreSQL server that cannot be reached, or that ends a connection."""

import time

import pytest
from sqlalchemy import create_engine, insert, text

from schedsearch.errors import InputError, RunError
from schedsearch.store import evaluations, find_store, open_store
from schedsearch.store.evaluations import Evaluation
from schedsearch.store.tables import CountsRow, SampleRow
from tests.postgres import new_database
from tests.unit.store.strategies import FULL, SPEC


@pytest.fixture
def url(postgresql):
    return new_database(postgresql)


def admin(postgresql: str, statement: str) -> None:
    engine = create_engine(postgresql)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize(
    "change",
    [
        ("postgres@", "nobody@"),
        ("/postgres?", "/nothing?"),
        ("?host=/", "?host=/nowhere/"),
        ("?host=", "?port=1&host="),
        ("?host=", "?port=many&host="),
        ("?host=", "?application=x&host="),
        ("?host=", "?connect_timeout=soon&host="),
        ("?host=", "?sslmode=perhaps&host="),
        ("?host=", "?row_factory=x&host="),
        ("?host=", "?prepare_threshold=x&host="),
        ("?host=", "?options=-cnonsense%3D1&host="),
    ],
    ids=lambda change: change[1],
)
@pytest.mark.parametrize("opening", [open_store, find_store])
def test_address_that_leads_nowhere_is_the_callers_mistake(postgresql, opening, change):
    with pytest.raises(InputError, match="cannot be reached .* check host, port, database, user,"):
        opening(postgresql.replace(*change))


def test_wrong_password_is_the_callers_mistake(postgresql):
    # The server of the tests asks for none; one that does says the same in the same way.
    with pytest.raises(InputError, match=r"postgresql\+psycopg://nobody:\*\*\*@.*user, password"):
        open_store(postgresql.replace("postgres@", "nobody:wrong@"))


@pytest.mark.parametrize("rows", [1, 3])
def test_transaction_that_idles_too_long_is_a_lost_connection(url, rows):
    open_store(url).close()  # making the tables may take longer
    with open_store(f"{url}%20-cidle_in_transaction_session_timeout%3D100") as store:
        store.create_study(SPEC)
        with (
            pytest.raises(RunError, match=r"was lost .* stored before is safe"),
            store._database.writing() as connection,
        ):
            found = connection.execute(
                insert(SampleRow).execution_options(preserve_rowcount=True),
                [{"key": f"row {n}"} for n in range(rows)],
            )
            assert found.rowcount == rows
            time.sleep(0.5)
            connection.execute(text("SELECT 1"))
        assert store.spec(SPEC.name) == SPEC


@pytest.mark.parametrize("reads", [True, False])
def test_connection_that_is_ended_is_lost_and_the_next_one_works(postgresql, url, reads):
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with open_store(url) as store:
        store.create_study(SPEC)
        database = store._database
        with (
            pytest.raises(RunError, match=r"was lost .* run again to continue"),
            database.reading() if reads else database.writing() as connection,
        ):
            connection.execute(text("SELECT 1"))
            admin(postgresql, end)
            connection.execute(text("SELECT 1"))
        assert store.enqueue(SPEC.name, FULL).number == 0


def test_database_that_goes_away_is_no_mistake_in_its_address(postgresql):
    engine = create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE passing"))
        with open_store(postgresql.replace("/postgres?", "/passing?")) as store:
            store.create_study(SPEC)
            connection.execute(text("DROP DATABASE passing WITH (FORCE)"))
            with pytest.raises(RunError, match=r"was lost .* run again to continue"):
                store.enqueue(SPEC.name, FULL)
    engine.dispose()


def test_empty_database_is_no_store_and_stays_empty(url):
    assert find_store(url) is None
    for only in ({"create": False}, {"read_only": True}):
        with pytest.raises(InputError, match="is empty, there is no store in it"):
            open_store(url, **only)
    assert find_store(url) is None
    open_store(url).close()
    with open_store(url, read_only=True) as store:
        assert store.studies() == []
        assert store.check().problems == ()


def test_missing_column_of_a_server_is_damage(url):
    with open_store(url) as store, store._database.writing() as connection:
        connection.execute(text("ALTER TABLE trial DROP COLUMN reason"))
    with pytest.raises(InputError, match=r"column `reason` of table `trial` is missing"):
        open_store(url)


def test_counts_are_found_without_reading_all_that_were_ever_asked(url):
    keys = [(f"sample {n}", (n, n)) for n in range(3000)]
    with open_store(url) as store:
        store.create_study(SPEC)
        context = store.context_id(SPEC.name, "digest", {})
        store.add_scores(context, {key: Evaluation(1.0) for key in keys})
        with store._database.writing() as connection:
            connection.execute(text("ANALYZE counts"))
        with store._database.reading() as connection:
            scans = text("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'counts'")
            before = connection.scalar(scans)
            found = evaluations.ids(connection, CountsRow.kept, ["7,7", "8,8", "7,8"])
            assert connection.scalar(scans) == before
    assert found.keys() == {"7,7", "8,8"}
