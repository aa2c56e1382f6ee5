"""What a page shows at once: all of a run but its single tasks.

The names of the dictionaries here are those of the type ``Overview`` of
``static/model.js``.
"""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jackfield import TaskState
from jackfield.errors import printable
from jackfield_monitoring.pages.columns import Ids
from jackfield_monitoring.pages.tails import read_tail
from jackfield_monitoring.store.bulk import transfer_totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jackfield_monitoring.runs import Run
    from jackfield_monitoring.store.reader import Store
    from jackfield_monitoring.store.records import (
        App,
        FailureGroup,
        RunFacts,
        TransferRow,
        Worker,
    )

STATES: Final = tuple(TaskState)

GROUPS_MOST: Final = 100
"""Groups of failures that a page shows."""

TAILS_MOST: Final = 20
"""Groups of failures, the largest ones, that are shown with what their task wrote."""

NO_STORE: Final = (
    "This run keeps no history of its tasks, so there is no more to see than what "
    "run.json tells. With\n\n    [monitors.db]\n    plugin = \"sqlite\"\n\nin "
    "jackfield.toml, or under `jackfield run`, the next one keeps it."
)  # fmt: skip


_OWN: Final = {"_internal": "kernel", "_transfers": "transfers"}
"""What the kernel's own executors are called on pages."""


def overview_of(run: Run, store: Store | None, problem: str = "") -> dict[str, Any]:
    """Return what a page shows of a run at once.

    Args:
        run: The run, as its record tells it.
        store: Its history, or ``None`` if it has none that can be read.
        problem: Why the history cannot be read; ``""`` if there is none.

    Raises:
        StoreError: The history cannot be read any more.
    """
    told: dict[str, Any] = {
        "name": name_of(run),
        "number": run.path.name,
        "state": run.state,
        "problem": problem,
        "advice": NO_STORE if store is None else "",
        "stored": store is not None,
        "began": run.began,
        "now": run.elapsed or 0.0,
        "facts": [[name, printable(text, "\n")] for name, text in _facts(run) if text],
        "counts": [run.counts.get(state.value, 0) for state in STATES],
        "failureLines": [printable(line) for line in run.failures],
        "apps": [], "executors": [], "workers": [], "tally": [],
        "edges": _edges([], 0),
        "failures": [], "moreFailures": False, "left": [],
        "transfers": {"n": 0, "moved": 0, "failed": 0, "shown": []},
        "gaps": {"lost": 0, "reasons": []},
    }  # fmt: skip
    if store is not None:
        told |= _of_store(run, store)
    return told


def ids_of(store: Store) -> Ids:
    """Return where a store's apps, executors and workers stand in an overview."""
    return Ids(
        (app.id for app in store.apps()),
        (executor.id for executor in store.executors()),
        (worker.id for worker in _in_order(store)),
    )


def name_of(run: Run) -> str:
    """Return what a run is called: what ran, and its number."""
    first, *others = run.argv or [""]
    if not first:
        return f"Run {run.path.name}"
    words = others if Path(first).name.startswith("python") and others else run.argv
    script = shlex.join([Path(words[0]).name, *words[1:]])
    return f"{printable(script[:100])} · run {run.path.name}"


# -- What run.json tells


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    program, code = run.table("program"), run.table("code")
    user, host = program.get("user"), program.get("host")
    pid = program.get("pid")
    who = f"{user}@{host}" if user and host else ""
    yield "by", f"{who}, process {pid}" if who and pid else who
    yield "command", shlex.join(run.argv)
    yield "in", str(program.get("cwd") or "")
    yield "directory", str(run.path.absolute())
    yield "id", run.id
    python = str(program.get("python") or "")
    versions = {k: v for k, v in run.table("versions").items() if isinstance(v, str)}
    yield "Python", " on ".join(filter(None, [python, program.get("platform")]))
    yield "Jackfield", versions.get("jackfield", "")
    dirty = ", with changes" if code.get("dirty") else ""
    commit = code.get("commit")
    yield "commit", f"{commit}{dirty} in {code.get('root')}" if commit else ""
    settings = run.table("settings")
    yield "settings", "\n".join(f"{k} = {v}" for k, v in sorted(settings.items()))
    yield "packages", ", ".join(f"{k} {v}" for k, v in sorted(versions.items()))


# -- What the store tells


def _of_store(run: Run, store: Store) -> dict[str, Any]:
    with store.snapshot():
        facts, apps, ids = store.run(), store.apps(), ids_of(store)
        cells = [cell for cell in store.matrix() if cell.app in ids.apps]
        groups = store.failures(GROUPS_MOST + 1)
        more = len(groups) > GROUPS_MOST
        groups = sorted(groups[:GROUPS_MOST], key=lambda group: _no_news(group) != "")
        gaps = store.gaps()
        counts = store.counts()
        return {
            **_time(run, facts),
            "counts": [counts.get(state, 0) for state in STATES],
            "apps": [{"name": app.name, "kind": app.kind} for app in apps],
            "executors": [
                {"label": one.label, "workers": one.workers or 0}
                for one in store.executors()
            ],
            "workers": _workers(store, facts, ids.executors),
            "tally": [
                [ids.apps[c.app], STATES.index(c.state), c.n, c.busy / 1e6]
                for c in cells
            ],
            "edges": _edges(
                [
                    (ids.apps[one.parent], ids.apps[one.child], one.n)
                    for one in store.app_edges()
                    if one.parent in ids.apps and one.child in ids.apps
                ],
                len(apps),
            ),
            "failures": [
                _failure(run, facts, apps, group, place < TAILS_MOST)
                for place, group in enumerate(groups)
            ],
            "moreFailures": more,
            "transfers": _transfers(store),
            "gaps": {
                "lost": sum(gap.lost for gap in gaps),
                "reasons": list(dict.fromkeys(gap.reason for gap in gaps))[:5],
            },
        }


