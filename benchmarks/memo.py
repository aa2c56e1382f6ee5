"""Rows on cached calls: misses, hits, checkpoints, and a store of a million results."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peers import Ours, place
from rows import US, Bar, Case, Metric, Row, Watch, cases
from tasks import noop

OURS = "jackfield-threads"
N = 20_000
MILLION = 1_000_000
KNOWN = 20_000
"""Results of calls that really were made, among those of a large store."""
BATCH = 5_000

BUILD = Case("-", "memo.build", MILLION)

ROWS = [
    Row(
        "miss",
        (
            Case(OURS, "memo.misses", N, "cached, in memory"),
            Case(OURS, "threads.independent", N, "not cached"),
            Case("parsl-threads", "memo.misses", 5_000),
        ),
        (Metric(US, "memo, a miss, nothing stored, µs a task", bars=(Bar("more", 25, "not cached", 10),)),),
    ),
    Row(
        "hit",
        (
            Case(OURS, "memo.hits", N),
            Case("parsl-threads", "memo.hits", 5_000),
        ),
        (Metric(US, "memo, a hit in memory, µs a task", bars=(Bar("at most", 25, aim=15),)),),
    ),
    Row(
        "task-exit",
        (
            *cases("memo.misses", 50_000, "jackfield-sqlite", "jackfield-pickle"),
            Case(OURS, "threads.independent", 50_000, "not cached"),
            *cases("memo.misses", 50_000, "parsl-checkpoints"),
        ),
        (Metric(US, "checkpoints, each at its task's exit, µs a task", bars=(Bar("ratio", 10, "parsl-checkpoints", 25),)),),
    ),
    Row(
        "hit-of-million",
        (
            Case("jackfield-sqlite-million", "memo.stored_hits", KNOWN),
            Case("jackfield-pickle-million", "memo.stored_hits", KNOWN),
        ),
        (Metric(US, "memo, a hit in a store of a million, µs a task", bars=(Bar("at most", 120, aim=60),)),),
        prepare=BUILD,
    ),
    Row(
        "open-million",
        (
            Case("-", "memo.opening", MILLION, "sqlite", {"scheme": "sqlite"}),
            Case("-", "memo.opening", MILLION, "pickle", {"scheme": "pickle"}),
        ),
        (
            Metric("open_ms", "opening a store of a million, ms", bars=(Bar("at most", 100, aim=20),)),
            Metric("open_mb", "opening a store of a million, MB", bars=(Bar("at most", 20, aim=5),)),
            Metric("get_us", "a look-up in the store alone, µs"),
        ),
        prepare=BUILD,
    ),
]  # fmt: skip


def misses(system: Any, n: int) -> dict[str, float]:
    system.submit_cached(noop, -1).result()  # the function's identity, once
    watch = Watch()
    futures = [system.submit_cached(noop, i) for i in range(n)]
    assert sum(future.result() for future in futures) == n * (n - 1) // 2
    return watch.per_task(n)


def hits(system: Any, n: int) -> dict[str, float]:
    misses(system, n)
    figures = misses(system, n)
    if isinstance(system, Ours):
        assert system.hits() == n + 1, system.hits()
    return figures


def stored_hits(system: Ours, n: int) -> dict[str, float]:
    """Find results of an earlier process, each for the first time in this one."""
    figures = misses(system, n)
    assert system.hits() == n + 1, system.hits()
    return figures


# -- A store of a million -----------------------------------------------------------


def build(_: None, n: int) -> dict[str, float]:
    """Make both stores: results of real calls in the midst of n signed records."""
    from jackfield.plugins import PluginManager

    figures = {}
    for scheme in ("sqlite", "pickle"):
        url = f"{scheme}:///{place()}/{scheme}"
        known = min(KNOWN, n // 2)
        halves = [(n - known) // 2, n - known - (n - known) // 2]
        start = time.perf_counter()
        for number, half in enumerate(halves):
            store = PluginManager().open_checkpoint(url, {})
            for batch in _batches(number, half):
                store.put_many(batch)
            store.close()
            if number == 0:
                system = Ours("threads", 2, store=url)
                misses(system, known)
                system.close()
        figures[f"{scheme}_build_s"] = time.perf_counter() - start
    return figures


def _batches(number: int, count: int) -> Iterator[list[Any]]:
    """Give records like those of the calls, with keys of their own, signed."""
    import pickle
    from hashlib import blake2b

    from jackfield.abc import CheckpointRecord
    from jackfield_results.envelope import pack
    from jackfield_results.signing import signing_key

    key = signing_key({})
    manifest = {"function": "ab" * 16, "argument 'x'": "cd" * 16}
    names = (
        blake2b(b"%d %d" % (number, i), digest_size=32).digest() for i in range(count)
    )
    batch = []
    for i, name in enumerate(names, 1):
        value = pack(name, pickle.dumps(i), key)
        batch.append(CheckpointRecord(name, value, "noop", 1e9, manifest))
        if len(batch) == BATCH or i == count:
            yield batch
            batch = []


def opening(_: None, n: int, scheme: str) -> dict[str, float]:
    from itertools import islice

    from jackfield.plugins import PluginManager

    manager = PluginManager()
    manager.load("checkpoint", scheme)
    before = rss()
    start = time.perf_counter()
    store = manager.open_checkpoint(f"{scheme}:///{place()}/{scheme}", {})
    took = time.perf_counter() - start
    grown = rss() - before
    known = list(islice(store.keys(), n // 2, n // 2 + 10_000))
    begin = time.perf_counter()
    assert all(store.get(key) is not None for key in known)
    get = (time.perf_counter() - begin) / len(known)
    store.close()
    return {"open_ms": took * 1e3, "open_mb": grown / 1e6, "get_us": get * 1e6}


def rss() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
