"""Values, errors and callbacks of users that raise wherever they are touched."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Callable
from pathlib import Path
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
    __class__ = property(_raise)  # as a proxy has one


class NastyError(Exception):
    """An error that cannot be shown, compared or pickled."""

    def _raise(self, *_: object) -> Any:
        raise SystemExit("touched")

    __repr__ = __str__ = __eq__ = __hash__ = __reduce__ = _raise


class EmptyError(Exception):
    """An error that is a container too, and empty: as a condition, it is false."""

    def __len__(self) -> int:
        return 0


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


def touched(*_: object) -> Any:
    raise SystemExit("touched")


def raise_untouchable() -> None:
    kind: Any = type("Untouchable", (Exception,), {"__getattribute__": touched})
    raise kind


def raise_oddly_named(*bases: type[BaseException]) -> None:
    name = property(touched)
    names = {"__name__": name, "__qualname__": name, "__module__": name}
    raise type("Odd", (type,), names)("Named", bases or (Exception,), {})


def raise_oddly_named_exit() -> None:
    raise_oddly_named(BaseException)


def raise_with_properties() -> None:
    names = "args", "__cause__", "__context__", "__traceback__", "__notes__"
    kind: Any = type("Own", (Exception,), dict.fromkeys(names, property(touched)))
    raise kind from ValueError("cause")


@pytest.mark.parametrize("plugin", ["threads", "processes"])
@pytest.mark.parametrize(
    "raising",
    [
        raise_untouchable,
        raise_oddly_named,
        raise_oddly_named_exit,
        raise_with_properties,
    ],
)
def test_an_error_that_cannot_be_asked_ends_its_task_and_no_worker(
    tmp_path: Path, plugin: str, raising: Callable[[], None]
) -> None:
    executors = {"x": {"plugin": plugin, "workers": 1}}
    with jf.load(executors=executors, run_dir=str(tmp_path)) as kernel:
        future = kernel.submit(raising)
        after = identity(future)

        assert future.exception(LIMIT_S) is not None
        assert not isinstance(future.exception(), jf.ExecutorError)
        assert isinstance(after.exception(LIMIT_S), jf.DependencyError)
        assert identity(1).result(LIMIT_S) == 1


def test_the_first_cause_of_a_failure_may_be_false_as_a_condition(
    kernel: jf.DataFlowKernel,
) -> None:
    error = EmptyError("nothing in it")
    last = identity(identity(identity(fail(error))))

    assert isinstance(last.exception(LIMIT_S), jf.DependencyError)
    assert last.exception(LIMIT_S).__cause__ is error  # type: ignore[union-attr]  # just seen


def test_notes_of_an_error_are_told_as_far_as_there_is_room(
    kernel: jf.DataFlowKernel,
) -> None:
    error = ValueError("wrong")
    for number in range(10_000):
        error.add_note(f"note {number} of many")

    message = str(identity(fail(error)).exception(LIMIT_S))

    assert "ValueError: wrong; note 0 of many; note 1 of many" in message
    assert len(message) < 5_000


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
