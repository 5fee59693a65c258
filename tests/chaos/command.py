"""All faults, or some of them, in several processes; their outcomes as JSON and as a table."""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tests.chaos import cluster
from tests.chaos.faults import FAULTS
from tests.chaos.faults.fault import Fault
from tests.chaos.points import SEED, Point
from tests.chaos.run import Record, Stage
from tests.chaos.table import table
from tests.postgres import server

Case = tuple[Stage, Fault, Point]


def main() -> None:
    args = _arguments()
    began = time.monotonic()
    records = []
    for record in faced(args.only, args.processes):
        records.append(record)
        if record.moment == SEED or record.outcome.broken:
            print("; ".join([record.name, *record.outcome.broken]), flush=True)
    # In whichever order they came.
    names = [fault.name for fault in FAULTS]
    records.sort(key=lambda one: (names.index(one.fault), one.store, one.moment, one.number))
    print(table(records))
    broken = sum(bool(one.outcome.broken) for one in records)
    seconds = round(time.monotonic() - began)
    print(f"\n{len(records)} faults in {seconds} s, {broken} of them with a defect")
    if args.out:
        write(args, records, seconds)
    sys.exit(bool(broken or not records))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file for the outcomes")
    parser.add_argument("--only", default="", help="part of the names of faults; default: all")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def faced(only: str, processes: int) -> Iterator[Record]:
    """Outcomes as they come; each process takes every n-th case, and has a server of its own."""
    context = multiprocessing.get_context("spawn")
    ends: list[Connection] = []
    serving = []
    for number in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        args = (theirs, only, number, processes)
        serving.append(context.Process(target=_serve, args=args, name=f"faults {number}"))
        serving[-1].start()
        theirs.close()
        ends.append(ours)
    while ends:
        for end in wait(ends):
            assert isinstance(end, Connection)
            try:
                yield end.recv()
            except EOFError:
                ends.remove(end)
    for process in serving:
        process.join()
        if process.exitcode:
            sys.exit(f"{process.name} has ended without all of its faults; nothing is written")


def _serve(told: Connection, only: str, number: int, processes: int) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(server())
        stack.callback(cluster.end)  # a child of multiprocessing runs nothing at its exit
        stages = [Stage("sqlite"), Stage("postgresql", running)]
        for stage, fault, point in list(cases(stages, only))[number::processes]:
            told.send(stage.face(fault, point))


def cases(stages: Sequence[Stage], only: str = "") -> Iterator[Case]:
    """Each fault at each of its points in each store."""
    for fault in FAULTS:
        if only in fault.name:
            for stage in stages:
                yield from ((stage, fault, point) for point in stage.points(fault))


def write(args: argparse.Namespace, records: Sequence[Record], seconds: int) -> None:
    """Write what was found, a line for each fault."""
    rows = [asdict(one) for one in records]
    flat = [{key: row[key] for key in row if key != "outcome"} | row["outcome"] for row in rows]
    head = {
        "settings": {"only": args.only, "processes": args.processes},
        "machine": platform.machine(),
        "python": platform.python_version(),
        "faults": len(records),
        "seconds": seconds,
    }
    lines = ",\n".join(f"    {json.dumps(row)}" for row in flat)
    text = f'{json.dumps(head, indent=2)[:-2]},\n  "rows": [\n{lines}\n  ]\n}}\n'
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text)
