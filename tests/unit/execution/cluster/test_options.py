"""Options that Ray could not serve are refused before it is asked."""

import pytest

from schedsearch.errors import InputError
from schedsearch.execution.cluster.options import ClusterOptions


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": 0}, "`workers` must be at least 1, but got 0"),
        ({"cpus_per_worker": -1}, "`cpus_per_worker` must be at least 0, but got -1"),
        ({"cpus_per_worker": float("nan")}, "`cpus_per_worker` must be at least 0, but got nan"),
        ({"deaths": 0}, "`deaths` must be at least 1, but got 0"),
        ({"gpus_per_worker": 1.5}, "`gpus_per_worker` must be a whole number, or a share of one"),
        ({"gpus_per_worker": -0.5}, "`gpus_per_worker` must be a whole number, or a share of one"),
        ({"resources": {"CPU": 1}}, "`resources` must be without CPU and GPU"),
        ({"resources": {"a100": 0}}, "`resources` must be above 0 each, but got {'a100': 0}"),
    ],
)
def test_unusable_option_is_named(given, message):
    with pytest.raises(InputError, match=message):
        ClusterOptions(**given)


def test_shares_and_whole_numbers_of_gpus_are_taken():
    for gpus in (None, 0, 0.25, 1, 2.0, 8):
        assert ClusterOptions(gpus_per_worker=gpus).gpus_per_worker == gpus
