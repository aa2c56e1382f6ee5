"""The conformance kit notices executors that break the contract."""

from __future__ import annotations

import heapq
import os
import subprocess
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.abc import Capabilities, Executor, ExecutorContext, Kept, Work
from jackfield.errors import ExecutorError
from jackfield.events import Place
from jackfield_executors.shares import fits
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


class TellsNoPlace(ThreadsExecutor):
    def start(self, context: ExecutorContext) -> None:
        def report(outcomes: Sequence[Outcome]) -> None:
            for work, _, _ in outcomes:
                work.ran = None
            context.report(outcomes)

        super().start(ExecutorContext(context.label, context.run_dir, report))


class LiesOfItsPlaces(ThreadsExecutor):
    """Says that everything ran in another process, at once, and until tomorrow."""

    def start(self, context: ExecutorContext) -> None:
        def report(outcomes: Sequence[Outcome]) -> None:
            for work, _, _ in outcomes:
                if work.ran is not None:
                    ran = Place._make(work.ran)
                    end = ran.ended + 86_400
                    work.ran = ran._replace(pid=1, worker="a", ended=end, cpu=1.0)
            context.report(outcomes)

        super().start(ExecutorContext(context.label, context.run_dir, report))


class KeepsNoOrder(ThreadsExecutor):
    def submit(self, batch: Sequence[Work]) -> None:
        super().submit(batch[::-1])


class IgnoresPriorities(ThreadsExecutor):
    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            work.priority = 0
        super().submit(batch)


class ReportsUnderItsLock(ThreadsExecutor):
    def start(self, context: ExecutorContext) -> None:
        self.own = threading.RLock()

        def report(outcomes: Sequence[Outcome]) -> None:
            with self.own:
                context.report(outcomes)

        super().start(ExecutorContext(context.label, context.run_dir, report))

    def submit(self, batch: Sequence[Work]) -> None:
        with self.own:
            super().submit(batch)


class GoesElsewhere(ThreadsExecutor):
    def start(self, context: ExecutorContext) -> None:
        super().start(context)
        os.chdir(context.run_dir.parent)


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


class SleepsOn(ThreadsExecutor):
    """Does not serve when it is woken."""

    def _attend(self, name: str) -> None:
        del name


class LetsOffersStand(ThreadsExecutor):
    def _withdraw(self) -> None:
        """Leave the offer as it is."""


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
    """Has two gpus, and does not look who takes them."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, {"gpu": 2.0})

    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            work.resources = {}
        super().submit(batch)


class HasTwoGpus(ThreadsExecutor):
    """Does it right."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, {"gpu": 2.0})


class StarvesLargeOnes(HasTwoGpus):
    """Begins whatever fits."""

    def _admit(self) -> None:
        for demand in sorted(self._lines):
            line = self._lines[demand]
            while line and fits(demand, self._free):
                self._admit_one(heapq.heappop(line))
            if not line:
                del self._lines[demand]


class OneByOne(HasTwoGpus):
    """Gives both gpus to each that asks for any."""

    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            work.resources = dict.fromkeys(work.resources, 2.0)
        super().submit(batch)


class TellsDeathsRaw(Executor):
    """Gives works to a pool, and reports what that raises, its own death included."""

    capabilities = Capabilities(isolated=True)

    def __init__(self, workers: int) -> None:
        self.pool = ProcessPoolExecutor(workers, mp_context=get_context("forkserver"))

    @property
    def workers(self) -> int:
        return 2

    def start(self, context: ExecutorContext) -> None:
        self.context = context

    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            try:
                future = self.pool.submit(work.function, *work.args, **work.kwargs)
            except BrokenProcessPool as error:
                self.tell_death(work, error)
            else:
                future.add_done_callback(partial(self.end, work))

    def end(self, work: Work, ended: Future[Any]) -> None:
        error = ended.exception()
        if isinstance(error, BrokenProcessPool):
            error = ExecutorError(self.context.label, "the pool has died")
        value = None if error else ended.result()
        self.context.report([(work, error, value)])

    def tell_death(self, work: Work, error: BrokenProcessPool) -> None:
        self.context.report([(work, error, None)])

    def shutdown(self, *, grace: float | None = None) -> None:
        self.pool.shutdown()


class TellsDeathsOfOthers(TellsDeathsRaw):
    """Does it right, but that it does not name itself."""

    def tell_death(self, work: Work, error: BrokenProcessPool) -> None:
        self.context.report([(work, ExecutorError("pool", str(error)), None)])


class TellsDeaths(TellsDeathsRaw):
    """Does it right."""

    def tell_death(self, work: Work, error: BrokenProcessPool) -> None:
        self.context.report([(work, ExecutorError(self.context.label, "died"), None)])


