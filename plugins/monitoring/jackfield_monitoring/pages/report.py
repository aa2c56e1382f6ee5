"""Makes the report of a run: one file, which asks nobody for anything.

It can be sent, kept, and opened on a machine that has neither Jackfield nor a network.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from typing import TYPE_CHECKING, Any, Final

from jackfield_monitoring.pages import bundle
from jackfield_monitoring.pages.columns import coarse_unit, pack
from jackfield_monitoring.pages.details import details_of
from jackfield_monitoring.pages.overview import ids_of, overview_of
from jackfield_monitoring.store.bulk import count_of_edges, read_bulk

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield_monitoring.runs import Run
    from jackfield_monitoring.store.bulk import Bulk
    from jackfield_monitoring.store.reader import Store

EDGES_MOST: Final = 2_000_000
"""Dependencies between tasks beyond which a report has none of them."""

DETAILED_MOST: Final = 200
"""Tasks of which a report has all that is known."""

DETAILED_BYTES: Final = 600_000
"""Characters that these may take; packed, a tenth of it."""


SAID_CHARACTERS: Final = 1_000_000
"""Characters of what further failed tasks said; packed, a tenth of it."""

_GZIP: Final = 16 + zlib.MAX_WBITS
"""Tells zlib to write the form that browsers call gzip, without a time."""


def report_of(run: Run, store: Store | None, problem: str = "") -> str:
    """Return the report of a run, as the text of an HTML file.

    Args:
        run: The run.
        store: Its history, or ``None``: then the report has what ``run.json`` tells.
        problem: Why the history cannot be read; ``""`` if there is none.

    Raises:
        StoreError: The history cannot be read any more.
    """
    told = overview_of(run, store, problem)
    details: dict[int, Any] = {}
    said: dict[int, str] = {}
    said_from: int | None = None
    columns = b""
    if store is not None:
        with store.snapshot(), store.computing():
            bulk = read_bulk(store, most_edges=EDGES_MOST)
            details = _details(run, store, bulk)
            said = store.messages(SAID_CHARACTERS)
            columns = _columns(store, bulk)
            left = _left_out(store, bulk, details)
            rest = store.count_of_messages() - len(said)
            if store.tells_each:
                said_from = min(said) if rest else 0
            if rest:
                left.append(f"It leaves out what the first {rest:,} of these said.")
        told["left"] = left
    said = {task: text for task, text in said.items() if task not in details}
    # From ``saidFrom`` on, a task that is not in ``said`` said what its group says.
    data = {"overview": told, "details": details, "said": said, "saidFrom": said_from}
    overview = json.dumps(data, separators=(",", ":"))
    return _page(str(told["name"]), overview, columns)


def _columns(store: Store, bulk: Bulk) -> bytes:
    facts = store.run()
    began, ended = bulk.attempts["began"], bulk.attempts["ended"]
    last = max([facts.ended or facts.beat, *ended[-1:], max(ended, default=0)])
    took = (b - a for a, b in zip(began, ended, strict=True))
    unit = coarse_unit(last - facts.monotonic, took)
    return pack(bulk, ids_of(store), first=0, origin=facts.monotonic, unit=unit)


def _details(run: Run, store: Store, bulk: Bulk) -> dict[int, Any]:
    """Return all about the tasks that people ask for first.

    These are the tasks of each group of failures, the newest ones of each, and those
    that took longest.
    """
    found: dict[int, Any] = {}
    room = DETAILED_BYTES
    for number in _interesting(bulk):
        told = details_of(run, store, number)
        room -= len(json.dumps(told))
        if len(found) >= DETAILED_MOST or room < 0:
            break
        if told is not None:
            found[number] = told
    return found


def _interesting(bulk: Bulk) -> list[int]:
    by_error: dict[int, list[int]] = {}
    for number, error in zip(bulk.tasks["id"], bulk.tasks["error"], strict=True):
        if error:
            by_error.setdefault(error, []).append(number)
    failed = [
        number
        for place in range(10)
        for numbers in by_error.values()
        for number in (numbers[:1] if place == 0 else numbers[-place:][:1])
    ]
    took = [
        (ended - began, task)
        for began, ended, task in zip(
            bulk.attempts["began"], bulk.attempts["ended"], bulk.attempts["task"],
            strict=True,
        )
    ]  # fmt: skip
    took.sort(reverse=True)
    longest = [task for _, task in took[:DETAILED_MOST]]
    return list(dict.fromkeys([*failed, *longest, *bulk.tasks["id"][:DETAILED_MOST]]))


def _left_out(store: Store, bulk: Bulk, details: dict[int, Any]) -> list[str]:
    left = []
    if len(details) < len(bulk.tasks["id"]):
        left.append(
            f"This report has calls, outputs and resources of {len(details)} tasks: "
            f"those that failed, and those that took longest. `jackfield dashboard` "
            f"has them of all."
        )
    edges = count_of_edges(store)
    if edges > len(bulk.edges["child"]):
        left.append(f"It leaves out {edges:,} dependencies between single tasks.")
    return left


def _page(title: str, overview: str, columns: bytes) -> str:
    style, script = bundle.file("page.css").decode(), bundle.script("report.js")
    policy = (
        f"default-src 'none'; script-src {bundle.hash_of(script)}; "
        f"style-src {bundle.hash_of(style)}; img-src data:; base-uri 'none'; "
        f"form-action 'none'"
    )
    data = _packed(overview.encode())
    return bundle.frame(
        title,
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<style>{style}</style>",
        f'<script type="text/plain" id="overview">{data}</script>\n'
        f'<script type="text/plain" id="columns">{_packed(columns)}</script>\n'
        f'<script type="module">{script}</script>',
    )


def _packed(data: bytes) -> str:
    """Return bytes as text that can stand anywhere in a page."""
    if not data:
        return ""
    # Much of it is numbers whose low bytes are as good as random. For these zlib has a
    # strategy that makes them smaller than level 9 does, in half the time.
    packer = zlib.compressobj(8, zlib.DEFLATED, _GZIP, strategy=zlib.Z_FILTERED)
    return base64.b64encode(packer.compress(data) + packer.flush()).decode()


def write(path: Path, text: str) -> None:
    """Write a report so that nobody sees half of it, for the user alone.

    A device or a pipe (``/dev/stdout``) is written into, not replaced.

    Raises:
        OSError: It cannot be written.
    """
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8") as file:
            file.write(text)
        return
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
