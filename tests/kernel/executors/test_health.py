"""What the pool knows of an executor's health, when several threads look at it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import jackfield as jf
from jackfield.abc import READY, Executor, ExecutorContext, Health, Work
from jackfield.errors import ExecutorLostError
from jackfield_system.works import run_work
from jackfield_testing.footprint import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Sequence

LOST = Health("lost", "it has no worker")


class Changing(Executor):
    """Says what it is told to say; the first to ask after ``slow`` gets it late."""

    def __init__(self) -> None:
        self.state = READY
        self.slow = threading.Event()
        self.asked = threading.Event()
        self.go_on = threading.Event()

    @property
    def workers(self) -> int:
        return 1

    @property
    def health(self) -> Health:
        state = self.state
        if self.slow.is_set():
            self.slow.clear()
            self.asked.set()
            assert self.go_on.wait(WAIT_S)
        return state

    def start(self, context: ExecutorContext) -> None:
        self.context = context

    def submit(self, batch: Sequence[Work]) -> None:
        lost = ExecutorLostError(self.context.label, "it has no worker")
        gone = self.state is LOST
        self.context.report(
            [(work, lost, None) if gone else run_work(work) for work in batch]
        )

    def shutdown(self, *, grace: float | None = None) -> None:
        self.go_on.set()


def test_a_slow_look_does_not_hide_that_an_executor_is_lost() -> None:
    changing = Changing()
    executors = {"changing": changing, "other": {"plugin": "threads", "workers": 1}}
    with jf.load(executors=executors):
        assert jf.python_app(lambda: 1)().result(WAIT_S) == 1
        changing.slow.set()
        slow = threading.Thread(target=changing.context.changed)
        slow.start()
        assert changing.asked.wait(WAIT_S)  # it has seen that all is well

        changing.state = LOST
        changing.context.changed()
        changing.go_on.set()
        slow.join(WAIT_S)

        ran = [jf.python_app(lambda: 1)() for _ in range(20)]
        assert all(one.exception(WAIT_S) is None for one in ran)
