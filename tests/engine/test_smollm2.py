"""A pretrained decoder of 30 layers is reduced as the small models are."""

from typing import Any

import pytest

from schedsearch.testing import AdapterContract
from tests.engine.fuzz.run import RIGHT, run_case
from tests.engine.smollm2 import INSTALLED, needs_smollm2, prompts_of, smollm2

pytestmark = needs_smollm2


if INSTALLED:

    @pytest.mark.full
    class TestSmolLM2(AdapterContract):
        """The whole suite."""

        vision_tokens = (49152,)

        @staticmethod
        def build(attention: str) -> Any:
            """The merged model, as transformers loads it."""
            return smollm2.__wrapped__(attention)[0]

        @staticmethod
        def samples(_model: Any) -> Any:
            """Prompts of one image and of two."""
            one, two = list(prompts_of().items()), list(prompts_of(2).items())
            return dict([*one[:2], *two[:1]])


@pytest.mark.full
def test_some_of_the_contracts_checks_hold() -> None:
    contract = TestSmolLM2()
    subject = contract._make("sdpa")

    contract.test_adapter_finds_the_vision_tokens(subject)
    contract.test_one_sample_equals_the_masked_model(subject, "last")


@pytest.mark.full
def test_random_calls_equal_the_masked_model() -> None:
    outcomes = [run_case(seed, "smollm2") for seed in range(4)]

    assert any(outcome.end == RIGHT and outcome.effect > 0.01 for outcome in outcomes)
