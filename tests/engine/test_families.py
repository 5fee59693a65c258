"""Every family passes the contract suite.

In the fast part each family runs every third check, and each check every third family, under the
implementations of attention in turns.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from schedsearch.models.adapters import ADAPTERS
from schedsearch.testing import AdapterContract
from tests.engine.families import FAMILIES, Family
from tests.pace import some

CHECKS = sorted(name for name in dir(AdapterContract) if name.startswith("test_"))


class InTurns(AdapterContract):
    """The contract suite, with five of six runs marked `full`."""

    number: ClassVar[int]

    def pytest_generate_tests(self, metafunc: Any) -> None:
        if "subject" in metafunc.fixturenames:
            turns, skipped = divmod(self.number + CHECKS.index(metafunc.function.__name__), 3)
            turn = self.attentions[turns % len(self.attentions)]
            attentions = some(self.attentions, [] if skipped else [turn])
            metafunc.parametrize("subject", attentions, indirect=True)


def contract(family: Family, number: int) -> Any:
    members = {
        "number": number,
        "build": staticmethod(family.build),
        "samples": staticmethod(family.samples),
        "vision_tokens": family.vision_tokens,
    }
    return type("Contract", (InTurns,), members)


for _number, (_name, _family) in enumerate(FAMILIES.items()):
    globals()[f"Test_{_name}"] = contract(_family, _number)


def contracts(of: type[AdapterContract] = AdapterContract) -> Iterator[type[AdapterContract]]:
    for one in of.__subclasses__():
        yield from (one, *contracts(one))


def test_every_adapter_passes_the_contract_suite() -> None:
    for path in Path(__file__).parent.glob("test_*.py"):
        import_module(f"{__package__}.{path.stem}")
    complete = (one for one in contracts() if one.build is not AdapterContract.build)
    proven = {type(one.build("sdpa")).__name__ for one in complete}
    assert proven == {*ADAPTERS.built_in, "VipLlavaForConditionalGeneration"}
