from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from schedsearch.samplers.nesting import count_violations

tables = st.integers(1, 4).flatmap(
    lambda layers: st.lists(
        st.tuples(st.tuples(*[st.integers(0, 4)] * layers), st.booleans()),
        max_size=20,
        unique_by=lambda row: row[0],
    )
)


def test_accepted_below_a_rejected_schedule_violates_nesting():
    counts = [(4, 4), (4, 2), (3, 3), (2, 2)]
    #   (2, 2) is below all three others, and (4, 2) is rejected; (4, 2) and (3, 3) do not compare
    assert count_violations(counts, [True, False, True, True]) == (1, 5)


@given(tables)
def test_every_ordered_pair_is_looked_at_once(table):
    pairs = [
        (lower_accepted, upper_accepted)
        for (lower, lower_accepted), (upper, upper_accepted) in permutations(table, 2)
        if all(a <= b for a, b in zip(lower, upper, strict=True))
    ]
    counts, accepted = [row[0] for row in table], [row[1] for row in table]
    assert count_violations(counts, accepted) == (pairs.count((True, False)), len(pairs))
