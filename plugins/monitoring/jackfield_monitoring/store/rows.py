"""Makes rows of the store of what observers are told.

Names become numbers, seconds become microseconds, texts become harmless. What is known
of earlier batches is here too: the numbers, and each task's app and state, in five
bytes a task. It is always what the database holds: a batch changes it only when
its transaction is through (``keep``), and not at all when that failed (``undo``).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from itertools import chain
from math import log2
from typing import TYPE_CHECKING, Any, Final

from jackfield import TaskState
from jackfield_monitoring.cancelled import is_cancelled
from jackfield_monitoring.store import texts
from jackfield_monitoring.store.schema import (
    BUCKETS_PER_DOUBLING,
    INDEX_OF_STATE,
    MEMO,
    STATES,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jackfield import TransferEvent
    from jackfield.events import (
        AttemptRecord,
        Batch,
        Failure,
        Load,
        TaskRecord,
        WorkerEvent,
    )

GROUPS_MOST: Final = 2_000
"""Groups of failures; further ones are counted in one group of others."""

OTHERS: Final = ("", "(further failures, of more kinds than are told apart)")

MESSAGES_MOST: Final = 10_000
"""Messages whose group is remembered, so that equal ones are looked at once."""

TEXTS_MOST: Final = 50_000_000
"""Characters of single failures' messages that are stored in all."""

GROWTH: Final = 65_536
"""Tasks by which the list of states grows."""

NONE: Final = -1
"""Stands for no number, as ``""`` does for no text; see ``writer``.

Python's module takes five times longer to hand ``None`` to SQLite than any number.
"""

_UNKNOWN: Final = 255
_SUCCEEDED: Final = INDEX_OF_STATE[TaskState.SUCCEEDED]
_FAILED: Final = INDEX_OF_STATE[TaskState.FAILED]
_NOT_RUN: Final = INDEX_OF_STATE[TaskState.DEPENDENCY_FAILED]
_CANCELLED: Final = INDEX_OF_STATE[TaskState.CANCELLED]
_FINAL: Final = frozenset(INDEX_OF_STATE[state] for state in STATES if state.final)
_STATE_BITS: Final = 4
_BUCKET_BITS: Final = 9
_WORKER: Final = 4
_BEGAN: Final = 6
"""Columns of ``Rows.attempts`` and ``Rows.plain_attempts``."""

_INDEX_OF_MEMO: Final = {word: index for index, word in enumerate(MEMO)}


def microseconds(seconds: float) -> int:
    """Return seconds as whole microseconds."""
    return int(seconds * 1e6)


class Numbers(dict[Any, int]):
    """Gives numbers to names, from 1, as they are looked up; can take back the newest.

    Attributes:
        new: The names that have got theirs since the last transaction.
    """

    def __init__(self) -> None:
        super().__init__()
        self.new: list[Any] = []

    def __missing__(self, name: Any) -> int:
        number = self[name] = len(self) + 1
        self.new.append(name)
        return number

    def keep(self) -> None:
        """Take the new names for stored."""
        self.new.clear()

    def undo(self) -> None:
        """Forget the new names."""
        for name in self.new:
            del self[name]
        self.new.clear()


class Rows:
    """The rows of one transaction, each list for one statement of ``writer``.

    Attributes:
        looked: Whether ``running`` takes the place of what ran before.
    """

    def __init__(self) -> None:
        self.tasks: list[tuple[Any, ...]] = []
        self.plain_tasks: list[tuple[Any, ...]] = []
        self.attempts: list[tuple[Any, ...]] = []
        self.reruns: list[tuple[int, int, int, str, int]] = []
        self.plain_attempts: list[tuple[int, ...]] = []
        self.edges: list[tuple[int, int]] = []
        self.app_edges: list[tuple[int, int, int]] = []
        self.apps: list[tuple[Any, ...]] = []
        self.executors: list[tuple[Any, ...]] = []
        self.executor_sizes: list[tuple[int, int]] = []
        self.workers: list[tuple[Any, ...]] = []
        self.worker_births: list[tuple[int, int]] = []
        self.worker_ends: list[tuple[int, str, int]] = []
        self.errors: list[tuple[Any, ...]] = []
        self.error_counts: list[tuple[int, int, int, int | None, int, int]] = []
        self.messages: list[tuple[int, str]] = []
        self.said: list[tuple[int, int, int]] = []
        self.tallies: list[tuple[int, int, int, int]] = []
        self.spreads: list[tuple[int, int, int, int]] = []
        self.transfers: list[tuple[Any, ...]] = []
        self.samples: list[tuple[int, int, int, int]] = []
        self.running: list[tuple[int, ...]] = []
        self.gaps: list[tuple[int, int, str]] = []
        self.looked: bool = False


