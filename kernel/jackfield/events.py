"""What observers are told of a run: records of tasks, attempts, workers, transfers.

Observers get a ``Batch`` of them about ten times a second while something happens. A
task has one ``TaskRecord``, which is told again as the task gets on: the newest takes
the place of the older ones. Each attempt has an ``AttemptRecord``. So who keeps the
newest record of each number has the whole history of a run.

All times are seconds on the monotonic clock of the script's machine; ``Batch.wall``
and ``Batch.monotonic`` are the same moment on both clocks, and lead to the time of day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from jackfield.states import WorkerEvent as WorkerEvent  # noqa: PLC0414  (a record too)

if TYPE_CHECKING:
    from jackfield.states import TaskState, TransferEvent

Ran: TypeAlias = tuple[str, str, int, float, float, float | None, int | None]
"""A ``Place`` as a plain tuple: the garbage collector soon forgets about those."""


Begin: TypeAlias = tuple[str, str, int, float, float | None]
"""Where an attempt was begun, as the first fields of ``Place`` have it, and when; where
resources are measured too, with the seconds of processor time that the thread had taken
until then."""


class Failure(NamedTuple):
    """An error as text, so that nothing of the program is kept alive by it.

    Attributes:
        kind: The name of the exception's class: ``"ValueError"``.
        message: What it says, in one line.
        traceback: The traceback as Python prints it, or ``""`` where there is none.
        origin: The number of the task that failed first, where this one failed because
            of another; else ``None``.
    """

    kind: str
    message: str
    traceback: str = ""
    origin: int | None = None


class Place(NamedTuple):
    """Where and when an attempt ran, as far as its executor knows.

    Attributes:
        worker: What the executor calls the worker: ``"threads-3"``, ``"cpu-0"``. No two
            attempts run on one worker at a time.
        host: The name of the machine.
        pid: The process in which the function ran.
        began: When the function was called, on the script's monotonic clock.
        ended: When it had ended.
        cpu: Seconds of processor time that the attempt took, or ``None``.
        memory: Bytes of memory that its process had at the most, or ``None``.
    """

    worker: str
    host: str
    pid: int
    began: float
    ended: float
    cpu: float | None = None
    memory: int | None = None


class TaskRecord(NamedTuple):
    """What is known of a task.

    It is told when the task is submitted, again in each second in which it has changed,
    and when it has ended; tasks that live for less have one or two records.

    Attributes:
        task: Its number in the run.
        app: The name of the app's function.
        kind: ``"python"``, ``"bash"``, ``"join"``; or ``"transfer"`` and ``"internal"``
            for the kernel's own.
        label: The user's ``label=``, or ``""``.
        call: The call with its arguments shortened, or ``""`` where that is not known:
            for most of the tasks of a burst, because to make it takes longer than a
            short task.
        state: Where the task is.
        attempts: How many attempts there were.
        submitted: When it was submitted.
        ended: When it ended, or ``None``.
        parent: The number of the task, such as that of a join app, that submitted it,
            or whose output it is to stage out; else ``None``.
        depends_on: The numbers of the tasks that it waits, or has waited, for before
            its function is called: those behind its arguments, and transfers of files.
        executor: Label of the last attempt's executor, or ``None``.
        memo: ``"hit"``, ``"miss"``, or ``"off"`` where no result was looked up.
        key: The memo key, or ``None``.
        refusal: Why a stored result was not used, or ``""``.
        stdout: Where its output goes, or ``None``.
        stderr: Where its errors go, or ``None``.
        failure: Why it has failed, or ``None``.
    """

    task: int
    app: str
    kind: str
    label: str
    call: str
    state: TaskState
    attempts: int
    submitted: float
    ended: float | None
    parent: int | None
    depends_on: tuple[int, ...]
    executor: str | None
    memo: str
    key: bytes | None
    refusal: str
    stdout: str | None
    stderr: str | None
    failure: Failure | None


class TaskChange(NamedTuple):
    """A ``TaskRecord`` in brief, for observers that only count.

    Attributes:
        task: The task's number in the run.
        app: The name of the app's function.
        kind: As in ``TaskRecord``.
        state: Where the task is.
        executor: Label of the last attempt's executor, or ``None``.
        error: Why it has failed, in one line, or ``None``.
    """

    task: int
    app: str
    kind: str
    state: TaskState
    executor: str | None
    error: str | None


class AttemptRecord(NamedTuple):
    """One attempt at a task, told when it has failed, or when the task has ended.

    Attributes:
        task: The task's number.
        attempt: 1 for the first.
        executor: Label of the executor.
        launched: When the attempt was handed to the executor.
        reported: When the executor had reported its outcome.
        place: Where and when it ran, or ``None`` where the executor does not tell.
        failure: Why it failed, or ``None``.
        retry_in: Seconds until the next attempt; ``None`` where there is none.
    """

    task: int
    attempt: int
    executor: str
    launched: float
    reported: float
    place: Place | None
    failure: Failure | None
    retry_in: float | None


class Rerun(NamedTuple):
    """An executor runs a task once more that has ended, because its result got lost.

    Told when that begins. Its end is told as that of any other attempt.

    Attributes:
        task: The task's number.
        attempt: Counted on from the attempts that the task had.
        executor: Label of the executor.
        reason: How the result got lost, in a sentence.
        monotonic: When.
    """

    task: int
    attempt: int
    executor: str
    reason: str
    monotonic: float


News: TypeAlias = WorkerEvent | Rerun | AttemptRecord
"""What executors tell by themselves."""


class Running(NamedTuple):
    """An attempt that runs at this moment.

    Attributes:
        task: The task's number.
        attempt: 1 for the first.
        app: The name of the app's function.
        worker: As in ``Place``; ``""`` if it is not known.
        host: As in ``Place``; ``""`` if it is not known.
        pid: As in ``Place``; 0 if it is not known.
        began: When the function was called, on the script's monotonic clock; ``None``
            if it is not known, or not called yet.
    """

    task: int
    attempt: int
    app: str
    worker: str
    host: str
    pid: int
    began: float | None


class Load(NamedTuple):
    """How much an executor has to do at this moment.

    Attributes:
        executor: Label of the executor.
        workers: How many works it can run at once.
        unfinished: Works that it was given and has not reported.
        queued: Works among these that no worker has. This and what follows, but for the
            last, is told to ``jackfield_scale`` alone, of executors that are elastic.
        wanted: How many workers it was asked for.
        least: How many it is never to be without.
        most: How many it can be asked for.
        unknown: Unfinished works of which it is not known how long they take.
        seconds: How long the others are expected to take, one after the other.
        start_s: Seconds that a new worker is expected to need until it can begin.
        idle_s: For how many seconds it has had nothing to do.
        running: What runs; ``None`` if it does not tell. For observers, as the next.
        lacking: Why it has fewer workers than it wants; ``""`` if it has not.
    """

    executor: str
    workers: int
    unfinished: int
    queued: int = 0
    wanted: int = 0
    least: int = 0
    most: int = 0
    unknown: int = 0
    seconds: float = 0.0
    start_s: float = 0.0
    idle_s: float = 0.0
    running: Sequence[Running] | None = None
    lacking: str = ""

    @property
    def busy(self) -> int:
        """Works that some worker has."""
        return self.unfinished - self.queued


class Batch(NamedTuple):
    """What has happened since the last batch.

    Attributes:
        wall: Seconds since the epoch, when the batch was put together.
        monotonic: The same moment on the clock of all other times here.
        tasks: Tasks that have come, changed or ended; at most one record for each.
        changes: The same tasks in brief, which costs a fraction of the time. Made anew
            for each who looks: what is wanted later is to be copied.
        attempts: Attempts that have ended, in order.
        workers: Workers that have come or gone, in order.
        reruns: Tasks that run once more although they have ended, in order.
        transfers: What transfers did, in order.
        loads: What each executor has to do, about once a second; else empty.
        app_edges: ``(app, app that depends on it)`` to the number of new dependencies
            between tasks of the two.
        lost: How many records had to be dropped since the last batch, because they came
            faster than observers took them.
    """

    wall: float
    monotonic: float
    tasks: Sequence[TaskRecord] = ()
    changes: Iterable[TaskChange] = ()
    attempts: Sequence[AttemptRecord] = ()
    workers: Sequence[WorkerEvent] = ()
    reruns: Sequence[Rerun] = ()
    transfers: Sequence[TransferEvent] = ()
    loads: Sequence[Load] = ()
    app_edges: Mapping[tuple[str, str], int] = MappingProxyType({})
    lost: int = 0
