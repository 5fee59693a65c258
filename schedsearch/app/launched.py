"""A coordinator that a service has begun: `python -m schedsearch.app.launched STUDY ATTEMPT`."""

import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

from schedsearch.app.bootstrap import silent
from schedsearch.app.config import check_study
from schedsearch.app.configured import Prepared, prepare
from schedsearch.app.exhibits import exhibit_last
from schedsearch.errors import SchedsearchError
from schedsearch.store.launches import Launch
from schedsearch.store.patience import PATIENCE
from schedsearch.store.process import Process
from schedsearch.store.store import open_store

log = logging.getLogger("schedsearch.launched")


def main() -> int:
    """Search what the launch says, prove and show what is found, and note how that ended."""
    study, attempt = sys.argv[1], int(sys.argv[2])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    target = os.environ["SCHEDSEARCH_STORE"]
    try:
        with open_store(target, create=False, patience=PATIENCE) as store:
            launch = store.service.claim(study, attempt, asdict(Process.current()))
            ending, reason = _ended(launch, target)
            store.service.end_launch(study, attempt, ending, reason)
    except SchedsearchError as error:
        log.error("%s", error)
        return 1
    log.info("%s %s", ending, reason)
    return 0 if ending != "failed" else 1


def _ended(launch: Launch, target: str) -> tuple[str, str]:
    try:
        config = check_study(launch.content, launch.study)
        return _searched(prepare(config, Path.cwd(), target)), ""
    except SchedsearchError as error:
        return "failed", str(error)
    except Exception as error:
        log.exception("a defect")
        return "failed", f"a defect of schedsearch: {type(error).__name__}: {error}; see the log"


def _searched(ready: Prepared) -> str:
    with ready.open() as study:
        run = study.run()
        if run.ending == "finished" and run.best is not None and ready.certify is not None:
            asked = ready.config.certify
            study.certify(ready.certify, **(asked.model_dump() if asked else {}))
        if run.ending == "finished" and run.best is not None:
            exhibit_last(study, ready.config.exhibits, silent)
        return run.ending


if __name__ == "__main__":
    sys.exit(main())
