"""What a service needs for its pages, beside a search that writes, and for those who listen.

A study of 10,000 trials of 32 layers, a real server, and requests over real connections. Readers
are threads of a process of their own that ask one page after the other without a pause; in life
they sit elsewhere, so that process takes only what others leave of this machine.

    python bench/service.py --out bench/results/service.json
    python bench/service.py --stores sqlite --trials 1000
"""

import argparse
import json
import multiprocessing
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import coordinator
import httpx2

from schedsearch.app.tokens import create_token
from schedsearch.store.store import open_store

READERS, STREAMS = 50, 200
LIST = "/studies/bench/trials"
PAGES: Mapping[str, str] = {
    "studies": "/studies",
    "study": "/studies/bench",
    "trials": LIST,
    "trials, 500 of them": f"{LIST}?limit=500",
    "trials by drop": f"{LIST}?order=drop",
    "trials by cost, descending": f"{LIST}?order=flops_ratio&descending=true",
    "trials by score": f"{LIST}?order=score",
    "trials of a state": f"{LIST}?state=COMPLETE",
    "trials of at most a cost": f"{LIST}?max_cost=0.4&order=drop",
    "trials of at most a drop": f"{LIST}?max_drop=0.01&order=flops_ratio",
    "trials of a layer": f"{LIST}?layer=5",
    "trial": f"{LIST}/{{middle}}",
    "answers": f"{LIST}/{{middle}}/answers",
    "best by budget": "/studies/bench/best?budget=0.5",
    "best by drop": "/studies/bench/best?max_drop=0.1",
    "schedule by budget": "/studies/bench/schedule?budget=0.5",
    "schedule by drop": "/studies/bench/schedule?max_drop=0.1",
    "schedule of a trial": "/studies/bench/schedule?trial={middle}",
    "workers": "/workers",
    "names": "/names",
    "sets": "/sets",
    "tokens": "/tokens",
    "audits": "/audits",
    "metrics": "/metrics",
}
DEEP = {"number": "trials, deep", "drop": "trials by drop, deep", "flops_ratio": "by cost, deep"}


