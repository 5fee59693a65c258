"""The last step of a search: other samples than those that chose it say what its result loses."""

import logging

from schedsearch.app.bootstrap import Progress
from schedsearch.app.compare import compare
from schedsearch.app.config import CertifyConfig
from schedsearch.app.configured import Prepared
from schedsearch.app.held_out import check_unseen
from schedsearch.app.study import Study
from schedsearch.core.certificate import Certification
from schedsearch.core.sample import SampleSet
from schedsearch.errors import SchedsearchError
from schedsearch.store.lease import LeaseLostError
from schedsearch.store.place import StoreLostError

log = logging.getLogger(__name__)


def check_conclusive(study: Study, ready: Prepared) -> None:
    """Refuse, before a search, samples that cannot say at its end what its result loses.

    Raises:
        InputError: A study that this one begins with was searched on them.
    """
    samples = ready.held_out if ready.certify is None else ready.certify
    if samples is not None:
        check_unseen(study, samples)


def conclude(study: Study, ready: Prepared, progress: Progress) -> Certification | None:
    """Certify the result; without samples for that, measure it on held-out ones, if there are any.

    Scores and what comes of them are stored: what was interrupted goes on, and what is known is not
    asked again. What goes wrong with held-out samples takes nothing from the result.

    Args:
        study: Finished, with a result.
        ready: Its study file.
        progress: Starts a progress bar by name.

    Returns:
        What is proven; None where the study file names no samples for that.

    Raises:
        InputError: Something cannot be certified.
        RunError: A schedule cannot be evaluated for that.
    """
    if ready.certify is not None:
        return prove(study, ready.certify, ready.config.certify, progress)
    if ready.held_out is None:
        return None
    known, now = study.comparison, study.snapshot()
    if known is None or (known.schedule, known.data_digest) != (now.best, ready.held_out.digest()):
        try:
            found = compare(now, ready.held_out, now.best, progress, alone=True)
        except (LeaseLostError, StoreLostError):
            raise
        except SchedsearchError as error:
            log.warning("what the result loses is not measured: %s", error)
        else:
            study.store.put_comparison(study.name, found)
    return None


def prove(
    study: Study,
    samples: SampleSet,
    asked: CertifyConfig | None,
    progress: Progress,
    tolerance: float | None = None,
    alpha: float | None = None,
) -> Certification:
    """Certify the result as a study file asks; a tolerance or alpha given here goes before its own.

    Raises:
        InputError: As `Study.certify`.
        RunError: As `Study.certify`.
    """
    asked = asked or CertifyConfig()
    return study.certify(
        samples,
        asked.tolerance if tolerance is None else tolerance,
        tasks=asked.tasks,
        alpha=asked.alpha if alpha is None else alpha,
        per_image=asked.per_image,
        progress=progress,
    )
