"""What a service needs for its pages, beside a search that writes, and for those who listen.

A study of 10,000 trials of 32 layers, a real server, and requests over real connections. Fifty
readers ask one page after the other without a pause, half of them of the study that is searched
meanwhile. In life they sit elsewhere, so the process that asks takes only what others leave of
this machine. The search has five parts, alone and among readers in turn.

    PYTHONPATH=. python bench/service.py --out bench/results/service.json --docs docs/performance.md
    python bench/service.py --stores sqlite --trials 1000 --writes 100
    python bench/service.py --read bench/results/service.json --docs docs/performance.md
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import coordinator
import httpx2
import numpy as np

from schedsearch.app.markdown import table
from schedsearch.app.tokens import create_token
from schedsearch.core.trial import Trial
from schedsearch.store.store import open_store

READERS, STREAMS = 50, 200
PARTS = ("alone", "among readers", "alone", "among readers", "alone")
WRITTEN = "written"
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
    "best by budget": "/studies/bench/best?budget=0.6",
    "best by drop": "/studies/bench/best?max_drop=0.1",
    "schedule by budget": "/studies/bench/schedule?budget=0.6",
    "schedule by drop": "/studies/bench/schedule?max_drop=0.1",
    "schedule of a trial": "/studies/bench/schedule?trial={middle}",
    "workers": "/workers",
    "names": "/names",
    "sets": "/sets",
    "tokens": "/tokens",
    "audits": "/audits",
    "own token": "/token",
    "comparison": "/comparison?study=bench",
    "exhibits": f"{LIST}/{{middle}}/exhibits",
    "metrics": "/metrics",
}
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
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


@dataclass(frozen=True)
class Crowd:
    """Readers in a process of their own.

    Attributes:
        reads: Set while they are to read.
        ended: Set once they are to end.
        counts: Answers, and those that were none or no good ones.
    """

    reads: Event
    ended: Event
    counts: Any


def place(url: str) -> tuple[str, int]:
    """Host and port."""
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def request(path: str, host: str, port: int, token: str) -> bytes:
    """A request for a page, on a connection that stays open."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Bearer {token}"]
    return "\r\n".join([*lines, "", ""]).encode()


def read(url: str, token: str, pages: list[str], crowd: Crowd) -> None:
    """Ask one page after the other, from fifty places."""
    os.nice(19)
    host, port = place(url)

    async def reader(number: int) -> None:
        while not crowd.ended.is_set():
            if not crowd.reads.is_set():
                await asyncio.sleep(0.01)
                continue
            source, sink = await asyncio.open_connection(host, port, limit=1 << 20)
            while crowd.reads.is_set():
                number += 1
                sink.write(request(pages[number % len(pages)], host, port, token))
                head = await source.readuntil(b"\r\n\r\n")
                await source.readexactly(int(LENGTH.search(head).group(1)))  # type: ignore[union-attr]
                crowd.counts[not head.startswith(b"HTTP/1.1 200 ")] += 1
            sink.close()

    async def every() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(READERS):
                group.create_task(reader(number))

    asyncio.run(every())


