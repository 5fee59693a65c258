"""What a scorer is recognised by: files edited between two processes, and values of every kind."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from schedsearch.evaluation.recognition import Recognition, recognise
from schedsearch.evaluation.recognition.origin import release
from tests.interpreter import Interpreter

PROGRAM = """
import json, sys
from schedsearch.evaluation.recognition import recognise
import scoring
found = recognise(scoring.scorer, "scorer")
print(json.dumps([dict(found.parts), dict(found.unknown)]))
"""

SCORING = '''
import functools, re
import words

LIMIT = 3
MARKS = {".", ",", ";"}

def cut(text):
    """Without its end."""
    return text[:LIMIT]

class Judge:
    share = 0.5

    def __init__(self, least):
        self.least = least

    def normal(self, text):
        return "".join(c for c in cut(text) if c not in MARKS)

    def score(self, answer, references):
        known = map(words.plain, references)
        return float(self.normal(answer) in known) * self.share + self.least

scorer = Judge(0.25).score
'''
WORDS = """
ARTICLES = ["a", "the"]
def plain(text):
    return " ".join(one for one in text.split() if one not in ARTICLES)
def unused(text):
    return text
"""


Recognised = Callable[..., Recognition]


@pytest.fixture(scope="module")
def recognised() -> Iterator[Recognised]:
    """In a process of its own, with another order of sets and mappings for every seed."""
    with ExitStack() as stack:

        @cache
        def interpreter(seed: int) -> Interpreter:
            modules = ("schedsearch.evaluation.recognition", "numpy", "pandas")
            environment = {"PYTHONHASHSEED": str(seed)}
            return stack.enter_context(Interpreter(*modules, environment=environment))

        def call(folder: Path, seed: int = 0) -> Recognition:
            done = interpreter(seed).run(PROGRAM, folder=folder)
            assert done.returncode == 0, done.stderr
            return Recognition(*json.loads(done.stdout))

        yield call


def written(folder: Path, scoring: str = SCORING, words: str = WORDS) -> Path:
    (folder / "scoring.py").write_text(scoring)
    (folder / "words.py").write_text(words)
    return folder


def differences(one: Recognition, other: Recognition) -> set[str]:
    return {path for path, _ in set(one.parts.items()) ^ set(other.parts.items())}


@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ("text[:LIMIT]", "text[LIMIT:]", "scorer.self.Judge.normal.cut"),
        ("LIMIT = 3", "LIMIT = 4", "scorer.self.Judge.normal.cut.LIMIT"),
        ('{".", ",", ";"}', '{".", ","}', "scorer.self.Judge.normal.MARKS"),
        ("self.share + self.least", "self.share - self.least", "scorer.score"),
        ("cut(text) if", "cut(text)[1:] if", "scorer.self.Judge.normal"),
        ("share = 0.5", "share = 0.75", "scorer.self.Judge.share"),
        ("Judge(0.25)", "Judge(0.5)", "scorer.self.least"),
        ('["a", "the"]', '["a", "an"]', "scorer.score.words.plain.ARTICLES"),
        ('" ".join(one', '"".join(one', "scorer.score.words.plain"),
    ],
)
def test_an_edit_of_anything_that_decides_a_score_is_seen_and_named(
    recognised, tmp_path, before, after, part
):
    first = recognised(written(tmp_path))
    assert before in SCORING + WORDS
    second = recognised(
        written(tmp_path, SCORING.replace(before, after), WORDS.replace(before, after))
    )
    assert differences(first, second) == {part}
    assert not first.unknown


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Without its end.", "Its beginning."),
        ("LIMIT = 3", "# how much\nLIMIT = 3"),
        ("return text\n", "return text + text\n"),
        (
            "known = map(words.plain, references)",
            "known = map(\n            words.plain, references)",
        ),
    ],
)
def test_an_edit_of_what_decides_nothing_is_not(recognised, tmp_path, before, after):
    first = recognised(written(tmp_path))
    assert before in SCORING + WORDS
    edited = [text.replace(before, after) for text in (SCORING, WORDS)]
    assert recognised(written(tmp_path, *edited), seed=1) == first


HELD = {
    "set": "{'a', 'b', 'c', ('d', 1)}",
    "frozen set of functions": "frozenset([len, str.lower, helper])",
    "list": "['a', ['b']]",
    "mapping": "{'b': 1, 'a': {2: helper}}",
    "ordered": "collections.Counter('abca')",
    "default": "collections.defaultdict(list, x=[1])",
    "pattern": "re.compile('a+', re.I)",
    "path": "pathlib.Path('a') / 'b'",
    "enum": "Kind.SMALL",
    "data": "Data(1, {'x', 'y'})",
    "slots": "Slots('x')",
    "tuple with names": "Named(1, 'x')",
    "decimal": "decimal.Decimal('1.50')",
    "time": "datetime.timedelta(days=1)",
    "partial": "functools.partial(helper, 'x', y={'a', 'b'})",
    "getter": "operator.itemgetter(1)",
    "logger": "logging.getLogger('x')",
    "array": "numpy.arange(3.0)",
    "cached": "cached",
    "itself": "endless",
    "compiled": "pandas._libs.lib.infer_dtype",
    "abstract": "Made()",
    "own mapping": "Own(a=1)",
}
KINDS = """
import collections, dataclasses, datetime, decimal, enum, functools, logging, numpy, operator
import abc, pandas, pathlib, re

def helper(x="", y=""):
    return f"{x}{y}" in {"p", "q", "r"}

