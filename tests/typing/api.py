"""What type checkers say of the public API. Never run, only checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, assert_type

import jackfield as jf

T = TypeVar("T")
K = TypeVar("K")


@jf.python_app
def count(path: str, scale: float = 1.0) -> int:
    return len(path)


@jf.python_app(cache=True, executors=["cpu"], retries=2, walltime=10)
def name(number: int) -> str:
    return str(number)


@jf.bash_app
def command(inputs: Any = (), stdout: Any = jf.AUTO_LOGNAME) -> str:
    return "true"


@jf.bash_app(retries=1)
def other_command() -> str:
    return "true"


@jf.join_app
def fan(n: int) -> Any:
    return [count("x") for _ in range(n)]


def apps() -> None:
    assert_type(count("a"), jf.AppFuture[int])
    assert_type(count("a").result(), int)
    assert_type(name(count("a")).result(1.0), str)
    assert_type(command(), jf.AppFuture[int])
    assert_type(other_command().exception(), BaseException | None)
    assert_type(fan(3).result(), Any)
    assert_type(count.map(["a"], window=3), Iterator[int])
    assert_type(count.options(retries=1)("a"), jf.AppFuture[int])
    assert_type(count.__wrapped__("a", 2.0), Any)
    assert_type(count("a").outputs, list[jf.DataFuture])


@jf.python_app
def first(items: list[T]) -> T:
    return items[0]


@jf.python_app(cache=True)
def pairs(items: dict[K, T], *, times: int = 1) -> list[tuple[K, T]]:
    return [*items.items()] * times


def generic_apps() -> None:
    assert_type(first([1]), jf.AppFuture[int])
    assert_type(first(["a"]).result(), str)
    assert_type(first([[1]]).result(), list[int])
    assert_type(pairs({1: "a"}, times=2).result(), list[tuple[int, str]])
    assert_type(first.options(retries=1)([1.5]).result(), float)
    number: int = first([1]).result()
    count(str(number))


@jf.python_app
async def later(number: int) -> str:
    return str(number)


@jf.python_app(retries=1)
async def even_later(number: int) -> bytes:
    return bytes(number)


@jf.bash_app
async def late_command() -> str:
    return "true"


def async_apps() -> None:
    assert_type(later(1), jf.AppFuture[str])
    assert_type(later(count("a")).result(), str)
    assert_type(even_later(1).result(), bytes)
    assert_type(late_command().result(), int)
    assert_type(later.map([1, 2]), Iterator[str])
    assert_type(later.options(retries=1)(1).result(), str)


def kernels(kernel: jf.DataFlowKernel) -> None:
    assert_type(kernel.submit(len, "abc"), jf.AppFuture[int])
    assert_type(kernel.map(len, ["abc"]), Iterator[int])
    assert_type(jf.KernelExecutor(kernel).submit(len, "abc"), jf.AppFuture[int])
    with jf.load({"retries": 1}) as loaded:
        assert_type(loaded, jf.DataFlowKernel)
    assert_type(jf.quote([1]), list[int])


async def waits() -> None:
    assert_type(await count("a"), int)


def mistakes() -> None:
    jf.python_app(retrys=1)  # type: ignore[call-overload]  # misspelt
    jf.bash_app(cache="yes")  # type: ignore[call-overload]  # of another type
    jf.join_app(executors=["cpu"])  # type: ignore[call-overload]  # none of a join's
    name.options(walltim=1)  # type: ignore[call-arg]  # misspelt


def decorates(function: Callable[[int], str]) -> None:
    assert_type(jf.python_app(function), jf.App[[int], str])
