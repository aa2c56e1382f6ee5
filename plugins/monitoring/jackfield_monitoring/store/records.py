"""What the reader answers: plain values, times in microseconds on the run's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from jackfield import TaskState  # noqa: TC001  (the reader looks at fields' types)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the run is, and how far its history goes.

    Attributes:
        uuid: Tells it from all other runs; as in ``run.json``.
        dir: Its directory, as the run saw it.
        wall: Microseconds since the epoch, when it began.
        monotonic: The same moment on the clock of all other times.
        host: The script's machine.
        user: Who ran it.
        pid: The script's process.
        python: Version of Python.
        jackfield: Version of Jackfield.
        argv: The command line, without secrets.
        cwd: The directory in which it began.
        beat: When the history was written last.
        ended: When the run has ended; ``None`` while it goes on, or if it was killed.
        state: ``"running"``, ``"done"`` or ``"failed"``.
    """

    uuid: str
    dir: str
    wall: int
    monotonic: int
    host: str
    user: str
    pid: int
    python: str
    jackfield: str
    argv: tuple[str, ...]
    cwd: str
    beat: int
    ended: int | None
    state: str

    def wall_of(self, when: int) -> float:
        """Return the time of day of a time of this run, in seconds since the epoch."""
        return (self.wall + when - self.monotonic) / 1e6


class App(NamedTuple):
    """An app, by its number in this store."""

    id: int
    name: str
    kind: str


class Executor(NamedTuple):
    """An executor; ``workers`` is how many works it could run at once at the last."""

    id: int
    label: str
    workers: int | None


class Worker(NamedTuple):
    """A worker. ``ended`` is ``None`` if it was not told that it has gone."""

    id: int
    executor: int
    name: str
    host: str
    pid: int
    began: int | None
    ended: int | None
    reason: str


class Cell(NamedTuple):
    """The tasks of one app in one state.

    Attributes:
        app: Number of the app.
        state: The state.
        n: How many tasks are in it.
        attempts: How many attempts have ended so; they succeed or fail.
        busy: Microseconds that these took together.
        p50: Half of these took so long at the most; within 5 %. ``None`` without any.
        p90: Nine of ten.
        p99: All but one of a hundred.
        longest: All of them.
    """

    app: int
    state: TaskState
    n: int
    attempts: int
    busy: int
    p50: int | None
    p90: int | None
    p99: int | None
    longest: int | None


class TaskRow(NamedTuple):
    """A task in a list. Empty texts and ``None`` stand for what there is not."""

    id: int
    app: str
    kind: str
    state: TaskState
    attempts: int
    parent: int | None
    label: str
    call: str
    submitted: int
    ended: int | None
    executor: str | None
    memo: str
    key: bytes | None
    refusal: str
    stdout: str | None
    stderr: str | None
    error: int | None
    origin: int | None


class AttemptRow(NamedTuple):
    """An attempt that has ended. Where it ran may be unknown."""

    task: int
    n: int
    executor: str
    worker: str | None
    host: str | None
    pid: int | None
    launched: int
    began: int | None
    ended: int | None
    reported: int
    state: TaskState
    error: int | None
    retry_in: int | None
    cpu: int | None
    memory: int | None


class RerunRow(NamedTuple):
    """A run of a task that had ended, because its result got lost.

    Attributes:
        task: The task.
        app: Its app.
        n: The attempt.
        executor: Label of the executor.
        reason: How the result got lost.
        t: When the run was asked for.
        over: Whether it has ended: then it is among the attempts.
    """

    task: int
    app: str
    n: int
    executor: str
    reason: str
    t: int
    over: bool


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures that look alike: of one kind, and alike but for numbers and paths.

    Attributes:
        id: The group's number; ``TaskRow.error`` and ``AttemptRow.error`` are such.
        kind: Name of the exception's class.
        message: What the first of them says.
        shape: What all of them say.
        traceback: The first one's traceback, or ``""``.
        tasks: How many tasks have failed so in the end.
        attempts: How many attempts have failed so.
        first: When the first one failed.
        newest: When the newest one failed.
        example: The first task that failed so, or ``None``.
        apps: Numbers of the apps of these tasks, and how many tasks of each.
    """

    id: int
    kind: str
    message: str
    shape: str
    traceback: str
    tasks: int
    attempts: int
    first: int | None
    newest: int | None
    example: TaskRow | None
    apps: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class TaskPage:
    """All about one task.

    Attributes:
        task: The task.
        attempts: Its attempts that have ended, in order.
        reruns: Which of these, or of those that go on, were made only because a result
            got lost.
        depends_on: Tasks that it depends on; ``LINKS_MOST`` of them at the most.
        dependents: Tasks that depend on it; as many.
        children: Tasks that a join app's body has submitted; as many.
        transfers: Transfers of files that it waits for or has made.
        failures: The groups that it and its attempts belong to.
        said: What it said when it failed, by 0, and its attempts, by their number; as
            far as that is known. Older histories know the first message of each group.
    """

    task: TaskRow
    attempts: tuple[AttemptRow, ...]
    reruns: tuple[RerunRow, ...]
    depends_on: tuple[TaskRow, ...]
    dependents: tuple[TaskRow, ...]
    children: tuple[TaskRow, ...]
    transfers: tuple[TransferRow, ...]
    failures: tuple[FailureGroup, ...]
    said: dict[int, str]


class RunningRow(NamedTuple):
    """An attempt that runs: which, where, since when, and when that was looked at.

    ``worker``, its ``name`` and ``began`` are ``None`` where they are not known.
    """

    task: int
    n: int
    app: str
    executor: int
    worker: int | None
    name: str | None
    began: int | None
    seen: int


class TransferRow(NamedTuple):
    """A transfer of a file; the fields are those of ``TransferEvent``."""

    id: int
    task: int | None
    url: str
    way: str
    state: str
    attempts: int
    moved: int
    size: int | None
    began: int
    ended: int | None
    verified: str | None
    error: str | None


class Sample(NamedTuple):
    """What an executor had to do at a moment."""

    t: int
    executor: int
    workers: int
    unfinished: int


class Gap(NamedTuple):
    """Records that the history lacks: until when, how many, why."""

    t: int
    lost: int
    reason: str


class AppEdge(NamedTuple):
    """How many times a task of ``child`` depends on one of ``parent``."""

    parent: int
    child: int
    n: int
