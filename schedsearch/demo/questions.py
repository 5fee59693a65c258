"""Questions about a scene: one function per kind, each with a one-word answer.

`rel_*` follows one direction from a named item (two look-ups in the image), `rel2_*` two
directions (three look-ups), and so on up to the `hops` that a caller allows.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from schedsearch.demo.scene import COLORS, DIGITS, THINGS, Item, Scene, cell_names
from schedsearch.errors import InputError

DIRECTIONS = {"above": (-1, 0), "below": (1, 0), "left of": (0, -1), "right of": (0, 1)}
MAX_HOPS = 4


@dataclass(frozen=True)
class Question:
    """A question in words separated by spaces, its one-word answer, and its kind."""

    text: str
    answer: str
    kind: str


_Asked = tuple[str, str] | None


def _color_at(scene: Scene, rng: random.Random) -> _Asked:
    item = rng.choice(scene.items)
    return f"what color is at {item.cell} ?", item.color


def _thing_at(scene: Scene, rng: random.Random) -> _Asked:
    item = rng.choice(scene.items)
    return f"what object is at {item.cell} ?", item.thing


def _color_of(scene: Scene, rng: random.Random) -> _Asked:
    things = [item.thing for item in scene.items]
    single = [item for item in scene.items if things.count(item.thing) == 1]
    if not single:
        return None
    item = rng.choice(single)
    return f"what color is the {item.thing} ?", item.color


def _where(scene: Scene, rng: random.Random) -> _Asked:
    item = rng.choice(scene.items)
    return f"where is the {item.label} ?", item.cell


def _exist(scene: Scene, rng: random.Random) -> _Asked:
    labels = {item.label for item in scene.items}
    if rng.random() < 0.5:
        return f"is there a {rng.choice(scene.items).label} ?", "yes"
    # Colour and thing are both present, only not together: seeing one of them is not enough.
    absent = sorted({f"{a.color} {b.thing}" for a in scene.items for b in scene.items} - labels)
    return (f"is there a {rng.choice(absent)} ?", "no") if absent else None


def _count(scene: Scene, rng: random.Random) -> _Asked:
    """Ask for a number first and a property second, so that small numbers do not dominate."""
    seen = [word for item in scene.items for word in (item.color, item.thing)]
    counts = {word: seen.count(word) for word in (*scene.colors, *scene.shapes)}
    number = rng.choice(sorted(set(counts.values())))
    word = rng.choice([word for word, count in counts.items() if count == number])
    return f"how many {word} objects ?", str(number)


def _size(scene: Scene, rng: random.Random) -> _Asked:
    shapes = [item for item in scene.items if item.thing in scene.shapes]
    if not shapes:
        return None
    item = rng.choice(shapes)
    return f"what size is the {item.label} ?", "big" if item.big else "small"


def _order(scene: Scene, rng: random.Random) -> _Asked:
    vertical = rng.random() < 0.5

    def position(item: Item) -> int:
        return item.row if vertical else item.column

    pairs = [(a, b) for a in scene.items for b in scene.items if position(a) != position(b)]
    if not pairs:
        return None
    first, second = rng.choice(pairs)
    before = rng.random() < 0.5
    word = ("above" if before else "below") if vertical else ("left of" if before else "right of")
    holds = (position(first) < position(second)) == before
    return f"is the {first.label} {word} the {second.label} ?", "yes" if holds else "no"


def _paths(scene: Scene, steps: int) -> list[tuple[tuple[Item, ...], tuple[str, ...]]]:
    """Walks over occupied neighbouring cells without coming back to a cell."""
    paths: list[tuple[tuple[Item, ...], tuple[str, ...]]] = [((item,), ()) for item in scene.items]
    for _ in range(steps):
        paths = [
            ((*items, following), (*words, word))
            for items, words in paths
            for word, (down, right) in DIRECTIONS.items()
            if (following := scene.by_cell.get((items[-1].row + down, items[-1].column + right)))
            and following not in items
        ]
    return paths


def _relation(scene: Scene, rng: random.Random, steps: int, wanted: str) -> _Asked:
    paths = _paths(scene, steps)
    if not paths:
        return None
    items, words = rng.choice(paths)
    chain = " the object ".join(reversed(words))
    answer = items[-1].color if wanted == "color" else items[-1].thing
    return f"what {wanted} is {chain} the {items[0].label} ?", answer


_SIMPLE: dict[str, Callable[[Scene, random.Random], _Asked]] = {
    "color_at": _color_at,
    "thing_at": _thing_at,
    "color_of": _color_of,
    "where": _where,
    "exist": _exist,
    "count": _count,
    "size": _size,
    "order": _order,
}


def kinds(hops: int = 3) -> tuple[str, ...]:
    """Kinds of questions that need at most `hops` look-ups, in their fixed order.

    Raises:
        InputError: If `hops` is outside 2 to 4.
    """
    if not 2 <= hops <= MAX_HOPS:
        raise InputError(f"`hops` must be in [2, {MAX_HOPS}], but got {hops}")
    relations = ["rel" if steps == 1 else f"rel{steps}" for steps in range(1, hops)]
    return (*_SIMPLE, *(f"{name}_{wanted}" for name in relations for wanted in ("color", "thing")))


def ask(scene: Scene, rng: random.Random, kind: str) -> Question | None:
    """A random question of one of `kinds()`, or None where the scene does not allow it."""
    if kind in _SIMPLE:
        asked = _SIMPLE[kind](scene, rng)
    else:
        name, wanted = kind.removeprefix("rel").split("_")
        word = "color" if wanted == "color" else "object"
        asked = _relation(scene, rng, int(name or 1), word)
    return Question(*asked, kind) if asked else None


def words() -> list[str]:
    """Every word that a question or an answer can contain, each once, in a fixed order."""
    grammar = (
        "where above below left right what color is the object at ? there a how many objects of "
        "size big small yes no"
    )
    return list(dict.fromkeys([*COLORS, *THINGS, *DIGITS, *cell_names(), *grammar.split()]))
