"""A search of a study file by one and by more Ray workers, one thread each, in turns.

    python bench/workers.py --out bench/results/workers.json

Timed is what a user waits for on a cluster that stands: opening the study with its workers, the
search, and the certificate; not starting the cluster. The schedules have to be the same.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import ray

from schedsearch.app.bootstrap import silent
from schedsearch.app.conclude import conclude
from schedsearch.app.config import read_study_file
from schedsearch.app.configured import prepare


def searched(file: Path, workers: int) -> dict[str, Any]:
    """Search, and say what it took."""
    run = {"executor": "ray", "workers": workers, "address": "auto"}
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        ready = prepare(read_study_file(file), file.parent, Path(folder) / "s.db", run=run)
        with ready.open() as study:
            opened = time.perf_counter()
            ended = study.run()
            found = time.perf_counter()
            proof = conclude(study, ready, silent)
            done = time.perf_counter()
        assert ended.best is not None
        row = {
            "workers": workers,
            "seconds": done - began,
            "open": opened - began,
            "search": found - opened,
            "certify": done - found,
            "passes": ended.effort.spent,
            "keep": ended.best.schedule.keep,
            "certified": proof.best.flops_ratio if proof and proof.best else None,
        }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=Path("studies/demo.yaml"))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ray.init(address="local", num_cpus=max(options.workers), log_to_driver=False)
    rows = [searched(options.study, n) for _ in range(options.turns) for n in options.workers]
    assert len({row["keep"] for row in rows}) == 1, "the schedules differ"
    first = [row["seconds"] for row in rows if row["workers"] == options.workers[0]]
    speedups = {
        n: median(
            one / row["seconds"]
            for one, row in zip(first, [r for r in rows if r["workers"] == n], strict=True)
        )
        for n in options.workers
    }
    print("speed-up, median of the turns:", speedups)
    if options.out:
        body = {"python": platform.python_version(), "cores": os.cpu_count()}
        body |= {"study": str(options.study), "speedups": speedups, "rows": rows}
        options.out.write_text(json.dumps(body, indent=2) + "\n")


if __name__ == "__main__":
    main()