@dataclass(frozen=True)
class Served:
    """A server.

    Attributes:
        url: Of it.
        token: For admins.
        pid: Of its process.
    """

    url: str
    token: str
    pid: int

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        return {"Authorization": f"Bearer {self.token}"}

    def path(self, page: str) -> str:
        """Whole address of a page."""
        return f"{self.url}{'' if page == '/metrics' else '/api/v1'}{page}"

    @property
    def resident(self) -> int:
        """Bytes of its memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status).group(1))  # type: ignore[union-attr]


@contextmanager
def serving(store: str) -> Iterator[Served]:
    """`schedsearch serve` on a store."""
    with open_store(store) as opened:
        token = create_token(opened.service, "bench", "admin", None).text
    program = "from schedsearch.cli import main; main()"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", program, "serve", "--store", store]
        process = subprocess.Popen(
            [*command, "--folder", folder, "--port", "0"], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        try:
            told = (re.search(r"http://\S+", line) for line in process.stderr)
            url = next(found for found in told if found)  # long addresses are wrapped
            yield Served(url.group(), token, process.pid)
        finally:
            process.terminate()
            process.wait(20)


def measured(served: Served, trials: int, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each page."""
    with httpx2.Client(headers=served.headers, timeout=60) as client:
        pages = {name: page.replace("{middle}", str(trials // 2)) for name, page in PAGES.items()}
        for order, name in DEEP.items():
            path, cursor = f"{LIST}?limit=500&order={order}", ""
            for _ in range(10):
                answer = client.get(served.path(f"{path}{cursor}")).json()
                if answer["cursor"] is None:
                    break
                cursor = f"&cursor={answer['cursor']}"
            pages[name] = f"{LIST}?order={order}{cursor}"
        found = {}
        for name, page in pages.items():
            seconds = []
            for _ in range(repeats):
                began = time.perf_counter()
                answer = client.get(served.path(page))
                seconds.append(time.perf_counter() - began)
                assert answer.status_code == 200, (page, answer.text)
            found[name] = of(seconds) | {"bytes": len(answer.content)}
        for page in ("/events", "/studies/bench/events"):
            seconds = []
            for _ in range(repeats):
                began = time.perf_counter()
                with client.stream("GET", served.path(page)) as stream:
                    next(stream.iter_lines())
                    seconds.append(time.perf_counter() - began)
            found[f"first event of {page}"] = of(seconds)
    return found


def of(seconds: list[float]) -> dict[str, float]:
    """Median, greatest and first of some times, in ms."""
    return {
        "median_ms": round(1e3 * statistics.median(seconds), 1),
        "max_ms": round(1e3 * max(seconds), 1),
        "first_ms": round(1e3 * seconds[0], 1),
    }


def read(served: Served, ended: Event, counts: Any) -> None:
    """Ask one page after the other in many threads, until it is ended; count answers, errors."""
    os.nice(19)
    lock = threading.Lock()

    def ask(number: int) -> None:
        pages = list(PAGES.values())
        with httpx2.Client(headers=served.headers, timeout=60) as client:
            while not ended.is_set():
                try:
                    wrong = client.get(served.path(pages[number % len(pages)])).status_code != 200
                except httpx2.HTTPError:
                    wrong = True
                number += 1
                with lock:
                    counts[wrong] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def readers(served: Served) -> Iterator[Any]:
    """Fifty of them, and what they were answered: how often well, how often not."""
    context = multiprocessing.get_context("spawn")
    ended, counts = context.Event(), context.Array("i", 2)
    process = context.Process(target=read, args=(served, ended, counts))
    process.start()
    while not counts[0]:
        time.sleep(0.1)
    yield counts
    ended.set()
    process.join()


def written(store: str, trials: int, name: str) -> float:
    """Seconds per trial of a search that writes."""
    coordinator.STUDY = name
    began = time.perf_counter()
    coordinator.run(trials, 16, 1, store)
    return (time.perf_counter() - began) / trials


def beside(served: Served, store: str, trials: int, turns: int) -> dict[str, Any]:
    """How much slower a search writes while others read."""
    alone, among, asked, wrong, seconds = [], [], 0, 0, 0.0
    for turn in range(turns):
        alone.append(written(store, trials, f"alone-{turn}"))
        with readers(served) as counts:
            before, began = counts[0], time.perf_counter()
            among.append(written(store, trials, f"among-{turn}"))
            seconds += time.perf_counter() - began
            asked += counts[0] - before
        wrong += counts[1]
    return {
        "readers": READERS,
        "answers": asked,
        "answers_per_second": round(asked / seconds, 1),
        "errors": wrong,
        "ms_per_trial_alone": [round(1e3 * one, 2) for one in alone],
        "ms_per_trial_among_readers": [round(1e3 * one, 2) for one in among],
        "slower_by": round(statistics.median(among) / statistics.median(alone) - 1, 3),
    }


def idle(served: Served) -> dict[str, Any]:
    """What streams of events cost on which nothing is said."""
    before = served.resident
    host, port = served.url.removeprefix("http://").split(":")
    asked = f"GET /api/v1/studies/bench/events HTTP/1.1\r\nHost: {host}\r\n"
    asked += f"Authorization: Bearer {served.token}\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(STREAMS):
            one = stack.enter_context(socket.create_connection((host, int(port))))
            one.sendall(asked.encode())
            assert b"event: study" in one.recv(65536) + one.recv(65536)
        time.sleep(20)  # past the first sign of life
        after = served.resident
    return {"streams": STREAMS, "mb": round((after - before) / 1e6, 1)}


def show(where: str, found: Mapping[str, Any]) -> None:
    """Print as a table."""
    print(f"\n{where}")
    for name, row in found["pages"].items():
        print(f"  {name:34}{row['median_ms']:8.1f} ms{row['max_ms']:8.1f} at most")
    for part in ("beside_a_search", "idle_streams"):
        print(f"  {part}: {json.dumps(found[part])}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--writes", type=int, default=1000, help="trials of a search that writes")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for where in options.stores:
        with coordinator.store_at(where) as (store, version):
            coordinator.run(options.trials, 16, 1, store)
            with serving(store) as served:
                streams = idle(served)  # before anything leaves room in the process
                found[where] = {
                    "database": version,
                    "trials": options.trials,
                    "pages": measured(served, options.trials, options.repeats),
                    "beside_a_search": beside(served, store, options.writes, options.turns),
                    "idle_streams": streams,
                }
        show(where, found[where])
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