def _edges(edges: Iterable[tuple[int, int, int]], apps: int) -> dict[str, list[int]]:
    """Pack which apps depend on which: there are as many as the square of the apps.

    In order, each pair as one number, of which only the step from the one before is
    there. ``model.js`` reads it.
    """
    steps, counts, last = [], [], 0
    for parent, child, n in sorted(edges):
        pair = parent * apps + child
        steps.append(pair - last)
        counts.append(n)
        last = pair
    return {"steps": steps, "n": counts}


def _time(run: Run, facts: RunFacts) -> dict[str, Any]:
    """Return when the run began and how long it took, on the clock of its history."""
    last = facts.beat if facts.ended is None else facts.ended
    taken = max(0, last - facts.monotonic) / 1e6
    if run.state == "running":
        taken = max(taken, time.time() - facts.wall / 1e6)
    return {"began": facts.wall / 1e6, "now": taken}


def readable(name: str) -> str:
    """Return what people are shown for an executor's label, or a worker's name.

    Bodies of join apps and ``future[key]`` run on threads of the kernel's own, whose
    label, ``_internal``, means nothing to those who look.
    """
    label, hyphen, number = name.rpartition("-")
    if not label:
        label, number = number, ""
    return f"{_OWN.get(label, label)}{hyphen}{number}"


def _workers(
    store: Store, facts: RunFacts, executors: Mapping[int, int]
) -> list[dict[str, Any]]:
    def seconds(when: int | None) -> float | None:
        return None if when is None else max(0, when - facts.monotonic) / 1e6

    return [
        {
            "name": readable(one.name),
            "executor": executors.get(one.executor, -1),
            "host": one.host or "",
            "pid": one.pid,
            "began": seconds(one.began),
            "ended": seconds(one.ended),
            "reason": one.reason,
        }
        for one in _in_order(store)
    ]


def _in_order(store: Store) -> list[Worker]:
    """Sort workers by their executors and names, in which numbers count as such.

    Those of the kernel's own executors, whose labels begin with ``_``, come last.
    """
    own = {one.id for one in store.executors() if one.label.startswith("_")}

    def key(one: Worker) -> tuple[bool, int, list[tuple[bool, int, str]], int]:
        parts = re.findall(r"[0-9]{1,9}|[^0-9]+", one.name)
        words = [
            (part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts
        ]
        return one.executor in own, one.executor, words, one.id

    return sorted(store.workers(), key=key)


def _no_news(group: FailureGroup) -> str:
    """Return the state of tasks that did not fail by themselves, or ``""``.

    They were not run, because others had failed, or somebody has cancelled them.
    """
    state = None if group.example is None else group.example.state
    known = (TaskState.DEPENDENCY_FAILED, TaskState.CANCELLED)
    return state.value if state is not None and state in known else ""


def _failure(
    run: Run, facts: RunFacts, apps: Sequence[App], group: FailureGroup, tails: bool
) -> dict[str, Any]:
    names = {app.id: app.name for app in apps}
    told = [names.get(app, "?") for app, _ in group.apps[:3]]
    example = group.example
    newest = group.newest
    return {
        "id": group.id,
        "kind": group.kind,
        "message": group.message,
        "shape": group.shape,
        "traceback": group.traceback,
        "n": group.attempts,
        "tasks": group.tasks,
        "first": None if example is None else example.id,
        "at": None if newest is None else facts.wall_of(newest),
        "app": ", ".join(told) + (", …" if len(group.apps) > len(told) else ""),
        "noNews": _no_news(group),
        "tails": [
            read_tail(run.path, f"{name} of task {example.id}", path)
            for name, path in streams(example.stdout, example.stderr)
        ]
        if example is not None and tails
        else [],
    }


def streams(stdout: str | None, stderr: str | None) -> Iterator[tuple[str, str]]:
    """Give the names and places of what a task wrote; once, if both are one file."""
    if stdout:
        yield ("stdout and stderr" if stderr == stdout else "stdout"), stdout
    if stderr and stderr != stdout:
        yield "stderr", stderr


def _transfers(store: Store) -> dict[str, Any]:
    totals = transfer_totals(store)
    rows = (store.transfers(after=one - 1, limit=1) for one in totals.shown)
    shown = [transfer_told(found[0]) for found in rows if found]
    return {
        "n": totals.n,
        "moved": totals.moved,
        "failed": totals.failed,
        "shown": shown,
    }


def transfer_told(row: TransferRow) -> dict[str, Any]:
    """Return what a page shows of a transfer."""
    took = None if row.ended is None or row.began is None else row.ended - row.began
    return {
        "task": row.task,
        "url": row.url,
        "way": row.way or "",
        "state": row.state or "",
        "attempts": row.attempts,
        "moved": row.moved,
        "size": row.size,
        "took": None if took is None else took / 1e6,
        "verified": row.verified or "",
        "error": row.error or "",
    }
