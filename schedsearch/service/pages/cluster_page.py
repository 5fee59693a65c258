"""Who searches on which machine, and what waits for room."""

from collections.abc import Mapping
from itertools import groupby

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from schedsearch.core.progress import WorkerSeen
from schedsearch.service.api.common import InOffice
from schedsearch.service.pages.page import PageRoute, Visitor, render
from schedsearch.service.schemas import StudyOut
from schedsearch.service.views import every_study
from schedsearch.store.studies import StudySummary

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/cluster")
def cluster_page(request: Request, office: InOffice, who: Visitor) -> HTMLResponse:
    """Show coordinators and workers by machine, and the queue."""
    held = [one for one in office.store.studies() if one.holder is not None]
    every = every_study(office.store)
    waiting = sorted(
        (one for one in every if one.state == "queued"), key=lambda one: (one.queued, one.name)
    )
    return render(
        request,
        "cluster.html",
        who,
        nodes=_by_host(held),
        crews=_by_node(held),
        searches=len(held),
        starting=[one for one in every if one.state == "starting"],
        waiting=waiting,
        rooms=office.settings.searches,
        backend=office.launching.backend.name,
        pace=_pace(every),
    )


def _by_host(held: list[StudySummary]) -> Mapping[str, list[StudySummary]]:
    def host(one: StudySummary) -> str:
        assert one.holder is not None
        return one.holder.host

    ordered = sorted(held, key=lambda one: (host(one), one.spec.name))
    return {name: list(group) for name, group in groupby(ordered, host)}


def _by_node(held: list[StudySummary]) -> Mapping[str, list[tuple[StudySummary, WorkerSeen]]]:
    """Workers of all searches on clusters, the node without a name last: there they wait."""
    alive = [(one, one.progress) for one in held if one.left and one.progress]
    every = [(one, worker) for one, progress in alive for worker in progress.workers]

    def place(pair: tuple[StudySummary, WorkerSeen]) -> tuple[bool, str]:
        return not pair[1].node, pair[1].node

    every.sort(key=lambda pair: (*place(pair), pair[0].spec.name, pair[1].pid))
    return {node: list(group) for (_, node), group in groupby(every, place)}


def _pace(every: list[StudyOut]) -> float:
    """Samples that all searches evaluate in a second."""
    return sum(one.progress.pace for one in every if one.state == "running" and one.progress)
