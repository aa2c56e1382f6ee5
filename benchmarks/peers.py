"""The same work on each system, one process for each (system, work): a line of JSON.

usage: python peers.py SYSTEM WORK [N]

Results are checked; memory is measured after a garbage collection. The bare
executors of ``concurrent.futures`` know no dependencies, so chain and fan are left out
for them, and they are the limit that the others are compared with.
"""

from __future__ import annotations

import concurrent.futures as cf
import gc
import json
import logging
import multiprocessing as mp
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any


def noop(x: int = 0, *rest: Any) -> int:
    return x


def add1(x: int) -> int:
    return x + 1


def total(*xs: Any) -> int:
    return len(xs)


def make(n: int) -> bytes:
    return bytes(n)


def size(data: bytes) -> int:
    return len(data)


class Bare:
    """A ``concurrent.futures`` executor: the limit, without dependencies."""

    deps = False

    def __init__(self, executor: cf.Executor) -> None:
        self.executor = executor
        self.submit(noop).result()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.executor.submit(function, *args)

    def close(self) -> None:
        self.executor.shutdown()


class Ours:
    deps = True

    def __init__(self, kind: str) -> None:
        import jackfield

        table = {"plugin": kind, "workers": 2}
        self.kernel = jackfield.load(executors={"x": table}, run_dir=tempfile.mkdtemp())
        self.submit(noop).result()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.kernel.submit(function, *args)

    def close(self) -> None:
        self.kernel.cleanup()


class Parsl:
    deps = True

    def __init__(self, kind: str) -> None:
        import parsl
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
        from parsl.providers import LocalProvider

        executor: Any
        if kind == "threads":
            executor = ThreadPoolExecutor(max_threads=2, label="t")
        else:
            executor = HighThroughputExecutor(
                label="h",
                max_workers_per_node=2,
                address="127.0.0.1",
                provider=LocalProvider(init_blocks=1, max_blocks=1),
                encrypted=False,
            )
        self.parsl = parsl
        self.apps: dict[Any, Any] = {}
        parsl.load(
            Config(
                executors=[executor],
                run_dir=tempfile.mkdtemp(),
                initialize_logging=False,
            )
        )
        self.submit(noop).result()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        app = self.apps.get(function)
        if app is None:
            app = self.apps[function] = self.parsl.python_app(function)
        return app(*args)

    def close(self) -> None:
        self.parsl.dfk().cleanup()
        self.parsl.clear()


def loky() -> Bare:
    from loky import get_reusable_executor

    return Bare(get_reusable_executor(max_workers=2))


def process_pool() -> Bare:
    return Bare(cf.ProcessPoolExecutor(2, mp_context=mp.get_context("forkserver")))


SYSTEMS: dict[str, Callable[[], Any]] = {
    "cf-threads": lambda: Bare(cf.ThreadPoolExecutor(2)),
    "cf-processes": process_pool,
    "loky": loky,
    "parsl-threads": lambda: Parsl("threads"),
    "parsl-htex": lambda: Parsl("htex"),
    "jackfield-threads": lambda: Ours("threads"),
    "jackfield-processes": lambda: Ours("processes"),
}


def rss() -> int:
    with open("/proc/self/statm") as statm:  # noqa: PTH123  (a benchmark)
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def w_noop(system: Any, n: int) -> dict[str, float]:
    start = time.perf_counter()
    futures = [system.submit(noop, i) for i in range(n)]
    assert sum(future.result() for future in futures) == n * (n - 1) // 2
    return {"us_per_task": (time.perf_counter() - start) / n * 1e6}


def w_chain(system: Any, n: int) -> dict[str, float]:
    start = time.perf_counter()
    future = system.submit(noop, 0)
    for _ in range(n):
        future = system.submit(add1, future)
    assert future.result() == n
    return {"us_per_task": (time.perf_counter() - start) / n * 1e6}


def w_fan(system: Any, n: int) -> dict[str, float]:
    start = time.perf_counter()
    first = system.submit(noop, 1)
    middle = [system.submit(add1, first) for _ in range(n)]
    assert system.submit(total, *middle).result() == n
    return {"us_per_task": (time.perf_counter() - start) / (n + 2) * 1e6}


def w_latency(system: Any, n: int) -> dict[str, float]:
    times = []
    for i in range(n):
        start = time.perf_counter()
        assert system.submit(noop, i).result() == i
        times.append(time.perf_counter() - start)
    times.sort()
    return {"p50_us": times[n // 2] * 1e6, "p99_us": times[int(n * 0.99)] * 1e6}


def w_memory(system: Any, n: int) -> dict[str, float]:
    gc.collect()
    before = rss()
    futures = [system.submit(noop, i) for i in range(n)]
    for future in futures:
        future.result()
    gc.collect()
    held = rss() - before
    del futures, future
    gc.collect()
    time.sleep(0.2)
    return {"held_bytes": held / n, "dropped_bytes": (rss() - before) / n}


def w_payload(system: Any, n: int) -> dict[str, float]:
    start = time.perf_counter()
    futures = [system.submit(make, 1_000_000) for _ in range(n)]
    assert all(len(future.result()) == 1_000_000 for future in futures)
    return {"mb_per_s": n / (time.perf_counter() - start)}


WORK: dict[str, Callable[[Any, int], dict[str, float]]] = {
    "noop": w_noop,
    "chain": w_chain,
    "fan": w_fan,
    "latency": w_latency,
    "memory": w_memory,
    "payload": w_payload,
}


def main() -> None:
    logging.disable(logging.CRITICAL)
    name, work, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    start = time.perf_counter()
    system = SYSTEMS[name]()
    out: dict[str, Any] = {"start_ms": (time.perf_counter() - start) * 1e3}
    out |= WORK[work](system, n)
    system.close()
    print(json.dumps(out), flush=True)
    os._exit(0)  # what a peer leaves behind shall not keep the next one waiting


if __name__ == "__main__":
    main()
