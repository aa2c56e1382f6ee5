"""Values, errors and callbacks of users that raise wherever they are touched."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import TaskExitError

LIMIT_S = 60.0


class Nasty:
    """Raises in every special method that somebody might call."""

    def _raise(self, *_: object) -> Any:
        raise SystemExit("touched")

    __repr__ = __str__ = __eq__ = __hash__ = __bool__ = __len__ = _raise
    __iter__ = __getstate__ = __reduce__ = __reduce_ex__ = __format__ = _raise
    __lt__ = __call__ = __copy__ = __deepcopy__ = __getattr__ = _raise


class NastyError(Exception):
    """An error that cannot be shown, compared or pickled."""

    def _raise(self, *_: object) -> Any:
        raise SystemExit("touched")

    __repr__ = __str__ = __eq__ = __hash__ = __reduce__ = _raise


@jf.python_app
def identity(value: Any, *_: Any) -> Any:
    return value


@jf.python_app
def fail(error: BaseException) -> None:
    raise error


def test_a_value_is_passed_on_untouched(kernel: jf.DataFlowKernel) -> None:
    nasty = Nasty()
    future = identity(identity(nasty))

    assert future.result(LIMIT_S) is nasty
    assert repr(future) == "<AppFuture 1 (identity): returned Nasty>"


def test_a_value_is_passed_on_beside_futures(kernel: jf.DataFlowKernel) -> None:
    nasty = Nasty()
    value = {"a": [nasty, identity(1)], "b": (nasty,)}

    result = identity(value).result(LIMIT_S)

    assert result["a"][0] is nasty
    assert result["a"][1] == 1
    assert result["b"][0] is nasty


def test_a_value_without_an_identity_fails_its_cached_call_alone(
    kernel: jf.DataFlowKernel,
) -> None:
    failed = kernel.submit(id, Nasty(), cache=True)
    other = kernel.submit(abs, -1, cache=True)

    assert isinstance(failed.exception(LIMIT_S), Exception)
    assert other.result(LIMIT_S) == 1


def test_an_error_that_cannot_be_shown_is_still_the_tasks_own(
    kernel: jf.DataFlowKernel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    error = NastyError()
    failed = fail(error)
    after = identity(failed)

    assert failed.exception(LIMIT_S) is error
    assert isinstance(after.exception(LIMIT_S), jf.DependencyError)
    assert "NastyError" in str(after.exception(LIMIT_S))
    assert identity(1).result(LIMIT_S) == 1


def test_an_error_that_cannot_be_shown_is_retried(kernel: jf.DataFlowKernel) -> None:
    attempts: list[int] = []

    @jf.python_app(retries=2)
    def third_time() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise NastyError
        return len(attempts)

    assert third_time().result(LIMIT_S) == 3


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
def test_what_would_end_the_program_ends_the_task(
    kernel: jf.DataFlowKernel, error: BaseException
) -> None:
    future = fail(error)

    assert isinstance(future.exception(LIMIT_S), TaskExitError)
    assert future.exception(LIMIT_S).__cause__ is error  # type: ignore[union-attr]  # just seen
    assert identity(1).result(LIMIT_S) == 1


@pytest.mark.parametrize("error", [ValueError("raised"), SystemExit(3)], ids=repr)
def test_a_callback_that_raises_is_logged_and_the_next_is_called(
    kernel: jf.DataFlowKernel, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    gate, called = threading.Event(), threading.Event()
    future = kernel.submit(gate.wait, LIMIT_S)

    def raises(_: object) -> None:
        raise error

    future.add_done_callback(raises)
    future.add_done_callback(lambda _: called.set())
    gate.set()

    assert called.wait(LIMIT_S)
    assert (
        "A done-callback of <AppFuture 0 (wait): returned bool> raised" in caplog.text
    )


def test_a_value_may_end_the_kernel_when_it_is_collected(
    kernel: jf.DataFlowKernel,
) -> None:
    class EndsTheKernel:
        def __del__(self) -> None:
            ends.append(1)
            with contextlib.suppress(jf.KernelClosedError):
                kernel.submit(abs, 1)
            kernel.cleanup()

    ends: list[int] = []
    futures = [identity(EndsTheKernel()) for _ in range(10)]
    for future in futures:
        future.exception(LIMIT_S)
    del futures, future
    gc.collect()

    kernel.wait_for_current_tasks(LIMIT_S)
    assert ends
