"""What is proven of a schedule, in a terminal."""

from typing import TYPE_CHECKING

from rich.markup import escape

from schedsearch.cli.output import output, show, table
from schedsearch.cli.render import estimate

if TYPE_CHECKING:
    from schedsearch.core.certificate import Certification


def render(found: "Certification") -> None:
    """The chain as far as it was tested, the claim, and the honest drop of the found schedule."""
    from schedsearch.app.report_certificate import found_loses, verdict

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
    output.print(escape(found_loses(found)), soft_wrap=True)
