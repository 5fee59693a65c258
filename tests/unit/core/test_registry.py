import importlib
import subprocess
import sys

import pytest

from schedsearch.core.registry import Registry
from schedsearch.errors import InputError


class Mine:
    def __init__(self, weight: int = 1) -> None:
        self.weight = weight


@pytest.fixture
def registry() -> Registry[type]:
    return Registry("thing", {"counter": "collections:Counter", "queue": "queue:Queue"})


def test_what_is_built_in_is_imported_when_it_is_used():
    code = (
        "import sys; from schedsearch.core.registry import Registry\n"
        "made = Registry('thing', {'tree': 'xml.etree.ElementTree:ElementTree'})\n"
        "assert list(made) == ['tree'] and 'tree' in made and len(made) == 1\n"
        "assert 'xml.etree.ElementTree' not in sys.modules\n"
        "assert made['tree'].__name__ == 'ElementTree'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_own_things_join_under_a_name_of_their_own(registry):
    assert registry.register("mine", Mine) is Mine
    assert registry.register("mine", Mine) is Mine
    assert list(registry) == ["counter", "queue", "mine"]
    assert registry.make("mine", {"weight": 3}, "`thing`").weight == 3
    for name in ("counter", "mine"):
        with pytest.raises(InputError, match=f"a thing `{name}` already; give yours another"):
            registry.register(name, dict)
    with pytest.raises(InputError, match="a thing needs a name, but got ''"):
        registry.register("", Mine)


def test_unknown_name_is_told_with_the_nearest(registry):
    with pytest.raises(InputError, match=r"`a\.b` must be one of counter, queue, but got 'quew'"):
        registry.check("quew", "`a.b`")
    with pytest.raises(InputError, match="did you mean queue"):
        registry.check("quew", "`a.b`")
    with pytest.raises(InputError, match="but got 7; choose one of them"):
        registry.check(7, "`a.b`")
    with pytest.raises(KeyError):
        registry["quew"]


def test_parameters_that_do_not_fit_are_told(registry):
    registry.register("mine", Mine)
    with pytest.raises(InputError, match="parameters of thing `mine` do not fit: .*'size'"):
        registry.make("mine", {"size": 3}, "`thing`")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with entry points, as pip would leave it."""
    (tmp_path / "somebodys.py").write_text("class Ranks:\n    pass\n")
    info = tmp_path / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[schedsearch.thing]\ntheirs = somebodys:Ranks\nbroken = somebodys_not:Ranks\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_installed_packages_join_by_entry_points(registry):
    assert list(registry) == ["counter", "queue", "theirs", "broken"]
    assert registry.name_of(importlib.import_module("somebodys").Ranks) == "theirs"
    assert registry["theirs"].__name__ == "Ranks"
    with pytest.raises(InputError, match="thing `broken` of the package somebodys cannot be"):
        registry["broken"]