class _Seen:
    """What one transaction finds out of a group of failures."""

    __slots__ = ("attempts", "first", "newest", "task", "tasks")

    def __init__(self, when: int) -> None:
        self.tasks: int = 0
        self.attempts: int = 0
        self.task: int | None = None
        self.first: int = when
        self.newest: int = when

    def add_task(self, number: int) -> None:
        self.tasks += 1
        if self.task is None:
            self.task = number


class RowMaker:
    """Makes the rows of batches, on the one thread that gets these."""

    def __init__(self) -> None:
        self._apps = Numbers()
        self._app_of_name: dict[str, int] = {}
        self._executors = Numbers()
        self._workers = Numbers()
        self._errors = Numbers()
        # Of kind and message: the group, and the message unless it is the group's.
        self._groups: dict[tuple[str, str], tuple[int, int | None]] = {}
        self._messages: int = 0  # that are stored
        self._characters: int = 0  # of these
        self._states = bytearray()
        self._app_of_task = array("i")
        self._begin()

    def _begin(self) -> None:
        self._rows = Rows()
        self._counts: defaultdict[int, int] = defaultdict(int)
        self._busy: defaultdict[int, int] = defaultdict(int)
        self._buckets: defaultdict[int, int] = defaultdict(int)
        self._failures: dict[int, _Seen] = {}
        self._examples: dict[tuple[str, str], tuple[str, str]] = {}

    def make(self, batches: Sequence[Batch]) -> Rows:
        """Return the rows of batches; ``keep`` or ``undo`` is to follow."""
        self._begin()
        rows = self._rows
        newest = {record[0]: record for batch in batches for record in batch.tasks}
        self._add_tasks(newest, microseconds(batches[-1].monotonic))
        for batch in batches:
            for event in batch.workers:
                self._add_worker_event(event)
            self._add_attempts(batch.attempts)
            rows.reruns += [
                (one.task, one.attempt, self._executors[one.executor],
                 texts.clean(one.reason), microseconds(one.monotonic))
                for one in batch.reruns
            ]  # fmt: skip
            if batch.loads:
                rows.running.clear()
                rows.looked = True
            for load in batch.loads:
                self._add_load(load, microseconds(batch.monotonic))
            if batch.lost:
                reason = "They came faster than observers took them."
                rows.gaps.append((microseconds(batch.monotonic), batch.lost, reason))
            rows.app_edges += [
                (self._named(parent), self._named(child), count)
                for (parent, child), count in batch.app_edges.items()
            ]
        self._add_transfers(event for batch in batches for event in batch.transfers)
        self._add_totals()
        self._add_names()
        return rows

    def keep(self) -> None:
        """Take what was made last for stored."""
        states = self._states
        for rows in (self._rows.plain_tasks, self._rows.tasks):
            for row in rows:
                states[row[0]] = row[2]
        for names in self._names():
            names.keep()
        messages = self._rows.messages
        self._messages += len(messages)
        self._characters += sum(len(text) for _, text in messages)
        self._begin()

    def undo(self) -> None:
        """Forget what was made last: its transaction has failed."""
        for row in self._rows.plain_tasks + self._rows.tasks:
            if self._states[row[0]] == _UNKNOWN:
                self._app_of_task[row[0]] = 0
        for names in self._names():
            names.undo()
        self._app_of_name.clear()
        self._groups.clear()
        self._begin()

    def _names(self) -> tuple[Numbers, ...]:
        return self._apps, self._executors, self._workers, self._errors

    # -- Tasks

    def _add_tasks(self, records: Mapping[int, TaskRecord], now: int) -> None:
        self._make_room(max(records, default=-1))
        add, edges, counts = self._rows.tasks.append, self._rows.edges, self._counts
        add_plain = self._rows.plain_tasks.append
        apps, executors, clean = self._apps, self._executors, texts.clean
        states, app_of_task, memos = self._states, self._app_of_task, _INDEX_OF_MEMO
        # What is the same as of the task before is not looked up again: to look up a
        # state calls a function of Python's, and an app takes a tuple.
        last_app = last_kind = last_state = None
        app_id = index = cell = NONE
        for (
            number, app, kind, label, call, state, attempts, submitted, ended, parent,
            depends_on, executor, memo, key, refusal, stdout, stderr, failure,
        ) in records.values():  # fmt: skip
            if app is not last_app or state is not last_state or kind is not last_kind:
                app_id, index = apps[app, kind], INDEX_OF_STATE[state]
                cell = app_id << _STATE_BITS | index
                last_app, last_kind, last_state = app, kind, state
            before = states[number]
            if before != index:
                counts[cell] += 1
                if before != _UNKNOWN:
                    counts[app_id << _STATE_BITS | before] -= 1
            app_of_task[number] = app_id
            if depends_on and (before == _UNKNOWN or index in _FINAL):
                edges += [(number, one) for one in depends_on]
            shown = clean(call) if call else ""
            begun = int(submitted * 1e6)
            if (
                ended is not None and executor is not None and failure is None
                and parent is None
                and not (label or key or refusal or stdout or stderr)
            ):  # fmt: skip
                add_plain((
                    number, app_id, index, attempts, shown, begun, int(ended * 1e6),
                    executors[executor], memos[memo],
                ))  # fmt: skip
                continue
            error = origin = NONE
            if failure is not None:
                error, message = self._error_of(failure)
                origin = NONE if failure.origin is None else failure.origin
                if index in _FINAL and before not in _FINAL:
                    self._seen(error, ended, now).add_task(number)
                # Of a task that was not run, ``origin`` tells more than its message.
                if message is not None and index != _NOT_RUN:
                    self._rows.said.append((number, 0, message))
            add((
                number, app_id, index, attempts, shown, begun,
                NONE if ended is None else int(ended * 1e6),
                NONE if executor is None else executors[executor], memos[memo],
                NONE if parent is None else parent, clean(label), key or "",
                clean(refusal), texts.path(stdout or ""), texts.path(stderr or ""),
                error, origin,
            ))  # fmt: skip

    def _make_room(self, number: int) -> None:
        """Let there be a state and an app for each task up to a number."""
        missing = number + 1 - len(self._states)
        if missing > 0:
            missing += GROWTH
            self._states += bytes([_UNKNOWN]) * missing
            self._app_of_task.extend(array("i", bytes(4)) * missing)

    def _named(self, app: str) -> int:
        """Return the number of an app of which only the name is told."""
        found = self._app_of_name.get(app)
        if found is None:
            kinds = ("python", "bash", "join", "internal", "transfer")
            numbers = (self._apps.get((app, kind)) for kind in kinds)
            found = next((number for number in numbers if number is not None), None)
            found = self._apps[app, "python"] if found is None else found
            self._app_of_name[app] = found
        return found

    # -- Attempts

    def _add_attempts(self, records: Sequence[AttemptRecord]) -> None:
        self._make_room(max([record.task for record in records], default=-1))
        add, busy, buckets = self._rows.attempts.append, self._busy, self._buckets
        add_plain = self._rows.plain_attempts.append
        executors, workers, app_of_task = (
            self._executors,
            self._workers,
            self._app_of_task,
        )
        for number, n, executor, launched, reported, place, failure, retry in records:
            app_id, executor_id = app_of_task[number], executors[executor]
            launched_us, reported_us = int(launched * 1e6), int(reported * 1e6)
            worker = began = ended = cpu_us = memory_b = error = NONE
            took, state = reported_us - launched_us, _SUCCEEDED
            if place is not None:
                name, host, pid, began_s, ended_s, cpu, memory = place
                worker = workers[executor_id, name, host, pid]
                began, ended = int(began_s * 1e6), int(ended_s * 1e6)
                took = ended - began
                cpu_us = NONE if cpu is None else int(cpu * 1e6)
                memory_b = NONE if memory is None else memory
            if failure is not None:
                (error, message), state = self._error_of(failure), _FAILED
                if is_cancelled(failure):
                    state = _CANCELLED
                self._seen(error, reported, reported_us).attempts += 1
                if message is not None and retry is not None:  # else it is the task's
                    self._rows.said.append((number, n, message))
            if app_id and (place is not None or state != _CANCELLED):
                cell = app_id << _STATE_BITS | state
                bucket = 0
                if took > 0:  # a clock may have gone back
                    busy[cell] += took
                    bucket = int(log2(took) * BUCKETS_PER_DOUBLING)
                buckets[cell << _BUCKET_BITS | bucket] += 1
            if worker != NONE and app_id and state == _SUCCEEDED and cpu_us == NONE:
                add_plain((
                    number, n, app_id, executor_id, worker, launched_us, began, ended,
                    reported_us,
                ))  # fmt: skip
                continue
            add((
                number, n, app_id, executor_id, worker, launched_us, began, ended,
                reported_us, state, error, NONE if retry is None else int(retry * 1e6),
                cpu_us, memory_b,
            ))  # fmt: skip

    # -- Failures

    def _error_of(self, failure: Failure) -> tuple[int, int | None]:
        """Return the number of the group that a failure belongs to, and its message's.

        The latter is ``None`` where the message is the one that the group has, and
        ``NONE`` where there is no room for it.
        """
        kind, message, traceback, _ = failure
        found = self._groups.get((kind, message))
        if found is not None:
            return found
        shown = texts.clean(message, texts.MESSAGE_MOST)
        own, group = shown, (texts.clean(kind), texts.shape(shown))
        if self._errors.get(group) is None and len(self._errors) >= GROUPS_MOST:
            group, shown, traceback = OTHERS, OTHERS[1], ""
        new = self._errors.get(group) is None
        if new:
            self._examples[group] = (shown, texts.traceback(traceback))
        text = None if new and shown is own else self._message(own)
        if len(self._groups) >= MESSAGES_MOST:
            self._groups.clear()
        found = self._groups[kind, message] = self._errors[group], text
        return found

    def _message(self, text: str) -> int:
        """Return the number of a message that is stored now."""
        rows = self._rows.messages
        if self._characters + len(rows) * texts.MESSAGE_MOST > TEXTS_MOST:
            return NONE
        rows.append((self._messages + len(rows) + 1, text))
        return rows[-1][0]

    def _seen(self, error: int, seconds: float | None, now: int) -> _Seen:
        when = now if seconds is None else microseconds(seconds)
        seen = self._failures.get(error)
        if seen is None:
            seen = self._failures[error] = _Seen(when)
        elif when > seen.newest:
            seen.newest = when
        elif when < seen.first:
            seen.first = when
        return seen

    # -- What comes more seldom

    def _add_worker_event(self, event: WorkerEvent) -> None:
        executor = self._executors[event.executor]
        worker = self._workers[executor, event.worker, event.host, event.pid]
        when = microseconds(event.monotonic)
        if event.alive:
            self._rows.worker_births.append((when, worker))
        else:
            row = (when, texts.clean(event.reason), worker)
            self._rows.worker_ends.append(row)

    def _add_load(self, load: Load, when: int) -> None:
        executor = self._executors[load.executor]
        self._rows.samples.append((when, executor, load.workers, load.unfinished))
        self._rows.executor_sizes.append((load.workers, executor))
        for task, n, _, name, host, pid, began in load.running or ():
            worker = self._workers[executor, name, host, pid] if name else NONE
            since = NONE if began is None else microseconds(began)
            row = (task, n, executor, worker, since, when)
            self._rows.running.append(row)

    def _add_transfers(self, events: Iterable[TransferEvent]) -> None:
        first: dict[int, TransferEvent] = {}
        last: dict[int, TransferEvent] = {}
        for event in events:
            first.setdefault(event.transfer, event)
            last[event.transfer] = event
        for number, event in last.items():
            when = microseconds(event.monotonic)
            over = event.stage in {"done", "failed", "cancelled"}
            self._rows.transfers.append((
                number, event.task, texts.clean(event.url, texts.PATH_MOST),
                event.direction, event.stage, event.attempt, event.moved, event.size,
                microseconds(first[number].monotonic), when if over else None,
                event.verified,
                None if event.error is None
                else texts.clean(event.error, texts.MESSAGE_MOST),
            ))  # fmt: skip

    # -- The end of a transaction

    def _add_totals(self) -> None:
        rows, counts, busy = self._rows, self._counts, self._busy
        states, buckets = (1 << _STATE_BITS) - 1, (1 << _BUCKET_BITS) - 1
        rows.tallies = [
            (cell >> _STATE_BITS, cell & states, counts.get(cell, 0), busy.get(cell, 0))
            for cell in {*counts, *busy}
        ]
        rows.spreads = [
            (one >> _BUCKET_BITS >> _STATE_BITS, one >> _BUCKET_BITS & states,
             one & buckets, count)
            for one, count in self._buckets.items()
        ]  # fmt: skip
        rows.error_counts = [
            (error, seen.tasks, seen.attempts, seen.task, seen.first, seen.newest)
            for error, seen in self._failures.items()
        ]

    def _add_names(self) -> None:
        """Add a row for each name that is new."""
        rows, clean = self._rows, texts.clean
        apps, executors, workers = self._apps, self._executors, self._workers
        rows.apps = [(apps[new], clean(new[0]), clean(new[1])) for new in apps.new]
        rows.executors = [(executors[new], clean(new)) for new in executors.new]
        if workers.new:
            births: dict[int, int] = {}
            for attempt in chain(rows.plain_attempts, rows.attempts):
                worker, began = attempt[_WORKER], attempt[_BEGAN]
                births[worker] = min(births.get(worker, began), began)
            told: dict[int, int] = {}
            for when, worker in rows.worker_births:
                told.setdefault(worker, when)
            births |= told
            for _, _, _, worker, began, seen in rows.running:
                births.setdefault(worker, seen if began == NONE else began)
            for new in workers.new:
                (executor, name, host, pid), number = new, workers[new]
                row = (
                    number,
                    executor,
                    clean(name),
                    clean(host),
                    pid,
                    births.get(number),
                )
                rows.workers.append(row)
        for group in self._errors.new:
            (kind, said), (message, traceback) = group, self._examples[group]
            rows.errors.append((self._errors[group], kind, message, said, traceback))
