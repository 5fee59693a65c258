"""Settings of samplers as nested values, apart from what is known of model and calibration set."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from schedsearch.store.codec import decoding

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Rewrite every specification; what an earlier one does not say is filled in by the next run.

    Of a G-Search neither the decoder's sizes nor the lengths of prompts were kept.
    """
    study = sa.table("study", sa.column("id", sa.Integer), sa.column("spec", sa.JSON))
    connection = op.get_bind()
    for key, spec in connection.execute(sa.select(study.c.id, study.c.spec)).fetchall():
        with decoding(f"the specification of study {key}"):
            new = typed(spec)
        connection.execute(study.update().where(study.c.id == key).values(spec=new))


def typed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification in its new form."""
    own = dict(spec)
    sampler, family = own.pop("sampler"), own.pop("family", None)
    params, at_once = dict(sampler["params"]), own.pop("questions", 1)
    g_search = sampler["name"] == "g-search"
    search, facts = _g_search(params) if g_search else _of_family(params, family)
    own["search"] = {"sampler": sampler["name"], "concurrent_trials": at_once, **search}
    return {**own, "facts": facts}


def _g_search(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    lists = {
        name: [int(one) for one in str(params.pop(name, "")).split()]
        for name in ("n_visions", "screens", "guess")
    }
    n_max, layers = params.pop("n_max"), params.pop("layers")
    tokens = [[n, None, None] for n in lists.pop("n_visions") or [n_max]]
    return params | lists, {"layers": layers, "tokens": tokens, "shape": None}


def _of_family(
    params: dict[str, Any], family: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    shape = json.loads(params.pop("shape"))
    tokens = [_prompts(group) for group in params.pop("tokens").split()]
    others = {name: value for name, value in family["params"].items() if name != "first"}
    search: dict[str, Any] = {
        "family": family["name"],
        "first": family["params"].get("first", 2),
        "family_params": others,
        "warm_start": [one for one in params.pop("warm_start", "").split("; ") if one],
        "starts": json.loads(params.pop("starts", "[]")),
    }
    if "budget" in params:
        measure, _, amount = params.pop("budget").partition(": ")
        search["budget"] = {measure: float(amount)}
    if "latency" in params:
        latency = json.loads(params.pop("latency"))["latency"]
        search["latency"] = {name: value for name, value in latency.items() if value is not None}
    return search | params, {"layers": shape["layers"], "tokens": tokens, "shape": shape}


def _prompts(group: str) -> list[int]:
    """Vision tokens, text tokens and samples of `576+30*8`."""
    lengths, _, samples = group.partition("*")
    vision, _, text = lengths.partition("+")
    return [int(vision), int(text), int(samples)]
