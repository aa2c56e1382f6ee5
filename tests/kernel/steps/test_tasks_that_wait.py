"""Tasks that wait for tasks of their own kernel: an error, and never a hang."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0
TOLD = r"join_app"


@jf.python_app
def leaf(value: int) -> int:
    return value + 1


def by_result(future: jf.AppFuture[int]) -> Any:
    return future.result()


def by_exception(future: jf.AppFuture[int]) -> Any:
    return future.exception()


def by_await(future: jf.AppFuture[int]) -> Any:
    async def main() -> int:
        return await future

    return asyncio.run(main())


def by_asyncio_wait(future: jf.AppFuture[int]) -> Any:
    async def main() -> Any:
        return await asyncio.wait({future})

    return asyncio.run(main())


def by_wait(future: jf.AppFuture[int]) -> Any:
    return concurrent.futures.wait([future])


def by_as_completed(future: jf.AppFuture[int]) -> Any:
    return list(concurrent.futures.as_completed([future]))


WAYS = [by_result, by_exception, by_await, by_asyncio_wait, by_wait, by_as_completed]


@pytest.mark.parametrize("wait", WAYS)
@pytest.mark.parametrize("kind", [jf.python_app, jf.join_app])
def test_all_of_them_end_with_a_result_or_are_told_what_to_do(
    tmp_path: Path, kind: Any, wait: Callable[[Any], Any]
) -> None:
    """There are more of them than workers, so that all workers could be held."""
    told = threading.Event()

    @jf.python_app
    def late(value: int) -> int:
        # Nothing that is waited for has ended before the first wait was refused.
        assert told.wait(LIMIT_S)
        return value + 1

    @kind  # type: ignore[untyped-decorator]  # it is one of two
    def outer(value: int) -> Any:
        try:
            wait(late(value))
        finally:
            told.set()
        return leaf(value)

    table = {"plugin": "threads", "workers": 2}
    with jf.load(executors={"x": table}, run_dir=tmp_path / "r", internal_threads=2):
        errors = [future.exception(LIMIT_S) for future in map(outer, range(12))]

    for error in filter(None, errors):
        assert TOLD in str(error)
    assert any(errors)


def test_a_task_may_wait_for_a_time(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app
    def outer() -> int:
        return leaf(1).result(LIMIT_S)

    assert outer().result(LIMIT_S) == 2


def test_a_task_may_wait_for_a_task_of_another_kernel(tmp_path: Path) -> None:
    other = jf.DataFlowKernel(jf.Config(run_dir=tmp_path / "other"))
    try:
        with jf.load(run_dir=tmp_path / "loaded") as kernel:
            future = kernel.submit(lambda: other.submit(abs, -3).result())

            assert future.result(LIMIT_S) == 3
    finally:
        other.cleanup()


def test_a_thread_of_a_task_and_a_done_callback_may_wait(
    kernel: jf.DataFlowKernel,
) -> None:
    def outer() -> int:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: leaf(1).result()).result(LIMIT_S)

    assert kernel.submit(outer).result(LIMIT_S) == 2


@pytest.mark.parametrize("plugin", ["processes", "adapter"])
def test_a_task_in_another_process_is_told_what_to_do(
    tmp_path: Path, plugin: str
) -> None:
    def outer() -> Any:
        import jackfield as jf

        @jf.python_app
        def inner() -> int:
            return 1

        return inner().result()

    table: dict[str, Any] = {"plugin": plugin}
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        if plugin == "adapter":
            table["executor"] = pool
        with jf.load(executors={"x": table}, run_dir=tmp_path / "r") as kernel:
            error = kernel.submit(outer).exception(LIMIT_S)
            assert kernel.submit(os.getpid).result(LIMIT_S) != os.getpid()

    assert isinstance(error, jf.NoDataFlowKernelError)
    assert TOLD in str(error)
