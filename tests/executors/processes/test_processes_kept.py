"""Large results stay packed until somebody reads them, and nobody sees a difference."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.abc import Kept
from jackfield.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 300_000


class Counted:
    """Counts in each process how often it was unpickled there."""

    unpickled = 0

    def __init__(self, size: int = SIZE) -> None:
        self.data = bytes(size)

    def __reduce__(self) -> Any:
        return _count, (self.data,)


def _count(data: bytes) -> Counted:
    Counted.unpickled += 1
    return Counted(len(data))


class Unreadable:
    """Cannot be unpickled in the process with this number."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.data = bytes(SIZE)

    def __reduce__(self) -> Any:
        return _refuse, (self.pid, self.data)


def _refuse(pid: int, data: bytes) -> Unreadable:
    if os.getpid() == pid:
        raise ValueError("not here")
    return Unreadable(pid)


@dataclass
class Pair:
    left: Any
    right: Any


@jf.python_app(executors=["cpu"])
def counted() -> Counted:
    return Counted()


@jf.python_app(executors=["cpu"])
def unreadable(pid: int) -> Unreadable:
    return Unreadable(pid)


@jf.python_app(executors=["cpu"])
def numbers(count: int = SIZE) -> list[int]:
    return list(range(count))


@jf.python_app(executors=["cpu"])
def passed_on(value: Any) -> Any:
    return value


@jf.python_app(executors=["cpu"])
def kind(value: Any) -> str:
    return type(value).__name__


@jf.python_app(executors=["cpu"])
def length(*values: Any, **more: Any) -> int:
    found = 0
    for value in (*values, *more.values()):
        parts = value.values() if isinstance(value, dict) else value
        found += sum(len(one) if isinstance(one, list) else 1 for one in parts)
    return found


@jf.python_app(executors=["cpu"])
def appended(values: list[int]) -> int:
    values.append(1)
    return len(values)


@jf.python_app(executors=["here"])
def name_here(value: Any) -> str:
    return type(value).__name__


@jf.python_app(executors=["cpu"])
def same(first: Any, second: Any) -> bool:
    return first is second


@jf.python_app(executors=["cpu"])
def fields(pair: Pair) -> int:
    return len(pair.left) + len(pair.right)


@pytest.fixture(autouse=True)
def run(tmp_path: Path) -> Iterator[jf.DataFlowKernel]:
    executors = {
        "cpu": {"plugin": "processes", "workers": 2},
        "here": {"plugin": "threads", "workers": 2},
    }
    with jf.load({"executors": executors, "run_dir": str(tmp_path)}) as kernel:
        yield kernel


def test_the_driver_does_not_unpickle_what_it_hands_on() -> None:
    before = Counted.unpickled
    future = counted()
    for _ in range(3):
        future = passed_on(future)

    assert kind(future).result() == "Counted"
    assert Counted.unpickled == before
    assert isinstance(future.result(), Counted)
    assert Counted.unpickled == before + 1


def test_each_reader_gets_the_same_object() -> None:
    future = numbers()
    wait([future])
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: future.result(), range(8)))

    assert {id(one) for one in found} == {id(future.result())}
    assert found[0] == list(range(SIZE))


def test_what_was_read_goes_on_as_it_is_now() -> None:
    future = numbers(100_000)
    future.result().append(7)

    assert length(future.result()).result() == 100_001
    assert length(future).result() == 100_001


def test_a_task_changes_its_own_copy_only() -> None:
    future = numbers(100_000)

    assert [appended(future).result() for _ in range(3)] == [100_001] * 3
    assert len(future.result()) == 100_000


def test_a_result_is_unpacked_in_lists_and_dicts_of_arguments() -> None:
    future = numbers(100_000)

    assert length([future, future], {"a": future}).result() == 300_000
    assert length((1, future), more={"b": future, "c": 1}).result() == 200_002


def test_a_result_that_is_two_arguments_is_one_object() -> None:
    future = numbers(100_000)

    assert same(future, future).result()


def test_containers_of_other_kinds_get_values() -> None:
    future = numbers(100_000)

    assert fields(Pair(future, [1, future])).result() == 100_002


def test_a_task_on_another_executor_gets_the_value() -> None:
    future = numbers()

    assert name_here(future).result() == "list"
    assert name_here([future]).result() == "list"


def test_an_item_of_a_large_result() -> None:
    assert numbers()[5].result() == 5


def test_an_error_comes_where_the_result_is_read() -> None:
    future = unreadable(os.getpid())

    assert kind(future).result() == "Unreadable"
    with pytest.raises(SerializationError, match=r"unreadable.*not here"):
        future.result()
    error = future.exception()
    assert isinstance(error, SerializationError)
    assert error is future.exception()
    with pytest.raises(SerializationError, match=r"unreadable.*not here"):
        name_here(future).result()
    assert kind(future).result() == "Unreadable"


def test_asyncio_and_callbacks_get_the_value() -> None:
    import asyncio

    async def awaited() -> int:
        return len(await numbers())

    seen: list[int] = []
    called = threading.Event()
    future = numbers()

    def look(ended: Any) -> None:
        seen.append(len(ended.result()))
        called.set()

    future.add_done_callback(look)

    assert asyncio.run(awaited()) == SIZE
    assert called.wait(60)
    assert seen == [SIZE]


def test_a_future_tells_how_large_its_unread_result_is() -> None:
    future = numbers()
    wait([future])

    assert "bytes kept by 'cpu'" in repr(future)
    future.result()
    assert "returned list" in repr(future)


def test_a_cached_call_keeps_the_value(tmp_path: Path) -> None:
    calls = tmp_path / "calls"

    @jf.python_app(executors=["cpu"], cache=True)
    def cached(size: int, path: str) -> list[int]:
        with open(path, "a") as file:  # noqa: PTH123  (pickled with the function)
            file.write("x")
        return list(range(size))

    first = cached(100_000, str(calls))
    assert kind(first).result() == "list"
    first.result().append(1)
    assert len(cached(100_000, str(calls)).result()) == 100_000
    assert calls.read_text() == "x"


def test_a_large_result_is_an_argument_of_a_cached_call() -> None:
    @jf.python_app(executors=["cpu"], cache=True)
    def summed(values: list[int]) -> int:
        return sum(values)

    assert summed(numbers()).result() == sum(range(SIZE))
    assert summed(numbers()).result() == sum(range(SIZE))


def test_executors_report_large_results_kept(open_executor: Any) -> None:
    pool = open_executor()
    work = pool.submit(list, range(SIZE))
    pool.wait(work)

    _, kept = pool.outcomes[work]
    assert isinstance(kept, Kept)
    assert kept.executor == "cpu"
    assert kept.size > SIZE
    assert kept.fetch() == list(range(SIZE))
    assert kept.fetch() is kept.fetch()
