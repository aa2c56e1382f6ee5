"""A short run of functions with heavy imports, from nothing to its end.

usage: python short_run.py SYSTEM MODULE BEGAN

``BEGAN`` is when this process was started, by the system's monotonic clock. Prints a
line of JSON, in milliseconds: the first result, the end of the run, and how long it
takes from the kill of the only worker to a result of the next. A pool that breaks by
that is made anew.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

Submit = Callable[..., Any]
CALLS = 20


@contextmanager
def ours(workers: int) -> Iterator[Submit]:
    import jackfield

    place = tempfile.mkdtemp(dir=os.environ["BENCH_DIR"])
    executors = {"x": {"plugin": "processes", "workers": workers}}
    with jackfield.load(executors=executors, run_dir=place) as kernel:
        yield kernel.submit


@contextmanager
def bare(workers: int) -> Iterator[Submit]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield pool.submit


@contextmanager
def loky(workers: int) -> Iterator[Submit]:
    from loky import get_reusable_executor

    with get_reusable_executor(workers) as pool:
        yield pool.submit


SYSTEMS = {"jackfield-processes": ours, "cf-processes": bare, "loky": loky}


def main() -> None:
    system, name, began = sys.argv[1], sys.argv[2], float(sys.argv[3])
    module = import_module(name)
    figures = {}
    with SYSTEMS[system](2) as submit:
        assert submit(module.total, 10).result() == 45
        figures["first_ms"] = (time.monotonic() - began) * 1e3
        futures = [submit(module.total, 10) for _ in range(CALLS)]
        assert all(future.result() == 45 for future in futures)
    figures["run_ms"] = (time.monotonic() - began) * 1e3
    figures["replaced_ms"] = replaced(SYSTEMS[system], module)
    print(json.dumps(figures), flush=True)


def replaced(opened: Any, module: Any) -> float:
    """Kill the only worker; return the milliseconds until the next has done a task."""
    killed = 0.0
    try:
        with opened(1) as submit:
            victim = submit(module.pid, 0).result()
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            return until_another(submit, module, victim, killed)
    except Exception:  # a pool that breaks
        if not killed:
            raise
    with opened(1) as submit:
        return until_another(submit, module, victim, killed)


def until_another(submit: Submit, module: Any, victim: int, killed: float) -> float:
    """Return the milliseconds until another worker than the victim has done a task."""
    while submit(module.pid, 0).result() == victim:
        pass
    return (time.monotonic() - killed) * 1e3


if __name__ == "__main__":
    main()
