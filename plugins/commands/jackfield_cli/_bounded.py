"""Runs what may hang, and goes on without it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class TookTooLongError(Exception):
    """A call has not ended within its limit. It goes on, and nobody waits for it."""


class _Call(Generic[T]):
    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._ended: threading.Event = threading.Event()
        self._error: BaseException | None = None
        self._value: T | None = None
        self.thread: threading.Thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error
        self._ended.set()

    def result(self, limit: float) -> T:
        if not self._ended.wait(limit):
            raise TookTooLongError
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # there is no error, so it is set


class Bounded:
    """Calls functions on threads of their own, each for a limited time.

    A thread cannot be ended. So one that goes on after its limit is left to itself;
    ``stuck`` says so, and the program then has to end without waiting for it.
    """

    def __init__(self, limit: float) -> None:
        self.limit: float = limit
        self._late: list[threading.Thread] = []

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns.

        Raises:
            TookTooLongError: It has not ended within the limit.
            BaseException: What it raises.
        """
        call = _Call(function)
        call.thread.start()
        try:
            return call.result(self.limit)
        except TookTooLongError:
            self._late.append(call.thread)
            raise

    def stuck(self, grace: float) -> bool:
        """Tell whether a call still goes on, after at most ``grace`` seconds."""
        deadline = time.monotonic() + grace
        for thread in self._late:
            thread.join(max(0.0, deadline - time.monotonic()))
        return any(thread.is_alive() for thread in self._late)
