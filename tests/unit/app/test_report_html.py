"""The report as a page stands alone, shows what is stored, and takes no markup from anybody."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from schedsearch.app.report import write_report
from schedsearch.app.report_html import shown, telling_layers
from schedsearch.core.exhibit import Box, TokenView
from tests.markdown import headings
from tests.unit.app.test_report import ODD, compared, opened
from tests.unit.store.strategies import EXHIBIT


def picture(width: int = 20, height: int = 10) -> bytes:
    raw = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(raw, "WEBP")
    return raw.getvalue()


class Page(HTMLParser):
    """Elements with their attributes, and the text of some."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "image", "use", "path"):
            self._open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        for tag in set(self._open):
            self.text[tag][-1] += data


def cells(path: str) -> set[tuple[int, int]]:
    """Column and row of every token within the rectangles of a path."""
    found = set()
    for column, row, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path):
        found |= {(int(column) + at, int(row)) for at in range(int(length))}
    assert re.sub(r"M\d+ \d+h\d+v1h-\d+z", "", path) == ""
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("study"), f"{ODD}<script>") as made:
        made.run()
        yield made


def test_page_stands_alone_and_has_the_words_and_pictures_of_the_report(study, tmp_path):
    folder = write_report(study, compared(study.best), tmp_path / "r")
    page = Page((folder / "report.html").read_text("utf-8"))
    assert not page._open
    markdown = (folder / "report.md").read_text("utf-8")
    told = [*page.text["h1"], *page.text["h2"], *page.text["h3"]]
    assert sorted(told) == sorted([*headings(markdown), "Samples, token by token"])
    assert page.text["title"] == [f"Study {ODD}<script>"]
    assert "No samples were recorded" in page.text["main"][0]
    pictures = [attrs["src"] for tag, attrs in page.elements if tag == "img"]
    assert len(pictures) == markdown.count("![") == 1
    assert pictures[0].startswith("data:image/png;base64,iVBORw0KGgo")
    for tag, attrs in page.elements:
        assert tag != "script" and not any(name.startswith("on") for name in attrs)
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("#", "data:image/")), attrs
    assert "url(" not in page.text["style"][0]


def test_samples_are_shown_with_answers_and_the_tokens_that_layers_removed(study, tmp_path):
    best = study.best_trial.number
    first = replace(EXHIBIT, question=f"{ODD} <script>alert(1)</script>", full_answer="<b>fork</b>")
    second = replace(EXHIBIT, sample="b2", place=8, views=(TokenView(1, 9, None),))
    study.store.add_exhibits(study.name, best, [(first, picture()), (second, picture())])
    folder = write_report(study, None, tmp_path / "r")
    page = Page((folder / "report.html").read_text("utf-8"))
    assert page.text["h3"][-2:] == [first.question, second.question]
    assert "<b>fork</b> · score 1" in page.text["dd"]
    assert "knife · score 0 · another answer" in page.text["dd"]
    assert "fork, a fork" not in page.text["main"][0] and "a fork, fork" in page.text["dd"]
    labels = [attrs.get("aria-label") for tag, attrs in page.elements if tag == "svg"]
    assert labels.count("Layer 2 keeps 5 of 9 tokens") == 3  # a picture, and two strips
    assert labels.count("What the model sees") == 2
    assert sum("known which part" in text for text in page.text["p"]) == 2
    paths = [cells(attrs["d"]) for tag, attrs in page.elements if tag == "path"]
    assert paths[-2] == {(column, 0) for column in (1, 3, 5, 7)}
    assert paths[-1] == {(column, 0) for column in range(9)}
    image = next(attrs for tag, attrs in page.elements if tag == "image")
    assert (image["width"], image["height"]) == ("20", "10")


def test_removed_tokens_are_drawn_where_they_lie():
    views = (TokenView(2, 3, Box(0.0, 0.0, 1.0, 0.5)), TokenView(1, 3, Box(0.0, 0.5, 1.0, 0.5)))
    made = shown(replace(EXHIBIT, views=views), picture())
    assert [(layer.number, layer.kept) for layer in made.layers] == [(2, 5), (3, 0)]
    halved, emptied = made.layers  # 101010 in rows of three, then 101
    assert [cells(part.path) for part in halved.parts] == [{(1, 0), (0, 1), (2, 1)}, {(1, 0)}]
    everything = [{(column, row) for column in range(3) for row in range(n)} for n in (2, 1)]
    assert [cells(part.path) for part in emptied.parts] == everything
    assert emptied.parts[0].path == "M0 0h3v1h-3zM0 1h3v1h-3z"  # a run ends with its row


@pytest.mark.parametrize(
    ("counts", "layers"),
    [
        ((9, 9, 9), []),
        ((9, 9, 5, 5, 2), [2, 4]),
        ((9, 8, 7, 6, 5, 4, 3, 2, 1), [1, 3, 6, 8]),
        ((5, 5, 2), [2]),
    ],
)
def test_layers_that_are_drawn_are_the_first_of_their_counts(counts, layers):
    assert telling_layers(counts) == layers
