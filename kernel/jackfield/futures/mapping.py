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
    """Give results in order, with at most ``window`` calls that are not given yet.

    The iterables are as for the built-in ``map``. Without a window, all calls are
    submitted at once.
    """
    if window is not None and window < 1:
        raise ValueError(f"window= is {window!r}; expected at least 1 or None.")
    calls = zip(*iterables, strict=False)
    pending: deque[AppFuture[R]] = deque()
    try:
        for items in calls if window is None else itertools.islice(calls, window):
            pending.append(submit_one(*items))
        while pending:
            yield pending.popleft().result()
            for items in itertools.islice(calls, 1):
                pending.append(submit_one(*items))
    finally:  # an error, or the caller has stopped iterating
        for future in pending:
            future.cancel()
