"""From what the tasks' path has noted to the records that observers get.

All of it runs on the event stream's thread, where no task waits for it. Records are
made when an observer first looks at them: for one that counts what comes, none is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from time import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from jackfield import clock
from jackfield.events import (
    AttemptRecord,
    Batch,
    Place,
    Rerun,
    TaskChange,
    TaskRecord,
    WorkerEvent,
)
from jackfield.files import KEPT_STDERR
from jackfield.messages import hide_url_secrets
from jackfield.states import FINAL, TaskState
from jackfield_stream.failures import Failures, reason_of

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield.events import Failure, Load, News, Ran
    from jackfield.states import TransferEvent
    from jackfield.stream import NotedExecutor, NotedTask, Notes

AGAIN_S: Final = 1.0
"""Seconds after which tasks that have not ended are looked at again."""

ROUND: Final = 10_000
"""Tasks that are looked at in one delivery; so a million take ten seconds."""

CALLS: Final = 1_000
"""Tasks of one delivery whose calls are shown; to show a call takes microseconds."""

T = TypeVar("T")

_new: Final = tuple.__new__
"""Makes a record of all its fields, in half the time that its class takes for it."""


class MadeOnUse(Sequence[T]):
    """A sequence whose items are made when somebody first asks for one.

    Args:
        make: Makes them.
    """

    def __init__(self, make: Callable[[], list[T]]) -> None:
        self._make: Callable[[], list[T]] | None = make
        self._made: list[T] = []

    def _items(self) -> list[T]:
        if self._make is not None:
            self._made = self._make()
            self._make = None  # with all that it refers to
        return self._made

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._items()[index]

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[T]:
        return iter(self._items())

    def __repr__(self) -> str:
        return repr(self._items())


class MadeAnew(Iterable[T]):
    """What can be looked at again, and is made each time.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], Iterator[T]]) -> None:
        self._make: Callable[[], Iterator[T]] = make

    def __iter__(self) -> Iterator[T]:
        return self._make()


class History:
    """Follows the tasks of a run, so that each is told when it has changed.

    ``loads`` returns what each executor has to do.
    """

    def __init__(self, loads: Callable[[], list[Load]]) -> None:
        self._loads = loads
        # Tasks that were told and have not ended, with the state that was seen last;
        # ``None`` where the next look is to tell them again in any case.
        self._alive: dict[NotedTask, TaskState | None] = {}
        self._round: Iterator[NotedTask] = iter(())
        self._looked: float = clock.monotonic()
        self._failures: Failures = Failures()
        self._busy: bool = False

    def batch(
        self,
        steps: Sequence[Notes],
        news: Sequence[News],
        transfers: Sequence[TransferEvent],
        lost: int,
        *,
        late: bool,
        last: bool,
    ) -> Batch | None:
        """Make a batch of what was noted; ``None`` if there is nothing to tell.

        ``late`` says that there is more than these steps. With ``last``, nothing is
        told that has not been noted.
        """
        now = clock.monotonic()
        edges = _edges(steps)
        told: list[NotedTask] = []
        dropped: list[NotedTask] = []
        # First the tasks of before: what is new is told in any case.
        alive = self._alive
        for notes in steps:
            for task in notes.ended[::4] if alive else ():
                alive.pop(task, None)
        loads = [] if last else self._look(now, told, dropped, late=late)
        for notes in steps:
            self._follow(notes, told)
        if not (steps or news or transfers or lost or told or dropped or loads):
            return None
        rows = _Rows(steps, told, dropped, self._failures, news)
        self._failures.allow()
        return Batch(
            wall=time(),
            monotonic=clock.monotonic(),
            tasks=MadeOnUse(rows.tasks),
            changes=MadeAnew(rows.changes),
            attempts=MadeOnUse(rows.attempts),
            workers=[one for one in news if isinstance(one, WorkerEvent)],
            reruns=[one for one in news if isinstance(one, Rerun)],
            transfers=transfers,
            loads=loads,
            app_edges=edges,
            lost=lost,
        )

    def _follow(self, notes: Notes, told: list[NotedTask]) -> None:
        """Note which tasks live; those that are new and live on are to be told."""
        alive = self._alive
        for task in notes.new:
            state = task.state
            if state in FINAL:
                continue
            if task in alive:  # it waits once more, for files
                alive[task] = None
            else:
                alive[task] = state
                told.append(task)
        for task, *_ in notes.failed:
            if task in alive:
                alive[task] = None

    def _look(
        self, now: float, told: list[NotedTask], dropped: list[NotedTask], *, late: bool
    ) -> list[Load]:
        """Find tasks that have changed, and loads, about once a second.

        ``told`` gets those that go on, ``dropped`` those whose end nobody has told.
        """
        loads: list[Load] = []
        if now - self._looked >= AGAIN_S:
            self._looked = now
            self._round = iter(list(self._alive))
            loads = self._loads()
            busy = any(load.unfinished for load in loads)
            if not busy and not self._busy:  # nor was it when that was told last
                loads = []
            self._busy = busy
        alive = self._alive
        for task in islice(self._round, ROUND):
            if task not in alive:
                continue
            before, state = alive[task], task.state
            if before is not state:
                alive[task] = state
                if state not in FINAL:  # else its end is in the queue
                    told.append(task)
            elif state in FINAL and not late:  # since a second: its end was dropped
                del alive[task]
                dropped.append(task)
        return loads


_PLACED: Final = len(Place._fields)


