"""What the driver bears of a cluster of many nodes, whose agents are simulated.

``python benchmarks/thousand_nodes.py`` runs tasks on executors of 1, 10, 100 and 1,000
agents with 32 workers each. Kernel, queue, messages, pickling and results are the real
ones of an executor such as ``dask``. Only the agents are simulated, in this process: they
read each message, and give each call's result back when its time is over, without running
it. So a task costs here what it costs the driver, and the network and the nodes nothing.
``docs/scale-on-paper.md`` says what follows from that.

``wide`` are tasks that are all submitted at once, ``chains`` are as many chains as there
are agents, where each link is submitted when the one before it has ended. The CPU time of
the simulation is measured on its threads, and taken off.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import pickle
import resource
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jackfield as jf
from jackfield_executors.remote.driver import AgentsExecutor
from jackfield_executors.remote.fingerprint import fingerprint
from jackfield_executors.remote.places import told
from jackfield_serialize import run_packed

if TYPE_CHECKING:
    from jackfield_executors.remote.agent import Answer, Result
    from jackfield_executors.remote.link import Link
    from jackfield_executors.remote.places import Home

WORKERS = 32


def same(value: int, before: int = 0) -> int:
    del before
    return value


class Clock:
    """Ends calls when their time is over, for all agents, on one thread."""

    def __init__(self) -> None:
        self.spent = 0.0  # seconds of CPU time that the simulation has taken
        self.messages = self.sent = 0  # how many there were, and their bytes
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Node, list[Result]]] = []
        threading.Thread(target=self._run, daemon=True).start()

    def later(self, seconds: float, node: Node, results: list[Result]) -> None:
        with self._lock:
            due = time.monotonic() + seconds
            heapq.heappush(self._due, (due, next(self._numbers), node, results))
            if self._due[0][2] is node:
                self._changed.notify()

    def _run(self) -> None:
        before = time.thread_time()
        while True:
            with self._lock:
                while not self._due or self._due[0][0] > time.monotonic():
                    wait = self._due[0][0] - time.monotonic() if self._due else None
                    self._changed.wait(wait)
                _, _, node, results = heapq.heappop(self._due)
            node.end(results)
            now = time.thread_time()
            self.spent += now - before
            before = now


class Node:
    """A link to an agent that only says what it would have done."""

    job = ""
    ends = math.inf
    workers = WORKERS

    def __init__(self, number: int, seconds: float, clock: Clock, home: Home) -> None:
        self.name = f"node-{number}"
        self._seconds = seconds
        self._clock = clock
        self._hello = told(fingerprint(), sees=home[3] == "yes")
        self._ready = threading.Condition()
        self._results: deque[Result] = deque()
        self._first = self._next = 0
        self._functions: dict[int, bytes] = {}
        self._packed: Any = None
        self._busy = 0
        self._waiting: deque[Result] = deque()
        self._gone = False

    def hello(self) -> str:
        return self._hello

    def put(self, number: int, data: bytes) -> None:
        before = time.thread_time()
        _, functions, calls, cancelled, _, _ = pickle.loads(data)
        self._functions.update(functions)
        new: list[Result] = []
        for token, _, _, _, function, *_, call, _, _, _ in calls:
            if self._packed is None:
                self._packed = run_packed(self._functions[function], call)
            new.append((token, max(self._seconds, 1e-6), self._packed, None, None))
        with self._ready:
            self._next = number + 1
            self._waiting.extend(new)
            if cancelled is not None:
                self._results.append((-1, 0.0, ("silent",), None, None))
                self._ready.notify()
            self._begin()
        self._clock.spent += time.thread_time() - before
        self._clock.messages += 1
        self._clock.sent += len(data)

    def _begin(self) -> None:
        """Begin what there are workers for. The lock is held."""
        count = min(self.workers - self._busy, len(self._waiting))
        if not self._seconds:  # any number of them takes no time
            count = len(self._waiting)
        if count:
            self._busy += count
            begun = [self._waiting.popleft() for _ in range(count)]
            self._clock.later(self._seconds, self, begun)

    def end(self, results: list[Result]) -> None:
        with self._ready:
            self._busy -= len(results)
            self._results.extend(results)
            self._begin()
            self._ready.notify()

    def take(self, patience: float, seen: int) -> Answer:
        with self._ready:
            while self._results and self._first < seen:
                self._results.popleft()
                self._first += 1
            self._ready.wait_for(lambda: self._results or self._gone, patience)
            return self._next, self._first, list(self._results)

    def there(self) -> bool:
        return not self._gone

    def stop(self) -> None:
        with self._ready:
            self._gone = True
            self._ready.notify_all()


class Site:
    """A cluster whose nodes are all there from the start."""

    why = ""

    def __init__(self, nodes: int, seconds: float) -> None:
        self.clock = Clock()
        self._wanted = nodes
        self._seconds = seconds
        self._home: Home | None = None

    def open(self, label: str, expected: str, home: Home, logs: Path) -> None:
        del label, expected, logs
        self._home = home

    def look(self) -> list[Link]:
        assert self._home is not None
        count, self._wanted = self._wanted, 0
        return [Node(n, self._seconds, self.clock, self._home) for n in range(count)]

    def forget(self, link: Link) -> None:
        del link

    def close(self) -> None:
        return


def measure(nodes: int, tasks: int, seconds: float, shape: str) -> None:
    """Run tasks on so many nodes, and print what that took."""
    site = Site(nodes, seconds)
    far = AgentsExecutor("far", site, patience=60.0, shared_filesystem=True, carry=1)
    app = jf.python_app(same)
    with (
        tempfile.TemporaryDirectory() as scratch,
        jf.load(executors={"far": far}, run_dir=Path(scratch), max_pending=200_000),
    ):
        warm = [app(n) for n in range(nodes * WORKERS)]
        for future in warm:
            future.result()
        wall, cpu, spent = time.monotonic(), time.process_time(), site.clock.spent
        messages, sent = site.clock.messages, site.clock.sent
        last: list[Any] = [0] * nodes
        if shape == "chains":
            for n in range(tasks):
                last[n % nodes] = app(n, last[n % nodes])
        else:
            last = [app(n) for n in range(tasks)]
        for future in last:
            future.result()
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        spent = site.clock.spent - spent
        messages = site.clock.messages - messages
        sent = site.clock.sent - sent
        threads = threading.active_count()
        del last, warm
    ideal = seconds * tasks / (nodes * (WORKERS if shape == "wide" else 1))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"{nodes:6,} {shape:>7} {tasks:9,} {seconds:6g} {wall:8.1f} {ideal:8.1f} "
        f"{(cpu - spent) / tasks * 1e6:8.1f} {threads:8,} {memory:8,.0f} "
        f"{tasks / messages:9.1f} {sent / tasks:8.0f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 10, 100, 1_000])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=0.0, help="of each task")
    parser.add_argument("--shape", choices=["wide", "chains"], nargs="+")
    options = parser.parse_args()
    print(
        " nodes   shape     tasks  each s   took s  ideal s   µs CPU  threads   max MB "
        "a message  B sent"
    )
    for nodes in options.nodes:
        for shape in options.shape or ["wide", "chains"]:
            measure(nodes, options.tasks, options.seconds, shape)


if __name__ == "__main__":
    main()
