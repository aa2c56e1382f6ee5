"""Results that an executor keeps, and that nobody has at hand: who waits for them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.abc import Capabilities, Executor, ExecutorContext, Kept, Work
from jackfield.errors import WorkerLostError
from jackfield_system.works import run_work
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Far(Kept):
    """A value that comes when ``there`` is set."""

    __slots__ = ("_come", "_there", "_value", "asked")

    def __init__(self, value: Any, there: threading.Event) -> None:
        super().__init__("keeping", 1)
        self._value = value
        self._there = there
        self._come = False
        self.asked = threading.Event()

    @property
    def at_hand(self) -> bool:
        return self._come

    def fetch(self) -> Any:
        self.asked.set()
        assert self._there.wait(WAIT_S)
        self._come = True
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


class Keeping(Executor):
    """Runs works at once, and keeps all results."""

    capabilities = Capabilities(isolated=True)

    @property
    def workers(self) -> int:
        return 1

    def __init__(self) -> None:
        self.there = threading.Event()
        self.lost: Exception | None = None
        self.kept: list[Far] = []
        self.works: list[Work] = []

    def start(self, context: ExecutorContext) -> None:
        self._report = context.report

    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            self.works.append(work)
            with_values = tuple(
                one.fetch() if isinstance(one, Far) else one for one in work.args
            )
            plain = Work(work.id, 1, work.name, work.function, with_values, work.kwargs)
            _, error, value = run_work(plain)
            far = Far(self.lost or value, self.there)
            self.kept.append(far)
            self._report([(work, error, None if error else far)])

    def shutdown(self, *, grace: float | None = None) -> None:
        self.there.set()


@pytest.fixture
def keeping() -> Iterator[Keeping]:
    executor = Keeping()
    executors: dict[str, Any] = {
        "keeping": executor,
        "here": {"plugin": "threads", "workers": 2},
    }
    with jf.load(executors=executors):
        yield executor
        executor.there.set()


@jf.python_app(executors=["keeping"])
def make(value: Any) -> Any:
    return value


@jf.python_app(executors=["keeping"], cache=True)
def make_once(value: Any) -> Any:
    return value


@jf.python_app(executors=["keeping"], retries=0)
def make_without_retries(value: Any) -> Any:
    return value


@jf.python_app(executors=["here"])
def use(value: Any) -> Any:
    return value


@jf.python_app(executors=["here"], cache=True)
def use_once(value: Any) -> Any:
    return value


@dataclass
class Box:
    items: list[Any] = field(default_factory=list)


@jf.python_app(executors=["here"])
def first(box: Box) -> Any:
    return box.items[0]


@pytest.mark.parametrize("app", [use, use_once])
def test_a_task_elsewhere_waits_and_nothing_else_does(
    keeping: Keeping, app: Any
) -> None:
    made = make(5)
    waiting = [app(made) for _ in range(3)]
    assert settled(lambda: len(keeping.kept) == 1, WAIT_S)
    assert keeping.kept[0].asked.wait(WAIT_S)

    # The dispatcher and each thread of an executor that reports are still free.
    assert [use(number).result(WAIT_S) for number in range(10)] == [*range(10)]
    assert made.done()
    assert not any(one.done() for one in waiting)
    keeping.there.set()

    assert [one.result(WAIT_S) for one in waiting] == [5, 5, 5]
    assert made.result() == 5


def test_one_in_an_object_is_waited_for_as_well(keeping: Keeping) -> None:
    made = make(5)
    waiting = first(Box([made]))
    assert settled(lambda: len(keeping.kept) == 1, WAIT_S)
    assert keeping.kept[0].asked.wait(WAIT_S)

    assert use(1).result(WAIT_S) == 1
    assert not waiting.done()
    keeping.there.set()

    assert waiting.result(WAIT_S) == 5


def test_a_cached_task_ends_when_its_result_is_there(keeping: Keeping) -> None:
    made, equal = make_once(5), make_once(5)
    assert settled(lambda: len(keeping.kept) == 1, WAIT_S)
    assert keeping.kept[0].asked.wait(WAIT_S)

    assert use(1).result(WAIT_S) == 1
    assert not made.done()
    keeping.there.set()

    assert (made.result(WAIT_S), equal.result(WAIT_S)) == (5, 5)
    assert equal.memo.status == "hit"


def test_a_task_that_waits_for_one_can_be_cancelled(keeping: Keeping) -> None:
    waiting = use(make(5))
    assert settled(lambda: len(keeping.kept) == 1, WAIT_S)
    assert keeping.kept[0].asked.wait(WAIT_S)

    assert waiting.cancel()
    assert waiting.cancelled()


@pytest.mark.parametrize("app", [use, use_once])
def test_what_cannot_be_had_is_the_error_of_who_needs_it(
    keeping: Keeping, app: Any
) -> None:
    keeping.lost = WorkerLostError("keeping", "it is lost")
    made = make(5)
    waiting = app(made)
    keeping.there.set()

    with pytest.raises(WorkerLostError, match="it is lost"):
        waiting.result(WAIT_S)
    with pytest.raises(WorkerLostError, match="it is lost"):
        made.result(WAIT_S)
    with pytest.raises(WorkerLostError, match="it is lost"):
        make_once(5).result(WAIT_S)


def test_the_same_executor_gets_it_as_it_is(keeping: Keeping) -> None:
    keeping.there.set()

    assert make(make(5)).result(WAIT_S) == 5

    first_one, second = keeping.works
    assert not first_one.kept
    assert second.kept == (keeping.kept[0],)


def test_an_app_without_retries_runs_once(keeping: Keeping) -> None:
    keeping.there.set()
    assert make(1).result(WAIT_S) == 1
    assert make_without_retries(2).result(WAIT_S) == 2

    assert [work.once for work in keeping.works] == [False, True]
