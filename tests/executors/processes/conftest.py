from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jackfield.abc import Executor, ExecutorContext, Kept, Outcome, Work
from jackfield_executors.processes import jackfield_create_executor
from jackfield_testing.footprint import settled

TIME_LIMIT = 60.0


class Harness:
    """A started executor, and what it has reported."""

    def __init__(self, directory: Path, options: dict[str, Any]) -> None:
        executor = jackfield_create_executor(
            kind="processes", label="cpu", options=options
        )
        assert isinstance(executor, Executor)
        self.executor = executor
        self.directory = directory
        self.outcomes: dict[Work, tuple[BaseException | None, Any]] = {}
        self.on_report: Callable[[Sequence[Outcome]], None] | None = None
        self._changed = threading.Condition()
        self._ids = 0
        executor.start(ExecutorContext("cpu", directory, self._report))

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        with self._changed:
            for work, error, value in outcomes:
                assert work not in self.outcomes, f"{work} is reported twice"
                self.outcomes[work] = error, value
            self._changed.notify_all()
        if self.on_report is not None:
            self.on_report(outcomes)

    def work(
        self,
        function: Callable[..., Any],
        *args: Any,
        walltime: float | None = None,
        **kwargs: Any,
    ) -> Work:
        self._ids += 1
        name = getattr(function, "__name__", "task")
        return Work(self._ids, 1, name, function, args, kwargs, walltime)

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Work:
        work = self.work(function, *args, **kwargs)
        self.executor.submit([work])
        return work

    def submit_many(self, function: Callable[..., Any], count: int) -> list[Work]:
        works = [self.work(function, number) for number in range(count)]
        self.executor.submit(works)
        return works

    def wait(self, *works: Work, timeout: float = TIME_LIMIT) -> None:
        with self._changed:
            done = self._changed.wait_for(
                lambda: self.outcomes.keys() >= {works[-1]}, timeout
            )
            assert done, f"{works[-1]} is not reported"
            done = self._changed.wait_for(
                lambda: self.outcomes.keys() >= set(works), timeout
            )
            assert done, f"{set(works) - self.outcomes.keys()} are not reported"

    def error(self, work: Work) -> BaseException:
        self.wait(work)
        error, _ = self.outcomes[work]
        assert error is not None, f"{work} returned {self.outcomes[work][1]!r}"
        return error

    def value(self, work: Work) -> Any:
        self.wait(work)
        error, value = self.outcomes[work]
        if error is not None:
            raise error
        return value.fetch() if isinstance(value, Kept) else value

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.value(self.submit(function, *args, **kwargs))


Open = Callable[..., Harness]


def opener(directory: Path) -> Iterator[Open]:
    opened: list[Harness] = []

    def open_one(**options: Any) -> Harness:
        harness = Harness(directory, {"workers": 2, **options})
        opened.append(harness)
        return harness

    yield open_one
    for harness in opened:
        harness.executor.shutdown(grace=0)


@pytest.fixture
def open_executor(tmp_path: Path) -> Iterator[Open]:
    """Start executors with given options; they are shut down after the test."""
    yield from opener(tmp_path)


@pytest.fixture(scope="module")
def open_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Start executors for all tests of a file."""
    yield from opener(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def pool(open_executor: Open) -> Harness:
    """An executor with two workers."""
    return open_executor()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Poll a condition, up to a time limit."""

    def wait(condition: Callable[[], object]) -> None:
        assert settled(lambda: bool(condition()), TIME_LIMIT), "it did not happen"

    return wait


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    """Tell whether a process exists and is not a zombie."""
    return alive


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """After the test, the process has the threads and descriptors of before."""
    threads = set(threading.enumerate())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    yield

    def none_left() -> bool:
        left = set(threading.enumerate()) - threads
        return not left and len(list(Path("/proc/self/fd").iterdir())) <= descriptors

    assert settled(none_left, TIME_LIMIT), set(threading.enumerate()) - threads
