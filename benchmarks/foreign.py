"""What foreign executors can do behind the adapter, tried out: docs/executors-foreign.md.

Run it with ``python benchmarks/foreign.py``, or with names of engines. Each engine that
is installed runs with two workers in a process of its own, which tries it and prints a
row; one that is not installed is named. The figures are medians of three rounds in
which the engine's own client and the adapter take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from jackfield.abc import ExecutorContext, Outcome, Work
from jackfield_executors.adapter import AdaptedExecutor
from jackfield_executors.foreign.options import Options

WORKERS = 2
LIMIT_S = 30.0
PATIENCE_S = 20.0
ROUNDS = 3
NATIVE = 200
ADAPTED = 4_000

# -- The engines


@contextmanager
def processes() -> Iterator[Executor]:
    yield ProcessPoolExecutor(WORKERS)


@contextmanager
def loky() -> Iterator[Executor]:
    import loky

    yield loky.ProcessPoolExecutor(WORKERS)


@contextmanager
def dask() -> Iterator[Executor]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=":0",
            silence_logs="CRITICAL",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor()


@contextmanager
def ray() -> Iterator[Executor]:
    import ray

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    call = ray.remote(max_retries=0)(_call)

    class Tasks(Executor):
        """Ray brings no executor; this is one."""

        _max_workers = WORKERS

        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            return call.remote(function, args, kwargs).future()

    yield Tasks()
    ray.shutdown()


def _call(function: Any, args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs)


@contextmanager
def executorlib() -> Iterator[Executor]:
    from executorlib import SingleNodeExecutor

    yield SingleNodeExecutor(max_workers=WORKERS, block_allocation=True)


@contextmanager
def mpi() -> Iterator[Executor]:
    from mpi4py.futures import MPIPoolExecutor

    yield MPIPoolExecutor(WORKERS)


@contextmanager
def ipyparallel() -> Iterator[Executor]:
    import ipyparallel

    with ipyparallel.Cluster(n=WORKERS, log_level=50) as client:
        client.wait_for_engines(WORKERS)
        yield client.executor()


ENGINES: dict[str, Callable[[], Any]] = {
    "ProcessPoolExecutor": processes,
    "loky": loky,
    "Dask": dask,
    "Ray": ray,
    "executorlib": executorlib,
    "mpi4py": mpi,
    "ipyparallel": ipyparallel,
}

# -- What runs in workers


def noop(*_: object) -> None:
    """Do nothing."""


def unlike(_: object) -> str:
    import os  # here and below: not every engine sends a function's globals

    return os.urandom(8).hex()


def pid(_: object = None) -> int:
    import os
    import time

    time.sleep(0.2)
    return os.getpid()


def slow(directory: str, name: str) -> None:
    import time
    from pathlib import Path

    Path(directory, f"{name}.begun").touch()
    time.sleep(1.5)
    Path(directory, f"{name}.ended").touch()


def die() -> None:
    import os

    os._exit(1)


# -- Trying


class Driver:
    """Submits to an adapted executor in the kernel's place."""

    def __init__(self, engine: Executor, directory: str) -> None:
        self.outcomes: dict[Work, Outcome] = {}
        self._changed = threading.Condition()
        self.adapter = AdaptedExecutor(Options("far", engine, patience=PATIENCE_S))
        self.adapter.start(ExecutorContext("far", Path(directory), self._report))
        self._number = 0

    def _report(self, outcomes: Any) -> None:
        with self._changed:
            self.outcomes.update({outcome[0]: outcome for outcome in outcomes})
            self._changed.notify_all()

    def submit(self, function: Callable[..., Any], *calls: Any) -> list[Work]:
        works = []
        for args in calls:
            self._number += 1
            name = function.__name__
            works.append(Work(self._number, 1, name, function, args, {}))
        self.adapter.submit(works)
        return works

    def wait(self, works: list[Work]) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: self.outcomes.keys() >= set(works), LIMIT_S
            )

    def values(self, works: list[Work]) -> list[Any]:
        self.wait(works)
        return [self.outcomes[work][2] for work in works]


def until(wanted: Callable[[], bool], limit: float = LIMIT_S) -> bool:
    deadline = time.monotonic() + limit
    while not wanted():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def native_merges(engine: Executor) -> str:
    values = [engine.submit(unlike, 1) for _ in range(4)]
    return "run each" if len({v.result(LIMIT_S) for v in values}) == 4 else "merged"


def native_cancel(engine: Executor, directory: str) -> str:
    """Cancel a task that runs, and see whether the answer is true."""
    future = engine.submit(slow, directory, "native")
    begun, ended = (Path(directory, f"native.{what}") for what in ("begun", "ended"))
    until(begun.exists)
    answer = future.cancel()
    ran = until(ended.exists, 3.0)
    if answer:
        return "says yes, runs on" if ran else "stopped"
    return "says no, runs on"


