"""How many workers a search may have of a cluster that it shares with others.

Searches know each other by the names of their workers, which Ray keeps for those at work and for
those that wait for room, and forgets with the process of their search. So no search has to be told
of another, and none that died takes up room.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_PREFIX = "schedsearch-worker"


@dataclass(frozen=True)
class Badge:
    """What the names of a search's workers say.

    Attributes:
        wanted: The most workers that it asks for; 0: as many as there is room for.
        search: Unique to the search.
    """

    wanted: int
    search: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def name(self, number: int) -> str:
        """Name of a worker."""
        return f"{_PREFIX}:{self.search}:{self.wanted}:{number}"


def others(names: Iterable[str], search: str) -> dict[str, int]:
    """How many workers each other search asks for, by the names of all workers."""
    found = {}
    for name in names:
        prefix, *rest = name.split(":")
        if prefix == _PREFIX and len(rest) == 3 and rest[0] != search and rest[1].isdigit():
            found[rest[0]] = int(rest[1])
    return found


def room(nodes: Iterable[Mapping[str, Any]], needs: Mapping[str, float]) -> int:
    """Workers that the cluster could hold if nothing else were on it.

    Args:
        nodes: As `ray.nodes()` describes them.
        needs: Resources of one worker.
    """
    return sum(
        int(min((node["Resources"].get(name, 0.0) + 1e-9) // need for name, need in needs.items()))
        for node in nodes
        if node["Alive"]
    )


def fair_share(room: int, wanted: Mapping[str, int], search: str) -> int:
    """Workers that a search may have, so that all have equally many as far as they ask for them.

    Args:
        room: For workers, in all.
        wanted: How many each search asks for, by its id; 0: as many as there is room for.
        search: Whose share; at least one worker, for which it then waits.
    """
    shares = dict.fromkeys(sorted(wanted), 0)
    for _ in range(room):
        short = [one for one, share in shares.items() if share < (wanted[one] or room)]
        if not short:
            break
        shares[min(short, key=lambda one: shares[one])] += 1
    return max(1, shares[search])


def resources(needs: Mapping[str, float]) -> str:
    """Resources in words, such as `1 CPU and .5 GPU`."""
    return " and ".join(f"{amount:g} {name}" for name, amount in needs.items())


def waits_for(
    needs: Mapping[str, float],
    room: int,
    free: Mapping[str, float],
    whole: Mapping[str, float],
    others: int,
) -> str:
    """Why a search has no worker.

    Args:
        needs: Resources of one worker.
        room: As above.
        free: Resources of the cluster that nobody has.
        whole: All its resources.
        others: Other searches on the cluster.
    """
    there = ", ".join(
        f"{free.get(name, 0.0):g} of {whole.get(name, 0.0):g} {name} free" for name in needs
    )
    message = f"waiting for a worker with {resources(needs)}; the cluster has {there}"
    if others:
        message += f", which it shares with {others} other search{'es' * (others > 1)}"
    if not room:
        message += "; no node of it is large enough: ask for less, or add a node"
    return message
