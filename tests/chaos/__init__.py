"""Searches to which everything happens that can happen, one fault at a time.

A search of the benchmarks' erring model runs in a process of its own and freezes at a fault point:
a commit, a task, a heartbeat. Then something is done to it, to its store or beside it, and the
search is run again until it ends. What became of it is judged by the store and by a log that
evaluating workers and coordinators append to, see `outcome`.

    python -m tests.chaos --out bench/results/chaos.json

runs every fault at every point; `test_chaos.py` has a few of them. To add one: a `Fault` in a file
of `faults`, and its line in `FAULTS` there.
"""
