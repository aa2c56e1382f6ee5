"""What type checkers say of the public API. Never run, only checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, assert_type

import jackfield as jf


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
