"""Whoever follows CONTRIBUTING.md word by word ends with plug-ins that work.

Its code goes to the files that it names, in a copy of this repository and in a package that stands
beside it as pip would leave it. In the copy the contract suites that it names are run, with the
package there are searches.
"""

import os
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from markdown_it import MarkdownIt

from schedsearch import RankerSpec, Schedule, TrialState
from schedsearch.store import open_store

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

# Of each kind: what the recipe adds, and where its contract is checked.
CONTRACTS = {
    "middle": "tests/contract/test_rankers.py",
    "starts_with": "tests/contract/test_metrics.py",
    "geometric": "tests/contract/test_families_of_schedules.py",
    "latin": "tests/contract/test_samplers.py",
    "background": "tests/contract/test_executors.py",
    "Spyglass": "tests/engine/test_spyglass.py",
}
CHOSEN = " or ".join(CONTRACTS).replace("Spyglass", "(Spyglass and sdpa)")  # eager costs as much


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """The place that each block of a language names, and its content."""
    for token in MarkdownIt("commonmark").parse(TEXT):
        kind, _, place = token.info.partition(" ")
        if token.type == "fence" and kind == language:
            yield place, token.content


def files() -> dict[str, str]:
    return dict(blocks("python"))


def patched(text: str, lines: str) -> str:
    """The text with what is marked `+` behind what stands before it."""
    before, *added = lines.splitlines()
    assert all(line[0] == "+" for line in added), lines
    known = f"{before[1:]}\n"
    assert text.count(known) == 1, f"not once in the file: {before}"
    return text.replace(known, known + "".join(f"{line[1:]}\n" for line in added))


def study_file() -> dict[str, Any]:
    """The study file to begin with, and all that the recipes say of it."""
    given = [yaml.safe_load(content) for _, content in blocks("yaml")]
    found: dict[str, Any] = {}
    for one in given:
        search = found.get("search", {}) | one.get("search", {})
        found |= {**one, "search": search}
    return found


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository with every recipe followed in it: a file, and a line."""
    folder = tmp_path_factory.mktemp("repository")
    for room in ("schedsearch", "tests"):
        copytree(ROOT / room, folder / room)  # with what is compiled, which saves seconds
    (folder / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    for place, content in files().items():
        if "/" in place:
            assert not (folder / place).exists()
            (folder / place).write_text(content)
    for place, lines in blocks("diff"):
        new = patched((folder / place).read_text(), lines)
        (folder / place).write_text(new)
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package `mine`, as pip would leave it, the study file and the program."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "mine").mkdir()
    for place, content in files().items():
        within = Path("mine", Path(place).name) if place.startswith("schedsearch/") else Path(place)
        if not place.startswith("tests/"):
            (folder / within).write_text(content)
    (folder / "try.yaml").write_text(yaml.safe_dump(study_file()))
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip notes of the package."""
    project = tomllib.loads(dict(blocks("toml"))["pyproject.toml"])["project"]
    folder = tmp_path_factory.mktemp("installed")
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(about)
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {place}" for name, place in points.items())])
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    return folder


def run(*args: object, folder: Path, paths: tuple[Path, ...]) -> str:
    """What a child process prints, in a folder and with these before all other packages."""
    ended = subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    return ended.stdout


def test_code_is_in_the_style_of_the_repository(repository):
    written = [place for place in files() if "/" in place]
    for command in (["check"], ["format", "--check"]):
        run("-m", "ruff", *command, *written, folder=repository, paths=(repository,))


@pytest.mark.full
def test_what_is_added_to_the_repository_passes_the_contract_suites(repository):
    results = repository / "results.xml"
    options = ["-p", "no:cacheprovider", "-k", CHOSEN, f"--junitxml={results}"]
    suites = CONTRACTS.values()
    run("-m", "pytest", *options, *suites, folder=repository, paths=(repository,))
    found = ElementTree.parse(results).iter("testcase")  # noqa: S314 - written by the child
    cases = [f"{case.get('classname')} {case.get('name')}" for case in found]
    passed = Counter(name for case in cases for name in CONTRACTS if name in case)
    assert all(passed[name] >= 5 for name in CONTRACTS), passed


def check_searched(path: Path, study: str, first: int) -> None:
    """What the recipes add has been searched with, in as many trials as they say."""
    with open_store(path) as store:
        spec, trials = store.spec(study), store.trials(study)
    assert spec.metric.startswith("starts_with ")
    assert spec.ranker == RankerSpec.from_mapping("middle", {"columns": 8})
    asked = {key: spec.search[key] for key in ("sampler", "family", "first")}
    assert asked == {"sampler": "latin", "family": "geometric", "first": first}
    searched = [trial for trial in trials if "end" in trial.params]
    assert len(searched) == 4
    assert {trial.state for trial in searched} <= {TrialState.COMPLETE, TrialState.PRUNED}


CLI = "from schedsearch.cli import main; main()"


@pytest.mark.full
def test_an_installed_package_is_searched_with(package, installed):
    paths = (package, installed, ROOT)
    run("-c", CLI, "search", "try.yaml", "--store", "by-name.db", folder=package, paths=paths)
    check_searched(package / "by-name.db", "try", first=2)


@pytest.mark.full
def test_objects_of_ones_own_are_searched_with_from_python(package):
    run("-W", "error::UserWarning", "try.py", folder=package, paths=(package, ROOT))
    check_searched(package / "try.db", "study", first=1)
    target = Schedule.load(package / "schedule.json").target
    assert target is not None and target.architecture == "SpyglassForConditionalGeneration"
