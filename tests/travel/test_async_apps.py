"""``async def`` apps run to their end; generator functions are refused."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import AppTimeout

LIMIT_S = 60.0


@jf.python_app
async def later(x: int, plus: int = 1) -> int:
    await asyncio.sleep(0)
    return x + plus


@jf.python_app(retries=1)
async def fails(x: int) -> int:
    await asyncio.sleep(0)
    raise ValueError(f"after {x}")


@jf.bash_app
async def command(text: str, stdout: Any = None) -> str:
    await asyncio.sleep(0)
    return f"echo {text}"


@jf.join_app
async def both(x: int) -> Any:
    await asyncio.sleep(0)
    return [later(x), later(later(x))]


class Counter:
    def __init__(self, start: int) -> None:
        self.start = start

    @jf.python_app
    async def plus(self, x: int) -> int:
        return self.start + x

    async def __call__(self, x: int) -> int:
        return self.start * x


def test_they_run_to_their_end(load: Any, tmp_path: Any) -> None:
    with load():
        assert later(later(1), plus=5).result(LIMIT_S) == 7
        assert list(later.map([1, 2])) == [2, 3]
        assert Counter(10).plus(later(1)).result(LIMIT_S) == 12
        assert command("x", stdout=str(tmp_path / "out")).result(LIMIT_S) == 0
        assert both(1).result(LIMIT_S) == [2, 3]
    assert (tmp_path / "out").read_text() == "x\n"


def test_functions_that_are_submitted_do_too(load: Any) -> None:
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    with load() as kernel:
        assert kernel.submit(double, 2).result(LIMIT_S) == 4
        assert kernel.submit(functools.partial(double, x=3)).result(LIMIT_S) == 6
        assert kernel.submit(Counter(3), 4).result(LIMIT_S) == 12
        assert list(kernel.map(double, [1, 2])) == [2, 4]
        future: Any = jf.KernelExecutor(kernel).submit(double, 5)
        assert future.result(LIMIT_S) == 10


def test_their_failures_and_retries_are_those_of_any_app(load: Any) -> None:
    with load(), pytest.raises(ValueError, match="after 1"):
        fails(1).result(LIMIT_S)


def test_a_decorator_may_run_the_coroutine_itself(load: Any) -> None:
    def run(function: Any) -> Any:
        @functools.wraps(function)
        def runs(*args: Any) -> Any:
            return asyncio.run(function(*args))

        return runs

    @jf.python_app
    @run
    async def waits(x: int) -> int:
        return x

    with load():
        assert waits(3).result(LIMIT_S) == 3


def test_a_walltime_ends_one_that_waits_for_ever(load: Any) -> None:
    @jf.python_app(walltime=0.2)
    async def waits() -> None:
        await asyncio.Event().wait()

    with load(), pytest.raises(AppTimeout):
        waits().result(LIMIT_S)


def test_equal_cached_calls_run_once(kernel: jf.DataFlowKernel) -> None:
    runs: list[int] = []

    @jf.python_app(cache=True, ignore_for_cache=["seen"])
    async def cached(x: int, seen: Any) -> int:
        seen.append(x)
        return x

    seen = jf.quote(runs)
    assert cached(1, seen).result(LIMIT_S) == 1
    assert cached(1, seen).result(LIMIT_S) == 1
    assert runs == [1]


@pytest.mark.parametrize("decorator", [jf.python_app, jf.bash_app, jf.join_app])
def test_generator_functions_are_refused_where_they_are_decorated(
    decorator: Any,
) -> None:
    def numbers() -> Any:
        yield 1

    async def later_numbers() -> Any:
        yield 1

    for function in (numbers, later_numbers, functools.partial(numbers)):
        with pytest.raises(TypeError, match="numbers' is a generator function"):
            decorator(function)


def test_and_where_they_are_submitted(kernel: jf.DataFlowKernel) -> None:
    def numbers() -> Any:
        yield 1

    with pytest.raises(TypeError, match="'numbers' is a generator function"):
        kernel.submit(numbers)
