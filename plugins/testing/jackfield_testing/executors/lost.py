"""Executor conformance: workers that somebody else starts, and takes away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.abc import Kept
from jackfield.errors import ExecutorError
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import ExecutorCase, hold_all, needs, open_gate
from jackfield_testing.executors.end import within_limit
from jackfield_testing.executors.harness import Harness
from jackfield_testing.executors.results import LONG
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from pathlib import Path


class Lost(ExecutorCase):
    """What an executor does when all its workers are gone."""

    def test_the_number_of_workers_falls_and_rises(self, tmp_path: Path) -> None:
        with Harness(self.make_losing_executor(), tmp_path) as harness:
            harness.start()
            harness.cleanups.append(self.restore_workers)
            harness.value(harness.submit(tasks.add, 1))

            self.remove_workers()
            assert settled(lambda: 0 in harness.workers_seen, WAIT_S)
            self.restore_workers()

            assert settled(lambda: harness.executor.workers > 0, WAIT_S)
            assert settled(lambda: harness.workers_seen[-1] > 0, WAIT_S)
            assert harness.value(harness.submit(tasks.add, 40, 2)) == 42

    def test_works_of_lost_workers_fail_and_the_end_is_reached(
        self, tmp_path: Path
    ) -> None:
        with Harness(self.make_losing_executor(), tmp_path) as harness:
            harness.start()
            harness.cleanups.append(self.restore_workers)
            gate = open_gate(harness, tmp_path)
            held = hold_all(harness, gate)
            queued = harness.submit_each(tasks.add, range(50))

            self.lose_patience()
            self.remove_workers()

            for work in [*held.values(), *queued]:
                error = harness.error(work)
                assert isinstance(error, ExecutorError)
                assert harness.label in str(error)
            within_limit(harness, None)

    def test_a_result_that_went_with_its_worker_is_made_again(
        self, tmp_path: Path
    ) -> None:
        """What is ``Kept`` can be read, whatever becomes of the worker that has it."""
        with Harness(self.make_losing_executor(), tmp_path) as harness:
            harness.start()
            harness.cleanups.append(self.restore_workers)
            works = [harness.work(tasks.numbers, LONG) for _ in range(2)]
            works[1].once = True
            harness.submit_batch(works)
            kept, other = map(harness.outcome, works)
            assert not isinstance(other, Kept) or other.at_hand, (
                "only a worker has it, but it is never to run again"
            )
            needs(isinstance(kept, Kept), "keeps no results")

            self.remove_workers()
            # Or what follows could be on its way to a worker that is gone, and fail
            # with it.
            assert settled(lambda: 0 in harness.workers_seen, WAIT_S)
            self.restore_workers()
            following = harness.work(sum, kept)
            following.kept = (kept,)
            harness.submit_batch([following])

            try:
                assert harness.value(following) == sum(range(LONG))
                assert kept.fetch() == list(range(LONG))
            except ExecutorError:
                needs("lost" not in harness.states_seen, "was without workers too long")
                raise
