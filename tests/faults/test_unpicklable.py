"""What cannot cross to a worker and back: named, and nobody else's trouble."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import RemoteError, SerializationError, TaskExitError

LIMIT_S = 20.0


def _pool() -> Any:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver"))


@pytest.fixture(params=["processes", "pool"], scope="module")
def isolated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[jf.DataFlowKernel]:
    """A kernel whose tasks run in processes: ours, or a standard pool's."""
    executor = (
        _pool() if request.param == "pool" else {"plugin": "processes", "workers": 2}
    )
    run_dir = tmp_path_factory.mktemp("runs")
    config = jf.Config(executors={"x": executor}, run_dir=run_dir)
    with jf.DataFlowKernel(config) as kernel:
        yield kernel
        assert kernel.submit(len, "alive").result(LIMIT_S) == 5


class TwoArguments(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class Holder:
    def __init__(self) -> None:
        self.parts = {"lock": threading.Lock()}


class ComesBackBroken:
    def __reduce__(self) -> Any:
        return int, ("x",)


def raise_two() -> None:
    raise TwoArguments("a", "b")


def raise_lock() -> None:
    raise ValueError("text", threading.Lock())


def exits() -> None:
    raise SystemExit(3)


def test_an_argument_is_named_with_the_way_to_the_trouble(
    isolated: jf.DataFlowKernel,
) -> None:
    def take(number: int, holder: Any) -> None:
        pass

    bystander = isolated.submit(len, "ab")
    with pytest.raises(SerializationError, match=r"argument 'holder'.*parts\['lock'\]"):
        isolated.submit(take, 1, Holder()).result(LIMIT_S)
    assert bystander.result(LIMIT_S) == 2


def test_a_function_is_named(isolated: jf.DataFlowKernel) -> None:
    lock = threading.Lock()

    with pytest.raises(SerializationError, match="its function"):
        isolated.submit(lambda: lock.locked() or None).result(LIMIT_S)


def test_a_result_that_cannot_be_pickled(isolated: jf.DataFlowKernel) -> None:
    with pytest.raises(SerializationError, match="its result"):
        isolated.submit(Holder).result(LIMIT_S)


def test_a_result_that_cannot_be_unpickled(isolated: jf.DataFlowKernel) -> None:
    with pytest.raises(SerializationError, match="its result"):
        isolated.submit(ComesBackBroken).result(LIMIT_S)


def test_an_exception_that_cannot_be_unpickled(isolated: jf.DataFlowKernel) -> None:
    with pytest.raises(RemoteError, match=r"(?s)TwoArguments: a and b.*raise_two"):
        isolated.submit(raise_two).result(LIMIT_S)


def test_an_exception_that_cannot_be_pickled(isolated: jf.DataFlowKernel) -> None:
    with pytest.raises(RemoteError, match="text"):
        isolated.submit(raise_lock).result(LIMIT_S)


def test_an_exit_ends_only_the_task(isolated: jf.DataFlowKernel) -> None:
    with pytest.raises(TaskExitError, match="SystemExit"):
        isolated.submit(exits).result(LIMIT_S)


def test_the_remote_traceback_is_shown(isolated: jf.DataFlowKernel) -> None:
    def inner() -> None:
        raise KeyError("deep")

    with pytest.raises(KeyError) as info:
        isolated.submit(inner).result(LIMIT_S)

    notes = "".join(getattr(info.value, "__notes__", [])) + str(info.value.__cause__)
    assert "inner" in notes


def test_functions_and_classes_go_by_value_or_name(
    isolated: jf.DataFlowKernel, tmp_path: Path
) -> None:
    offset = 10
    outer = isolated.submit(lambda x: [x + offset], 1)
    path = isolated.submit(str, isolated.submit(Path, tmp_path))

    assert isolated.submit(lambda xs: xs[0] + offset, outer).result(LIMIT_S) == 21
    assert path.result(LIMIT_S) == str(tmp_path)
