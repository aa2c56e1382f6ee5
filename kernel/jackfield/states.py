"""The states of a task, and the records in which plugins and users see tasks."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


_SHOWN_FAILURES: Final = 5


class TaskState(Enum):
    """The state of a task.

    Most tasks go ``WAITING``, ``READY``, ``SUBMITTED``, ``SUCCEEDED``. A state in
    ``FINAL`` never changes again. There is no ``RUNNING``: an executor may be a
    cluster, and the kernel cannot see when a worker takes a task up.
    """

    WAITING = "waiting"
    """At least one input future is not done, or a retry's delay is not over."""

    READY = "ready"
    """All inputs are done, and the task will be handed to an executor."""

    SUBMITTED = "submitted"
    """The task was handed to an executor."""

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


# The two below run several times for each task, and Enum's own way is slow Python code.
# Its ``__hash__`` hashes the name; each state is one object, so the usual hash will do.
# And Python 3.11 finds ``TaskState.READY`` through a descriptor; a plain attribute is
# found directly.
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


class TaskView(NamedTuple):
    """What a hook sees of a task: a snapshot that does not change.

    Attributes:
        id: Number of the task in its kernel, from 0.
        app: Name of the app's function.
        label: The user's ``label=``, or ``""``.
        attempt: Number of the current attempt, from 1.
        executors: Labels of the executors that the app allows and that can do what it
            asks for, in the app's order, or else that of the configuration.
        executor: Label of the executor chosen for this attempt, or ``None``.
        resources: What the app asks for: resource name to amount.
        key: The memo key, or ``None`` if the app is not cached.
        cost: What its failures have cost so far, without the one that is asked about.
        errors: Its earlier failures, the first one first, each in one line.
        call: The call, arguments shortened; only for ``jackfield_retry`` and
            ``jackfield_use_result``, else ``""``: to make it takes longer than many a
            task.
        priority: Tasks with a higher one begin first; 0 if nothing was said.
    """

    id: int
    app: str
    label: str
    attempt: int
    executors: tuple[str, ...]
    executor: str | None
    resources: Mapping[str, float]
    key: bytes | None
    cost: float = 0.0
    errors: tuple[str, ...] = ()
    call: str = ""
    priority: int = 0


class TaskEvent(NamedTuple):
    """One change of a task's state.

    Attributes:
        task: Number of the task in its kernel.
        app: Name of the app's function.
        state: The state that it has entered.
        attempt: Number of the attempt, from 1.
        executor: Label of the executor, or ``None`` before one is chosen. Labels that
            begin with ``_`` are the kernel's own: ``"_internal"`` for bodies of join
            apps and ``future[key]``, ``"_transfers"`` for files.
        wall: Seconds since the epoch; may jump with the clock.
        monotonic: Seconds on a clock that never goes back; for differences.
        error: The failure in one line, with the call that it is of, or ``None``.
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
    """How far a transfer of a file is.

    Attributes:
        transfer: Number of the transfer in its kernel; all attempts share it.
        url: The URL without secrets.
        direction: ``"in"`` or ``"out"``.
        stage: ``"started"`` (an attempt), ``"progress"`` (twice a second),
            ``"retrying"`` (an attempt has failed, and there will be another); or how
            the transfer has ended: ``"done"``, ``"failed"``, ``"cancelled"``.
        attempt: Number of the attempt, from 1; 0 for a file from the cache.
        moved: Bytes moved so far.
        size: Bytes of the whole file, or ``None`` if that is not known.
        rate: Bytes per second since the attempt began.
        verified: With ``"done"``: how the file was verified; see ``File.verified``.
        wall: Seconds since the epoch; may jump with the clock.
        monotonic: Seconds on a clock that never goes back; for differences.
        error: The failure in one line, or ``None``.
        task: Number of the transfer's own task. A task that waits for the file has it
            among those that it depends on; that of a file that is staged out has the
            task that made the file as its parent.
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
    task: int | None = None


class WorkerEvent(NamedTuple):
    """A worker of an executor has come or gone.

    Attributes:
        executor: Label of the executor.
        worker: What the executor calls it; see ``Place.worker``.
        host: The name of its machine.
        pid: Its process.
        alive: Whether it has come, or has gone.
        reason: Why it has gone, in a sentence; ``""`` if it was to.
        monotonic: When.
    """

    executor: str
    worker: str
    host: str
    pid: int
    alive: bool
    reason: str
    monotonic: float


class Summary(NamedTuple):
    """What became of a kernel's tasks so far.

    Attributes:
        counts: Each state with the number of tasks in it.
        failures: The first failures, one line each.
        failed: How many tasks have failed, without those that depended on them.
        elapsed: Seconds since the kernel started.
        run_dir: The run's directory.
        own: The same as ``counts`` for the tasks that the kernel has made for itself:
            transfers of files, and look-ups of cached calls that take long.
    """

    counts: Mapping[TaskState, int]
    failures: tuple[str, ...]
    failed: int
    elapsed: float
    run_dir: Path
    own: Mapping[TaskState, int]

    def __str__(self) -> str:
        tasks = sum(self.counts.values())
        ends = [
            f"{number} {state.value}" for state, number in self.counts.items() if number
        ]
        told = ": " + ", ".join(ends) if ends else ""
        noun = "task" if tasks == 1 else "tasks"
        head = f"{tasks} {noun} in {self.elapsed:.1f} s{told}. Run: {self.run_dir}"
        return "\n  ".join([head, *told_once(self.failures, self.failed)])


def told_once(lines: Iterable[str], number: int) -> list[str]:
    """Return the first few lines on failures; those that say the same are one.

    A batch system that refuses a job says so of every task that waits. Only the
    task and its call differ, so the first one stands for all.

    Args:
        lines: A line on each failure, ``Task 7 (align) failed: ...``, or on the first.
        number: How many failures there are; those that are not shown are counted.
    """
    alike: dict[str, list[str]] = {}
    for line in lines:
        reason = line.partition(" failed: ")[2]
        alike.setdefault(reason.rpartition(" [in ")[0] or reason or line, []).append(
            line
        )
    shown = list(alike.values())[:_SHOWN_FAILURES]
    told = [
        first.replace(" failed: ", f" and {len(rest)} more failed: ", 1)
        if rest
        else first
        for first, *rest in shown
    ]
    left = number - sum(map(len, shown))
    return [*told, f"... and {left} more"] if left > 0 else told
