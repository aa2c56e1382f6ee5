"""The contracts of plugins that give the kernel an object.

A plugin's hook answers with an object: ``jackfield_create_executor`` with an
``Executor``, ``jackfield_open_checkpoint`` with a ``CheckpointStore``, and
``jackfield_retry`` with a ``Retry``. ``hookspecs`` says when the hook is called; here
is what the object promises from then on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import local
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
)

from jackfield.kept import Kept as Kept  # noqa: PLC0414, TC001  (a contract of ours)

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield.events import Begin, Load, News, Ran, Running
    from jackfield.states import Summary

Measure: TypeAlias = Literal["times", "resources"]
"""What observers want to know of an attempt: when and where it ran, or also what it
took of processor time and memory."""


class Capabilities(NamedTuple):
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
        resources: What a task may ask for, and the most of it that one worker has: of
            ``cores``, ``memory`` in bytes, ``gpus``, or whatever name. What runs at the
            same time on one worker never takes more than that together. An executor of
            one machine counts as one worker here.
        survives_worker_death: When a worker dies, at most the task that it was running
            fails, and the executor goes on.
        priorities: Of the works that wait, those with the highest ``Work.priority``
            begin first, equal ones in order. Otherwise priorities are ignored.
    """

    isolated: bool = False
    cancels_running: bool = False
    walltime: Literal["none", "soft", "kill"] = "soft"
    shared_filesystem: bool = True
    resources: Mapping[str, float] = MappingProxyType({})
    survives_worker_death: bool = False
    priorities: bool = False


@dataclass(slots=True, eq=False, repr=False)
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
        kwargs: Its keyword arguments, with results in the place of futures too. Not to
            be changed.
        walltime: Seconds that the attempt may take, or ``None``. Only set for
            executors whose capability is ``"kill"``.
        resources: Resource name to amount, as the app declares.
        measure: What ``ran`` is to tell; ``None`` where nobody wants it.
        ran: Where and when it ran, as a ``Place`` or a plain tuple of its fields. An
            executor that knows fills it in before it reports the work, and one that
            does not leaves it as it is.
        begun: Where and when it was begun, if that is measured; noted by the executor
            for its own ``running``.
        kept: The ``Kept`` results among the arguments: as arguments, or as items of
            lists, tuples and dicts that are. An executor only gets those that it has
            reported itself; of all others it gets the values.
        once: Whether it is never to run again, so that no result may be ``Kept`` that
            is not ``at_hand``.
        priority: Works with a higher one begin first; see ``Capabilities.priorities``.
    """

    id: int
    attempt: int
    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    walltime: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    measure: Measure | None = None
    ran: Ran | None = None
    begun: Begin | None = None
    kept: tuple[Kept, ...] = ()
    once: bool = False
    priority: int = 0

    def __repr__(self) -> str:
        """Name task, app and attempt; never the arguments."""
        return f"<Work {self.id} ({self.name}) attempt {self.attempt}>"


Outcome: TypeAlias = tuple[Work, BaseException | None, Any]
"""``(work, error, value)``: ``error`` is ``None`` where the function returned.

The value may be ``Kept``.
"""

Report: TypeAlias = Callable[[Sequence[Outcome]], None]
"""How an executor tells the kernel what became of works. It never raises.

Call it on any thread, on several at once, and also from inside ``submit``. The kernel
may use the calling thread to launch the tasks that waited for these results, so a
report may take longer than the outcomes alone would need; users' callbacks do not run
there.

