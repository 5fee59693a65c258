"""Every family passes the contract suite.

In the fast part each check runs under one implementation of attention, the two in turns from check
to check and from family to family.
"""

from typing import Any, ClassVar

from schedsearch.testing import AdapterContract
from tests.engine.families import FAMILIES, Family
from tests.pace import some

CHECKS = sorted(name for name in dir(AdapterContract) if name.startswith("test_"))


class InTurns(AdapterContract):
    """The contract suite, with half of its pairs of a check and an attention marked `full`."""

    number: ClassVar[int]

    def pytest_generate_tests(self, metafunc: Any) -> None:
        if "subject" in metafunc.fixturenames:
            turn = (self.number + CHECKS.index(metafunc.function.__name__)) % len(self.attentions)
            attentions = some(self.attentions, [self.attentions[turn]])
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
