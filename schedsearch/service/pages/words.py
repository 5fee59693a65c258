"""Numbers and times as pages write them; each filter takes None for what is not known."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

NONE = "\N{EN DASH}"
_THIN = "\N{NARROW NO-BREAK SPACE}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent."""
    return NONE if share is None else f"{100 * share:.{digits}f}{_THIN}%"


def figure(value: float | None, digits: int = 4) -> str:
    """A score or a drop, with a true minus."""
    return NONE if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def count(value: float | None) -> str:
    """A whole number."""
    return NONE if value is None else f"{value:,.0f}".replace(",", _THIN)


def duration(seconds: float | None) -> str:
    """A time span in its two largest units."""
    if seconds is None:
        return NONE
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}{_THIN}s"
    if whole < 3600:
        return f"{whole // 60}{_THIN}min {whole % 60:02d}{_THIN}s"
    minutes = whole // 60
    if minutes < 60 * 48:
        return f"{minutes // 60}{_THIN}h {minutes % 60:02d}{_THIN}min"
    return f"{minutes // 1440} days {minutes // 60 % 24}{_THIN}h"


def size(number: float | None) -> str:
    """Bytes in the unit that suits them."""
    if number is None:
        return NONE
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.4g}{_THIN}{unit}"
        number /= 1024
    return f"{number:.4g}{_THIN}GiB"


def asked_for(search: Mapping[str, Any]) -> str:
    """What the settings of a search say that its result may cost or lose."""
    words = []
    for name in ("tolerance", "max_drop"):
        if isinstance(search.get(name), int | float):
            words.append(f"drop \N{LESS-THAN OR EQUAL TO} {search[name]:g}")
    budget = search.get("budget")
    if isinstance(budget, Mapping) and all(isinstance(one, int | float) for one in budget.values()):
        words += [_BUDGETS.get(name, name + " {}").format(one) for name, one in budget.items()]
    return ", ".join(words) or NONE


_BUDGETS: Mapping[str, str] = {
    "flops": "FLOPs \N{LESS-THAN OR EQUAL TO} {:.0%}",
    "feasible": "{:.0%} of the feasible FLOPs",
    "kv": "KV cache \N{LESS-THAN OR EQUAL TO} {:.0%}",
    "mean_keep": "mean keep \N{LESS-THAN OR EQUAL TO} {:.0%}",
    "milliseconds": "\N{LESS-THAN OR EQUAL TO} {:g} ms",
}


def iso(time: datetime) -> str:
    """A time as machines read it."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def utc(time: datetime) -> str:
    """A time in UTC, as long as a script writes it in the reader's zone, so that nothing moves."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


FILTERS: Mapping[str, Callable[..., Any]] = {
    one.__name__: one for one in (percent, figure, count, duration, size, iso, utc)
}
