"""Every family passes the contract suite."""

from typing import Any

from schedsearch.testing import AdapterContract
from tests.engine.families import FAMILIES, Family


def contract(family: Family) -> Any:
    members = {
        "build": staticmethod(family.build),
        "samples": staticmethod(family.samples),
        "vision_tokens": family.vision_tokens,
    }
    return type("Contract", (AdapterContract,), members)


for _name, _family in FAMILIES.items():
    globals()[f"Test_{_name}"] = contract(_family)
