"""Parsl's states, and which of Jackfield's they are."""

from __future__ import annotations

from enum import IntEnum

from jackfield import TaskState


class States(IntEnum):
    """The states of a task, by Parsl's names and numbers."""

    pending = 0
    running = 2
    exec_done = 3
    failed = 4
    dep_fail = 5
    launched = 7
    fail_retryable = 8
    memo_done = 9
    joining = 10
    running_ended = 11

    def __str__(self) -> str:
        return f"States.{self.name}"


STATES = {
    TaskState.WAITING: States.pending,
    TaskState.READY: States.pending,
    TaskState.SUBMITTED: States.launched,
    TaskState.JOINING: States.joining,
    TaskState.FINISHING: States.running_ended,
    TaskState.SUCCEEDED: States.exec_done,
    TaskState.MEMOIZED: States.memo_done,
    TaskState.FAILED: States.failed,
    TaskState.DEPENDENCY_FAILED: States.dep_fail,
    TaskState.CANCELLED: States.failed,
}
FINAL_FAILURE_STATES = {States.failed, States.dep_fail}
FINAL_STATES = {States.exec_done, States.memo_done, *FINAL_FAILURE_STATES}
