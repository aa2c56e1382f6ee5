"""Executor conformance: the number of workers changes, and nothing is lost by it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from jackfield.abc import Health
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import (
    ExecutorCase,
    needs,
    open_gate,
    until_entered,
)
from jackfield_testing.executors.harness import Harness
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    import concurrent.futures
    from pathlib import Path

    from jackfield.abc import Executor
    from jackfield.events import Load

SOME = 300
CHANGES = 12


class Elastic(ExecutorCase):
    """What an executor does that can be asked for workers, and one that cannot."""

    def make_elastic_executor(self) -> Executor | concurrent.futures.Executor:
        """Make the executor of which more and fewer workers are asked, not started.

        It may have none, and three. The default is that of the other tests; if it is
        not elastic, those that need it skip.
        """
        return self.make_executor(2)

    def test_one_that_works_is_well(self, shared: Harness) -> None:
        assert shared.value(shared.submit(tasks.add, 40, 2)) == 42
        # The executor may have looked at its workers just before one came, and still
        # say that it waits for one; it is well when it has looked again.
        assert settled(lambda: shared.executor.health == Health(), WAIT_S)

    def test_without_a_load_nothing_is_scaled(self, shared: Harness) -> None:
        needs(shared.executor.load() is None, "is elastic")
        before = shared.executor.workers

        shared.executor.scale(before + 1)

        assert shared.executor.workers == before
        assert shared.value(shared.submit(tasks.add, 40, 2)) == 42

    def test_the_load_is_what_there_is_to_do(self, tmp_path: Path) -> None:
        with self._elastic(tmp_path) as harness:
            gate = open_gate(harness, tmp_path)
            one = _load(harness)
            assert one.least <= one.wanted <= one.most
            assert one.unfinished == one.queued == 0

            _scale_to(harness, 1)
            held = harness.submit(gate.hold, "a")
            until_entered(gate, "a")
            waiting = harness.submit_each(tasks.add, range(5))

            load = _load(harness)
            assert (load.unfinished, load.wanted, load.idle_s) == (6, 1, 0.0)
            assert load.unknown or load.seconds
            gate.open()
            harness.wait([held, *waiting])
            assert settled(lambda: _load(harness).unfinished == 0, WAIT_S)
            assert _load(harness).idle_s >= 0

    def test_one_without_workers_says_that_it_has_works(self, tmp_path: Path) -> None:
        with self._elastic(tmp_path) as harness:
            _scale_to(harness, 0)
            before = len(harness.workers_seen)

            work = harness.submit(tasks.add, 40, 2)
            assert settled(lambda: len(harness.workers_seen) > before, WAIT_S)
            assert not harness.reported(work)

            harness.executor.scale(1)
            assert harness.value(work) == 42

    def test_a_worker_ends_its_task_before_it_goes(self, tmp_path: Path) -> None:
        with self._elastic(tmp_path) as harness:
            gate = open_gate(harness, tmp_path)
            _scale_to(harness, 2)
            held = harness.submit_each(gate.hold, ["a", "b"])
            until_entered(gate, "a", "b")

            _scale_to(harness, 0)  # from then on they get nothing more
            late = harness.submit(tasks.add, 40, 2)
            gate.open()

            assert harness.values(held) == ["a", "b"]
            assert not harness.reported(late)
            harness.executor.scale(1)
            assert harness.value(late) == 42

    def test_more_and_fewer_under_load_lose_nothing(self, tmp_path: Path) -> None:
        with self._elastic(tmp_path) as harness:
            needs(harness.executor.capabilities.shared_filesystem, "shares no files")
            tally = tasks.Tally(tmp_path / "ran")
            numbers = random.Random(7)
            works = []
            for change in range(CHANGES):
                first = change * SOME
                works += harness.submit_each(tally.run, range(first, first + SOME))
                harness.executor.scale(numbers.randrange(4))
            harness.executor.scale(3)

            assert harness.values(works) == list(range(CHANGES * SOME))
            assert tally.counts() == dict.fromkeys(range(CHANGES * SOME), 1)

    def _elastic(self, run_dir: Path) -> Harness:
        harness = Harness(self.make_elastic_executor(), run_dir).start()
        if harness.executor.load() is None:
            harness.executor.shutdown(grace=0)
            needs(False, "is not elastic")
        return harness


def _load(harness: Harness) -> Load:
    load = harness.executor.load()
    assert load is not None
    return load


def _scale_to(harness: Harness, workers: int) -> None:
    harness.executor.scale(workers)
    assert settled(lambda: harness.executor.workers == workers, WAIT_S)
