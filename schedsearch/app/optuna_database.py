"""Databases of Optuna: whether one may take a study, and writing it in one step.

`Study.add_trials` needs a transaction and some fifty statements for each trial, 13 ms where this
was measured. So the rows go straight into Optuna's tables, as its own storage would write them.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy import URL, Connection, create_engine, delete, insert, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from schedsearch.core.reading import OnProgress
from schedsearch.errors import InputError, RunError
from schedsearch.store.address import name_of
from schedsearch.store.tables import Base

FORMS = "a path such as study.optuna.db, or a URL such as postgresql://user:password@host/database"

_BATCH = 500
"""Trials whose rows are sent together."""

_METRIC_NAMES = "study:metric_names"  # what `Study.set_metric_names` writes


@dataclass(frozen=True)
class OptunaStudy:
    """A study as Optuna has it.

    Attributes:
        name: Unique in a database.
        metrics: Names of the values of its trials, which are all minimised.
        user_attrs: What people are told of it.
        trials: By number, from 0.
    """

    name: str
    metrics: tuple[str, ...]
    user_attrs: Mapping[str, Any]
    trials: Sequence[FrozenTrial]


def database_url(target: str | os.PathLike[str]) -> URL:
    """Return the URL of a database given as one, or as the path of an SQLite file.

    Raises:
        InputError: It is neither.
    """
    text = os.fspath(target)
    if "://" not in text:
        url = URL.create("sqlite", database=text)
    else:
        try:
            url = make_url(text)
        except (ArgumentError, ValueError) as error:
            raise InputError(
                f"the address of the Optuna database cannot be read; give {FORMS}"
            ) from error
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise InputError(f"an Optuna database must outlast the process; give {FORMS}")
    # The driver that comes with schedsearch; SQLAlchemy's default is an older one.
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def check_place(url: URL, study: str, force: bool) -> None:
    """See that a database is there for Optuna alone, and takes a study of this name.

    Nothing is made.

    Args:
        url: Of the database.
        study: Name of the study.
        force: Whether a study of that name may be replaced.

    Raises:
        InputError: The database cannot be reached, holds something else, or has such a study.
    """
    name = name_of(url)
    if url.get_backend_name() == "sqlite" and not os.path.lexists(url.database or ""):
        folder = Path(url.database or "").parent
        if not folder.is_dir():
            raise InputError(f"the folder of {name} does not exist; create {folder} first")
        return
    with _reaching(name):
        engine = create_engine(url)
        try:
            with engine.connect() as connection:
                tables = set(inspect(connection).get_table_names())
                _check_tables(name, tables)
                known = tables and connection.scalar(_study_id(study))
        finally:
            engine.dispose()
    if known and not force:
        raise InputError(
            f"{name} has a study `{study}` already; replace it with --force (from Python: "
            f"`force=True`), or name another database"
        )


def write_study(url: URL, study: OptunaStudy, force: bool, on_progress: OnProgress) -> None:
    """Write a study, wholly or not at all; the database and its tables are made if need be.

    Raises:
        InputError: As in `check_place`, or the database is one of an older Optuna.
        RunError: It cannot be written.
    """
    check_place(url, study.name, force)
    name = name_of(url)
    with _reaching(name):
        storage = RDBStorage(url.render_as_string(hide_password=False))
    try:
        with storage.engine.begin() as connection:
            if force:
                _remove(connection, study.name)
            _insert(connection, study, on_progress)
    except SQLAlchemyError as error:
        raise RunError(f"{name} cannot be written: {_reason(error)}; export again") from error
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _check_tables(name: str, tables: set[str]) -> None:
    if set(Base.metadata.tables) & tables >= {"study", "trial", "attempt", "evaluation"}:
        raise InputError(f"{name} is a store of schedsearch; name another database for Optuna")
    if tables and not tables >= {models.StudyModel.__tablename__, "trials", "version_info"}:
        raise InputError(f"{name} is no database of Optuna, but another program's; name another")


@contextmanager
def _reaching(name: str) -> Iterator[None]:
    try:
        yield
    except NoSuchModuleError as error:
        raise InputError(f"there is no driver for {name}; give {FORMS}") from error
    except ImportError as error:
        raise InputError(f"{name} needs a driver that is not installed: {error}") from error
    except SQLAlchemyError as error:
        raise InputError(
            f"the Optuna database {name} cannot be opened: {_reason(error)}; give {FORMS}"
        ) from error
    except RuntimeError as error:  # tables of another version
        raise InputError(f"{name} is no database of this Optuna: {error}") from error


def _reason(error: SQLAlchemyError) -> str:
    """What the database says, without the statement and its values."""
    told = error.orig if isinstance(error, DBAPIError) else error
    return str(told).strip().partition("\n")[0]


def _study_id(study: str) -> Any:
    return select(models.StudyModel.study_id).where(models.StudyModel.study_name == study)


def _remove(connection: Connection, study: str) -> None:
    """Delete a study. Optuna's own way loads every row of it first."""
    key = connection.scalar(_study_id(study))
    of_study = select(models.TrialModel.trial_id).where(models.TrialModel.study_id == key)
    for table in reversed(models.BaseModel.metadata.sorted_tables):
        if "study_id" in table.c:
            connection.execute(delete(table).where(table.c.study_id == key))
        elif "trial_id" in table.c:
            connection.execute(delete(table).where(table.c.trial_id.in_(of_study)))


