"""The conformance kit notices executors that break the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jackfield.abc import Capabilities, ExecutorContext, Work
from jackfield_executors.threads import ThreadsExecutor
from jackfield_testing import ExecutorConformance, Harness
from jackfield_testing.executors import tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jackfield.abc import Outcome


class ReportsTwice(ThreadsExecutor):
    def start(self, context: ExecutorContext) -> None:
        def report(outcomes: Sequence[Outcome]) -> None:
            context.report(outcomes)
            context.report(outcomes)

        super().start(ExecutorContext(context.label, context.run_dir, report))


class ReportsStrangers(ThreadsExecutor):
    def start(self, context: ExecutorContext) -> None:
        super().start(context)
        context.report([(Work(0, 1, "stranger", tasks.add, (), {}), None, None)])


class ReportsTheCancelled(ThreadsExecutor):
    def cancel(self, work: Work) -> bool:
        return work in self._queued


class CannotCancel(ThreadsExecutor):
    def cancel(self, work: Work) -> bool:
        return False


class SaysItIsolates(ThreadsExecutor):
    capabilities = Capabilities(isolated=True)


class SaysItShares(ThreadsExecutor):
    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            work.args = (object(),)
        super().submit(batch)


class SaysItHasCancelled(ThreadsExecutor):
    def cancel(self, work: Work) -> bool:
        super().cancel(work)
        return True


class KeepsNoOrder(ThreadsExecutor):
    def submit(self, batch: Sequence[Work]) -> None:
        super().submit(batch[::-1])


class DropsAtTheEnd(ThreadsExecutor):
    def shutdown(self, *, grace: float | None = None) -> None:
        super().shutdown(grace=0)


class TakesWorksAfterTheEnd(ThreadsExecutor):
    def submit(self, batch: Sequence[Work]) -> None:
        if not self._closed:
            super().submit(batch)


class LeavesFiles(ThreadsExecutor):
    def start(self, context: ExecutorContext) -> None:
        super().start(context)
        (context.run_dir / "socket").touch()


class HasNoWorkers(ThreadsExecutor):
    @property
    def workers(self) -> int:
        return 0


def kit_of(executor: type[ThreadsExecutor]) -> ExecutorConformance:
    class Kit(ExecutorConformance):
        def make_executor(self, workers: int) -> ThreadsExecutor:
            return executor(workers)

    return Kit()


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (ReportsTwice, "test_a_work_that_has_ended_is_not_cancelled"),
        (ReportsStrangers, "test_an_unknown_work_is_not_cancelled"),
        (ReportsTheCancelled, "test_a_cancelled_work_never_runs"),
        (CannotCancel, "test_a_cancelled_work_never_runs"),
        (SaysItHasCancelled, "test_a_running_work_goes_on_where_nothing_is_promised"),
        (KeepsNoOrder, "test_one_worker_keeps_the_order_of_submission"),
        (DropsAtTheEnd, "test_without_grace_everything_submitted_is_done"),
        (TakesWorksAfterTheEnd, "test_works_are_refused_afterwards"),
        (LeavesFiles, "test_no_file_is_left_but_in_a_directory_of_its_own"),
    ],
)
def test_an_executor_that_breaks_its_contract_is_noticed(
    broken: type[ThreadsExecutor], test: str, tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(kit_of(broken), test)(tmp_path)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (HasNoWorkers, "test_it_declares_what_it_can_do"),
        (SaysItIsolates, "test_an_isolated_task_cannot_change_the_drivers_objects"),
        (SaysItShares, "test_a_task_that_is_not_isolated_gets_the_object_itself"),
    ],
)
def test_an_executor_that_is_not_what_it_says_is_noticed(
    broken: type[ThreadsExecutor], test: str, tmp_path: Path
) -> None:
    with (
        Harness(broken(2), tmp_path) as harness,
        pytest.raises(AssertionError),
    ):
        getattr(kit_of(broken), test)(harness.start())
