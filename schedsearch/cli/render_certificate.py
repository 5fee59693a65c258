"""What is proven of a schedule, in a terminal."""

from typing import TYPE_CHECKING

from rich.markup import escape

from schedsearch.cli.output import output, progress, show, table
from schedsearch.cli.render import estimate

if TYPE_CHECKING:
    from schedsearch.app.configured import Prepared
    from schedsearch.app.study import Study
    from schedsearch.core.certificate import Certification

TOO_KIND = (
    "That drop comes from the samples that chose this schedule, and is too kind. For an honest one "
    "name samples that the search has not seen as `data.certify` in the study file, and run "
    "`schedsearch certify`."
)
"""Last words of a search that certifies nothing."""


def of_search(study: "Study", ready: "Prepared", quiet: bool) -> "Certification | None":
    """The last step of a search: what it found is certified, or it is said that it is not.

    Args:
        study: Finished, with a result.
        ready: Its study file.
        quiet: Print nothing.
    """
    if ready.certify is None:
        if not quiet:
            output.print(TOO_KIND, soft_wrap=True)
        return None
    found = certified(study, ready)
    if not quiet:
        render(found)
    return found


def certified(
    study: "Study",
    ready: "Prepared",
    tolerance: float | None = None,
    alpha: float | None = None,
) -> "Certification":
    """Certify by the study file, where nothing else is asked."""
    from schedsearch.app.config import CertifyConfig

    given = ready.config.certify or CertifyConfig()
    assert ready.certify is not None
    with progress() as start:
        return study.certify(
            ready.certify,
            given.tolerance if tolerance is None else tolerance,
            tasks=given.tasks,
            alpha=given.alpha if alpha is None else alpha,
            per_image=given.per_image,
            progress=start,
        )


def render(found: "Certification") -> None:
    """The chain as far as it was tested, the claim, and the honest drop of the found schedule."""
    from schedsearch.app.report_certificate import honest, verdict

    rows = table(
        "schedule", "drop, paired", "FLOPs", "p-value", "proven", title=escape(found.request.data)
    )
    for number, link in enumerate(found.links):
        assert link.drop is not None and link.p_value is not None
        cells = (f"{link.flops_ratio:.3f}", f"{link.p_value:.4f}")
        rows.add_row(
            link.what, estimate(link.drop), *cells, "yes" if number < found.proven else "no"
        )
    show(rows)
    output.print(escape(verdict(found)), soft_wrap=True)
    output.print(escape(honest(found)), soft_wrap=True)