def _insert(connection: Connection, study: OptunaStudy, on_progress: OnProgress) -> None:
    connection.execute(insert(models.StudyModel), [{"study_name": study.name}])
    key = connection.scalar(_study_id(study.name))
    directions = [
        {"study_id": key, "objective": objective, "direction": StudyDirection.MINIMIZE}
        for objective in range(len(study.metrics))
    ]
    connection.execute(insert(models.StudyDirectionModel), directions)
    told = _attributes("study_id", key, study.user_attrs)
    connection.execute(insert(models.StudyUserAttributeModel), told)
    names = _attributes("study_id", key, {_METRIC_NAMES: list(study.metrics)})
    connection.execute(insert(models.StudySystemAttributeModel), names)
    for trials in _batches(study.trials):
        rows = [
            {
                "number": trial.number,
                "study_id": key,
                "state": trial.state,
                "datetime_start": trial.datetime_start,
                "datetime_complete": trial.datetime_complete,
            }
            for trial in trials
        ]
        connection.execute(insert(models.TrialModel), rows)
    known = select(models.TrialModel.number, models.TrialModel.trial_id)
    found = connection.execute(known.where(models.TrialModel.study_id == key))
    keys = {number: trial_id for number, trial_id in found}
    done = 0
    for trials in _batches(study.trials):
        tables: dict[Any, list[dict[str, Any]]] = {}
        for trial in trials:
            for model, rows in _rows(trial, keys[trial.number]):
                tables.setdefault(model, []).extend(rows)
        for model, rows in tables.items():
            if rows:
                connection.execute(insert(model), rows)
        done += len(trials)
        on_progress(done, len(study.trials))


def _batches(trials: Sequence[FrozenTrial]) -> Iterator[Sequence[FrozenTrial]]:
    return (trials[begin : begin + _BATCH] for begin in range(0, len(trials), _BATCH))


def _rows(trial: FrozenTrial, key: int) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """What hangs on a trial, table by table."""
    params = [
        {
            "trial_id": key,
            "param_name": name,
            "param_value": distribution.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }
        for name, distribution in trial.distributions.items()
    ]
    finite = models.TrialValueModel.TrialValueType.FINITE
    values = [
        {"trial_id": key, "objective": objective, "value": value, "value_type": finite}
        for objective, value in enumerate(trial.values or ())
    ]
    whole = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    course = [
        {
            "trial_id": key,
            "step": step,
            "intermediate_value": value,
            "intermediate_value_type": whole,
        }
        for step, value in trial.intermediate_values.items()
    ]
    yield models.TrialParamModel, params
    yield models.TrialValueModel, values
    yield models.TrialIntermediateValueModel, course
    told = _attributes("trial_id", key, trial.user_attrs)
    yield models.TrialUserAttributeModel, told
    system = _attributes("trial_id", key, trial.system_attrs)
    yield models.TrialSystemAttributeModel, system


def _attributes(of: str, key: Any, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {of: key, "key": name, "value_json": json.dumps(value)} for name, value in values.items()
    ]