Report each work once. A second report of a work is dropped and counted, and so is one
that comes after ``cancel`` has returned True for it.
"""


Wake: TypeAlias = Callable[[], object]
"""Wakes an idle thread of an executor. Called on any thread, a user's too: it must
neither wait nor raise, and a Ctrl-C may break it off."""


class Thread(local):
    """What the kernel knows of a thread; a missing attribute would be slow to ask for.

    An executor whose workers are threads of the script's process sets ``work`` around
    the call of a work's function: ``jackfield_system.works.run_work`` does it. By this
    the kernel knows which task submits another, and refuses a wait that may never end.

    Attributes:
        work: The work that the thread runs, or ``None``.
    """

    work: Work | None = None


this_thread: Final = Thread()


def current_work() -> Work | None:
    """Return the work that this thread runs, if it runs one."""
    return this_thread.work


def _do_nothing(*_: object) -> None:
    pass


class ExecutorContext(NamedTuple):
    """What the kernel tells an executor when it starts it.

    Attributes:
        label: The name that apps and messages use for it.
        run_dir: The run's directory, which exists; an executor may make a
            directory of its label in it.
        report: Where outcomes go.
        tell: Takes news for observers: of workers that have come or gone, of tasks that
            run again for a ``Kept``, and of how that ended. To call it is up to the
            executor; on any thread, and it neither waits nor raises.
        changed: To be called when ``Executor.workers`` or ``Executor.health`` has
            become another, and when an elastic executor that wants no workers has got
            works. On any thread, but not with a lock held that ``load``, ``scale`` or
            one of those two takes; it never raises.
        attend: Offers an idle thread, if the executor likes, or with ``None`` withdraws
            that. The kernel may call the ``Wake`` in place of waking a thread of its
            own. Then a thread of the executor calls ``serve`` at once. Who begins
            something else while an offer may stand withdraws it first.
        serve: Works off what has come. A work that is submitted meanwhile, on the same
            thread, may be kept by that thread and run when ``serve`` has returned.
    """

    label: str
    run_dir: Path
    report: Report
    tell: Callable[[News], None] = _do_nothing
    changed: Callable[[], None] = _do_nothing
    attend: Callable[[Wake | None], None] = _do_nothing
    serve: Callable[[], None] = _do_nothing


class Health(NamedTuple):
    """Whether an executor has the workers that it wants.

    Attributes:
        state: ``"starting"``: it waits for its first worker. ``"ready"``: it runs
            works, or starts workers when there are any. ``"short"``: it has fewer
            workers than it wants. ``"lost"``: it has none, and waits no longer. It
            fails the works that it has, and those that it gets, with an
            ``ExecutorLostError``, until workers come after all. What others can run
            goes to them.
        reason: Why, in a sentence; empty for ``"ready"``.
    """

    state: Literal["starting", "ready", "short", "lost"] = "ready"
    reason: str = ""


READY: Final = Health()


class Executor(ABC):
    """Runs works: takes them in batches and reports them in batches.

    A plugin that has no use for batches returns any
    ``concurrent.futures.Executor`` instead; the kernel adapts it.

    ``start`` is called once, before anything else, on the thread that loads the kernel
    or adds the executor. ``submit`` and ``cancel`` may then be called on several
    threads at once. ``shutdown`` is called on any thread that is not one of the
    executor's own workers, because it has to wait for these; it may come from inside
    ``report``, on the thread that reports.

    What fails by no fault of the task's own, as when a worker or the whole pool has
    died, is reported as an ``ExecutorError`` with the executor's label. So a retry goes
    elsewhere. If it is an ``ExecutorBrokenError``, no further work comes that another
    executor can run.
    """

    capabilities: Capabilities = Capabilities()
    """Read after ``start``; constant from then on."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many works can run at once. Used to compare loads.

        Read after ``start``, and again after each ``ExecutorContext.changed``. With 0,
        the executor gets what no other one can run, and has to report that some time.
        """

    @property
    def health(self) -> Health:
        """Whether it has the workers that it wants.

        Read after each ``ExecutorContext.changed``.
        """
        return READY

    def load(self) -> Load | None:
        """Tell what there is to do, and between which bounds workers may be asked for.

        ``None``: it is not elastic, and ``scale`` does nothing. That is asked after
        ``start``, and stays so. Called on a thread of the kernel; it does not wait.
        """
        return None

    def scale(self, workers: int) -> None:
        """Ask for so many workers; returns at once.

        A number within the bounds of ``load``, as ``jackfield_scale`` has answered.
        More workers come when they can. If there are to be fewer, those go first that
        have nothing to do; one that runs works ends them first, and gets no more.
        Called on a thread of the kernel, in one thread at a time.
        """
        del workers

    @abstractmethod
    def start(self, context: ExecutorContext) -> None:
        """Make ready to take works.

        Workers may be started later, when there is something to do. If this raises,
        the kernel does not start, and shuts down the executors that had.
        """

    @abstractmethod
    def submit(self, batch: Sequence[Work]) -> None:
        """Take works, in order, without waiting for any of them.

        Called on a thread of the kernel, or on one of an executor's that is inside
        ``report`` or ``serve``; never on the user's own. Each work has to be reported
        sooner or later, also when its arguments cannot be pickled or its worker dies: a
        work that is not leaves a future pending for ever.

        An exception from here fails every work of the batch. So none of them may run
        then, nor be reported.
        """

    def cancel(self, work: Work) -> bool:
        """Keep a work from running, or stop it where ``cancels_running`` says so.

        Called on any thread, a user's too; it must not wait.

        Args:
            work: One that was submitted. It may have ended in the meantime.

        Returns:
            True if the work will not run, or is being stopped: a report of it is then
            dropped. False if it runs on or has ended: then it is reported as ever.
        """
        del work
        return False

    def running(self) -> Sequence[Running] | None:
        """Return what runs at this moment, as far as the executor knows.

        Called about once a second, by the thread that tells observers of the run, and
        only while there are some; so it may look, but not wait. Nothing has to be noted
        for it on the way of a task: what a worker has anyway, it can tell.

        Returns:
            A work for each worker that runs one, which may be told some seconds late if
            workers are far away; ``None`` if that is not known.
        """
        return None

    @abstractmethod
    def shutdown(self, *, grace: float | None = None) -> None:
        """End, and wait for the end. A second call does nothing more.

        When it returns, nothing is reported any more, and no process, no open file and
        no temporary file is left. A thread may be, if it runs a task that cannot be
        stopped.

        Args:
            grace: With ``None``, everything that was submitted runs to its end first.
                With a number, what has not begun is dropped, and what runs gets so many
                seconds and is then stopped, where that is possible.
        """


class LimitedCall(ABC):
    """Calls a function, and raises ``AppTimeout`` when it takes too long.

    For executors that cannot stop what runs; ``jackfield_create_walltime`` answers with
    a subclass. The kernel makes one for each attempt whose function does not have just
    this walltime, in the script's process; it is called, and maybe unpickled, where the
    function would be.

    Args:
        function: The function.
        name: The app's name, for the error.
        seconds: The walltime.
    """

    __slots__ = ("function", "name", "seconds")

    wraps_tasks: ClassVar[bool] = True
    """Says that ``function`` is what the task is about."""

    def __init__(self, function: Callable[..., Any], name: str, seconds: float) -> None:
        self.function: Callable[..., Any] = function
        self.name: str = name
        self.seconds: float = seconds

    @abstractmethod
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function on this thread, within its time."""


