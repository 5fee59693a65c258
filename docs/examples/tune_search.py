"""A search on Ray Tune: pip install 'schedsearch[search,cluster]'; python tune_search.py [TRIALS].

Run it again, also after it was killed, and it goes on where the store says it was.
"""

import sys

from ray import tune

from schedsearch import open_study
from schedsearch.app.bootstrap import DataRef, open_samples
from schedsearch.execution.tune import StudySearcher, TuneExecutor, study_trainable

STUDY = {
    "name": "on-tune",
    "sampler": {"sampler": "random", "budget": {"flops": 0.6}, "trials": 40, "first": 1},
    "ranker": "local",
    "executor": TuneExecutor,
}


def main(trials: int, store: str = "schedsearch.db") -> None:
    """Close so many trials of the study, those of earlier runs included."""
    samples = open_samples(DataRef("demo:calibration", 200))
    with open_study("demo", samples, store=store, **STUDY) as study:
        searcher = StudySearcher(study, trials - sum(one.state.finished for one in study.trials))
        tuner = tune.Tuner(
            study_trainable(study.executor),
            tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, reuse_actors=True),
        )
        tuner.fit()
        if study.best is not None:
            study.best.save("schedule.json")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, *sys.argv[2:])
