"""Threads and processes of a test: whatever comes of them, pytest goes on."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import threading
import traceback
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec

from jackfield_testing.footprint import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")


@contextmanager
def user_code() -> Iterator[None]:
    """Fail the test if what would end the whole run of pytest comes out of the block.

    It is for calls that run code of users on this thread: their ``KeyboardInterrupt``
    or ``SystemExit`` is a mistake of the plugin under test, which lets it through.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit) as error:
        raise AssertionError(
            f"{type(error).__name__} of a task's code came out of the plugin"
        ) from error


def apart(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test in a forked process, so that a crash there fails the test alone.

    A store that maps a file which was cut dies by SIGBUS, and the tests with it.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of pytest's threads
            child = os.fork()
        if child == 0:
            os.close(read)
            _tell(write, lambda: test(*args, **kwargs))
        os.close(write)
        try:
            with open(read, "rb") as pipe:  # noqa: PTH123  (a descriptor)
                told = pipe.read()
        except BaseException:  # the limit of the test, or Ctrl-C
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        _answer(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told)

    return run


def _tell(pipe: int, test: Callable[[], None]) -> None:
    """Run a test, write what came of it, and end the process."""
    import pytest

    outcome: tuple[str, str] = ("passed", "")
    try:
        test()
    except pytest.skip.Exception as skip:
        outcome = "skipped", str(skip)
    except BaseException:
        outcome = "failed", traceback.format_exc()
    finally:
        os.write(pipe, pickle.dumps((outcome[0], outcome[1][-30_000:])))
        os._exit(0)


def _answer(code: int, told: bytes) -> None:
    """Let the test end here as it ended there."""
    import pytest

    if not told:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        pytest.fail(f"the process of this test has died: {how}", pytrace=False)
    outcome: Any = pickle.loads(told)
    if outcome[0] == "skipped":
        pytest.skip(outcome[1])
    if outcome[0] == "failed":
        pytest.fail(outcome[1], pytrace=False)


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