class Retry(NamedTuple):
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


class CheckpointRecord(NamedTuple):
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
    manifest: Mapping[str, str] = MappingProxyType({})


class CheckpointEntry(NamedTuple):
    """What a store tells of a record without its value.

    ``key``, ``app``, ``created`` and ``manifest`` are those of ``CheckpointRecord``.

    Attributes:
        size: Length of the value in bytes.
    """

    key: bytes
    app: str
    created: float
    size: int
    manifest: Mapping[str, str]


class CheckpointStore(ABC):
    """Keeps results across runs.

    ``jackfield_open_checkpoint`` makes it, in a time that does not depend on how many
    records there are. Several stores, in one process or in many, may be open on the
    same place; each sees what the others have put.

    *Threads.* ``get``, ``keys`` and ``scan`` may be called on several threads at once,
    also while another is in ``put_many``. Only one thread at a time is in ``put_many``
    or ``delete``. ``close`` is called last, on any thread. A process that is forked off
    must not use the store of its parent, and the store sees to it that it does not.

    *Errors.* A record that is damaged counts as one that is not there. A
    ``CheckpointWarning`` with the place says so once, and no other record is lost with
    it. If the store as a whole cannot be used (it is unreadable, locked, removed,
    closed), every method raises a ``CheckpointError`` with the place and the cause.

    *Options.* Two of them mean the same for every store. With ``read_only = true``
    nothing is created or changed, and a place that does not exist is an error. ``sync``
    is what records survive: the death of the process (``"process"``, the default), or
    a loss of power too (``"power"``).
    """

    @abstractmethod
    def get(self, key: bytes) -> CheckpointRecord | None:
        """Return the record of a key, or ``None``."""

    @abstractmethod
    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        """Store records, replacing those of the same key; the last one counts.

        When it returns, they survive the death of this process. If it raises, some of
        them may be stored and others not, but none in part, and nothing is lost that
        was stored before. The kernel decides whether it tries again.
        """

    @abstractmethod
    def keys(self) -> Iterator[bytes]:
        """Give each key once, in no particular order.

        A key that is put or deleted while this goes on may be among them or not.
        """

    def scan(self, app: str | None = None) -> Iterator[CheckpointEntry]:
        """Give each record without its value, as ``keys`` gives the keys.

        As it is, this reads every value to tell its length. Override it if the store
        can do without, or can find the records of one app without looking at the rest.

        Args:
            app: Only the records of this app; the newest first, if the store knows
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

        Their space on the disk need not be given back at once.
        """

    @abstractmethod
    def close(self) -> None:
        """Write what is left and close the files; a second call does nothing."""


