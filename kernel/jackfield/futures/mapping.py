"""``map``: calls an app for each item of iterables and gives the results in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from jackfield.futures import AppFuture

R = TypeVar("R")


def windowed(
    submit_one: Callable[..., AppFuture[R]],
    iterables: tuple[Iterable[Any], ...],
    window: int | None,
) -> Iterator[R]:
    """Give results in order; submit ``window`` calls ahead of them at most.

    The iterables are as for the built-in ``map``. Without a window, all calls are
    submitted at once. If an iterable raises, or a call is refused, the calls before it
    give their results first.

    Raises:
        TypeError: There are no iterables, one of them cannot be iterated over, or
            ``window`` is no whole number.
        ValueError: ``window`` is below 1.
    """
    if not iterables:
        raise TypeError("map() needs at least one iterable behind the function.")
    whole = hasattr(type(window), "__index__") and not isinstance(window, bool)
    if window is not None and not whole:
        raise TypeError(f"window= is {window!r}; expected a whole number or None.")
    if window is not None and window < 1:
        raise ValueError(f"window= is {window!r}; expected at least 1 or None.")
    return _windowed(submit_one, zip(*iterables, strict=False), window)


def _windowed(
    submit_one: Callable[..., AppFuture[R]],
    calls: Iterator[tuple[Any, ...]],
    window: int | None,
) -> Iterator[R]:
    pending: deque[AppFuture[R]] = deque()
    error: Exception | None = None

    def submit(number: int | None) -> None:
        nonlocal error
        try:
            for items in itertools.islice(calls, number):
                pending.append(submit_one(*items))
        except Exception as raised:
            error = raised

    try:
        submit(window)
        while pending:
            yield pending.popleft().result()
            if error is None:
                submit(1)
        if error is not None:
            raise error
    finally:  # an error, or the caller has stopped iterating
        for future in pending:
            future.cancel()
