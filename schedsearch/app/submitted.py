"""A coordinator that was submitted to a cluster: `python -m schedsearch.app.submitted FILE`."""

import logging
import sys
from pathlib import Path

from schedsearch.app.config import read_study_file
from schedsearch.app.configured import prepare
from schedsearch.app.launched import log_progress, searched, store_of_environment
from schedsearch.app.stores import check_idle
from schedsearch.errors import SchedsearchError

log = logging.getLogger("schedsearch.submitted")


def main() -> int:
    """Search a study file, or go on with it; the store refuses that while another one does."""
    file = Path(sys.argv[1])
    log_progress()
    try:
        config, store = read_study_file(file), store_of_environment()
        check_idle(store, config.study)  # else it would first take workers from the other one
        ending = searched(prepare(config, file.parent, store))
    except SchedsearchError as error:
        log.error("%s", error)
        return 1
    log.info("%s", ending)
    return 0


if __name__ == "__main__":
    sys.exit(main())