class Command(ABC):
    """The function of a bash app's tasks: builds a command line, and runs it.

    It is pickled for executors whose workers are other processes.

    Attributes:
        function: The app's function, which returns the command line.
    """

    function: Callable[..., Any]

    @abstractmethod
    def __call__(
        self,
        /,
        *args: Any,
        stdout: Any = None,
        stderr: Any = None,
        walltime: float | None = None,
        outputs: Any = (),
        label: Any = None,
        **kwargs: Any,
    ) -> int:
        """Run the command line of a call where an executor runs the task; return 0.

        It has ended, with all that it started, when this returns or raises.

        Args:
            args: The call's arguments; ``kwargs`` has the others, and two of the
                kernel's own, which are named in ``jackfield.files``: ``CALLED_IN`` and
                ``KEPT_STDERR``.
            stdout: A path, to which is appended; a pair of path and mode; or ``None``.
            stderr: The same.
            walltime: Seconds after which it is to be killed, or ``None``.
            outputs: Files that it is to make.
            label: The call's label.
            kwargs: See ``args``.

        Raises:
            BashAppError: It cannot be run, or has failed.
            AppTimeout: The walltime is over.
        """

    def __jackfield_function__(self) -> tuple[str, Callable[..., Any]]:
        """See ``jackfield.memo_keys.StandsForFunction``."""
        return "bash", self.function


class Kernel(Protocol):
    """What a plugin may use of the kernel that it is told of.

    All of it may be used on any thread. The kernel that apps use, a
    ``jackfield.DataFlowKernel``, has more to it, which is for the scripts of users.
    """

    @property
    def run_dir(self) -> Path:
        """The run's own directory."""
        ...

    @property
    def executors(self) -> tuple[str, ...]:
        """Labels of the executors."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the kernel has stopped taking tasks."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Return the configuration: key as files write it to value, without secrets."""
        ...

    def summary(self) -> Summary:
        """Return what became of the tasks so far."""
        ...

    def register(self, plugin: object, name: str | None = None) -> str:
        """Register a plugin object; return its name."""
        ...

    def cleanup(self, *, wait: bool = True) -> None:
        """End the kernel."""
        ...