def adapted_cancel(driver: Driver, directory: str) -> str:
    """Cancel twenty tasks; those for which the answer is yes must not run."""
    works = driver.submit(slow, *[(directory, f"a{n}") for n in range(20)])
    until(lambda: any(Path(directory).glob("a*.begun")))
    yes = [n for n, work in enumerate(works) if driver.adapter.cancel(work)]
    driver.wait([work for n, work in enumerate(works) if n not in yes])
    lies = [n for n in yes if Path(directory, f"a{n}.begun").exists()]
    return f"{len(yes)} of 20" + (f", {len(lies)} of them ran" if lies else "")


def named(driver: Driver, work: Work, start: float) -> str:
    if work not in driver.outcomes:
        return f"nothing within {LIMIT_S:g} s"
    error = driver.outcomes[work][1]
    seconds = time.monotonic() - start
    return f"{type(error).__name__ if error else 'a result'} after {seconds:.1f} s"


def death(driver: Driver) -> str:
    start = time.monotonic()
    work = driver.submit(die, ())[0]
    driver.wait([work])
    text = named(driver, work, start)
    after = driver.submit(noop, *[(n,) for n in range(4)])
    if not driver.wait(after):  # on a slow machine, another worker may just not be up
        return f"{text}; no word of later tasks within {LIMIT_S:g} s"
    fine = not any(driver.outcomes[work][1] for work in after)
    return f"{text}; {'goes on' if fine else 'broken'}"


def speed(engine: Executor, driver: Driver) -> tuple[float, float, float, float]:
    """Return µs a no-op and a single call's latency in µs, natively and adapted."""
    samples: list[tuple[float, ...]] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for future in [engine.submit(noop, n) for n in range(NATIVE)]:
            future.result(LIMIT_S)
        native = (time.perf_counter() - start) / NATIVE
        start = time.perf_counter()
        driver.wait(driver.submit(noop, *[(n,) for n in range(ADAPTED)]))
        adapted = (time.perf_counter() - start) / ADAPTED
        start = time.perf_counter()
        for n in range(20):
            engine.submit(noop, n + 0.5).result(LIMIT_S)
        single = (time.perf_counter() - start) / 20
        start = time.perf_counter()
        for n in range(20):
            driver.wait(driver.submit(noop, (n,)))
        samples.append((native, adapted, single, (time.perf_counter() - start) / 20))
    columns = zip(*samples, strict=True)
    native, adapted, single, one = (1e6 * statistics.median(c) for c in columns)
    return native, adapted, single, one


def try_out(name: str) -> dict[str, str]:
    """Try one engine, in this process."""
    row: dict[str, str] = {}
    with ExitStack() as closing, tempfile.TemporaryDirectory() as directory:
        engine = closing.enter_context(ENGINES[name]())
        driver = Driver(engine, directory)
        driver.wait(driver.submit(pid, *[(n,) for n in range(2 * WORKERS)]))
        row["equal calls, itself"] = native_merges(engine)
        values = driver.values(driver.submit(unlike, *[(1,)] * 20))
        row["adapted"] = "run each" if len(set(values)) == 20 else "merged"
        row["cancel while it runs, itself"] = native_cancel(engine, directory)
        row["20 long tasks cancelled, adapted"] = adapted_cancel(driver, directory)
        native, adapted, single, one = speed(engine, driver)
        row["µs a no-op, itself / adapted"] = f"{native:,.0f} / {adapted:,.0f}"
        row["latency µs"] = f"{single:,.0f} / {one:,.0f}"
        # The death of a rank may end all of them, and this process too.
        mpi = name == "mpi4py"
        row["a worker dies"] = "not tried" if mpi else death(driver)
        print(json.dumps(row), flush=True)
        driver.adapter.shutdown(grace=0)
    return row


# -- All of them


def row_of(name: str) -> dict[str, str] | str:
    """Try an engine in a process of its own; return its row, or why there is none."""
    command = [sys.executable, __file__, "--engine", name]
    if name == "mpi4py":
        beside = Path(sys.executable).with_name("mpiexec")
        mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
        if mpiexec is None:
            return "mpiexec is missing"
        command[1:1] = ["-m", "mpi4py.futures"]
        command = [mpiexec, "-n", str(WORKERS + 1), *command]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        return "it did not end within 300 s"
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        errors = done.stderr.strip().splitlines() or ["no word"]
        return next((e for e in errors if "ModuleNotFound" in e), errors[-1])
    row: dict[str, str] = json.loads(lines[-1])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", default=list(ENGINES))
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        try_out(options.engine)
        os._exit(0)  # some engines leave threads that never end
    header = False
    for name in options.engines:
        row = row_of(name)
        if isinstance(row, str):
            print(f"{name}: not tried: {row}", file=sys.stderr)
            continue
        if not header:
            print("| engine |", " | ".join(row), "|")
            print("| --- " * (len(row) + 1) + "|")
            header = True
        print(f"| {name} |", " | ".join(row.values()), "|", flush=True)


if __name__ == "__main__":
    main()
