"""Code of others that holds the dispatcher up keeps no task from ending.

Threads that have more tasks to run leave outcomes to the dispatcher. In each case here,
code of a user or of a plugin keeps it, and all outcomes that come meanwhile have to be
worked off by those who report them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.abc import Executor
from jackfield_system.works import run_work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jackfield.abc import ExecutorContext, Work

LIMIT_S = 60.0

THREADS = {"plugin": "threads", "workers": 1}


class Hold:
    """Holds whoever comes, until it is opened; all it is asked for, it answers so."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.came = threading.Event()

    def wait(self) -> None:
        self.came.set()
        assert self.gate.wait(LIMIT_S)

    def __jackfield_hash__(self) -> int:
        self.wait()
        return 1


class Selects:
    def __init__(self, hold: Hold) -> None:
        self.hold = hold

    @jf.hookimpl
    def jackfield_select_executor(
        self, task: jf.TaskView, executors: Sequence[Any]
    ) -> None:
        if task.app == "held":
            self.hold.wait()


class Retries:
    def __init__(self, hold: Hold) -> None:
        self.hold = hold

    @jf.hookimpl
    def jackfield_retry(
        self, task: jf.TaskView, error: BaseException, attempt: int
    ) -> None:
        self.hold.wait()


class Slow(Executor):
    """Runs works where they are submitted, and is held there."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold

    @property
    def workers(self) -> int:
        return 1

    def start(self, context: ExecutorContext) -> None:
        self.context = context

    def submit(self, batch: Sequence[Work]) -> None:
        self.hold.wait()
        self.context.report([run_work(work) for work in batch])

    def shutdown(self, *, grace: float | None = None) -> None:
        pass


def held(hold: object = None) -> str:
    return "held"


def fails(begun: threading.Event) -> None:
    begun.wait(LIMIT_S)
    raise ValueError


def begin(begun: threading.Event, go: threading.Event) -> bool:
    begun.set()
    return go.wait(LIMIT_S)


def number(value: int) -> int:
    return value


@pytest.mark.parametrize("by", ["select", "retry", "submit", "hash"])
def test_outcomes_are_worked_off_while_code_of_others_holds_the_dispatcher_up(
    tmp_path: Path, by: str
) -> None:
    hold, begun, go = Hold(), threading.Event(), threading.Event()
    executors: dict[str, Any] = {"a": THREADS, "b": THREADS, "slow": Slow(hold)}
    with jf.load(executors=executors, run_dir=tmp_path) as kernel:
        try:
            if by in {"select", "retry"}:
                kernel.register(Selects(hold) if by == "select" else Retries(hold))
            first = kernel.submit(begin, begun, go, executors=["a"])
            assert begun.wait(LIMIT_S)
            burst = [kernel.submit(number, n, executors=["a"]) for n in range(50)]
            kernel.summary()  # so that no burst is launched together with what holds
            other: jf.AppFuture[Any]
            behind: list[jf.AppFuture[int]] = []
            if by == "retry":  # not the last one there, so that the dispatcher gets it
                fail = threading.Event()
                other = kernel.submit(fails, fail, executors=["b"])
                behind = [kernel.submit(number, n, executors=["b"]) for n in range(3)]
                kernel.summary()
                fail.set()
            elif by == "submit":
                other = kernel.submit(held, executors=["slow"])
            elif by == "hash":
                other = kernel.submit(held, hold, executors=["b"], cache=True)
            else:
                other = kernel.submit(held, executors=["b"])
            assert hold.came.wait(LIMIT_S)
            go.set()

            assert first.result(LIMIT_S)
            assert [one.result(LIMIT_S) for one in burst] == list(range(50))
            assert not other.done()
        finally:
            hold.gate.set()
            go.set()
        if behind:
            assert [one.result(LIMIT_S) for one in behind] == [0, 1, 2]
            assert isinstance(other.exception(LIMIT_S), ValueError)
        else:
            assert other.result(LIMIT_S) == "held"