@contextmanager
def reading(served: Served, trials: int) -> Iterator[Crowd]:
    """Fifty readers that wait until they are to read."""
    context = multiprocessing.get_context("spawn")
    crowd = Crowd(context.Event(), context.Event(), context.Array("i", 2))
    pages = []
    for page in PAGES.values():
        pages.append(served.path(page.replace("{middle}", str(trials // 2))))
        pages.append(served.path(page.replace("/bench", f"/{WRITTEN}").replace("{middle}", "9")))
    paths = [page.removeprefix(served.url) for page in pages]
    arguments = (served.url, served.token, paths, crowd)
    process = context.Process(target=read, args=arguments, daemon=True)
    process.start()
    yield crowd
    crowd.reads.clear()
    crowd.ended.set()
    process.join(60)
    assert process.exitcode == 0, "a reader was cut off"


def beside(served: Served, store: str, trials: int, writes: int) -> dict[str, Any]:
    """How much slower a search writes while others read."""
    closed, answers = 0, []

    def turn(_trial: Trial) -> None:
        nonlocal closed
        closed += 1
        part, rest = divmod(closed, writes)
        if rest == 0 and part < len(PARTS):
            answers.append((time.perf_counter(), crowd.counts[0]))
            (crowd.reads.set if PARTS[part] != "alone" else crowd.reads.clear)()

    coordinator.STUDY = WRITTEN
    with reading(served, trials) as crowd, open_store(store) as opened:
        seconds = coordinator.search(len(PARTS) * writes, 16, 1, opened, [turn])[:, 0]
        wrong = crowd.counts[1]
    coordinator.STUDY = "bench"
    # Without the first quarter of each part, in which readers come and go.
    parts = [part[len(part) // 4 :] for part in np.array_split(seconds, len(PARTS))]
    means = [round(1e3 * float(part.mean()), 2) for part in parts]
    alone, among = (
        [mean for mean, kind in zip(means, PARTS, strict=True) if kind == wanted]
        for wanted in ("alone", "among readers")
    )
    spans = [
        (after[0] - before[0], after[1] - before[1])
        for before, after in zip(answers[::2], answers[1::2], strict=True)
    ]
    return {
        "readers": READERS,
        "answers": sum(count for _, count in spans),
        "answers_per_second": round(
            sum(count for _, count in spans) / sum(length for length, _ in spans), 1
        ),
        "errors": wrong,
        "ms_per_trial_alone": alone,
        "ms_per_trial_among_readers": among,
        "slower_by": round(statistics.mean(among) / statistics.mean(alone) - 1, 3),
    }


def idle(served: Served) -> dict[str, Any]:
    """What streams of events cost on which nothing is said."""
    before = served.resident
    host, port = place(served.url)
    asked = request("/api/v1/studies/bench/events", host, port, served.token)
    with ExitStack() as stack:
        for _ in range(STREAMS):
            one = stack.enter_context(socket.create_connection((host, port)))
            one.sendall(asked)
            said = b""
            while b"event: study" not in said:
                heard = one.recv(65536)
                assert heard, said
                said += heard
        time.sleep(20)  # past the first sign of life
        after = served.resident
    return {"streams": STREAMS, "mb": round((after - before) / 1e6, 1)}


def measure(where: str, made: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All of a store, which gets the study of another one."""
    load = os.getloadavg()[0]
    with coordinator.store_at(where) as (store, version):
        with open_store(made) as source, open_store(store) as target:
            source.copy_to(target)
        with serving(store) as served:
            found = {
                "database": version,
                "cores": os.cpu_count(),
                "trials": options.trials,
                "idle_streams": idle(served),  # before anything leaves room in the process
                "pages": measured(served, options.trials, options.repeats),
                "beside_a_search": beside(served, store, options.trials, options.writes),
            }
    return found | {"load_before_and_after": [round(load, 1), round(os.getloadavg()[0], 1)]}


def show(where: str, found: Mapping[str, Any]) -> None:
    """Print as a table."""
    print(f"\n{where}")
    for name, row in found["pages"].items():
        print(f"  {name:38}{row['median_ms']:8.1f} ms{row['max_ms']:8.1f} at most")
    for part in ("beside_a_search", "idle_streams"):
        print(f"  {part}: {json.dumps(found[part])}", flush=True)


def tables(found: Mapping[str, Any]) -> str:
    """What was found, in Markdown."""
    stores = list(found.values())
    titles = [" ".join(one["database"].split()[:2]) for one in stores]

    def row(name: str, cell: Callable[[Mapping[str, Any]], object]) -> list[str]:
        return [name, *(str(cell(one)) for one in stores)]

    def mean(values: list[float]) -> str:
        return f"{statistics.mean(values):.1f}"

    def median(name: str) -> list[str]:
        return row(name, lambda one: one["pages"][name]["median_ms"])

    pages = [median(name) for name in stores[0]["pages"]]
    search, streams = "beside_a_search", "idle_streams"
    rest = [
        row("a search alone, ms a trial", lambda one: mean(one[search]["ms_per_trial_alone"])),
        row("among readers", lambda one: mean(one[search]["ms_per_trial_among_readers"])),
        row("slower by", lambda one: f"{100 * one[search]['slower_by']:.0f} %"),
        row("answers a second", lambda one: f"{one[search]['answers_per_second']:.0f}"),
        row("errors", lambda one: f"{one[search]['errors']} of {one[search]['answers']}"),
        row("idle streams of events, MB together", lambda one: one[streams]["mb"]),
        row(
            "load of the machine, before and after",
            lambda one: " and ".join(map(str, one["load_before_and_after"])),
        ),
    ]
    parts = [table(["page, median ms", *titles], pages), table(["", *titles], rest)]
    if any(max(one["load_before_and_after"]) > 2 * one["cores"] for one in stores):
        parts.append("**Measured beside other work that kept all cores busy**: times are too long.")
    return "\n\n".join(parts)


def write_into(docs: Path, found: Mapping[str, Any]) -> None:
    """Replace the tables of a page."""
    begin, end = "<!-- bench/service.py -->", "<!-- end -->"
    before, _, rest = docs.read_text().partition(begin)
    assert end in rest, f"{docs} has no place for the tables"
    after = rest.partition(end)[2]
    docs.write_text(f"{before}{begin}\n\n{tables(found)}\n\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--writes", type=int, default=250, help="trials of each part of a search that writes"
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path, help="what was found before; nothing is measured")
    parser.add_argument("--docs", type=Path, help="page whose tables are replaced")
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.read.read_text()) if options.read else {}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.db"
        if not found:
            with open_store(made) as store:
                coordinator.search(options.trials, 16, 1, store)
            for where in options.stores:
                found[where] = measure(where, made, options)
                show(where, found[where])
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    if options.docs:
        write_into(options.docs, found)


if __name__ == "__main__":
    main()
