"""Whether a study's scores compare with those to come: old and new ones never meet."""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from schedsearch.app.samplers import former_spec
from schedsearch.core.canonical import digest
from schedsearch.core.shown import shown
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.evaluation.metric_identity import metric_identity
from schedsearch.evaluation.metrics import METRICS, Metric, make_metric
from schedsearch.store.store import Store
from schedsearch.version import RUNTIME

Identity = Mapping[str, Any]

log = logging.getLogger(__name__)

_SHOWN = 3
_HASH = re.compile(r" [0-9a-f]{12}$")
_PROMISE = '`schedsearch.FunctionMetric(function, name="...", version="1")`'


def metric_text(metric: Metric, identity: Identity) -> str:
    """What a specification calls a metric: its name, with a hash unless it is one of ours as is."""
    if METRICS.has_built_in(type(metric)) and identity == metric_identity(make_metric(metric.name)):
        return metric.name
    return f"{metric.name} {digest(dict(identity))[:12]}"


def warn_of_unknown(identity: Identity) -> None:
    """Say at the start of a search what will be impossible later."""
    if "unknown" in identity:
        log.warning(
            "scorer `%s` cannot be recognised again: %s. The search can run once, in this "
            "process; its scores are never used again. To continue it later, give the scorer a "
            "name and a version: %s",
            identity["name"],
            _unknown(identity),
            _PROMISE,
        )


def check_scorer(store: Store, study: str, text: str, identity: Identity) -> None:
    """Refuse to go on with a scorer that is not known to be the one before.

    Args:
        store: Where the study may be.
        study: Its name.
        text: As `metric_text` gives it.
        identity: Of the scorer, as `metric_identity` gives it.

    Raises:
        InputError: The study has another scorer, or one that cannot be recognised; the message
            names the parts.
    """
    former = former_spec(study, store)
    if former is None or former.metric == text or {former.metric, text} <= set(METRICS.built_in):
        return
    name, own = _HASH.sub("", former.metric), identity["name"]
    if "unknown" in identity:
        raise InputError(
            f"study `{study}` cannot go on with scorer `{own}`, which cannot be recognised again: "
            f"{_unknown(identity)}; its stored scores may be another scorer's: give the scorer a "
            f"name and a version, {_PROMISE}, and the study another name"
        )
    if name != own:
        raise InputError(
            f"study `{study}` was begun with the scorer `{name}`, which is not this one, `{own}`: "
            f"their scores must not be compared; give the study another name"
        )
    described = [one["metric"] for one in store.contexts(study) if "metric" in one]
    changed = changes(described[-1], identity) if described else ""
    raise InputError(
        f"study `{study}` was begun with another scorer of the name `{own}`: "
        f"{changed or 'nothing more is known of it'}. Scores of both must not be compared: undo "
        f"the change, or give the study another name. A scorer that is to be known by your word "
        f"instead takes a name and a version, {_PROMISE}"
    )


def check_runtime(store: Store, study: str) -> None:
    """Refuse to go on with a study whose tokens another version of the runtime chose.

    Raises:
        InputError: See above.
    """
    if former_spec(study, store) is None:
        return
    former = {one["runtime"] for one in store.contexts(study) if "runtime" in one} - {RUNTIME}
    if former:
        raise InputError(
            f"study `{study}` was searched by {former.pop()} of the reduction, and this is "
            f"{RUNTIME}, which may keep other tokens: their scores must not be compared. Export "
            "what it found, and search under another name"
        )


def check_unchanged(identity: Identity, now: Identity) -> None:
    """Refuse to score on with a scorer that has changed since its study was opened.

    Args:
        identity: What it was then.
        now: What it is.

    Raises:
        InputError: Its code or its state is another.
    """
    changed = _changed_since(identity, now)
    if changed:
        raise InputError(
            f"scorer `{identity['name']}` is not what it was when the study was opened: {changed}. "
            f"Scores before and after must not be compared: begin another study, or give a "
            f"scorer whose scores do not change by this a name and a version, {_PROMISE}"
        )


class Watch:
    """Says once, after the first trial, that a scorer changes itself by scoring.

    Args:
        identity: What it was when the study was opened.
        now: Says what it is.
    """

    def __init__(self, identity: Identity, now: Callable[[], Identity]) -> None:
        self._identity = identity
        self._now = now
        self._asked = False

    def __call__(self, _trial: Trial) -> None:
        """Look after the first trial alone."""
        if self._asked:
            return
        self._asked = True
        changed = _changed_since(self._identity, self._now())
        if changed:
            log.warning(
                "scorer `%s` changes while it scores: %s. It will not be recognised by the next "
                "run; if its scores do not depend on this, give it a name and a version: %s",
                self._identity["name"],
                changed,
                _PROMISE,
            )


def changes(before: Identity, now: Identity) -> str:
    """What two identities of one name differ in, in words; empty where they do not.

    Args:
        before: As a context keeps it.
        now: As `metric_identity` gives it.
    """
    if "unknown" in before:
        return "that one cannot be recognised again"
    said = [
        f"`{name}` was {shown(was)} and is {shown(value)}"
        for name, was, value in _different(_settings(before), _settings(now))
    ]
    code, other = before.get("code"), now.get("code")
    if isinstance(code, Mapping) and isinstance(other, Mapping):
        if code["python"] != other["python"]:
            return (
                f"it ran on Python {code['python']}, this is {other['python']}, and compiled code "
                f"differs between them"
            )
        paths = [f"`{path}`" for path, _, _ in _different(code, other)]
        if paths:
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            said.append(f"its code or what it holds has changed, at {_listed(paths)}{more}")
    elif code is not None and other is not None:
        said.append("an earlier schedsearch knew it by its own source alone")
    elif code is not None or other is not None:
        said.append("only one of them has a version")
    return "; ".join(said)


def _settings(identity: Identity) -> Mapping[str, Any]:
    version = {"version": identity["version"]} if "version" in identity else {}
    plain = {k: v for k, v in identity["settings"].items() if k != "function"}
    return {**plain, **version}


def _different(before: Identity, now: Identity) -> list[tuple[str, Any, Any]]:
    pairs = [(name, before.get(name), now.get(name)) for name in sorted({*before, *now})]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _changed_since(identity: Identity, now: Identity) -> str:
    return changes(_without_unknown(identity), _without_unknown(now))


def _without_unknown(identity: Identity) -> Identity:
    return {name: value for name, value in identity.items() if name not in ("unknown", "once")}


def _unknown(identity: Identity) -> str:
    found = [f"`{path}` ({why})" for path, why in sorted(identity["unknown"].items())]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{_listed(found)}{more}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN])
