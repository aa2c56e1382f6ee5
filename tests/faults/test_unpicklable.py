"""What cannot be pickled: named, alone in its misfortune, and no danger to the pool."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import RemoteError, SerializationError, TaskExitError

LIMIT_S = 60.0


class Holder:
    """Keeps something that may not be picklable."""

    def __init__(self, held: Any) -> None:
        self.held = held


class TwoArguments(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")

    def __reduce__(self) -> Any:
        return TwoArguments, self.args


def refuse_to_load() -> Any:
    raise RuntimeError("it refuses to be loaded")


class DoesNotLoad:
    """Pickles, and raises when it is unpickled."""

    def __reduce__(self) -> Any:
        return refuse_to_load, ()


class ExitsInStr(Exception):
    """Would end whoever asks for its text."""

    def __str__(self) -> str:
        raise SystemExit("raised in __str__")

    __repr__ = __str__


class ExitsInStrAndHoldsALock(ExitsInStr):
    """Comes as text only, and has none."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class RaisesInReduce:
    def __reduce__(self) -> Any:
        raise ValueError("raised in __reduce__")


class ExitsInReduce:
    def __reduce__(self) -> Any:
        raise SystemExit("raised in __reduce__")


def first(value: Any, *_: Any) -> Any:
    return value


def give_lock() -> Any:
    return Holder({"inner": [threading.Lock()]})


def give_unloadable() -> Any:
    return DoesNotLoad()


def give_what_raises() -> Any:
    return RaisesInReduce()


def raise_two_arguments() -> None:
    raise TwoArguments("one", "two")


def raise_with_lock() -> None:
    raise ValueError("it holds a lock", threading.Lock())


def raise_without_text(kind: type[Exception]) -> None:
    raise kind


def raise_system_exit() -> None:
    raise SystemExit(3)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.fixture(scope="module")
def pool() -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    context = multiprocessing.get_context("forkserver")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        yield pool


class Shared(concurrent.futures.Executor):
    """Another's pool, which outlives the kernels that use it."""

    def __init__(self, pool: concurrent.futures.ProcessPoolExecutor) -> None:
        self._pool = pool

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


