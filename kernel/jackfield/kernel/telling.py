"""What the end of a run says on the terminal: failures that nobody saw, and Ctrl-C."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from jackfield.messages import say
from jackfield.states import TaskState, told_once

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jackfield.graph.route import ExecutorEntry
    from jackfield.graph.task import Task
    from jackfield.kernel.compose import Parts

INTERRUPTED: Final = "interrupted"
"""How what is said after a Ctrl-C begins."""

_SHOWN: Final = 5
"""Tasks that are named."""


def tell_failures(parts: Parts) -> None:
    """Say what has failed where nobody has asked for the result or for the error."""
    tally = parts.tally
    unseen = [line for one, line in tally.failed.items() if one not in tally.seen]
    if not unseen:
        return
    lines = told_once(filter(None, unseen), len(unseen))
    ended = ((state.value, tally.counts[state]) for state in TaskState)
    counts = ", ".join(f"{number} {name}" for name, number in ended if number)
    log = parts.run_dir / "jackfield.log"
    place = f"Log: {log}" if log.exists() else f"There is no log. Run: {parts.run_dir}"
    head = f"{len(unseen)} of {sum(tally.counts.values())} tasks failed"
    head += ", and nobody has asked for the result:"
    say("\n  ".join([head, *lines, f"In all: {counts}. {place}"]))


def tell_cut(parts: Parts, why: str) -> None:
    """Say what a run that is cut short waits for, and what comes of the rest."""
    tasks = list(parts.live.values())
    if not tasks:
        return
    grace = f"{parts.config.exit_grace:g} s (exit_grace)"
    noun = "task" if len(tasks) == 1 else "tasks"
    begin = f"{why} with {len(tasks)} unfinished {noun}"
    lines = [f"{begin}: those that run get {grace}, the others are cancelled."]
    running = _running(tasks)
    lines += [f"Waiting for {one}" for one in running[:_SHOWN]]
    if len(running) > _SHOWN:
        lines.append(f"... and {len(running) - _SHOWN} more")
    if running:
        again = " again" if why == INTERRUPTED else ""
        lines.append(f"Press Ctrl-C{again} to wait no longer.")
    promise = parts.keeper.made.promise if parts.keeper.made is not None else ""
    say("\n  ".join([*lines, promise] if promise else lines))


def _running(tasks: Iterable[Task]) -> list[str]:
    """Name the tasks that run: of those that an executor has, the first ones do."""
    taken: Counter[ExecutorEntry] = Counter()
    running: list[str] = []
    for task in tasks:
        entry = task.entry
        if task.state is TaskState.SUBMITTED and entry is not None:
            taken[entry] += 1
            if taken[entry] <= entry.workers:
                call = task.call_text() or task.spec.name
                running.append(f"{task.id} ({call}) on {entry.label!r}")
    return running
