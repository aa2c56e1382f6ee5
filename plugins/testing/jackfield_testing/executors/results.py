"""Executor conformance: works go in, outcomes come out, once and unchanged."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from jackfield.abc import Capabilities, Kept
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import (
    ExecutorCase,
    capabilities,
    hold_all,
    needs,
    open_gate,
)
from jackfield_testing.footprint import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackfield.abc import Outcome
    from jackfield_testing.executors.harness import Harness

MANY = 10_000
BIG = 32_000_000  # bytes
LONG = 300_000  # items of a large result
CHAIN = 100
SUBMITTERS = 8
AT_ONCE_S = WAIT_S / 2
"""Seconds that something may take which has nothing to wait for."""


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

    def test_a_result_that_is_kept_can_be_read_and_handed_on(
        self, shared: Harness
    ) -> None:
        """A large result may be reported as ``Kept``, if it then is like any other."""
        works = [shared.submit(tasks.numbers, LONG) for _ in range(2)]
        for work in works:
            kept = shared.outcome(work)
            if not isinstance(kept, Kept):
                continue
            assert kept.executor == shared.label
            assert kept.size > 0
            following = [shared.work(sum, kept), shared.work(tasks.append_one, kept)]
            following += [
                shared.work(tasks.first_sum, [kept, 1]),
                shared.work(sum, kept),
            ]
            for one in following:
                one.kept = (kept,)
            shared.submit_batch(following)

            expected = sum(range(LONG))
            assert shared.values(following) == [expected, LONG + 1, expected, expected]
            assert kept.fetch() == list(range(LONG))
            assert kept.fetch() is kept.fetch()
            again = shared.work(sum, kept)  # a work may have been on its way
            again.kept = (kept,)
            shared.submit_batch([again])
            assert shared.value(again) == expected

    def test_a_large_result_can_be_read_within_its_report(self, tmp_path: Path) -> None:
        # The kernel does so for a cached task, and for one on another executor. What
        # is kept elsewhere may have to come to the very thread that reports.
        with self.running(tmp_path) as harness:
            read: list[object] = []
            noted = threading.Event()
            works = [harness.work(tasks.numbers, LONG) for _ in range(4)]

            def fetch(outcomes: Sequence[Outcome]) -> None:
                for _, _, value in outcomes:
                    read.append(value.fetch() if isinstance(value, Kept) else value)
                if len(read) == len(works):
                    noted.set()

            harness.on_report = fetch
            harness.submit_batch(works)

            assert noted.wait(WAIT_S), "it waits for what its own thread receives"
            assert read == [list(range(LONG))] * len(works)

    @pytest.mark.parametrize("grace", [None, 0.0])
    def test_a_large_result_can_be_read_after_the_end(
        self, tmp_path: Path, grace: float | None
    ) -> None:
        with self.running(tmp_path) as harness:
            work = harness.submit(tasks.numbers, LONG)
            harness.wait([work])

            harness.executor.shutdown(grace=grace)

            assert harness.value(work) == list(range(LONG))

    def test_equal_calls_are_each_run(self, shared: Harness) -> None:
        works = shared.submit_each(tasks.unlike_any_other, [1] * 20)

        assert len(set(shared.values(works))) == len(works)

    def test_another_attempt_really_runs(self, shared: Harness) -> None:
        first = shared.work(tasks.unlike_any_other, 1)
        second = shared.work(tasks.unlike_any_other, 1)
        second.id, second.attempt = first.id, 2

        shared.submit_batch([first])
        value = shared.value(first)
        shared.submit_batch([second])

        assert shared.value(second) != value

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

    def test_works_of_a_higher_priority_begin_first(self, tmp_path: Path) -> None:
        needs(self.keeps_order, "promises no order")
        with self.running(tmp_path, workers=1) as harness:
            needs(capabilities(harness).priorities, "ignores priorities")
            gate = open_gate(harness, tmp_path)
            hold_all(harness, gate)
            ranks = [0, 3, -2, 3, 0, 1, -2, 0, 2, 10**30]
            works = [harness.work(tasks.now, priority=rank) for rank in ranks]
            works += [harness.work(tasks.now, priority=rank) for rank in ranks]
            wanted = sorted(works, key=lambda work: -work.priority)
            harness.submit_batch(works[:7])
            for work in works[7:]:
                harness.submit_batch([work])

            gate.open()
            times = dict(zip(works, harness.values(works), strict=True))

        assert sorted(works, key=lambda work: times[work]) == wanted

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

            assert harness.values(chain) == list(range(CHAIN))
            assert finished.wait(WAIT_S)

    def test_a_long_report_holds_up_no_other_thread(self, tmp_path: Path) -> None:
        # The kernel launches tasks within a report. If the executor held a lock of its
        # own meanwhile, a thread with a lock of the kernel could wait for that one, and
        # this report for the thread.
        with self.running(tmp_path) as harness:
            waited: list[bool] = []
            noted = threading.Event()
            following = harness.work(tasks.add, 1)

            def submit_and_cancel() -> None:
                with suppress(Exception):  # then the work below is not reported
                    harness.executor.submit([following])
                    harness.executor.cancel(harness.work(tasks.add, 2))

            def take_long(_: Sequence[Outcome]) -> None:
                harness.on_report = ignore
                other = threading.Thread(target=submit_and_cancel, daemon=True)
                other.start()
                other.join(AT_ONCE_S)
                waited.append(other.is_alive())
                noted.set()

            def ignore(_: Sequence[Outcome]) -> None:
                pass

            harness.on_report = take_long
            first = harness.submit(tasks.add, 40, b=2)

            assert harness.value(first) == 42
            assert noted.wait(WAIT_S)
            assert waited == [False], "submit or cancel waits for a report"
            assert harness.value(following) == 1

    def test_the_script_keeps_its_directory_environment_and_signals(
        self, tmp_path: Path
    ) -> None:
        before = _surroundings()
        with self.running(tmp_path) as harness:
            harness.value(harness.submit(tasks.add, 1))
            assert _surroundings() == before, "changed by the start or a task"

        assert _surroundings() == before, "changed by the end"

    def test_submitting_does_not_wait_for_the_works(
        self, shared: Harness, tmp_path: Path
    ) -> None:
        gate = open_gate(shared, tmp_path)
        names = [f"held-{n}" for n in range(10 * shared.executor.workers)]

        works = shared.submit_each(gate.hold, names)  # returns, or fails the test

        gate.open()
        assert shared.values(works) == names


def _surroundings() -> tuple[object, ...]:
    """Return what is the script's, and an executor in its process could change."""
    handlers = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    return Path.cwd(), dict(os.environ), [signal.getsignal(one) for one in handlers]
