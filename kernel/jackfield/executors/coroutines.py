"""Functions made with ``async def``: their tasks run them to the end."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_TICK_S: Final = 0.05


class AsyncCall:
    """Calls a function, and runs the coroutine that it returns in a new event loop."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__: Callable[..., Any] = function

    def __jackfield_function__(self) -> tuple[str, Callable[..., Any]]:
        return "", self.__wrapped__

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return what the coroutine returns."""
        result = self.__wrapped__(*args, **kwargs)
        if not inspect.iscoroutine(result):  # a decorator runs the coroutine itself
            return result
        import asyncio

        return asyncio.run(_awaited(result))


_in_use: Final[WeakValueDictionary[int, AsyncCall]] = WeakValueDictionary()
"""The calls in use, by the ``id`` of their function, which each of them holds."""


async def _awaited(result: Any) -> Any:
    import asyncio

    _tick(asyncio.get_running_loop())
    return await result


def _tick(loop: AbstractEventLoop) -> None:
    """Wake a loop now and then.

    The exception of a soft walltime arrives only while the thread runs Python, and not
    while the loop waits in the system for something that may never come.
    """
    loop.call_later(_TICK_S, _tick, loop)


def runnable(app: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what the task of an app calls: its function, or an ``AsyncCall`` of it.

    Raises:
        TypeError: It is a generator function.
    """
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    for one in (function, inner, type(inner).__call__):
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            raise TypeError(
                f"{app!r} is a generator function: its task would end before its body "
                f"begins. Return a list, or call one app for each item."
            )
        if inspect.iscoroutinefunction(one):
            # The same object each time, as an executor may have sent it already.
            return _in_use.setdefault(id(function), AsyncCall(function))
    return function
