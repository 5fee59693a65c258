"""A study on Ray Tune: Tune runs its trials, the study's own loop decides and stores.

`run_study` goes on as it does anywhere, with an executor whose workers are Tune's trials. So what
holds of every search holds of this one: the store has all, under its lease.
"""

from schedsearch.execution.tune.executor import TuneExecutor
from schedsearch.execution.tune.searcher import StudySearcher
from schedsearch.execution.tune.space import tune_space
from schedsearch.execution.tune.trainable import study_trainable

__all__ = ["StudySearcher", "TuneExecutor", "study_trainable", "tune_space"]
