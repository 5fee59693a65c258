"""Attention statistics against scipy, eager attention weights, and their baselines."""

import math
from typing import Any

import pytest
import torch
from scipy.stats import kendalltau

from schedsearch.demo.shapesvqa import ShapesVQA
from schedsearch.errors import DataError, InputError
from schedsearch.evaluation.attention import kendall
from schedsearch.evaluation.attention.kendall import kendall_tau
from schedsearch.evaluation.attention.statistics import AttentionStatistics, attention_statistics
from schedsearch.testing.reference import seeing_softmax
from tests.engine.embedded import embedded, prompt_of

SAMPLES = ShapesVQA("calibration", 12)
LAYERS = 8


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("distinct", [None, 3], ids=["no ties", "ties"])
@pytest.mark.parametrize("at_once", [1, 1 << 22], ids=["in blocks", "at once"])
def test_tau_is_that_of_scipy(
    monkeypatch: pytest.MonkeyPatch, distinct: int | None, at_once: int
) -> None:
    monkeypatch.setattr(kendall, "_PAIRS_AT_ONCE", at_once)
    scores = draw(1, 2, 4, 37)
    if distinct:
        scores = (scores * distinct).round()

    found = kendall_tau(scores)

    for sample in range(2):
        for one in range(4):
            for two in range(4):
                expected = kendalltau(scores[sample, one], scores[sample, two]).statistic
                assert found[sample, one, two].item() == pytest.approx(expected, abs=1e-12)


def test_a_layer_that_ties_all_tokens_agrees_with_none() -> None:
    scores = torch.stack([torch.zeros(9), torch.arange(9.0)])[None]

    assert kendall_tau(scores)[0].tolist() == [[0.0, 0.0], [0.0, 1.0]]


def eager_rows(ranker: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Per sample: logarithm of each layer's mean ranking row, and vision mask `(tokens,)`.

    Rows are `(layers, tokens)`.
    """
    model, _ = embedded("eager")
    found, logs = [], []
    handles = [
        layer.self_attn.register_forward_hook(lambda *_: logs.append(latest[0][0]))
        for layer in model.get_decoder().layers
    ]
    for sample in SAMPLES:
        inputs = prompt_of(sample)
        logs.clear()
        with torch.inference_mode(), seeing_softmax() as latest:
            model(**inputs)
        vision = inputs["input_ids"][0] == model.config.image_token_id
        first = -1 if ranker == "last" else int(vision.nonzero().max()) + 1
        rows = torch.stack([one[:, first:].flatten(0, 1) for one in logs])
        found.append((rows.logsumexp(1) - math.log(rows.shape[1]), vision))
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("ranker", ["last", "text"])
def test_figures_are_those_of_eager_attention_weights(ranker: str) -> None:
    expected = eager_rows(ranker)

    found = attention_statistics(*embedded(), SAMPLES, ranker=ranker, top=0.25)

    scores = [rows[:, vision] for rows, vision in expected]
    for one in range(LAYERS):
        mass = sum(sample[one].exp().sum().item() for sample in scores) / len(scores)
        assert found.mass[one].value == pytest.approx(mass, abs=1e-5)
        for two in range(LAYERS):
            taus = [tau(sample[one], sample[two]) for sample in scores]
            # One pair of 2016 may swap by rounding where two tokens get nearly equal attention.
            assert found.tau[one][two].value == pytest.approx(sum(taus) / len(taus), abs=2e-3)
            shared = [len({*best(sample[one])} & {*best(sample[two])}) / 16 for sample in scores]
            expected_overlap = sum(shared) / len(shared)
            assert found.overlap[one][two].value == pytest.approx(expected_overlap, abs=0.011)
    assert (found.samples, found.ranker, found.top) == (12, ranker, 0.25)


def tau(one: torch.Tensor, two: torch.Tensor) -> float:
    found: float = kendalltau(one, two).statistic
    return found


def best(scores: torch.Tensor) -> list[int]:
    found: list[int] = scores.argsort(descending=True, stable=True)[:16].tolist()
    return found


def test_uniform_mass_is_the_share_of_vision_among_visible_tokens() -> None:
    shares = {"last": [], "text": []}  # type: dict[str, list[float]]
    for _, vision in eager_rows("last"):
        n, tokens = int(vision.sum()), len(vision)
        behind = range(int(vision.nonzero().max()) + 2, tokens + 1)
        shares["last"].append(n / tokens)
        shares["text"].append(sum(n / visible for visible in behind) / len(behind))

    for ranker, expected in shares.items():
        found = attention_statistics(*embedded(), SAMPLES, ranker=ranker)
        mean = sum(expected) / len(expected)
        assert found.uniform_mass.value == pytest.approx(mean, abs=1e-6)
        assert found.uniform_mass.low < mean < found.uniform_mass.high


@pytest.fixture(scope="module")
def many() -> AttentionStatistics:
    return attention_statistics(*embedded(), ShapesVQA("calibration", 100))


def test_random_orders_agree_with_no_layer(many: AttentionStatistics) -> None:
    # Seeds are fixed, so this cannot fail by chance; with others 4 standard errors would be
    # exceeded once in 16,000.
    error = (many.random_tau.high - many.random_tau.low) / (2 * 1.96)
    assert abs(many.random_tau.value) < 4 * error
    error = (many.random_overlap.high - many.random_overlap.low) / (2 * 1.96)
    assert abs(many.random_overlap.value - 0.25) < 4 * error


def test_layers_agree_with_themselves_and_symmetrically(many: AttentionStatistics) -> None:
    for one in range(LAYERS):
        assert many.overlap[one][one].value == 1.0
        # 1 in every sample, but for those in which attention underflows on all vision tokens.
        agreement = many.tau[one][one].value * many.samples
        assert 0.9 * many.samples <= agreement == pytest.approx(round(agreement))
        for two in range(LAYERS):
            assert many.tau[one][two] == many.tau[two][one]
    assert max(many.tau[one][two].low for one in range(LAYERS) for two in range(one)) > 0.1


def test_statistics_do_not_depend_on_the_batch_and_restore_the_model() -> None:
    model, processor = embedded()
    configs = [layer.self_attn.config for layer in model.get_decoder().layers]
    seen: list[tuple[int, int]] = []

    together = attention_statistics(model, processor, SAMPLES)
    alone = attention_statistics(
        model,
        processor,
        SAMPLES,
        batch_size=1,
        on_progress=lambda done, total: seen.append((done, total)),
    )

    for one, two in zip(together.mass, alone.mass, strict=True):
        assert one.value == pytest.approx(two.value, abs=1e-6)
    assert [layer.self_attn.config for layer in model.get_decoder().layers] == configs
    assert all(
        layer.self_attn.config is config
        for layer, config in zip(model.get_decoder().layers, configs, strict=True)
    )
    assert seen == [(done, 12) for done in range(1, 13)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ranker": "random"}, InputError, "`ranker` must read attention, but got 'random'"),
        ({"top": 0.0}, InputError, r"`top` must lie in \(0, 1\], but got 0.0"),
        ({"batch_size": 0}, InputError, "`batch_size` must be at least 1"),
        ({"samples": ShapesVQA("calibration", 1)}, DataError, "need at least two samples"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    model, processor = embedded()
    with pytest.raises(error, match=message):
        attention_statistics(model, processor, **{"samples": SAMPLES, **options})
