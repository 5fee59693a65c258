"""Every family passes the contract suite.

In the fast part each family runs every other check, the odd ones or the even ones, and each check
every other family, under the implementations of attention in turns.
"""

from typing import Any, ClassVar

from schedsearch.testing import AdapterContract
from tests.engine.families import FAMILIES, Family
from tests.pace import some

CHECKS = sorted(name for name in dir(AdapterContract) if name.startswith("test_"))


class InTurns(AdapterContract):
    """The contract suite, with three of four runs marked `full`."""

    number: ClassVar[int]

    def pytest_generate_tests(self, metafunc: Any) -> None:
        if "subject" in metafunc.fixturenames:
            half, skipped = divmod(self.number + CHECKS.index(metafunc.function.__name__), 2)
            turn = self.attentions[half % len(self.attentions)]
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
