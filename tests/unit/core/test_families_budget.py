"""Every family meets every budget to one token per layer, against costs summed sample by sample."""

from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from schedsearch.core.budget import MEASURES, Budget
from schedsearch.core.families import FAMILIES
from schedsearch.core.flops import DecoderShape, SampleTokens, kv_bytes, prefill_flops
from schedsearch.core.schedule import Schedule
from schedsearch.errors import InputError
from tests.pace import examples
from tests.unit.core.strategies import decoder_shapes, points

token_sets = st.lists(
    st.builds(SampleTokens, n_vision=st.integers(1, 3000), n_text=st.integers(0, 300)),
    min_size=1,
    max_size=4,
)
Counts = list[tuple[int, ...]]


def counts_of(schedule: Schedule, tokens: Sequence[SampleTokens]) -> Counts:
    return [schedule.counts(sample.n_vision) for sample in tokens]


def cost(
    measure: str, shape: DecoderShape, counts: Counts, tokens: Sequence[SampleTokens]
) -> Fraction:
    pairs = list(zip(counts, tokens, strict=True))
    if measure == "mean_keep":
        shares = ([Fraction(count, one.n_vision) for count in kept] for kept, one in pairs)
        return Fraction(sum(min(layer) for layer in zip(*shares, strict=True)), shape.layers)
    one_prompt = kv_bytes if measure == "kv" else prefill_flops
    full = sum(one_prompt(shape, [one.n_vision] * shape.layers, one.n_text) for one in tokens)
    return Fraction(sum(one_prompt(shape, kept, one.n_text) for kept, one in pairs), full)


def one_more_token(counts: Counts, tokens: Sequence[SampleTokens]) -> Counts:
    pairs = zip(counts, tokens, strict=True)
    return [tuple(min(count + 1, one.n_vision) for count in kept) for kept, one in pairs]


def one_more_layer(counts: Counts, tokens: Sequence[SampleTokens]) -> Counts:
    full = next((layer for layer, count in enumerate(counts[0]) if not count), len(counts[0]))
    pairs = zip(counts, tokens, strict=True)
    return [(one.n_vision,) * (full + 1) + kept[full + 1 :] for kept, one in pairs]


@examples(1000)
@given(
    st.data(),
    st.sampled_from(sorted(FAMILIES)),
    decoder_shapes(max_layers=40),
    token_sets,
    st.integers(0, 4),
    st.builds(Budget, st.sampled_from(sorted(MEASURES)), st.floats(0, 1)),
)
def test_solved_schedule_meets_the_budget_to_one_token(data, name, shape, tokens, first, budget):
    family = FAMILIES[name](first=min(first, shape.layers - 1))
    params = data.draw(points(family, shape.layers))
    solved = family.solved(shape.layers)
    del params[solved.name]
    limit = Fraction(budget.limit(shape, tokens, family.first))
    slack = Fraction(1, 10**12)  # of the float division

    def measured(counts: Counts) -> Fraction:
        return cost(budget.measure.name, shape, counts, tokens)

    try:
        schedule = family.schedule(params, budget, shape, tokens)
    except InputError:
        least = family.at({**params, solved.name: solved.low}, shape.layers)
        assert measured(counts_of(least, tokens)) > limit - slack
        return
    counts = counts_of(schedule, tokens)
    assert measured(counts) <= limit + slack
    if schedule.keep != Schedule.full(shape.layers).keep:
        more = one_more_layer if solved.integer else one_more_token
        assert measured(more(counts, tokens)) > limit - slack
