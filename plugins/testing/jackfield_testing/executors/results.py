"""Executor conformance: works go in, outcomes come out, once and unchanged."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from zlib import crc32

from jackfield.abc import Capabilities
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import (
    ExecutorCase,
    capabilities,
    needs,
    open_gate,
)
from jackfield_testing.footprint import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jackfield.abc import Outcome
    from jackfield_testing.executors.harness import Harness

MANY = 10_000
BIG = 32_000_000  # bytes
CHAIN = 100
SUBMITTERS = 8


class Results(ExecutorCase):
    """What every executor does with tasks that do it no harm."""

    def test_it_declares_what_it_can_do(self, shared: Harness) -> None:
        declared = capabilities(shared)

        assert isinstance(declared, Capabilities)
        assert declared.walltime in {"none", "soft", "kill"}
        assert all(isinstance(name, str) for name in declared.resources)
        assert isinstance(shared.executor.workers, int)
        assert shared.executor.workers >= 1

    def test_a_result_comes_back_with_its_work(self, shared: Harness) -> None:
        work = shared.submit(tasks.add, 40, b=2)

        assert shared.value(work) == 42

    def test_an_empty_batch_is_no_error(self, shared: Harness) -> None:
        shared.executor.submit([])

        assert shared.value(shared.submit(tasks.add, 1)) == 1

    def test_ten_thousand_small_tasks(self, shared: Harness) -> None:
        works = shared.submit_each(tasks.add, range(MANY))

        assert shared.values(works) == list(range(MANY))

    def test_a_closure_takes_its_variables_along(self, shared: Harness) -> None:
        offset = 10

        works = shared.submit_each(lambda value: value + offset, range(5))

        assert shared.values(works) == [10, 11, 12, 13, 14]

    def test_two_functions_of_one_name_are_two(self, shared: Harness) -> None:
        def plus(number: int) -> Callable[[int], int]:
            return lambda value: value + number

        functions = [lambda value: value * 2, lambda value: value * 3, plus(4), plus(5)]
        for function in functions:
            function.__name__ = function.__qualname__ = "same"

        for _ in range(2):
            works = [shared.submit(function, 10) for function in functions]
            assert shared.values(works) == [20, 30, 14, 15]

    def test_big_arguments_and_results_are_whole(self, shared: Harness) -> None:
        sent = tasks.payload(BIG)

        got = shared.value(shared.submit(tasks.identity, sent))

        assert (len(got), crc32(got)) == (len(sent), crc32(sent))

    def test_two_workers_run_at_once(self, shared: Harness, tmp_path: Path) -> None:
        needs(shared.executor.workers >= 2, "has one worker")
        needs(capabilities(shared).shared_filesystem, "shares no files with its tasks")

        first = shared.submit(tasks.meet, tmp_path, "first", "second")
        second = shared.submit(tasks.meet, tmp_path, "second", "first")

        assert shared.values([first, second]) == [None, None]

    def test_one_worker_keeps_the_order_of_submission(self, tmp_path: Path) -> None:
        needs(self.keeps_order, "promises no order")
        with self.running(tmp_path, workers=1) as harness:
            first = harness.submit_each(tasks.now, range(50))
            second = harness.submit_each(tasks.now, range(50))

            times = harness.values([*first, *second])

        assert times == sorted(times)

    def test_a_long_task_holds_back_no_other(
        self, shared: Harness, tmp_path: Path
    ) -> None:
        needs(shared.executor.workers >= 2, "has one worker")
        gate = open_gate(shared, tmp_path)
        long = shared.work(gate.hold, "long")
        short = [shared.work(tasks.add, number) for number in range(40)]

        shared.executor.submit([*short[:20], long, *short[20:]])

        assert shared.values(short) == list(range(40))
        gate.open()
        assert shared.value(long) == "long"

    def test_a_result_does_not_wait_for_the_next_one(self, tmp_path: Path) -> None:
        with self.running(tmp_path, workers=1) as harness:
            gate = open_gate(harness, tmp_path)
            first = harness.work(tasks.add, 1)
            second = harness.work(gate.hold, "second")

            harness.executor.submit([first, second])

            assert harness.value(first) == 1
            gate.open()
            assert harness.value(second) == "second"

    def test_an_isolated_task_cannot_change_the_drivers_objects(
        self, shared: Harness
    ) -> None:
        needs(capabilities(shared).isolated, "shares objects with its tasks")
        mine = [0]

        assert shared.value(shared.submit(tasks.append_one, mine)) == 2
        assert mine == [0]

    def test_a_task_that_is_not_isolated_gets_the_object_itself(
        self, shared: Harness
    ) -> None:
        needs(not capabilities(shared).isolated, "pickles")
        lock = threading.Lock()

        assert shared.value(shared.submit(tasks.identity, lock)) is lock

    def test_a_shared_file_system_is_shared(
        self, shared: Harness, tmp_path: Path
    ) -> None:
        needs(capabilities(shared).shared_filesystem, "shares no files with its tasks")
        path = tmp_path / "written"

        shared.value(shared.submit(tasks.write, path, "by a task"))

        assert path.read_text() == "by a task"

    def test_threads_may_submit_at_once(self, shared: Harness) -> None:
        together = threading.Barrier(SUBMITTERS)

        def submit(thread: int) -> list[int]:
            together.wait(WAIT_S)
            numbers = range(thread * 100, thread * 100 + 50)
            works = [shared.submit(tasks.add, number) for number in numbers]
            return [
                shared.value(work) - number
                for work, number in zip(works, numbers, strict=True)
            ]

        with ThreadPoolExecutor(SUBMITTERS) as threads:
            differences = list(threads.map(submit, range(SUBMITTERS)))

        assert differences == [[0] * 50] * SUBMITTERS

    def test_a_report_may_submit_the_next_work(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            finished = threading.Event()
            chain = [harness.work(tasks.add, number) for number in range(CHAIN)]
            rest = iter(chain)

            def submit_next(_: Sequence[Outcome]) -> None:
                following = next(rest, None)
                if following is None:
                    finished.set()
                else:
                    harness.executor.submit([following])

            harness.on_report = submit_next
            submit_next([])

            assert finished.wait(WAIT_S)
            assert harness.values(chain) == list(range(CHAIN))

    def test_submitting_does_not_wait_for_the_works(
        self, shared: Harness, tmp_path: Path
    ) -> None:
        gate = open_gate(shared, tmp_path)
        names = [f"held-{n}" for n in range(10 * shared.executor.workers)]

        works = shared.submit_each(gate.hold, names)  # returns, or fails the test

        gate.open()
        assert shared.values(works) == names
