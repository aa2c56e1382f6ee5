"""Columns hold what was read, whatever the numbers are."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jackfield_monitoring.pages.columns import (
    FINENESS,
    NONE,
    Ids,
    coarse_unit,
    pack,
    unit_for,
)
from jackfield_monitoring.store.bulk import Bulk, count_of_edges, first_open, read_bulk
from jackfield_monitoring.store.reader import Store

TIMES = st.lists(st.integers(0, 2**45), max_size=30)


def unpack(data: bytes) -> tuple[dict[str, object], dict[str, dict[str, list[int]]]]:
    """Read columns as the page does."""
    length = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + length])
    at = 4 + length
    tables: dict[str, dict[str, list[int]]] = {}
    for table in head["tables"]:
        rows = table["rows"]
        columns = tables[table["name"]] = {}
        for name, near in table["columns"]:
            planes = [data[at + i * rows : at + (i + 1) * rows] for i in range(4)]
            values = [int.from_bytes(four, "little") for four in zip(*planes)]
            if near is not None:
                before = 0
                for row, value in enumerate(values):
                    base = columns[near][row] if near else before
                    before = (base + ((value >> 1) ^ -(value & 1))) & NONE
                    values[row] = before
            columns[name] = values
            at += 4 * rows
    assert at == len(data)
    return head, tables


def bulk(began: list[int], ended: list[int]) -> Bulk:
    n = len(began)
    numbers = array("q", range(n))
    known = array("q", [1] * n)
    tasks = {"id": numbers, "app": known, "state": known, "error": known}
    tasks["submitted"] = array("q", began)
    attempts = {"task": numbers, "executor": known, "worker": array("q", [-1] * n)}
    attempts |= {"state": known, "error": known}
    attempts |= {"began": array("q", began), "ended": array("q", ended)}
    return Bulk(tasks, attempts, {"child": numbers, "parent": known})


@given(TIMES, st.booleans())
def test_times_come_back_in_units(began: list[int], small: bool) -> None:
    ids, ended = Ids([1], [1], [1]), [time + 7_000 for time in began]

    data = pack(bulk(began, ended), ids, first=0, origin=0, unit=10_000, small=small)

    head, tables = unpack(data)
    expected = [min(time // 10_000, NONE - 1) for time in began]
    assert head["unit"] == 10_000
    assert tables["tasks"]["submitted"] == expected
    assert tables["attempts"]["began"] == expected
    assert tables["attempts"]["worker"] == [NONE] * len(began)
    assert tables["tasks"]["id"] == list(range(len(began)))


def test_unknown_times_stay_unknown_and_earlier_ones_are_the_beginning() -> None:
    ids = Ids([1], [1], [1])

    data = pack(bulk([-1, 50, 200], [-1, 60, 300]), ids, first=0, origin=100, unit=1)

    assert unpack(data)[1]["tasks"]["submitted"] == [NONE, 0, 100]


def test_units_fit_every_run() -> None:
    month, second = 30 * 86_400 * 1_000_000, 1_000_000

    assert unit_for(second) == 1
    assert month // unit_for(month) < NONE
    assert month // coarse_unit(month, [1]) < NONE
    assert coarse_unit(second, [5 * second] * 3) == 5 * second // FINENESS


def test_a_part_begins_at_the_task_that_is_asked_for(
    made_up: Callable[..., Path],
) -> None:
    run = made_up(tasks=300, depending=1.0, unfinished=20)

    with Store(run) as store:
        whole, part = read_bulk(store), read_bulk(store, first=250)
        assert first_open(store) == 280
        assert count_of_edges(store) == len(whole.edges["child"]) > 0
        assert len(read_bulk(store, most_edges=1).edges["child"]) == 0

    assert list(part.tasks["id"]) == list(range(250, 300))
    assert list(part.attempts["task"]) == [
        one for one in whole.attempts["task"] if one >= 250
    ]
    assert list(part.edges["child"]) == [
        one for one in whole.edges["child"] if one >= 250
    ]