class Goner(Kept):
    """A value that goes with the workers."""

    def __init__(self, label: str, value: Any, gone: threading.Event) -> None:
        super().__init__(label, 1)
        self.value, self.gone = value, gone

    def fetch(self) -> Any:
        if self.gone.is_set():
            raise ExecutorError(self.executor, "gone")
        return self.value


class LosesResults(ThreadsExecutor):
    """Keeps results, and knows nothing of them when its workers are gone."""

    keeps_all = False

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.gone = threading.Event()

    def start(self, context: ExecutorContext) -> None:
        def report(outcomes: Sequence[Outcome]) -> None:
            context.report([self.keep(context.label, *one) for one in outcomes])

        self.changed = context.changed
        super().start(ExecutorContext(context.label, context.run_dir, report))

    @property
    def workers(self) -> int:
        return 0 if self.gone.is_set() else super().workers

    def lose_workers(self) -> None:
        self.gone.set()
        self.changed()

    def keep(self, label: str, work: Work, error: Any, value: Any) -> Outcome:
        if error is None and (self.keeps_all or not work.once):
            value = Goner(label, value, self.gone)
        return work, error, value

    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            with suppress(ExecutorError):
                work.args = tuple([self.value_of(one) for one in work.args])
        super().submit(batch)

    def value_of(self, argument: Any) -> Any:
        return argument.fetch() if isinstance(argument, Goner) else argument


class KeepsWhatRunsOnce(LosesResults):
    keeps_all = True


