"""The contracts of plugins that give the kernel an object.

A plugin's hook (see ``hookspecs``) answers with one of these: an ``Executor``, a
``CheckpointStore``. The hook is how the object is found; this is what it promises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import local
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from jackfield.errors import TaskExitError, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield.states import Summary


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an executor can do. The kernel believes it, and tests hold it true.

    Attributes:
        isolated: Functions, arguments and results are pickled; a task cannot
            change the driver's objects.
        cancels_running: ``Executor.cancel`` stops a task that has begun.
        walltime: ``"kill"``: the executor itself ends a task at ``work.walltime``,
            whatever it is doing. ``"soft"``: the kernel wraps the function so that
            an exception is raised in it; code that never returns to the
            interpreter goes on. ``"none"``: neither is possible.
        shared_filesystem: Tasks see the driver's files under the same paths.
        resources: Names of the resources that a task may ask for.
        survives_worker_death: A worker's death fails at most the task it ran.
    """

    isolated: bool = False
    cancels_running: bool = False
    walltime: Literal["none", "soft", "kill"] = "soft"
    shared_filesystem: bool = True
    resources: frozenset[str] = frozenset()
    survives_worker_death: bool = False


class Work:
    """One attempt at one task, as an executor gets it.

    Made by the kernel; an executor reads it and gives the same object back in its
    report. Compared by identity.

    Attributes:
        id: Number of the task. Attempts at one task share it.
        attempt: 1 at the first try.
        name: Name of the app's function, for messages.
        function: What to call.
        args: Its positional arguments, futures replaced by their results.
        kwargs: Its keyword arguments, likewise. Not to be changed.
        walltime: Seconds that the attempt may take, or ``None``. Only set for
            executors whose capability is ``"kill"``.
        resources: Resource name to amount, as the app declares.
    """

    __slots__ = (
        "args",
        "attempt",
        "function",
        "id",
        "kwargs",
        "name",
        "resources",
        "walltime",
    )

    def __init__(
        self,
        id: int,  # noqa: A002  (the attribute's own name)
        attempt: int,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        walltime: float | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> None:
        self.id: int = id
        self.attempt: int = attempt
        self.name: str = name
        self.function: Callable[..., Any] = function
        self.args: tuple[Any, ...] = args
        self.kwargs: Mapping[str, Any] = kwargs
        self.walltime: float | None = walltime
        self.resources: Mapping[str, float] = {} if resources is None else resources

    def __repr__(self) -> str:
        """Name task, app and attempt; never the arguments."""
        return f"<Work {self.id} ({self.name}) attempt {self.attempt}>"


Outcome: TypeAlias = tuple[Work, BaseException | None, Any]
"""``(work, error, value)``: ``error`` is ``None`` where the function returned."""

Report: TypeAlias = Callable[[Sequence[Outcome]], None]
"""How an executor tells the kernel what became of works. Thread-safe, never raises.

It may be called on any thread of the executor, from inside ``submit`` too, and it
may run the kernel's scheduling there; users' callbacks run elsewhere. Each work is
reported once; a second report of a work, or one after a successful ``cancel``, is
dropped and counted.
"""


_thread = local()


def runs_tasks() -> bool:
    """Tell whether this thread is inside ``run_work``."""
    return getattr(_thread, "runs_tasks", False)


def _without_first_frame(error: Exception) -> Exception:
    # The first frame is that of ``run_work``, which would keep the arguments alive. A
    # variable there could not hold the traceback either: they would form a cycle.
    traceback = error.__traceback__
    return error.with_traceback(traceback.tb_next if traceback else None)


def run_work(work: Work) -> Outcome:
    """Call a work's function here and return what to report; never raises.

    Called by executors whose workers are threads of the driver's process.
    ``SystemExit`` and other exceptions that would end a thread or a program
    arrive as ``TaskExitError``.
    """
    outer = getattr(_thread, "runs_tasks", False)
    _thread.runs_tasks = True
    try:
        value = work.function(*work.args, **work.kwargs)
    except Exception as error:
        return work, _without_first_frame(error), None
    except BaseException as error:
        wrapped = TaskExitError(work.name, one_line(error))
        wrapped.__cause__ = error
        return work, wrapped, None
    finally:
        _thread.runs_tasks = outer
    return work, None, value


@dataclass(frozen=True, slots=True)
class ExecutorContext:
    """What the kernel tells an executor when it starts it.

    Attributes:
        label: The name that apps and messages use for it.
        run_dir: The run's directory, which exists; an executor may make a
            directory of its label in it.
        report: Where outcomes go.
    """

    label: str
    run_dir: Path
    report: Report


class Executor(ABC):
    """Runs works: takes them in batches and reports them in batches.

    A plugin that has no use for batches returns any
    ``concurrent.futures.Executor`` instead; the kernel adapts it.

    ``start`` is called once, before anything else. ``submit`` and ``cancel`` may
    then come from several threads at once. ``shutdown`` may come from any thread
    that is not one of the executor's workers.
    """

    capabilities: Capabilities = Capabilities()
    """Read after ``start``; constant from then on."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many works can run at once: at least 1. Used to compare loads."""

    @abstractmethod
    def start(self, context: ExecutorContext) -> None:
        """Make ready to take works.

        An executor that starts workers may do so later, on first use. On an
        exception the kernel does not start, and shuts down what had started.
        """

    @abstractmethod
    def submit(self, batch: Sequence[Work]) -> None:
        """Take works, in order, without waiting for any of them.

        Called on a thread of the kernel or on one that reports, never on the user's.
        Each work is reported sooner or later, also when its arguments cannot be pickled
        or its worker dies. An exception from here fails every work of the batch, which
        therefore must not run.
        """

    def cancel(self, work: Work) -> bool:
        """Keep a work from running, or stop it where ``cancels_running``.

        Must not wait. Returns:
            True if the work has not begun and will not, or is being stopped:
            a report of it will be dropped. False if it runs on or has ended.
        """
        del work
        return False

    @abstractmethod
    def shutdown(self, *, grace: float | None = None) -> None:
        """End, and wait for the end.

        Works that have not begun are dropped, if ``grace`` is a number; running
        ones get ``grace`` seconds, then are stopped where that is possible.
        ``None`` waits for everything that was submitted. Afterwards nothing is
        reported any more, and no process, file descriptor or file is left; a
        thread that runs a task which cannot be stopped may be. A second call does
        nothing.
        """


@dataclass(frozen=True, slots=True)
class Retry:
    """What to do about a failure: the answer of ``jackfield_retry``.

    Attributes:
        cost: Added to the task's cost so far; it is retried while the sum is not
            above its ``retries``. ``math.inf`` gives up.
        delay: Seconds to wait first, or ``None`` for the app's own delay.
        executor: Label of the executor to use, or ``None`` to choose again.
    """

    cost: float = 1.0
    delay: float | None = None
    executor: str | None = None


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """One stored result.

    Attributes:
        key: Memo key: 32 bytes.
        value: The result, serialized and signed by the kernel. A store does not
            look into it.
        app: Name of the app's function.
        created: Seconds since the epoch.
        manifest: What the key was made of: part (``"function"``,
            ``"argument x"``) to digest in hexadecimal.
    """

    key: bytes
    value: bytes
    app: str = ""
    created: float = 0.0
    manifest: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckpointEntry:
    """What a store tells of a record without its value.

    Attributes:
        key: As in the record, like ``app``, ``created`` and ``manifest``.
        app: See there.
        created: See there.
        size: Length of the value in bytes.
        manifest: See there.
    """

    key: bytes
    app: str
    created: float
    size: int
    manifest: Mapping[str, str]


class CheckpointStore(ABC):
    """Keeps results across runs.

    Opened by ``jackfield_open_checkpoint``, in time independent of the number of
    records. Several stores, in one process or many, may be open on the same place;
    each sees what the others have put. ``get``, ``keys`` and ``scan`` may be called
    on several threads at once and during ``put_many``; ``put_many`` and ``delete``
    by one thread at a time. ``close`` comes last, on any thread. A process that is
    forked off must not use its parent's store, and the store must not let it.

    A record that is damaged is a miss: it is told once, by a ``CheckpointWarning``
    with the place, and costs no other record. Every method raises
    ``CheckpointError``, naming the place and the cause, if the store as a whole
    cannot be used: unreadable, locked, removed, closed.

    Two options mean the same for every store: with ``read_only = true`` nothing is
    created or changed, and a place that does not exist is an error; with ``sync =
    "power"`` records also survive a loss of power, where the default, ``"process"``,
    promises that for the death of the process alone.
    """

    @abstractmethod
    def get(self, key: bytes) -> CheckpointRecord | None:
        """Return the record of a key, or ``None``."""

    @abstractmethod
    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        """Store records, replacing those of the same key; the last one counts.

        When it returns, they survive the death of this process. If it raises, any
        of them may be stored, each as a whole or not at all, and what was stored
        before still is; the kernel decides what follows.
        """

    @abstractmethod
    def keys(self) -> Iterator[bytes]:
        """Give each key once, in no particular order.

        What is put or deleted meanwhile may be given or not.
        """

    def scan(self, app: str | None = None) -> Iterator[CheckpointEntry]:
        """Give each record without its value, as ``keys`` gives the keys.

        Override it where that is possible without reading the values, and the records
        of one app can be found without looking at all.

        Args:
            app: Only records of this app, the newest first, as far as the store knows
                which these are.
        """
        for key in self.keys():
            record = self.get(key)
            if record is not None and app in (None, record.app):
                size = len(record.value)
                yield CheckpointEntry(
                    key, record.app, record.created, size, record.manifest
                )

    @abstractmethod
    def delete(self, keys: Iterable[bytes]) -> None:
        """Forget the records of keys; unknown keys are no error.

        Disk space is given back when that is cheap in relation.
        """

    @abstractmethod
    def close(self) -> None:
        """Write what is not written and release the files. Twice is once."""


class Kernel(Protocol):
    """What a plugin may use of the kernel that it is told of.

    All of it may be used on any thread. The kernel that apps use, a
    ``jackfield.DataFlowKernel``, has more to it, which is for the scripts of users.
    """

    @property
    def run_dir(self) -> Path:
        """The run's own directory."""

    @property
    def executors(self) -> tuple[str, ...]:
        """Labels of the executors."""

    @property
    def closed(self) -> bool:
        """Whether the kernel has stopped taking tasks."""

    def summary(self) -> Summary:
        """Return what became of the tasks so far."""

    def register(self, plugin: object, name: str | None = None) -> str:
        """Register a plugin object; return its name."""

    def cleanup(self, *, wait: bool = True) -> None:
        """End the kernel."""
