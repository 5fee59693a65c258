"""Workers, what may be named, health and metrics."""

from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from schedsearch.demo import DATA, MODELS
from schedsearch.errors import SchedsearchError
from schedsearch.service.api.common import InOffice, Office, errors
from schedsearch.service.auth import Reads
from schedsearch.service.problems import reply
from schedsearch.service.schemas import Body, WorkerOut
from schedsearch.service.views import every_study

router = APIRouter(tags=["system"])
probes = APIRouter(tags=["probes"])


class NamesOut(Body):
    """What studies may name here."""

    models: list[str]
    hub: list[str]
    sets: list[str]


@router.get("/names", responses=errors(), summary="Models and data that may be named")
def names(office: InOffice, _who: Reads) -> NamesOut:
    """Return embedded models and sets, and what lies in the folders of the service."""
    permitted = office.settings.permitted
    folders = [path.name for root in permitted.models for path in root.iterdir() if path.is_dir()]
    files = [
        str(path.relative_to(root)) for root in permitted.data for path in root.rglob("*.jsonl")
    ]
    uploaded = [f"set:{one.digest}" for one in office.uploads.sets()]
    return NamesOut(
        models=[*MODELS, *sorted(folders)],
        hub=list(permitted.hub),
        sets=[*DATA, *sorted(files), *uploaded],
    )


@router.get("/workers", responses=errors(), summary="Who searches")
def workers(office: InOffice, _who: Reads) -> list[WorkerOut]:
    """Return the coordinators that are at work, and until when their leases are valid."""
    return [
        WorkerOut(
            study=one.spec.name,
            holder=str(one.holder),
            host=one.holder.host,
            pid=one.holder.pid,
            lease_seconds_left=one.left,
            silence=one.silence,
            phase=one.progress.phase if one.progress else None,
        )
        for one in office.store.studies()
        if one.holder is not None
    ]


@probes.get("/healthz", summary="Whether the service lives")
async def healthz() -> dict[str, str]:  # what is not async waits for its turn
    """Say that it does."""
    return {"status": "alive"}


@probes.get("/readyz", responses=errors(), summary="Whether the service can serve")
def readyz(office: InOffice) -> Response:
    """Say whether the store can be read."""
    try:
        office.store.service.tokens()
    except SchedsearchError as error:
        return reply(503, str(error), {"Retry-After": "5"})
    return Response('{"status": "ready"}', media_type="application/json")


@probes.get(
    "/metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **errors()},
    response_class=Response,
    summary="Metrics for Prometheus",
)
def metrics(office: InOffice, _who: Reads) -> Response:
    """Return trials by state, evaluations, pace, workers, leases and the queue."""
    registry = CollectorRegistry()
    registry.register(_Collector(office))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Collector:
    def __init__(self, office: Office) -> None:
        self._office = office

    def collect(self) -> Iterator[Metric]:
        """Read the store."""
        trials = GaugeMetricFamily(
            "schedsearch_trials", "Trials by state.", labels=["study", "state"]
        )
        states = GaugeMetricFamily("schedsearch_studies", "Studies by state.", labels=["state"])
        evaluated = GaugeMetricFamily(
            "schedsearch_evaluated_samples", "Samples that this run evaluated.", labels=["study"]
        )
        pace = GaugeMetricFamily(
            "schedsearch_evaluations_per_second", "Pace of this run.", labels=["study"]
        )
        leases = GaugeMetricFamily(
            "schedsearch_lease_seconds_left", "For how long a lease is valid.", labels=["study"]
        )
        at_work = GaugeMetricFamily("schedsearch_workers", "Coordinators with a valid lease.")
        workers = 0
        counted: dict[str, int] = dict.fromkeys(("queued", "starting", "running"), 0)
        for one in every_study(self._office.store):
            counted[one.state] = counted.get(one.state, 0) + 1
            for state, count in one.trials.items():
                trials.add_metric([one.name, state], count)
            if one.holder is not None:
                workers += bool(one.lease_seconds_left)
                leases.add_metric([one.name], one.lease_seconds_left or 0.0)
                if one.progress is not None:
                    evaluated.add_metric([one.name], one.progress.evaluated)
                    pace.add_metric([one.name], one.progress.pace)
        for state, count in counted.items():
            states.add_metric([state], count)
        at_work.add_metric([], workers)
        yield from (trials, states, evaluated, pace, at_work, leases)
