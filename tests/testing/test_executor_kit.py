"""The conformance kit notices executors that break the contract."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.abc import Capabilities, ExecutorContext, Work
from jackfield.errors import ExecutorError
from jackfield_executors.threads import ThreadsExecutor
from jackfield_testing import ExecutorConformance, Harness
from jackfield_testing.executors import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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


class KnowsFunctionsByName(ThreadsExecutor):
    def submit(self, batch: Sequence[Work]) -> None:
        known = vars(self).setdefault("known", {})
        for work in batch:
            work.function = known.setdefault(work.name, work.function)
        super().submit(batch)


class LetsInterruptsThrough(ThreadsExecutor):
    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            work.function(*work.args, **work.kwargs)


class TakesAnyAmount(ThreadsExecutor):
    capabilities = Capabilities(resources=frozenset({"gpu"}))


class HasOneGpu(ThreadsExecutor):
    """Gives the one that it has to one work after the other."""

    capabilities = Capabilities(resources=frozenset({"gpu"}))

    def start(self, context: ExecutorContext) -> None:
        self.lock, self.taken = threading.Lock(), False
        self.waiting: deque[Work] = deque()
        self.context = context
        super().start(ExecutorContext(context.label, context.run_dir, self.report))

    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            if work.resources.get("gpu", 0) > 1:
                error = ExecutorError(self.context.label, "it has one gpu")
                self.context.report([(work, error, None)])
            elif not work.resources.get("gpu") or self.take(work):
                super().submit([work])

    def take(self, work: Work) -> bool:
        with self.lock:
            if self.taken:
                self.waiting.append(work)
                return False
            self.taken = True
            return True

    def report(self, outcomes: Sequence[Outcome]) -> None:
        self.context.report(outcomes)
        for work, _, _ in outcomes:
            if work.resources.get("gpu"):
                with self.lock:
                    following = self.waiting.popleft() if self.waiting else None
                    self.taken = following is not None
                if following is not None:
                    super().submit([following])


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
        (KnowsFunctionsByName, "test_two_functions_of_one_name_are_two"),
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


@pytest.mark.parametrize("task", [tasks.fail_with_interrupt, tasks.leave])
def test_an_interrupt_that_comes_through_fails_its_test_and_not_the_run(
    task: Callable[[], Any], tmp_path: Path
) -> None:
    with (
        Harness(LetsInterruptsThrough(2), tmp_path) as harness,
        pytest.raises(AssertionError, match="came out of the plugin"),
    ):
        harness.start().submit(task)


RESOURCES = [
    "test_what_is_taken_together_is_never_more_than_there_is",
    "test_more_than_there_is_is_an_error_and_does_not_wait",
]


@pytest.mark.parametrize("test", RESOURCES)
def test_an_executor_that_takes_any_amount_is_noticed(
    test: str, tmp_path: Path
) -> None:
    class Kit(ExecutorConformance):
        resource_amounts = {"gpu": 1.0}

        def make_executor(self, workers: int) -> ThreadsExecutor:
            return TakesAnyAmount(workers)

    with pytest.raises(AssertionError):
        getattr(Kit(), test)(tmp_path)


@pytest.mark.parametrize("test", RESOURCES)
def test_one_that_keeps_to_its_amounts_passes(test: str, tmp_path: Path) -> None:
    class Kit(ExecutorConformance):
        resource_amounts = {"gpu": 1.0}

        def make_executor(self, workers: int) -> ThreadsExecutor:
            return HasOneGpu(workers)

    getattr(Kit(), test)(tmp_path)


@pytest.mark.parametrize("test", RESOURCES)
def test_amounts_that_are_not_told_are_asked_for(test: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="resource_amounts does not tell"):
        getattr(kit_of(HasOneGpu), test)(tmp_path)
