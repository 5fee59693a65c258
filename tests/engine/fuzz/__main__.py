"""Run many cases: `python -m tests.engine.fuzz --cases 2000`."""

import argparse
import sys
import time
import traceback
from collections import Counter

import torch

from tests.engine.fuzz.run import REFUSED, RIGHT, run_case


def main() -> int:
    """Print every case that is wrong, and how the others ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--family", help="only this one, such as smollm2; default: all small ones")
    options = parser.parse_args()
    torch.set_num_threads(1)  # tiny products: more threads wait for each other
    ends: Counter[tuple[str, str]] = Counter()
    reasons: Counter[str] = Counter()
    began, effects = time.monotonic(), 0
    for seed in range(options.seed, options.seed + options.cases):
        try:
            outcome = run_case(seed, options.family)
        except Exception:
            ends["all", "wrong"] += 1
            traceback.print_exc()
            continue
        ends[outcome.case.route, outcome.end] += 1
        ends["all", outcome.end] += 1
        effects += outcome.effect > 0.01
        if outcome.end == REFUSED:
            reasons[outcome.reason[:90]] += 1
        if (seed - options.seed + 1) % 100 == 0:
            done, seconds = seed - options.seed + 1, time.monotonic() - began
            left = seconds / done * (options.cases - done)
            print(f"{done} cases, {seconds:.0f} s, {left:.0f} s left", file=sys.stderr)
    for route in sorted({route for route, _ in ends}):
        counts = ", ".join(f"{ends[route, end]} {end}" for end in (RIGHT, REFUSED, "wrong"))
        print(f"{route}: {counts}")
    print(f"removing tokens changed a logit by more than .01 in {effects} cases")
    for reason, count in reasons.most_common():
        print(f"refused {count} times: {reason}")
    return int(ends["all", "wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
