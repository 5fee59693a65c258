"""The report as one page: the same text and pictures, and samples token by token."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markdown_it import MarkdownIt

from schedsearch.app.study_view import StudyView
from schedsearch.core.exhibit import Exhibit, TokenView

_LAYERS = 4
"""That are drawn of a sample."""


@dataclass(frozen=True)
class Part:
    """A part of a picture: its tokens, and the removed ones as the path of an SVG.

    Attributes:
        view: The tokens.
        path: In units of a token.
    """

    view: TokenView
    path: str


@dataclass(frozen=True)
class Layer:
    """A layer as it is drawn.

    Attributes:
        number: Of the layer.
        kept: Vision tokens that it processes.
        parts: Of the picture.
    """

    number: int
    kept: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Shown:
    """An exhibit as it is drawn.

    Attributes:
        exhibit: It.
        picture: URL that holds its picture.
        layers: Those that are drawn.
    """

    exhibit: Exhibit
    picture: str
    layers: tuple[Layer, ...]


def render_html(study: StudyView, text: str, pictures: Mapping[str, bytes]) -> str:
    """The page of a report.

    Args:
        study: With a result; gives its exhibits.
        text: The report in Markdown.
        pictures: PNG files that it names, by name.
    """
    from jinja2 import Environment, PackageLoader

    best = study.best_trial
    shots = study.store.exhibit_pictures(study.name, best.number)
    exhibits = [
        shown(one, shots[one.sample])
        for one in study.store.exhibits(study.name, best.number)
        if one.sample in shots
    ]
    environment = Environment(
        loader=PackageLoader("schedsearch.app"), autoescape=True, trim_blocks=True
    )
    template = environment.get_template("report.html")
    return template.render(
        study=study.name, trial=best.number, text=_markup(text, pictures), exhibits=exhibits
    )


def shown(exhibit: Exhibit, picture: bytes) -> Shown:
    """An exhibit with its picture, made ready to be drawn."""
    layers = tuple(
        Layer(layer, exhibit.counts[layer], tuple(_parts(exhibit, layer)))
        for layer in telling_layers(exhibit.counts)
    )
    return Shown(exhibit, _url(picture, "image/webp"), layers)


def telling_layers(counts: Sequence[int]) -> list[int]:
    """A few layers that tell the others: each the first with its count, spread over all such."""
    falls = [layer for layer in range(1, len(counts)) if counts[layer] < counts[layer - 1]]
    if counts[0] < max(counts):
        falls.insert(0, 0)
    if len(falls) <= _LAYERS:
        return falls
    last = len(falls) - 1
    return [falls[round(last * at / (_LAYERS - 1))] for at in range(_LAYERS)]


def _parts(exhibit: Exhibit, layer: int) -> Iterator[Part]:
    for view, removed in exhibit.removed(layer):
        yield Part(view, "".join(_runs(removed, view.columns)))


def _runs(removed: Sequence[int], columns: int) -> Iterator[str]:
    """Rectangles around tokens of a row that lie side by side."""
    for _, run in groupby(enumerate(removed), key=lambda one: (one[1] - one[0], one[1] // columns)):
        places = [place for _, place in run]
        row, column = divmod(places[0], columns)
        yield f"M{column} {row}h{len(places)}v1h-{len(places)}z"


def _markup(text: str, pictures: Mapping[str, bytes]) -> Any:
    """Markdown as HTML, with its pictures inside and without any HTML of its own."""
    from markupsafe import Markup

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for token in tokens:
        for child in token.children or ():
            raw = pictures.get(str(child.attrs.get("src")))
            if child.type == "image" and raw is not None:
                child.attrs["src"] = _url(raw, "image/png")
    made: str = parser.renderer.render(tokens, parser.options, {})
    wide = made.replace("<table>", '<div class="table"><table>')
    return Markup(wide.replace("</table>", "</table></div>"))  # noqa: S704 - of our parser


def _url(raw: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"
