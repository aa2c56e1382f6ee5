"""What ``jackfield runs show --task`` prints: all about one task, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jackfield import TaskState
from jackfield.errors import printable
from jackfield_monitoring.pages.details import details_of
from jackfield_monitoring.pages.overview import readable
from jackfield_monitoring.store.reader import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield_monitoring.runs import Run
    from jackfield_monitoring.store.records import AttemptRow, FailureGroup

MARGIN = 16
"""Characters of the first column: more than the longest name that is in it."""


def shown(run: Run, number: int) -> Iterator[str]:
    """Give the lines about a task.

    Raises:
        ClickException: There is no such task, or no history that can be read.
    """
    try:
        with Store(run.path) as store, store.snapshot():
            page, told = store.task(number), details_of(run, store, number)
    except StoreError as error:
        raise click.ClickException(printable(str(error))) from error
    if page is None or told is None:
        raise click.ClickException(
            f"The history of run {run.path.name} has no task {number}."
        )
    task = page.task
    bad = TaskState.FAILED, TaskState.DEPENDENCY_FAILED
    colour = "red" if task.state in bad else None
    state = click.style(task.state.value, fg=colour)
    yield f"Task {number} ({printable(task.app)}) of run {run.path.name}: {state}"
    last = page.attempts[-1] if page.attempts else None
    if last is None or last.error is None:  # else it says the same
        yield from _line("said", told["said"])
    yield from _line("call", told["call"])
    for name, text in told["facts"]:
        yield from _line(name, text)
    for attempt, facts in zip(page.attempts, told["attempts"], strict=True):
        yield from _line(f"attempt {attempt.n}", _ran(attempt))
        took = ", ".join(f"{name} {text}" for name, text in facts["told"])
        yield from _line("", took)
        yield from _line("", facts["error"])
        yield from _line("", facts["retry"])
    for group in page.failures:
        yield from _traceback(group, number)


def _line(name: str, text: str) -> Iterator[str]:
    if text:
        yield f"  {name:{MARGIN}}{printable(text)}"


def _ran(attempt: AttemptRow) -> str:
    began, ended = attempt.began, attempt.ended
    if began is None and attempt.state is TaskState.CANCELLED:
        return "cancelled; no worker is known to have begun it"
    if began is None or ended is None:
        began, ended = attempt.launched, attempt.reported
    where = f" on {readable(attempt.worker)}" if attempt.worker else ""
    word = "failed" if attempt.state is TaskState.FAILED else attempt.state.value
    return f"{word} after {max(0, ended - began) / 1e6:.3f} s{where}"


def _traceback(group: FailureGroup, number: int) -> Iterator[str]:
    if not group.traceback:
        return
    first = None if group.example is None else group.example.id
    alone = group.attempts == 1 or first in (None, number)
    yield "" if alone else f"\nOf task {first}, the first that failed so:"
    for line in group.traceback.splitlines():
        yield printable(line)
