"""What is proven of a study's result, in words."""

from schedsearch.app.markdown import escape, estimate, table
from schedsearch.core.certificate import Certification
from schedsearch.core.comparison import Loss, loss_of


def verdict(found: Certification) -> str:
    """What is proven, or how many samples it would have taken."""
    best, proof, which = found.best, found.certificate, f"attempt {found.attempt} of this study"
    if best is not None and proof is not None:
        return (
            f"{proof.claim} Its FLOPs ratio is {best.flops_ratio:.3f} ({best.what}); "
            f"{proof.method}; {which}."
        )
    words = (
        f"Nothing is proven on {found.n:,} samples of {found.request.data} ({which}): about "
        f"{found.needed:,} would have been needed had the mildest schedule of the chain lost "
        "nothing. Give so many fresh ones; also a greater tolerance needs fresh ones, since these "
        "have been looked at and prove nothing more."
    )
    if found.attempt > 1:
        words += " Whatever the study had proven for this tolerance or a smaller one is taken back."
    return words


def loses(loss: Loss | None, which: str = "The found schedule") -> str:
    """What a schedule loses on samples that did not choose it, or that nobody knows."""
    if loss is None:
        return (
            "What it loses is not known, since the samples that chose it flatter it: name others "
            "as `data.certify` or `data.held_out` in the study file."
        )
    return (
        f"{which} loses {estimate(loss.drop)} on {loss.drop.n:,} samples of {loss.data}, which did "
        "not choose it."
    )


def found_loses(found: Certification) -> str:
    """What the found schedule loses on the certify samples."""
    which = f"The found schedule, FLOPs ratio {found.found.flops_ratio:.3f},"
    return loses(loss_of(found), which)


def section(found: Certification | None) -> tuple[str, ...]:
    """The chain as far as it was tested, and what follows; nothing where nothing was asked."""
    if found is None:
        return ()
    rows = [
        (
            escape(link.what),
            "" if link.drop is None else estimate(link.drop),
            f"{link.flops_ratio:.4f}",
            f"{link.p_value:.4f}",
            "yes" if number < found.proven else "no",
        )
        for number, link in enumerate(found.links)
    ]
    return (
        "## Certificate",
        escape(verdict(found)),
        table(("schedule", "drop", "FLOPs ratio", "p-value", "proven"), rows),
        f"{escape(found.request.data)}, {found.n:,} samples, none of which the search has seen; "
        f"digest {found.request.data_digest}. The chain was fixed before one of them was scored "
        f"and tested in its order up to the first that is not proven, each at "
        f"{found.request.alpha:g}; {escape(found.method)}. {escape(found_loses(found))}",
    )
