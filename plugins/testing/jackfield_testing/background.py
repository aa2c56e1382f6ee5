"""Threads of a test: one that hangs is given up, and an error reaches the test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from jackfield_testing.footprint import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable


class Background:
    """Calls a function on a daemon thread, at once.

    A plain thread would keep an exception to itself, and a test that joins it with a
    time limit does not notice that it still runs.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self._error = error

    def finish(self, limit: float = WAIT_S) -> None:
        """Wait for the function to return.

        Raises:
            AssertionError: It has not, within ``limit`` seconds; or it raised what
                would end the whole run of pytest here, such as KeyboardInterrupt.
            Exception: What it raised.
        """
        self._thread.join(limit)
        assert not self._thread.is_alive(), (
            f"{self._function!r} does not return within {limit:g} s"
        )
        if isinstance(self._error, Exception):
            raise self._error
        if self._error is not None:
            raise AssertionError(
                f"{self._function!r} raised {self._error!r}"
            ) from self._error
