"""The contract of what tells observers of a run: the event stream.

The kernel notes what tasks do, as they do it, and no more: plain lists of tasks, times
and tuples. It hands them to an ``EventStream``, which a plugin makes when the first
observer is there (``jackfield_create_stream``). What becomes of the notes, on which
thread, and what is dropped if observers are slow, is the plugin's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from logging import Logger

    from jackfield.abc import Work
    from jackfield.events import Batch, Load, News, Ran
    from jackfield.staging.mover import Progress
    from jackfield.states import TaskEvent, TaskState, TransferEvent


class NotedApp(Protocol):
    """What a stream may read of an app.

    Attributes:
        name: The function's name.
        told_kind: What records have as the ``kind`` of its tasks.
    """

    name: str

    @property
    def told_kind(self) -> str: ...  # noqa: D102  (told above)


class NotedExecutor(Protocol):
    """What a stream may read of an executor.

    Attributes:
        label: Its label.
    """

    label: str


class NotedExtras(Protocol):
    """What a stream may read of what only some tasks have.

    Attributes:
        label: The user's ``label=``.
        streams: The values of ``stdout=`` and ``stderr=``, as the app gets them.
        key: The memo key, once it is known.
        memo: ``"hit"``, ``"miss"``, or ``"off"`` where no result was looked up.
        refusal: Why a stored result was not used, or ``""``.
    """

    label: str
    streams: Mapping[str, Any]
    key: bytes | None
    refusal: str

    @property
    def memo(self) -> str: ...  # noqa: D102  (told above)


class NotedTask(Protocol):
    """What a stream may read of a task. It is the kernel's own record, and lives.

    So its fields change while they are read, each in one step. A task that has ended
    keeps what is here, except for ``entry``. Compared by identity.

    Attributes:
        id: Its number.
        state: Where it is.
        attempt: The number of the present attempt, from 1.
        error: Why it has failed.
        reason: The same in one line, with the call, or ``""`` if it was not made.
        noted: When it was submitted; and, if there is any, by which task, and what it
            depends on, by number. Only the stream writes it once a task is registered.
        spec: Its app.
        entry: The executor of the present attempt.
        extras: What only some tasks have.
        first_failed: The number of the task that failed first, if it has failed: its
            own, or that of one that it depends on.
    """

    id: int
    state: TaskState
    attempt: int
    error: BaseException | None
    reason: str
    noted: float | tuple[float, int | None, tuple[int, ...]]

    @property
    def spec(self) -> NotedApp: ...  # noqa: D102  (told above)

    @property
    def entry(self) -> NotedExecutor | None: ...  # noqa: D102  (told above)

    @property
    def extras(self) -> NotedExtras | None: ...  # noqa: D102  (told above)

    @property
    def first_failed(self) -> int: ...  # noqa: D102  (told above)

    def call_text(self) -> str:
        """Return the call with its arguments shortened; ``""`` if that is not known."""
        ...

    def call_of(self, work: Work) -> str:
        """Return the call of a work of this task, which may have ended."""
        ...

    def noted_facts(self) -> tuple[float, int | None, tuple[int, ...]]:
        """Return ``noted`` in its longer form."""
        ...

    def launched_at(self) -> tuple[float, float | None] | None:
        """Return when the present attempt was launched, and reported if it was."""
        ...


class Notes:
    """What happened in one step of the kernel. Written by one thread, then handed over.

    Until a stream takes it there is an entry here for each task that has ended. Were
    each an object, the garbage collector would come more often, and look at all tasks;
    so ``ended`` is flat.

    Attributes:
        new: Tasks that were registered.
        edges: Tasks with those that they depend on.
        failed: Attempts that will be followed by another one: the task, its work, its
            executor, when it was launched, the error, seconds until the next.
        ended: Of each task that has ended: the task; the executor of its last attempt;
            its work where the call is to be shown, else ``None``; and where and when it
            ran (``Work.ran``).
        calls: Whether calls are to be shown.
        monotonic: When the step was over.
    """

    __slots__ = ("calls", "edges", "ended", "failed", "monotonic", "new")

    def __init__(self, *, calls: bool) -> None:
        self.new: list[NotedTask] = []
        self.edges: list[tuple[NotedTask, Iterable[NotedTask]]] = []
        self.failed: list[
            tuple[NotedTask, Work, NotedExecutor | None, float, BaseException, float]
        ] = []
        self.ended: list[Any] = []
        self.calls: bool = calls
        self.monotonic: float = 0.0

    def end(self, task: NotedTask, work: Work | None) -> None:
        """Note that a task has ended, before it forgets its work."""
        if work is None:
            self.ended += (task, task.entry, None, None)
        else:
            self.ended += (task, task.entry, work if self.calls else None, work.ran)

    def let_go(self) -> None:
        """Let go of what is only there to show calls."""
        self.ended[2::4] = [None] * (len(self.ended) // 4)

    def rows(
        self,
    ) -> Iterator[tuple[NotedTask, NotedExecutor | None, Work | None, Ran | None]]:
        """Give what was noted of each task that has ended."""
        ended = iter(self.ended)
        return zip(ended, ended, ended, ended, strict=True)

    def __len__(self) -> int:
        return len(self.new) + len(self.failed) + len(self.ended) // 4


class StreamContext(NamedTuple):
    """What a stream gets of its kernel.

    Attributes:
        deliver: Tells the observers: of tasks' events, of transfers', of the run's. To
            be called by one thread at a time. It does not raise, and takes as long as
            observers take.
        loads: Returns what each executor has to do.
        log: The log of the run.
        complete: Whether submitters are to wait where otherwise records would be lost.
    """

    deliver: Callable[
        [Sequence[TaskEvent], Sequence[TransferEvent], Batch | None], None
    ]
    loads: Callable[[], list[Load]]
    log: Logger
    complete: bool = False


class EventStream(ABC):
    """Takes notes from the threads on which tasks go on, and tells observers.

    Whoever calls a method that notes something holds up tasks. So these append to a
    queue and return, and never raise.

    Attributes:
        calls: Of how many more tasks the calls are to be shown; see ``Notes.calls``.
    """

    calls: int

    @abstractmethod
    def note(
        self, tasks: Iterable[NotedTask], error: BaseException | None = None
    ) -> None:
        """Note that tasks have just entered the state that they are in.

        Called on any thread. ``error`` is why they failed, or why their last attempt
        did.
        """

    @abstractmethod
    def note_transfer(
        self, number: int, url: str, direction: str, progress: Progress
    ) -> None:
        """Note how far a transfer is; see ``TransferEvent`` for the arguments.

        Called on the thread that moves the file, within the transfer's own task.
        """

    @abstractmethod
    def note_news(self, news: News) -> None:
        """Note what an executor tells. Called on any thread."""

    @abstractmethod
    def put(self, notes: Notes) -> None:
        """Take what was noted of a step. Called by one thread at a time."""

    def is_own_thread(self) -> bool:
        """Tell whether this thread delivers: it must not wait for itself to end."""
        return False

    @property
    @abstractmethod
    def crowded(self) -> bool:
        """Whether this thread, which is about to submit a task, is to wait."""

    @abstractmethod
    def wait_for_room(self) -> None:
        """Wait until it need not wait any more, or the stream ends."""

    @abstractmethod
    def start(self) -> None:
        """Start the thread. Called once."""

    @abstractmethod
    def stop(self, timeout: float | None) -> None:
        """Deliver what is left, and end.

        Args:
            timeout: Seconds to wait at most for an observer that does not return.
        """
