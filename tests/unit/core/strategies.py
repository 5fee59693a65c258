"""Hypothesis strategies for the values of core."""

from hypothesis import strategies as st

from schedsearch.core.facts import Facts, Prompts
from schedsearch.core.families import Family
from schedsearch.core.flops import DecoderShape, SampleTokens
from schedsearch.core.schedule import RankerSpec, Schedule, Target
from schedsearch.core.space import Parameter

ratios = st.floats(0, 1)
names = st.text("abcdefgh-", min_size=1, max_size=6)
param_values = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
)
settings = st.recursive(
    param_values | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
searches = st.builds(
    lambda name, rest: {**rest, "sampler": name},
    names,
    st.dictionaries(names, settings, max_size=3),
)
shapes = st.builds(DecoderShape, *[st.integers(1, 99)] * 7)
prompts = st.builds(Prompts, st.integers(1, 99), st.integers(1, 99), st.integers(1, 3))
facts = st.builds(
    lambda shape, tokens: Facts(shape.layers, tuple(tokens), shape),
    shapes,
    st.lists(prompts, min_size=1, max_size=3),
) | st.builds(
    lambda layers, n_visions: Facts(layers, tuple(map(Prompts, n_visions))),
    st.integers(1, 99),
    st.lists(st.integers(1, 99), min_size=1, max_size=3),
)
rankers = st.builds(
    RankerSpec.from_mapping, names, st.dictionaries(names, param_values, max_size=3)
)


def descending(values: st.SearchStrategy, max_size: int = 12) -> st.SearchStrategy[tuple]:
    return st.lists(values, min_size=1, max_size=max_size).map(
        lambda items: tuple(sorted(items, reverse=True))
    )


schedules = st.builds(Schedule, descending(ratios), rankers)


@st.composite
def targeted_schedules(draw: st.DrawFn) -> Schedule:
    """Schedules, half of them made for a model."""
    plain = draw(schedules)
    target = st.builds(
        Target,
        architecture=names,
        layers=st.just(plain.layers),
        hidden_size=st.none() | st.integers(1, 9000),
        model=st.none() | names,
        weights=st.none() | names,
    )
    return Schedule(plain.keep, plain.ranker, draw(st.none() | target))


@st.composite
def decoder_shapes(draw: st.DrawFn, min_layers: int = 3, max_layers: int = 12) -> DecoderShape:
    kv_heads = draw(st.integers(1, 8))
    return DecoderShape(
        layers=draw(st.integers(min_layers, max_layers)),
        hidden_size=draw(st.integers(8, 4096)),
        heads=kv_heads * draw(st.integers(1, 8)),
        kv_heads=kv_heads,
        head_dim=draw(st.integers(4, 128)),
        mlp_size=draw(st.integers(8, 12000)),
        vocab_size=draw(st.integers(8, 150_000)),
    )


sample_tokens = st.builds(SampleTokens, n_vision=st.integers(1, 700), n_text=st.integers(1, 90))
token_sets = st.lists(sample_tokens, min_size=1, max_size=4)


def values(parameter: Parameter) -> st.SearchStrategy[float]:
    if parameter.integer:
        return st.integers(int(parameter.low), int(parameter.high))
    return st.floats(0, 1).map(parameter.at)


def points(family: Family, layers: int) -> st.SearchStrategy[dict[str, float]]:
    parameters = (*family.space(layers).parameters, family.solved(layers))
    return st.fixed_dictionaries({each.name: values(each) for each in parameters})
