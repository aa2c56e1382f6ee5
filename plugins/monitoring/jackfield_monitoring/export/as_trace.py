"""Writes a trace for Perfetto (ui.perfetto.dev) and Chrome: the run over time.

The form is the Trace Event Format. Each executor on a machine is a process of
the trace, each worker a thread, each attempt a slice; transfers are slices of a process
of their own, and what executors had to do is a counter. Times are microseconds since
the run began.
"""

from __future__ import annotations

import gzip
import json
from typing import IO, TYPE_CHECKING, Any, Final

from jackfield_monitoring.export.said import ATTEMPT_SAID, OF_ATTEMPT, before
from jackfield_monitoring.store.schema import STATES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jackfield_monitoring.store.reader import Store

LOADS: Final = 0
"""The process of the trace that has the counters; executors follow."""

TRANSFERS: Final = 1

_ATTEMPTS: Final = f"""
SELECT
    attempt.id, coalesce(app.name, ''), executor.label, coalesce(worker, 0),
    coalesce(began, launched), coalesce(attempt.ended, reported), attempt.task,
    attempt.n, attempt.state, call, error.kind, coalesce({ATTEMPT_SAID}, shape),
    attempt.executor, launched
FROM attempt
LEFT JOIN app ON app.id = attempt.app
LEFT JOIN executor ON executor.id = attempt.executor
{OF_ATTEMPT}
WHERE (attempt.id) > (?) AND NOT (attempt.state = 9 AND began IS NULL)
ORDER BY attempt.id LIMIT ?
"""  # noqa: S608  (constants)
"""One that was cancelled (9), and of which no worker has told, may never have run."""

_TRANSFERS: Final = """
SELECT id, url, way, state, attempts, moved, began, ended, task, error FROM transfer
WHERE (id) > (?) ORDER BY id LIMIT ?
"""


def write(store: Store, path: Path, *, compressed: bool) -> None:
    """Write the trace, an event a line; with gzip if it is to be compressed."""
    opener = gzip.open if compressed else open
    file: IO[str]
    with opener(path, "wt", encoding="utf-8") as file:
        file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
        separator = ""
        for event in _events(store):
            file.write(separator + json.dumps(event))
            separator = ",\n"
        run = store.run()
        about = {"run": run.uuid, "began": run.wall / 1e6, "command": list(run.argv)}
        file.write(f'\n], "otherData": {json.dumps(about)}}}\n')


def _events(store: Store) -> Iterator[dict[str, Any]]:
    run = store.run()
    end = run.ended or run.beat
    places = _Places(store)
    yield from places.names()
    for page in store.pages(f"{before(store)}{_ATTEMPTS}", 1):
        for row in page:
            yield from _attempt(row, run.monotonic, places)
    for page in store.pages(_TRANSFERS, 1):
        for row in page:
            yield from _transfer(row, run.monotonic, end)
    labels = {one.id: one.label for one in store.executors()}
    for sample in store.samples():
        yield {
            "ph": "C", "name": labels.get(sample.executor, ""), "pid": LOADS,
            "ts": sample.t - run.monotonic, "args": {"unfinished": sample.unfinished},
        }  # fmt: skip
    for gap in store.gaps():
        yield {
            "ph": "i", "s": "g", "name": f"{gap.lost} records lost", "pid": LOADS,
            "tid": 0, "ts": gap.t - run.monotonic, "args": {"reason": gap.reason},
        }  # fmt: skip


class _Places:
    """Gives processes and threads of the trace to executors, machines and workers."""

    def __init__(self, store: Store) -> None:
        self._workers = store.workers()
        self._labels = {one.id: one.label for one in store.executors()}
        self._processes: dict[tuple[int, str], int] = {}
        for worker in self._workers:
            self._process(worker.executor, worker.host)
        # Attempts of which no worker is known stand by their executor.
        for executor in self._labels:
            self._process(executor, "")
        self._process_of_worker = {
            one.id: self._process(one.executor, one.host) for one in self._workers
        }

    def _process(self, executor: int, host: str) -> int:
        number = len(self._processes) + TRANSFERS + 1
        return self._processes.setdefault((executor, host), number)

    def of(self, worker: int, executor: int) -> int:
        """Return the process of a worker, or of an executor where it is 0."""
        return self._process_of_worker.get(worker) or self._process(executor, "")

    def names(self) -> Iterator[dict[str, Any]]:
        """Give the events that name processes and threads."""
        yield _name("process_name", "loads", LOADS)
        yield _name("process_name", "transfers", TRANSFERS)
        for (executor, host), process in self._processes.items():
            label = self._labels.get(executor, "")
            yield _name(
                "process_name", f"{label} on {host}" if host else label, process
            )
        for worker in self._workers:
            process = self._process_of_worker[worker.id]
            yield _name("thread_name", worker.name, process, worker.id)


def _name(what: str, name: str, process: int, thread: int = 0) -> dict[str, Any]:
    return {
        "ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name},
    }  # fmt: skip


def _attempt(row: Any, origin: int, places: _Places) -> Iterator[dict[str, Any]]:
    """Give a slice; two events where no worker is known, because those overlap."""
    (
        number, app, label, worker, began, ended, task, n, state, call, kind, message,
        executor, launched,
    ) = row  # fmt: skip
    facts: dict[str, Any] = {
        "task": task, "attempt": n, "state": STATES[state].value,
        "waited_us": began - launched,
    }  # fmt: skip
    if call:
        facts["call"] = call
    if kind:
        facts["error"] = f"{kind}: {message}"
    common = {"name": app, "cat": label, "pid": places.of(worker, executor)}
    if worker:
        common |= {"ph": "X", "tid": worker, "ts": began - origin}
        yield {**common, "dur": ended - began, "args": facts}
    else:
        yield {**common, "ph": "b", "id": number, "ts": began - origin, "args": facts}
        yield {**common, "ph": "e", "id": number, "ts": ended - origin}


def _transfer(row: Any, origin: int, end: int) -> Iterator[dict[str, Any]]:
    """Give the beginning and the end of a transfer; others run beside it."""
    number, url, way, state, attempts, moved, began, ended, task, error = row
    common = {"cat": way, "name": url, "id": number, "pid": TRANSFERS}
    facts = {"state": state, "attempts": attempts, "moved": moved, "task": task}
    if error:
        facts["error"] = error
    yield {"ph": "b", **common, "ts": began - origin, "args": facts}
    yield {"ph": "e", **common, "ts": (end if ended is None else ended) - origin}