@functools.lru_cache
def cached(x):
    return helper(x)

class Kind(enum.Enum):
    SMALL = "s"
    LARGE = "l"

@dataclasses.dataclass(frozen=True)
class Data:
    size: int
    words: set = dataclasses.field(default_factory=set)

class Slots:
    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text

class Own(dict):
    pass

class Meta(abc.ABCMeta):
    def __call__(cls):
        return super().__call__()

class Made(metaclass=Meta):
    pass

Named = collections.namedtuple("Named", "size text")
endless = {"self": []}
endless["self"].append(endless)
"""


@pytest.mark.parametrize("value", HELD.values(), ids=HELD)
def test_what_a_scorer_holds_is_recognised_whatever_the_order(recognised, tmp_path, value):
    text = f"""{KINDS}
class Scorer:
    def __init__(self, held):
        self.held = held
    def __call__(self, answer, references):
        return float(answer in references and bool(self.held))

def made(held):
    return lambda answer, references: float(bool(held))

scorer = functools.partial(lambda *each: 1.0, Scorer({value}), made({value}), {value})
"""
    one, other = (recognised(written(tmp_path, text), seed) for seed in (1, 2))
    assert one == other
    assert not one.unknown


UNKNOWN = {
    "file": ("__import__('sys').__stderr__", "held", "_io.TextIOWrapper"),
    "generator": ("(x for x in 'ab')", "held", "generator"),
    "lock": ("__import__('threading').Lock()", "held", "lock"),
    "chance": ("__import__('random').Random(0)", "held", "random.Random"),
    "model": ("__import__('torch').nn.Linear(1, 1)", "held", "Linear"),
    "tensor": ("__import__('torch').ones(1)", "held", "torch.Tensor"),
}


@pytest.mark.parametrize(("value", "path", "kind"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_recognised_is_named(value, path, kind):
    space: dict = {}
    exec(  # noqa: S102
        f"def made(held):\n  return lambda a, r: bool(held)\nscorer = made({value})",
        {},
        space,
    )
    found = recognise(space["scorer"], "scorer")
    assert list(found.unknown) == [f"scorer.{path}"]
    assert kind in found.unknown[f"scorer.{path}"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ("open('words.txt').read()", "open"),
        ("random.choice([0, 1])", "random.choice.self"),
        ("eval(answer)", "eval"),
        ("os.environ['HOME']", "os.environ"),
        ("os.getenv('HOME')", "os.getenv"),
        ("subprocess.run(['judge'])", "subprocess.run"),
        ("pathlib.Path('words.txt').read_text()", "read_text"),
        ("importlib.import_module('judge').score(answer)", "importlib.import_module"),
        ("np.load('words.npy')", "np.load"),
        ("np.loadtxt('words.txt')", "np.loadtxt"),
        ("os.popen('judge').readline()", "os.popen"),
        ("os.listdir('.')", "os.listdir"),
        ("linecache.getline('words.txt', 1)", "linecache.getline"),
        ("glob.glob('*')", "glob.glob"),
        ("sqlite3.connect('words.db')", "sqlite3.connect"),
    ],
)
def test_code_that_asks_the_world_outside_is_not_trusted(recognised, tmp_path, body, path):
    imported = "import glob, importlib, linecache, os, pathlib, random, sqlite3, subprocess\n"
    imported += "import numpy as np\n"
    text = f"{imported}def scorer(answer, references):\n    return {body}\n"
    assert f"scorer.{path}" in recognised(written(tmp_path, text)).unknown


@pytest.mark.parametrize("way", ["words", "inside", "from inside", "function of it"])
def test_another_module_is_followed_however_it_is_reached(recognised, tmp_path, way):
    text = {
        "words": "import words\ndef use(m):\n    return m.plain\ndef scorer(a, r):\n"
        "    return use(words)(a)\n",
        "inside": "def scorer(a, r):\n    import words\n    return words.plain(a)\n",
        "from inside": "def scorer(a, r):\n    from words import plain\n    return plain(a)\n",
        "function of it": "from words import plain as scorer\n",
    }[way]
    first = recognised(written(tmp_path, text))
    second = recognised(written(tmp_path, text, WORDS.replace('"the"', '"an"')))
    changed = differences(first, second)
    assert changed and all(path.endswith("ARTICLES") for path in changed)


def test_code_that_was_compiled_by_a_user_is_not_trusted(tmp_path, monkeypatch):
    """An installed extension stands for a user's own once its module has another home."""
    function = importlib.import_module("pandas._libs.lib").infer_dtype
    module = function.__module__
    monkeypatch.setattr(sys.modules[module], "__file__", str(tmp_path / "lib.so"))
    release.cache_clear()
    found = recognise(function, "scorer")
    release.cache_clear()
    assert found.unknown == {"scorer": f"it is compiled into `{module}`, whose code cannot be read"}


def test_code_that_runs_counts_and_not_the_file_it_came_from(tmp_path):
    file = tmp_path / "later.py"
    file.write_text("def scorer(a, r):\n    return 1.0\n")
    space: dict = {"__name__": "later"}
    exec(compile(file.read_text(), str(file), "exec"), space)  # noqa: S102
    before = recognise(space["scorer"], "scorer")
    file.write_text("def scorer(a, r):\n    return 2.0\n")
    assert recognise(space["scorer"], "scorer") == before


def test_two_functions_on_one_line_are_two():
    one, other = (lambda _a, _r: 1.0), (lambda _a, _r: 2.0)
    assert recognise(one, "scorer") != recognise(other, "scorer")
