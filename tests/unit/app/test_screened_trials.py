"""A trial on part of the samples: wherever it is shown, it has no figure to compare."""

import pytest

from schedsearch.app.study_view import trial_row
from schedsearch.cli.render_studies import _cells
from schedsearch.cli.search_display import outcome
from schedsearch.core.schedule import Schedule
from schedsearch.core.trial import Trial, TrialState

REASON = "not rejected by 25 of 300 samples"
TRIAL = Trial(
    7,
    {"pass": 1, "layer": 2, "count": 31, "samples": 25},
    Schedule((1.0, 0.5)),
    TrialState.SCREENED,
    reason=REASON,
    samples=25,
    read=25,
)


@pytest.mark.parametrize("name", ["score", "standard_error", "drop", "drop_standard_error", "n"])
def test_row_of_a_screened_trial_has_no_figures(name):
    row = trial_row(TRIAL)
    assert row[name] is None
    assert (row["state"], row["samples"], row["reason"]) == ("SCREENED", 25, REASON)


def test_screened_trial_shows_its_state_and_how_many_did_not_reject_it():
    assert _cells(TRIAL)[1:2] + _cells(TRIAL)[3:] == ("SCREENED", "", "", "", REASON)
    assert outcome(TRIAL) == f"trial 7 (pass 1, layer 2, count 31, samples 25): SCREENED {REASON}"