@pytest.fixture(params=["adapted", "processes"])
def isolated(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[jf.DataFlowKernel]:
    """A kernel whose one executor pickles."""
    executor: Any = {"plugin": "processes", "workers": 1}
    if request.param == "adapted":
        executor = Shared(request.getfixturevalue("pool"))
    options: dict[str, Any] = {"executors": {"isolated": executor}, "exit_grace": 1.0}
    with jf.load(options, run_dir=tmp_path / "runs") as kernel:
        before = kernel.submit(first, "before")
        yield kernel
        after = kernel.submit(first, "after")
        assert before.result(LIMIT_S) == "before"
        assert after.result(LIMIT_S) == "after"


def test_an_argument_is_named_with_the_way_to_the_culprit(
    isolated: jf.DataFlowKernel,
) -> None:
    culprit = Holder({"inner": [1, threading.Lock()]})
    bystanders = [isolated.submit(first, number) for number in range(5)]
    failed = isolated.submit(first, 1, culprit)
    more = [isolated.submit(first, number) for number in range(5)]

    error = failed.exception(LIMIT_S)
    assert isinstance(error, SerializationError)
    assert "held" in error.what
    assert "inner" in error.what
    assert "[1]" in error.what
    assert str(error).startswith("first: argument")
    assert [future.result(LIMIT_S) for future in bystanders + more] == [*range(5)] * 2


def test_a_keyword_argument_is_named(isolated: jf.DataFlowKernel) -> None:
    failed: jf.AppFuture[Any]
    failed = isolated.submit(dict, harmless=1, culprit=threading.Lock())

    assert "culprit" in str(failed.exception(LIMIT_S))


@pytest.mark.parametrize(
    "culprit", [RaisesInReduce(), ExitsInReduce()], ids=["error", "exit"]
)
def test_an_argument_that_raises_when_it_is_pickled_fails_its_task(
    isolated: jf.DataFlowKernel, culprit: object
) -> None:
    error = isolated.submit(first, culprit).exception(LIMIT_S)

    assert isinstance(error, Exception)
    assert "raised in __reduce__" in str(error)


def test_an_argument_that_does_not_unpickle_fails_its_task(
    isolated: jf.DataFlowKernel,
) -> None:
    error = isolated.submit(first, DoesNotLoad()).exception(LIMIT_S)

    assert isinstance(error, SerializationError)
    assert "it refuses to be loaded" in str(error)


def test_an_argument_that_is_nested_too_deep_fails_its_task(
    isolated: jf.DataFlowKernel,
) -> None:
    error = isolated.submit(first, jf.quote(nested(100_000))).exception(LIMIT_S)

    assert isinstance(error, SerializationError | RecursionError)


def test_a_result_is_named_with_the_way_to_the_culprit(
    isolated: jf.DataFlowKernel,
) -> None:
    error = isolated.submit(give_lock).exception(LIMIT_S)

    assert isinstance(error, SerializationError)
    assert "its result" in error.what
    assert "held" in error.what
    assert "inner" in error.what


def test_a_result_that_raises_when_it_is_pickled_fails_its_task(
    isolated: jf.DataFlowKernel,
) -> None:
    error = isolated.submit(give_what_raises).exception(LIMIT_S)

    assert isinstance(error, SerializationError)
    assert "raised in __reduce__" in str(error)


def test_a_result_that_does_not_unpickle_fails_its_task(
    isolated: jf.DataFlowKernel,
) -> None:
    error = isolated.submit(give_unloadable).exception(LIMIT_S)

    assert isinstance(error, SerializationError)
    assert "it refuses to be loaded" in str(error)


def test_an_exception_that_does_not_unpickle_comes_as_text(
    isolated: jf.DataFlowKernel,
) -> None:
    error = isolated.submit(raise_two_arguments).exception(LIMIT_S)

    assert isinstance(error, RemoteError)
    assert error.type_name.endswith("TwoArguments")
    assert error.message == "one and two"
    assert "raise_two_arguments" in error.traceback


def test_an_exception_that_holds_a_lock_comes_without_it(
    isolated: jf.DataFlowKernel,
) -> None:
    error = isolated.submit(raise_with_lock).exception(LIMIT_S)

    assert type(error) is ValueError
    told, lock = error.args
    assert told == "it holds a lock"
    assert isinstance(lock, str)
    assert "argument 2" in error.__notes__[0]
    assert "raise_with_lock" in str(error.__cause__)


@pytest.mark.parametrize("kind", [ExitsInStr, ExitsInStrAndHoldsALock])
def test_an_exception_whose_text_would_end_the_worker_comes_back(
    isolated: jf.DataFlowKernel, kind: type[Exception]
) -> None:
    error = isolated.submit(raise_without_text, kind).exception(LIMIT_S)

    if isinstance(error, RemoteError):
        assert error.type_name.endswith(kind.__name__)
    else:
        assert type(error) is kind


def test_an_exception_that_would_end_the_worker_ends_the_task(
    isolated: jf.DataFlowKernel,
) -> None:
    error = isolated.submit(raise_system_exit).exception(LIMIT_S)

    assert isinstance(error, TaskExitError)
    assert "SystemExit" in str(error)


def test_what_depends_on_it_fails_by_name(isolated: jf.DataFlowKernel) -> None:
    failed = isolated.submit(give_lock)
    after = isolated.submit(first, failed)

    error = after.exception(LIMIT_S)
    assert isinstance(error, jf.DependencyError)
    assert isinstance(error.__cause__, SerializationError)


def test_a_failure_to_pickle_is_retried_as_any_other(
    isolated: jf.DataFlowKernel,
) -> None:
    future = jf.python_app(retries=1)(give_lock)()

    assert isinstance(future.exception(LIMIT_S), SerializationError)
