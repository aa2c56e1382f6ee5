"""Executor conformance: what it tells of where and when works ran is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.clock import monotonic
from jackfield.events import Place
from jackfield_system.measuring import this_host
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import (
    ExecutorCase,
    needs,
    open_gate,
    until_entered,
)
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import Any

    from jackfield.abc import Measure, Work
    from jackfield.events import Running
    from jackfield_testing.executors.harness import Harness

SOME = 300


class Places(ExecutorCase):
    """What an executor has in ``work.ran``; it may leave that as it is."""

    def test_a_place_is_where_the_task_ran(self, shared: Harness) -> None:
        for measure in ("times", "resources"):
            works = _measured(shared, tasks.process_id, range(SOME), measure)
            pids = shared.values(works)

            for work, pid in zip(works, pids, strict=True):
                if work.ran is not None:
                    place = Place._make(work.ran)
                    assert place.pid == pid
                    assert place.worker

    def test_a_place_is_filled_before_the_report(self, shared: Harness) -> None:
        before = monotonic()
        works = _measured(shared, tasks.add, range(SOME), "times")
        shared.wait(works)
        after = monotonic()

        for place in _places(works):
            assert place.began <= place.ended
            if place.host == this_host():
                assert before <= place.began
                assert place.ended <= after

    def test_no_two_works_are_on_one_worker_at_a_time(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            works = _measured(harness, tasks.add, range(SOME), "times")
            harness.wait(works)
            workers = harness.executor.workers  # there may be none after its end
            places = sorted(_places(works), key=lambda one: one.began)
        needs(bool(places), "does not tell where works run")

        free: dict[tuple[str, str], float] = {}
        for place in places:
            worker = place.host, place.worker
            assert free.get(worker, place.began) <= place.began, worker
            free[worker] = place.ended
        assert len(free) <= workers

    def test_a_failure_has_a_place_too(self, shared: Harness) -> None:
        works = _measured(shared, tasks.fail_with, ["no"], "times")

        assert shared.error(works[0]) is not None
        for place in _places(works):
            assert place.began <= place.ended

    def test_resources_are_told_only_if_they_are_asked_for(
        self, shared: Harness
    ) -> None:
        plain = _measured(shared, tasks.add, range(SOME), "times")
        costly = _measured(shared, tasks.add, range(SOME), "resources")
        shared.wait([*plain, *costly])

        assert all(place.cpu is None for place in _places(plain))
        for place in _places(costly):
            assert place.cpu is None or place.cpu >= 0
            assert place.memory is None or place.memory > 0

    def test_what_runs_is_told_while_it_does(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            needs(harness.executor.running() is not None, "does not tell what runs")
            gate = open_gate(harness, tmp_path)
            names = [f"held-{n}" for n in range(harness.executor.workers)]
            before = monotonic()
            works = _measured(harness, gate.hold, [*names, "waits"], "times")
            until_entered(gate, *names)

            run = {work.id for work in works[:-1]}
            told: dict[int, Running] = {}

            def all_told() -> bool:
                told.update((one.task, one) for one in harness.executor.running() or ())
                assert set(told) <= run
                return set(told) == run

            assert settled(all_told, WAIT_S)
            after = monotonic()
            gate.open()
            harness.wait(works)

            for work in works[:-1]:
                one, ran = told[work.id], work.ran
                assert (one.attempt, one.app) == (work.attempt, work.name)
                assert one.began is None or before <= one.began <= after
                if ran is not None:
                    place = Place._make(ran)
                    assert one.worker in ("", place.worker)
                    assert one.pid in (0, place.pid)
                    assert one.began in (None, place.began)
            assert settled(lambda: not harness.executor.running(), WAIT_S)


def _measured(
    harness: Harness,
    function: Callable[[Any], Any],
    values: Iterable[Any],
    measure: Measure,
) -> list[Work]:
    """Submit works, one for each value, of which it is wanted how they ran."""
    works = [harness.work(function, value) for value in values]
    for work in works:
        work.measure = measure
    harness.submit_batch(works)
    return works


def _places(works: Iterable[Work]) -> list[Place]:
    return [Place._make(work.ran) for work in works if work.ran is not None]
