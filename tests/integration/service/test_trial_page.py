"""What the page of a trial says, compared with the store; and what its script computes."""

import json
import random
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from schedsearch.app.study_view import StudyView
from schedsearch.core.exhibit import Box, Exhibit, TokenView
from schedsearch.service.assets import FOLDER
from schedsearch.store.exhibits import exhibit_to_json
from tests.integration.service.test_access import logged_in
from tests.integration.service.test_trials import searched  # noqa: F401 - a fixture
from tests.unit.execution.synthetic import STUDY
from tests.unit.store.strategies import EXHIBIT, PICTURE


@pytest.fixture
def visited(searched):  # noqa: F811
    logged_in(searched, searched.token("read"))
    return searched


def page(service, number: int) -> str:
    answer = service.client.get(f"/studies/{STUDY}/trials/{number}")
    assert answer.status_code == 200, answer.text
    return answer.text


def words(text: str) -> str:
    """What a reader sees, with plain blanks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


def test_page_says_what_the_store_knows_of_a_trial(visited):
    best = StudyView(visited.store, STUDY).best_trial
    said = words(page(visited, best.number))
    assert f"Trial {best.number} complete best" in said
    assert f"{100 * best.measurement.flops_ratio:.1f} %" in said
    assert f"{best.measurement.score:.4f}" in said
    assert f"{best.measurement.n} samples" in said
    lost = int(re.search(r"(\d+) score less", said)[1])
    gained = int(re.search(r"(\d+) more", said)[1])
    assert lost + gained > 0
    assert "No samples were recorded" in said
    for trial in visited.store.trials(STUDY):
        other = page(visited, trial.number)
        assert ("?trial=" in other) == (trial.measurement is not None)
        assert (f"trial {best.number}, the best" in other) == (trial.number != best.number)
        if trial.reason:
            assert trial.reason[1:] in other
    assert visited.client.get(f"/studies/{STUDY}/trials/9999").status_code == 404


def test_exhibits_are_on_the_page_and_nobody_adds_markup(visited):
    evil = replace(EXHIBIT, question="<script>alert(1)</script>", answer='"><img src=x onerror=a>')
    visited.store.add_exhibits(STUDY, 1, [(evil, PICTURE)])
    text = page(visited, 1)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "<script>alert" not in text
    assert "<img src=x" not in text
    assert f'src="/api/v1/studies/{STUDY}/trials/1/exhibits/{EXHIBIT.sample}/picture"' in text
    said = words(text)
    assert "layer 2 keeps 5 of 9 tokens" in said  # the deepest that has any
    assert "the strip shows them" in said
    assert not re.search(r"\sstyle=|\son\w+=", text.replace("onerror=a", ""))


def drawn(draw: random.Random) -> Exhibit:
    """An exhibit of a few grids or of a strip, with tokens leaving layer by layer."""
    sizes = [(draw.randint(1, 4), draw.randint(1, 11)) for _ in range(draw.randint(1, 3))]
    views = [TokenView(*size, Box(0.3 * at, 0.25, 0.25, 0.5)) for at, size in enumerate(sizes)]
    if draw.random() < 0.3:
        views = [TokenView(1, draw.randint(1, 40), None)]
    n = sum(view.tokens for view in views)
    alive, layers = (1 << n) - 1, []
    for _ in range(3):
        layers.append((alive << (-n % 8)).to_bytes(-(-n // 8)))
        alive &= draw.getrandbits(n)
    return replace(EXHIBIT, views=tuple(views), kept=tuple(layers))


def test_script_greys_the_removed_tokens_that_an_exhibit_has():
    if shutil.which("node") is None:
        pytest.skip("node is missing; `make setup-system` brings it")
    draw = random.Random(7)
    exhibits = [drawn(draw) for _ in range(40)]
    asked, expected = [], []
    for one in exhibits:
        for layer, kept in enumerate(exhibit_to_json(one)["kept"]):
            first = 0
            for view, gone in one.removed(layer):
                asked.append([kept, first, view.tokens])
                expected.append([at in gone for at in range(view.tokens)])
                first += view.tokens
    program = (
        f"import {{ greyed }} from {json.dumps((FOLDER / 'compute.js').as_uri())};"
        f"console.log(JSON.stringify({json.dumps(asked)}.map((one) => [...greyed(...one)])))"
    )
    command = ["node", "--input-type=module", "--eval", program]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert [[alpha > 0 for alpha in one[3::4]] for one in found] == expected
    colours = {tuple(one[at : at + 4]) for one in found for at in range(0, len(one), 4)}
    assert colours == {(0, 0, 0, 0), (124, 133, 137, 237)}
