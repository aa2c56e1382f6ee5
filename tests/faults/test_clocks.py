"""Clocks that stand still or are years ahead, in the program and in its tasks.

Libraries for tests replace the functions of ``time`` wherever a module has them. So
does ``clock_at``, in ``time`` itself and in all modules of Jackfield.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.clock import monotonic
from jackfield.graph.route import ExecutorEntry, healthy
from jackfield_executors.threads import ThreadsExecutor

LIMIT_S = 60.0
CLOCKS = [0.0, 1e18]
NAMES = ["time", "monotonic", "perf_counter"]


@contextmanager
def clock_at(now: float) -> Iterator[None]:
    """Have every clock say ``now``."""
    replaced: list[tuple[Any, str, Any]] = []
    fakes: dict[int, Any] = {}
    for name in NAMES:
        fakes[id(getattr(time, name))] = lambda: now
        fakes[id(getattr(time, name + "_ns"))] = lambda: int(now) * 10**9
    ours = [module for name, module in sys.modules.items() if "jackfield" in name]
    try:
        for module in [time, *ours]:
            for name, value in list(vars(module).items()):
                if id(value) in fakes:
                    replaced.append((module, name, value))
                    setattr(module, name, fakes[id(value)])
        yield
    finally:
        for module, name, value in replaced:
            setattr(module, name, value)


@pytest.fixture(params=["threads", "processes"])
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    table = {"plugin": request.param, "workers": 2}
    with jf.load(
        executors={"x": table}, run_dir=tmp_path / "r", exit_grace=0.5
    ) as loaded:
        yield loaded


@jf.python_app
def spin() -> None:
    import time

    while True:
        time.sleep(0.01)


@pytest.mark.parametrize("now", CLOCKS)
def test_walltimes_delays_and_timeouts_go_on(
    kernel: jf.DataFlowKernel, now: float
) -> None:
    attempts: list[int] = []

    @jf.python_app(executors=["x"], walltime=0.2)
    def limited() -> None:
        spin.__wrapped__()

    class Counts:
        @jf.hookimpl
        def jackfield_retry(self, attempt: int) -> None:
            attempts.append(attempt)

    @jf.python_app(retries=2, retry_delay=0.05)
    def fails() -> None:
        raise ValueError("fails")

    @jf.bash_app(walltime=0.2)
    def sleeps() -> str:
        return "sleep 60"

    kernel.register(Counts())
    with clock_at(now):
        late = limited()
        failed = fails()
        with pytest.raises(TimeoutError):
            kernel.submit(time.sleep, 0.5).result(0.05)
        assert isinstance(late.exception(LIMIT_S), jf.AppTimeout)
        assert isinstance(failed.exception(LIMIT_S), ValueError)
        assert kernel.submit(abs, -1).result(LIMIT_S) == 1
        assert isinstance(sleeps().exception(LIMIT_S), jf.AppTimeout)
    assert attempts.count(3) == 1
    assert kernel.submit(abs, -1).result(LIMIT_S) == 1


@pytest.mark.parametrize("now", CLOCKS)
def test_a_task_that_sets_its_clock_hurts_nobody(
    kernel: jf.DataFlowKernel, now: float
) -> None:
    freeze = clock_at

    @jf.python_app(walltime=0.3)
    def frozen(seconds: float) -> float:
        with freeze(now):
            time.sleep(seconds)
            return time.monotonic()

    # The first call imports this module where it runs, which takes longer.
    patient = frozen.options(walltime=LIMIT_S)
    assert patient(0.01).result(LIMIT_S) == now
    assert isinstance(frozen(0.6).exception(LIMIT_S), jf.AppTimeout)
    assert [patient(0).result(LIMIT_S) for _ in range(20)] == [now] * 20
    assert kernel.submit(abs, -1).result(LIMIT_S) == 1


@pytest.mark.parametrize("now", CLOCKS)
def test_an_executor_that_has_failed_rests_no_longer(now: float) -> None:
    tired, other = (ExecutorEntry(label, ThreadsExecutor(1)) for label in "ab")
    with clock_at(now):
        tired.note_fault()
        assert healthy([tired, other]) == [other]

        limit = monotonic() + LIMIT_S  # of the clock that is not replaced
        while healthy([tired, other]) == [other]:
            assert monotonic() < limit
            time.sleep(0.01)


def test_a_run_ends_while_the_clock_stands(tmp_path: Path) -> None:
    kernel = jf.load(run_dir=tmp_path / "r", exit_grace=0.2)
    endless = kernel.submit(time.sleep, 5)
    waiting = kernel.submit(abs, endless)

    with clock_at(0.0):
        kernel.cleanup(wait=False)

    assert endless.done()
    assert waiting.cancelled()
