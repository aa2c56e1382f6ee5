"""Executor conformance: works that are not wanted any more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from jackfield_testing.background import Background
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import (
    ExecutorCase,
    capabilities,
    hold_all,
    needs,
    open_gate,
    until_entered,
)
from jackfield_testing.footprint import WAIT_S, alive, settled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jackfield.abc import Outcome, Work

QUEUED = 20
RACERS = 300


class Cancel(ExecutorCase):
    """Either ``cancel`` answers true, or the work is reported once; never both."""

    def test_a_cancelled_work_never_runs(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            gate = open_gate(harness, tmp_path)
            held = hold_all(harness, gate)
            names = [f"queued-{n}" for n in range(QUEUED)]
            queued = harness.submit_each(gate.hold, names)

            answers = [harness.executor.cancel(work) for work in queued]

            gate.open()
            refused = [w for w, yes in zip(queued, answers, strict=True) if not yes]
            harness.wait(refused)
            harness.executor.shutdown()  # whatever still comes, comes before its end
            ran = {name for name, yes in zip(names, answers, strict=True) if not yes}
            assert gate.entered() == {*held, *ran}
            assert harness.count == len(held) + len(ran)
            assert answers[-1] or not self.cancels_queued

    def test_a_running_work_is_stopped_where_that_is_promised(
        self, tmp_path: Path
    ) -> None:
        with self.running(tmp_path, workers=1) as harness:
            needs(capabilities(harness).cancels_running, "stops no task")
            gate = open_gate(harness, tmp_path)
            running = harness.submit(tasks.block, gate.directory / "running")
            until_entered(gate, "running")

            assert harness.executor.cancel(running)

            assert harness.value(harness.submit(tasks.add, 1)) == 1
            pid = gate.process_of("running")
            assert settled(lambda: not alive(pid), WAIT_S)
            assert not harness.reported(running)

    def test_a_running_work_goes_on_where_nothing_is_promised(
        self, tmp_path: Path
    ) -> None:
        with self.running(tmp_path) as harness:
            needs(not capabilities(harness).cancels_running, "stops tasks")
            gate = open_gate(harness, tmp_path)
            running = harness.submit(gate.hold, "running")
            until_entered(gate, "running")

            assert not harness.executor.cancel(running)

            gate.open()
            assert harness.value(running) == "running"

    def test_a_work_that_has_ended_is_not_cancelled(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            work = harness.submit(tasks.add, 1)
            harness.wait([work])

            assert not harness.executor.cancel(work)
            assert not harness.executor.cancel(work)

    def test_an_unknown_work_is_not_cancelled(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            assert not harness.executor.cancel(harness.work(tasks.add, 1))

    def test_cancelling_at_any_moment_leaves_one_outcome(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            works = [harness.work(tasks.add, number) for number in range(RACERS)]
            cancelled: set[Work] = set()
            together = threading.Barrier(2)

            def cancel() -> None:
                together.wait(WAIT_S)
                for work in works:
                    if harness.executor.cancel(work):
                        cancelled.add(work)

            canceller = Background(cancel)
            together.wait(WAIT_S)
            for work in works:
                harness.executor.submit([work])
            canceller.finish()
            harness.wait([work for work in works if work not in cancelled])
            harness.executor.shutdown()

            assert not any(harness.reported(work) for work in cancelled)
            assert harness.count == RACERS - len(cancelled)

    def test_a_report_may_cancel(self, tmp_path: Path) -> None:
        with self.running(tmp_path, workers=1) as harness:
            answered = threading.Event()
            answers: list[bool] = []
            gate = open_gate(harness, tmp_path)
            first = harness.submit(gate.hold, "first")
            rest = harness.submit_each(tasks.identity, range(QUEUED))

            def cancel(outcomes: Sequence[Outcome]) -> None:
                if outcomes[0][0] is first:
                    answers.append(harness.executor.cancel(rest[-1]))
                    answered.set()

            harness.on_report = cancel
            gate.open()

            assert answered.wait(WAIT_S)
            harness.wait(rest[:-1])
            harness.executor.shutdown()
            assert harness.reported(rest[-1]) is not answers[0]
