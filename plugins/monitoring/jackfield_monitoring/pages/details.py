"""What the page of one task shows besides what the columns tell.

The names of the dictionaries here are those of the type ``Details`` of
``static/tasks.js``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jackfield_monitoring.pages.overview import readable, streams, transfer_told
from jackfield_monitoring.pages.tails import read_tail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield_monitoring.runs import Run
    from jackfield_monitoring.store.reader import Store
    from jackfield_monitoring.store.records import AttemptRow, TaskPage, TaskRow

LINKS_SHOWN: Final = 30

MEMO_WORDS: Final = {
    "hit": "an earlier result was used, the function was not called",
    "miss": "no earlier result could be used",
    "off": "no result was looked up: the app is not cached",
}


def details_of(run: Run, store: Store, task: int) -> dict[str, Any] | None:
    """Return all about a task; ``None`` if the history does not know it.

    Raises:
        StoreError: The history cannot be read.
    """
    page = store.task(task)
    if page is None:
        return None
    row = page.task
    return {
        "call": row.call,
        "said": _said(page, 0, row.error),
        "facts": [[name, text] for name, text in _facts(page) if text],
        "attempts": [_attempt(page, attempt) for attempt in page.attempts],
        "memo": [[name, text] for name, text in _memo(row) if text],
        "transfers": [transfer_told(one) for one in page.transfers],
        "tails": [
            read_tail(run.path, name, path)
            for name, path in streams(row.stdout, row.stderr)
        ],
    }


def _facts(page: TaskPage) -> Iterator[tuple[str, str]]:
    row = page.task
    yield "label", row.label
    yield "executor", readable(row.executor or "")
    if row.parent is not None:
        yield "submitted by", f"the join app of task {row.parent}"
    if page.children:
        yield "has submitted", _numbers(page.children)
    if row.origin is not None and row.origin != row.id:
        yield "failed because", f"task {row.origin} failed"
    yield "depends on", _numbers(page.depends_on)
    yield "needed by", _numbers(page.dependents)
    for one in page.reruns:
        yield f"run again ({one.n})", f"{one.reason}{'' if one.over else '; it runs'}"
    yield "stdout", row.stdout or ""
    yield "stderr", row.stderr or ""


def _numbers(rows: tuple[TaskRow, ...]) -> str:
    told = ", ".join(f"{row.id} ({row.app})" for row in rows[:LINKS_SHOWN])
    return f"{told}, …" if len(rows) > LINKS_SHOWN else told


def _memo(row: TaskRow) -> Iterator[tuple[str, str]]:
    if row.memo == "off":
        return
    yield "looked up", MEMO_WORDS[row.memo]
    yield "why not", row.refusal
    if row.key is not None:
        key = row.key.hex()
        yield "key", key
        if not row.refusal:
            yield "to see why", f"jackfield memo explain {key[:16]}"


def _attempt(page: TaskPage, attempt: AttemptRow) -> dict[str, Any]:
    retry = attempt.retry_in
    return {
        "n": attempt.n,
        "told": [[name, text] for name, text in _resources(attempt) if text],
        "error": _said(page, attempt.n, attempt.error),
        "retry": "" if retry is None else f"Tried again after {retry / 1e6:g} s.",
    }


def _said(page: TaskPage, n: int, error: int | None) -> str:
    """Return what an attempt said, or with 0 the task; ``""`` if it has not failed.

    Where that is not known, it is what all have in common that failed so: the message
    of another one has other numbers and paths in it.
    """
    group = next((one for one in page.failures if one.id == error), None)
    if group is None:
        return ""
    return f"{group.kind}: {page.said.get(n, group.shape)}"


def _resources(attempt: AttemptRow) -> Iterator[tuple[str, str]]:
    began = attempt.began
    if began is not None:
        yield "waited for a worker", f"{max(0, began - attempt.launched) / 1e6:.3f} s"
    if attempt.cpu is not None:
        yield "processor", f"{attempt.cpu / 1e6:.3f} s"
    if attempt.memory is not None:
        yield "memory", f"{attempt.memory / 1e6:,.1f} MB at the most"