def kit_of(executor: Callable[[int], Executor]) -> ExecutorConformance:
    class Kit(ExecutorConformance):
        def make_executor(self, workers: int) -> Executor:
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
        (
            GoesElsewhere,
            "test_the_script_keeps_its_directory_environment_and_signals",
        ),
        (ReportsUnderItsLock, "test_a_long_report_holds_up_no_other_thread"),
        (KeepsNoOrder, "test_one_worker_keeps_the_order_of_submission"),
        (IgnoresPriorities, "test_works_of_a_higher_priority_begin_first"),
        (KeepsNoOrder, "test_works_of_a_higher_priority_begin_first"),
        (DropsAtTheEnd, "test_without_grace_everything_submitted_is_done"),
        (TakesWorksAfterTheEnd, "test_works_are_refused_afterwards"),
        (LiesOfItsPlaces, "test_no_two_works_are_on_one_worker_at_a_time"),
        (LeavesFiles, "test_no_file_is_left_but_in_a_directory_of_its_own"),
        (SleepsOn, "test_an_idle_thread_that_is_woken_serves_and_runs_what_it_finds"),
        (SleepsOn, "test_a_wake_up_too_many_does_no_harm"),
        (LetsOffersStand, "test_no_offer_stands_while_all_workers_are_busy"),
        (LetsOffersStand, "test_no_offer_stands_at_the_end"),
    ],
)
def test_an_executor_that_breaks_its_contract_is_noticed(
    broken: type[ThreadsExecutor],
    test: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jackfield_testing.executors.results.AT_ONCE_S", 1.0)
    monkeypatch.setattr("jackfield_testing.executors.attend.AT_ONCE_S", 1.0)
    monkeypatch.chdir(tmp_path)  # and back again
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(kit_of(broken), test)(tmp_path)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (HasNoWorkers, "test_it_declares_what_it_can_do"),
        (KnowsFunctionsByName, "test_two_functions_of_one_name_are_two"),
        (SaysItIsolates, "test_an_isolated_task_cannot_change_the_drivers_objects"),
        (SaysItShares, "test_a_task_that_is_not_isolated_gets_the_object_itself"),
        (LiesOfItsPlaces, "test_a_place_is_where_the_task_ran"),
        (LiesOfItsPlaces, "test_a_place_is_filled_before_the_report"),
        (LiesOfItsPlaces, "test_resources_are_told_only_if_they_are_asked_for"),
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


@pytest.mark.parametrize("broken", [TellsDeathsRaw, TellsDeathsOfOthers])
def test_an_executor_that_is_useless_after_a_death_is_noticed(
    broken: type[TellsDeathsRaw], tmp_path: Path
) -> None:
    with pytest.raises(AssertionError):
        kit_of(broken).test_after_a_death_every_work_is_still_reported(tmp_path)


@pytest.mark.parametrize("broken", [LosesResults, KeepsWhatRunsOnce])
def test_an_executor_that_loses_what_it_keeps_is_noticed(
    broken: type[LosesResults], tmp_path: Path
) -> None:
    executor = broken(1)

    class Kit(ExecutorConformance):
        def make_executor(self, workers: int) -> Executor:
            return executor

        def remove_workers(self) -> None:
            executor.lose_workers()

    with pytest.raises((AssertionError, ExecutorError, TypeError)) as caught:
        Kit().test_a_result_that_went_with_its_worker_is_made_again(tmp_path)
    assert "workers_seen" not in str(caught.value)  # that is not what is wrong with it


def test_one_that_keeps_no_results_has_none_to_lose(tmp_path: Path) -> None:
    class Kit(ExecutorConformance):
        def make_executor(self, workers: int) -> Executor:
            return ThreadsExecutor(workers)

    with pytest.raises(pytest.skip.Exception, match="keeps no results"):
        Kit().test_a_result_that_went_with_its_worker_is_made_again(tmp_path)


def test_one_that_says_that_it_has_died_passes(tmp_path: Path) -> None:
    kit_of(TellsDeaths).test_after_a_death_every_work_is_still_reported(tmp_path)


def test_one_that_tells_no_places_passes(tmp_path: Path) -> None:
    kit = kit_of(TellsNoPlace)
    with Harness(TellsNoPlace(2), tmp_path / "shared") as harness:
        harness.start()
        kit.test_a_place_is_where_the_task_ran(harness)
        kit.test_a_place_is_filled_before_the_report(harness)
        kit.test_a_failure_has_a_place_too(harness)
        kit.test_resources_are_told_only_if_they_are_asked_for(harness)
    with pytest.raises(pytest.skip.Exception, match="does not tell where works run"):
        kit.test_no_two_works_are_on_one_worker_at_a_time(tmp_path)


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
    "test_what_fits_together_runs_together",
    "test_a_large_one_does_not_starve_behind_small_ones",
    "test_more_than_there_is_is_an_error_and_does_not_wait",
]


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (TakesAnyAmount, RESOURCES[0]),
        (OneByOne, RESOURCES[1]),
        (StarvesLargeOnes, RESOURCES[2]),
        (TakesAnyAmount, RESOURCES[3]),
    ],
)
def test_an_executor_that_shares_badly_is_noticed(
    broken: type[ThreadsExecutor],
    test: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jackfield_testing.executors.faults.STARVES_S", 1.0)
    monkeypatch.setattr("jackfield_testing.executors.case.WAIT_S", 1.0)
    with pytest.raises(AssertionError):
        getattr(kit_of(broken), test)(tmp_path)


@pytest.mark.parametrize("test", RESOURCES)
def test_one_that_shares_well_passes(test: str, tmp_path: Path) -> None:
    getattr(kit_of(HasTwoGpus), test)(tmp_path)


DEAF = """
import threading

import pytest

from jackfield_executors.threads import ThreadsExecutor
from jackfield_testing.executors import case, harness, tasks
from jackfield_testing.executors.case import ExecutorCase

case.WAIT_S = 0.5


class GoesDeaf(ThreadsExecutor):
    deaf = False

    def submit(self, batch):
        if not self.deaf:
            super().submit(batch)


class TestShared(ExecutorCase):
    def make_executor(self, workers):
        return GoesDeaf(workers)

    def test_that_loses_a_work(self, shared):
        shared.executor.deaf = True
        with pytest.raises(AssertionError, match="is not reported"):
            shared.wait([shared.submit(tasks.add, 1)], 0.1)

    def test_that_gets_another_executor(self, shared):
        assert shared.value(shared.submit(tasks.add, 40, 2)) == 42
        shared.executor._workers = 1  # one of two, which does not come again

    def test_that_gets_a_third_one(self, shared):
        assert shared.executor.workers == 2
        assert shared.value(shared.submit(tasks.add, 40, 2)) == 42
"""


def test_a_shared_executor_that_is_lost_fails_one_test_alone(tmp_path: Path) -> None:
    (tmp_path / "test_shared.py").write_text(DEAF)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]

    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )

    assert "3 passed" in ran.stdout, ran.stdout


@pytest.mark.parametrize("silent", [False, True])
def test_works_are_waited_for_as_long_as_some_of_them_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    harness = Harness(ThreadsExecutor(1), tmp_path)
    works = [harness.work(tasks.add, number) for number in range(5)]
    late = iter([] if silent else works)

    def expire(there: Callable[[], bool], timeout: float) -> bool:
        """Let the whole limit pass; by its end one more work is reported."""
        del timeout
        harness._report([(work, None, None) for work in islice(late, 1)])
        return there()

    monkeypatch.setattr(harness._changed, "wait_for", expire)
    if silent:
        with pytest.raises(AssertionError, match="is not reported"):
            harness.wait(works)
    else:
        harness.wait(reversed(works))
    assert harness.lost == silent