def _place(ran: Ran | None) -> Place | None:
    """Return where an attempt ran, if its executor has told that as it should."""
    try:
        if ran is None:
            return None
        return _new(Place, ran) if len(ran) == _PLACED else Place._make(ran)
    except TypeError:  # of another length, or no tuple
        return None


def _edges(steps: Sequence[Notes]) -> dict[tuple[str, str], int]:
    """Note in tasks what they depend on; return how often apps depend on each other."""
    edges: Counter[tuple[str, str]] = Counter()
    for notes in steps:
        for task, parents in notes.edges:
            distinct = dict.fromkeys(parents)
            app = task.spec.name
            for parent in distinct:
                edges[parent.spec.name, app] += 1
            submitted, parent_id, before = task.noted_facts()
            ids = tuple([parent.id for parent in distinct])
            task.noted = submitted, parent_id, before + ids
    return edges


class _Rows:
    """What one batch is made of."""

    def __init__(
        self,
        steps: Sequence[Notes],
        told: Sequence[NotedTask],
        dropped: Sequence[NotedTask],
        failures: Failures,
        news: Sequence[News],
    ) -> None:
        self._steps = steps
        self._told = told
        self._dropped = dropped
        self._failures = failures
        self._news = news

    def tasks(self) -> list[TaskRecord]:
        """Make the records of tasks: those that go on, then those that have ended."""
        records: list[TaskRecord] = []
        for number, task in enumerate(self._told):
            state = task.state
            if state not in FINAL:  # else its end is told now, or the next time
                call = task.call_text() if number < CALLS else ""
                records.append(_record(task, state, None, task.entry, call, None))
        now = clock.monotonic()
        for task in self._dropped:
            failure = self._failures.of(task)
            records.append(_record(task, task.state, now, None, "", failure))
        for notes in self._steps:
            for task, entry, work, _ in notes.rows():
                failure = None if task.error is None else self._failures.of(task)
                records.append(
                    _record(
                        task, task.state, notes.monotonic, entry,
                        _call(task, work), failure, work,
                    )
                )  # fmt: skip
        return records

    def changes(self) -> Iterator[TaskChange]:
        """Say the same as ``tasks`` in brief.

        One by one, so that none is there longer than somebody looks at it: the garbage
        collector has no work with them.
        """
        for task in self._told:
            state = task.state
            if state not in FINAL:
                yield _change(task, state, task.entry)
        for task in self._dropped:
            yield _change(task, task.state, None)
        for notes in self._steps:
            for task, entry in zip(notes.ended[::4], notes.ended[1::4], strict=True):
                yield _change(task, task.state, entry)

    def attempts(self) -> list[AttemptRecord]:
        """Make the records of attempts, in the order in which they ended."""
        records: list[AttemptRecord] = []
        for notes in self._steps:
            for task, work, entry, launched, error, delay in notes.failed:
                label = "" if entry is None else entry.label
                failure = self._failures.made(error, "")
                records.append(
                    AttemptRecord(
                        task.id, work.attempt, label, launched, notes.monotonic,
                        _place(work.ran),
                        failure, delay,
                    )
                )  # fmt: skip
            for task, entry, _, ran in notes.rows():
                launched_at = task.launched_at()
                if launched_at is None or entry is None:
                    continue
                launched, reported = launched_at
                # What fails after the function has returned, as a join's inner task
                # does, is no failure of the attempt; but a missing output is.
                fails = reported is None or task.state is TaskState.FAILED
                fails = fails and task.error is not None
                records.append(
                    _new(AttemptRecord, (
                        task.id, task.attempt, entry.label, launched,
                        notes.monotonic if reported is None else reported,
                        _place(ran),
                        self._failures.of(task) if fails else None, None,
                    ))
                )  # fmt: skip
        return records + [one for one in self._news if isinstance(one, AttemptRecord)]


def _change(
    task: NotedTask, state: TaskState, entry: NotedExecutor | None
) -> TaskChange:
    spec = task.spec
    label = None if entry is None else entry.label
    error = None if task.error is None else reason_of(task)
    return TaskChange._make((task.id, spec.name, spec.told_kind, state, label, error))


def _record(
    task: NotedTask,
    state: TaskState,
    ended: float | None,
    entry: NotedExecutor | None,
    call: str,
    failure: Failure | None,
    work: Work | None = None,
) -> TaskRecord:
    spec, extras = task.spec, task.extras
    submitted, parent, depends_on = task.noted_facts()
    kind = spec.told_kind
    attempts = task.attempt - (task.launched_at() is None)
    label = None if entry is None else entry.label
    if extras is None:
        rest: tuple[Any, ...] = ("", "off", None, "", None, None)
    else:
        out, err = (_path(extras.streams.get(one)) for one in ("stdout", "stderr"))
        if err is None and work is not None and state is TaskState.FAILED:
            err = work.kwargs.get(KEPT_STDERR)
        rest = (extras.label, extras.memo, extras.key, extras.refusal, out, err)
    own, memo, key, refusal, stdout, stderr = rest
    return _new(TaskRecord, (
        task.id, spec.name, kind, own, call, state, attempts, submitted, ended, parent,
        depends_on, label, memo, key, refusal, stdout, stderr, failure,
    ))  # fmt: skip


def _path(stream: Any) -> str | None:
    """Return the path of a ``stdout=`` or ``stderr=``, as the app gets it."""
    if isinstance(stream, tuple):
        stream = stream[0]
    if stream is None:
        return None
    return hide_url_secrets(str(getattr(stream, "filepath", stream)))


def _call(task: NotedTask, work: Work | None) -> str:
    if work is None:
        return task.call_text()  # it is known where the task has failed
    return task.call_of(work)
