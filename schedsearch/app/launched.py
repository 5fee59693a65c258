"""A coordinator that a service has begun: `python -m schedsearch.app.launched STUDY ATTEMPT`.

A third argument is a study file, in place of what the launch says: the same study, where its files
have travelled.
"""

import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

from schedsearch.app.attended import attended
from schedsearch.app.bootstrap import silent
from schedsearch.app.conclude import check_conclusive, conclude
from schedsearch.app.config import StudyConfig, check_study, read_study_file
from schedsearch.app.configured import Prepared, prepare
from schedsearch.app.exhibits import exhibit_last
from schedsearch.errors import InputError, SchedsearchError
from schedsearch.store.launches import Launch
from schedsearch.store.patience import PATIENCE
from schedsearch.store.process import Process
from schedsearch.store.store import open_store

log = logging.getLogger("schedsearch.launched")


def main() -> int:
    """Search what the launch says, prove and show what is found, and note how that ended."""
    study, attempt = sys.argv[1], int(sys.argv[2])
    log_progress()
    try:
        target = store_of_environment()
        with open_store(target, create=False, patience=PATIENCE) as store:
            launch = store.service.claim(study, attempt, asdict(Process.current()))
            ending, reason = _ended(launch, target)
            store.service.end_launch(study, attempt, ending, reason)
    except SchedsearchError as error:
        log.error("%s", error)
        return 1
    log.info("%s %s", ending, reason)
    return 0 if ending != "failed" else 1


def log_progress() -> None:
    """Write what this package does to standard error, and of others warnings alone."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("schedsearch").setLevel(logging.INFO)


def store_of_environment() -> str:
    """Address of the store, which stands in the environment since it may hold a password.

    Raises:
        InputError: It does not.
    """
    target = os.environ.get("SCHEDSEARCH_STORE")
    if not target:
        raise InputError(
            "SCHEDSEARCH_STORE must be the address of the store where the coordinator runs, but is "
            "not set; set it in the environment of the cluster's head node, then submit again"
        )
    return target


def _ended(launch: Launch, target: str) -> tuple[str, str]:
    try:
        return searched(prepare(_config(launch), Path.cwd(), target)), ""
    except SchedsearchError as error:
        return "failed", str(error)
    except Exception as error:
        log.exception("a defect")
        return "failed", f"a defect of schedsearch: {type(error).__name__}: {error}; see the log"


def _config(launch: Launch) -> StudyConfig:
    if len(sys.argv) > 3:
        return read_study_file(Path(sys.argv[3]))
    return check_study(launch.content, launch.study)


def searched(ready: Prepared) -> str:
    """Search a study, prove or measure and show what is found, and return how that has ended."""
    with ready.open() as study:
        check_conclusive(study, ready)
        run = study.run()
        if run.ending == "finished" and run.best is not None:
            with attended(study, run, silent) as last:
                conclude(study, ready, last.start)
            if last.ending != "finished":
                return last.ending
            exhibit_last(study, ready.config.exhibits, silent)
        return run.ending


if __name__ == "__main__":
    sys.exit(main())
