"""A service of schedsearch from Python: studies are created, followed and taken away from afar.

The token is in SCHEDSEARCH_TOKEN:

    from schedsearch.client import Client

    with Client("http://localhost:8000") as client:
        study = client.studies.create("study.yaml", start=True)
        best = study.wait().best()
        print(best.flops_ratio, best.claim)
        best.save("schedule.json")
"""

from schedsearch.client.client import Client
from schedsearch.client.problems import RefusedError, UnreachableError
from schedsearch.client.study import Study
from schedsearch.client.values import (
    Best,
    Compared,
    Comparison,
    HeldOut,
    NewToken,
    Reported,
    SampleSet,
    Status,
    Token,
)

__all__ = [
    "Best",
    "Client",
    "Compared",
    "Comparison",
    "HeldOut",
    "NewToken",
    "RefusedError",
    "Reported",
    "SampleSet",
    "Status",
    "Study",
    "Token",
    "UnreachableError",
]
