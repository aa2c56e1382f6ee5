from __future__ import annotations

import os
import pickle
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.errors import RemoteError, SerializationError, TaskExitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackfield.abc import Work


@pytest.fixture(scope="module")
def pool(open_shared: Callable[..., Any]) -> Any:
    """One executor for all tests of this file: none of them harms it."""
    return open_shared()


class TwoArgumentsError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")

    def __reduce__(self) -> Any:
        return TwoArgumentsError, self.args


class LockedError(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class RefusingError(Exception):
    def __init__(self) -> None:
        super().__init__("refused")

    def __reduce__(self) -> Any:
        raise TypeError("it does not want to travel")


class OwnError(Exception):
    pass


class Unloadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("x",)


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class Deep:
    def __init__(self) -> None:
        self.parts = [{"lock": threading.Lock()}]


def echo(value: Any = None, **kwargs: Any) -> Any:
    return kwargs or value


def fail(error: type[BaseException], *args: Any) -> None:
    raise error(*args)


def test_values_come_back(pool: Any) -> None:
    for value in (None, 1, 2.5, "text", b"bytes", [1, {"a": (2,)}], {3}, 10**30, True):
        assert pool.call(echo, value) == value


def test_keyword_arguments_arrive(pool: Any) -> None:
    assert pool.call(echo, a=1, b=[2]) == {"a": 1, "b": [2]}


def test_tasks_run_in_other_processes(pool: Any) -> None:
    assert pool.call(os.getpid) != os.getpid()


def test_a_batch_is_answered_whole(pool: Any) -> None:
    works = pool.submit_many(echo, 3_000)

    assert [pool.value(work) for work in works] == list(range(3_000))


def test_several_threads_may_submit_at_once(pool: Any) -> None:
    works: list[list[Work]] = [[] for _ in range(4)]
    barrier = threading.Barrier(4)

    def submit(mine: list[Work]) -> None:
        barrier.wait(timeout=120)
        for _ in range(20):
            mine += pool.submit_many(echo, 10)

    threads = [threading.Thread(target=submit, args=(mine,)) for mine in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for mine in works:
        assert [pool.value(work) for work in mine] == [*range(10)] * 20


def test_lambdas_and_closures_work(pool: Any) -> None:
    factor = 3

    assert pool.call(lambda x: x * factor, 4) == 12


def test_more_functions_than_are_remembered_work(pool: Any) -> None:
    works = [pool.work(lambda n=n: n) for n in range(1_200)]
    pool.executor.submit(works)

    assert [pool.value(work) for work in works] == list(range(1_200))


def test_a_class_of_the_script_comes_back_as_itself(pool: Any) -> None:
    point = pool.call(lambda p: Point(p.x + 1), Point(1))

    assert type(point) is Point
    assert point.x == 2


def test_an_object_shared_by_two_tasks_is_not_shared_in_the_worker(
    open_executor: Callable[..., Any],
) -> None:
    pool = open_executor(workers=1)
    shared: list[int] = []

    def append(items: list[int]) -> int:
        items.append(1)
        return len(items)

    works = [pool.work(append, shared) for _ in range(50)]
    pool.executor.submit(works)

    assert {pool.value(work) for work in works} == {1}


@pytest.mark.parametrize("size", [1, 1_001, 65_535, 65_536, 3_000_000])
def test_bytes_of_every_size_go_both_ways(pool: Any, size: int) -> None:
    data = os.urandom(1) * size

    result = pool.call(echo, data)

    assert type(result) is bytes
    assert result == data


def test_large_buffers_travel_out_of_band(pool: Any) -> None:
    def double(buffer: Any) -> Any:
        return [pickle.PickleBuffer(bytearray(buffer) * 2), "x"]

    result = pool.call(double, pickle.PickleBuffer(b"ab" * 50_000))

    assert bytes(result[0]) == b"ab" * 100_000
    assert result[1] == "x"


def test_large_and_small_calls_keep_their_order(pool: Any) -> None:
    values: list[Any] = [
        b"x" * (200_000 if n % 5 == 0 else n) if n % 2 else [n] for n in range(200)
    ]
    works = [pool.work(echo, value) for value in values]
    pool.executor.submit(works)

    assert [pool.value(work) for work in works] == values


def test_an_exception_is_the_one_that_was_raised(pool: Any) -> None:
    error = pool.error(pool.submit(fail, OwnError, "why"))

    assert type(error) is OwnError
    assert error.args == ("why",)


def test_an_exception_shows_the_remote_traceback(pool: Any) -> None:
    error = pool.error(pool.submit(fail, ValueError, "why"))

    shown = "".join(traceback.format_exception(error))
    assert "in fail" in shown
    assert "raise error(*args)" in shown


def test_an_exception_that_does_not_unpickle_has_a_stand_in(pool: Any) -> None:
    error = pool.error(pool.submit(fail, TwoArgumentsError, 1, 2))

    assert isinstance(error, RemoteError)
    assert error.type_name.endswith("TwoArgumentsError")
    assert error.message == "1 and 2"
    assert "in fail" in error.traceback


def test_an_exception_comes_without_what_does_not_pickle(pool: Any) -> None:
    error = pool.error(pool.submit(fail, LockedError))

    assert type(error) is LockedError
    assert str(error) == "locked"
    assert not hasattr(error, "lock")
    assert "'lock'" in error.__notes__[0]


def test_an_exception_that_does_not_pickle_has_a_stand_in(pool: Any) -> None:
    error = pool.error(pool.submit(fail, RefusingError))

    assert isinstance(error, RemoteError)
    assert error.message == "refused"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_would_end_a_program_ends_the_task_only(
    open_executor: Callable[..., Any], kind: type[BaseException]
) -> None:
    pool = open_executor(workers=1)
    before = pool.call(os.getpid)

    error = pool.error(pool.submit(fail, kind))

    assert isinstance(error, TaskExitError)
    assert kind.__name__ in str(error)
    assert pool.call(os.getpid) == before


def test_an_unpicklable_argument_fails_its_own_task_only(pool: Any) -> None:
    good, bad, other = pool.work(echo, 1), pool.work(echo, Deep()), pool.work(echo, 2)
    pool.executor.submit([good, bad, other])

    error = pool.error(bad)

    assert isinstance(error, SerializationError)
    assert "argument 'value', at value.parts[0]['lock']" in str(error)
    assert (pool.value(good), pool.value(other)) == (1, 2)


def test_an_argument_whose_pickling_exits_fails_its_own_task_only(pool: Any) -> None:
    class Exits:
        def __reduce__(self) -> Any:
            raise SystemExit

    error = pool.error(pool.submit(echo, Exits()))

    assert isinstance(error, SerializationError)
    assert pool.call(echo, 1) == 1


def test_an_argument_that_does_not_unpickle_is_named_as_such(pool: Any) -> None:
    error = pool.error(pool.submit(echo, Unloadable()))

    assert isinstance(error, SerializationError)
    assert "its arguments" in str(error)
    assert "invalid literal" in str(error)


def test_an_unpicklable_function_fails_its_tasks(pool: Any) -> None:
    lock = threading.Lock()
    works = [pool.work(lambda: lock) for _ in range(2)] + [pool.work(echo, 1)]
    pool.executor.submit(works)

    for work in works[:2]:
        error = pool.error(work)
        assert isinstance(error, SerializationError)
        assert "its function" in str(error)
    assert pool.value(works[2]) == 1


def test_an_unpicklable_result_is_named_with_its_place(pool: Any) -> None:
    error = pool.error(pool.submit(lambda: Deep()))  # noqa: PLW0108  (a class would be the task itself)

    assert isinstance(error, SerializationError)
    assert "its result, at result.parts[0]['lock']" in str(error)


def test_a_result_that_does_not_unpickle_fails_its_task_only(pool: Any) -> None:
    bad = pool.submit(lambda: Unloadable())  # noqa: PLW0108  (as above)

    assert isinstance(pool.error(bad), SerializationError)
    assert pool.call(echo, 1) == 1


def test_a_deeply_nested_result_fails_its_task_only(pool: Any) -> None:
    def nest() -> list[Any]:
        value: list[Any] = []
        for _ in range(100_000):
            value = [value]
        return value

    assert isinstance(pool.error(pool.submit(nest)), SerializationError)
    assert pool.call(echo, 1) == 1


def test_a_child_that_a_task_forks_does_not_answer_for_it(pool: Any) -> None:
    def fork() -> str:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return "parent"
        return "child"

    assert pool.call(fork) == "parent"
    assert pool.call(echo, 1) == 1
