"""The states of a task, and what plugins may see of one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class TaskState(Enum):
    """Where a task is.

    The plain road is ``WAITING -> READY -> SUBMITTED -> SUCCEEDED``. A state in
    ``FINAL`` never changes again. There is no ``RUNNING``: an executor may be a
    cluster, and the kernel cannot see a worker pick a task up.
    """

    WAITING = "waiting"
    """At least one input future is not done, or a retry's delay is not over."""

    READY = "ready"
    """Inputs are done; the task is on its way to an executor."""

    SUBMITTED = "submitted"
    """``Executor.submit`` has been given the task."""

    JOINING = "joining"
    """A join app's body has returned futures that are not done."""

    FINISHING = "finishing"
    """The function returned; its outputs or its checkpoint are being stored."""

    SUCCEEDED = "succeeded"
    """The function returned."""

    MEMOIZED = "memoized"
    """An earlier result was used; the function was not called."""

    FAILED = "failed"
    """The function raised, and no retry is left."""

    DEPENDENCY_FAILED = "dependency-failed"
    """An input failed or was cancelled; the function was not called."""

    CANCELLED = "cancelled"
    """Cancelled before its function returned."""

    @property
    def final(self) -> bool:
        """Whether a task in this state has ended."""
        return self in FINAL


# Both run for every task, and Enum's own are Python code: the hash, where one object a
# state needs no other than the usual, and Python 3.11's way to a member by its name.
setattr(TaskState, "__hash__", object.__hash__)  # noqa: B010  (not for type checkers)
for _state in tuple(TaskState):
    type.__setattr__(TaskState, _state.name, _state)

FINAL: Final[frozenset[TaskState]] = frozenset(
    {
        TaskState.SUCCEEDED,
        TaskState.MEMOIZED,
        TaskState.FAILED,
        TaskState.DEPENDENCY_FAILED,
        TaskState.CANCELLED,
    }
)


@dataclass(frozen=True, slots=True)
class TaskView:
    """What a hook sees of a task: a snapshot, never the live record.

    Attributes:
        id: Number of the task in its kernel, from 0.
        app: Name of the app's function.
        label: The user's ``label=``, or ``""``.
        attempt: 1 at the first try.
        executors: Labels of the executors that the app allows and that can do what it
            asks for, in the app's order, or else that of the configuration.
        executor: Label of the executor chosen for this attempt, or ``None``.
        resources: What the app asks for: resource name to amount.
        key: Memo key, or ``None`` where the app is not cached.
    """

    id: int
    app: str
    label: str
    attempt: int
    executors: tuple[str, ...]
    executor: str | None
    resources: Mapping[str, float]
    key: bytes | None


class TaskEvent(NamedTuple):
    """One change of a task's state.

    Attributes:
        task: Number of the task in its kernel.
        app: Name of the app's function.
        state: The state that it entered.
        attempt: The attempt that this belongs to, from 1.
        executor: Label of the executor, or ``None`` before one is chosen.
            ``"_internal"`` is the kernel's own, for bodies of join apps, transfers
            and ``future[key]``.
        wall: Seconds since the epoch; may jump with the clock.
        monotonic: Seconds on a clock that never goes back; for differences.
        error: The failure in one line, or ``None``.
    """

    task: int
    app: str
    state: TaskState
    attempt: int
    executor: str | None
    wall: float
    monotonic: float
    error: str | None


class TransferEvent(NamedTuple):
    """How far a transfer is.

    Attributes:
        transfer: Its number in its kernel; all attempts share it.
        url: The URL without secrets.
        direction: ``"in"`` or ``"out"``.
        stage: ``"started"``, ``"progress"`` (about each half second), ``"retrying"``
            (an attempt failed), or how it ended: ``"done"``, ``"failed"``,
            ``"cancelled"``.
        attempt: The attempt that this belongs to, from 1.
        moved: Bytes moved so far.
        size: Bytes in all, or ``None`` if that is not known.
        rate: Bytes per second, since the attempt began.
        verified: For ``"done"``: how it is known that the file is right:
            ``"digest"``, ``"etag"``, ``"size"`` or ``"none"``.
        wall: Seconds since the epoch; may jump with the clock.
        monotonic: Seconds on a clock that never goes back; for differences.
        error: The failure in one line, or ``None``.
    """

    transfer: int
    url: str
    direction: str
    stage: str
    attempt: int
    moved: int
    size: int | None
    rate: float
    verified: str | None
    wall: float
    monotonic: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a kernel's tasks so far.

    Attributes:
        counts: State to number of tasks; transfers count as tasks.
        failures: The first failures, one line each.
        failed: How many tasks failed, without those that depended on them.
        elapsed: Seconds since the kernel started.
        run_dir: The run's directory.
    """

    counts: Mapping[TaskState, int]
    failures: tuple[str, ...]
    failed: int
    elapsed: float
    run_dir: Path
