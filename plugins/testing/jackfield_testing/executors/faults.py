"""Executor conformance: tasks that raise, cannot be pickled, or kill their worker."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.errors import (
    AppTimeout,
    ExecutorError,
    JackfieldError,
    RemoteError,
    SerializationError,
    TaskExitError,
    WorkerDiedError,
)
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import (
    ExecutorCase,
    capabilities,
    in_other_processes,
    needs,
    open_gate,
    until_entered,
)
from jackfield_testing.footprint import WAIT_S, alive, settled

STARVES_S = WAIT_S
"""Seconds after which a work that does not begin behind others is starved."""

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from jackfield.abc import Outcome, Work
    from jackfield_testing.executors.harness import Harness

WALLTIMES_S = (0.5, 4.0, 32.0)
"""Walltimes of a task that does not end: the next one if it could not even begin within
one of them, as on a busy machine."""


class Errors(ExecutorCase):
    """What becomes of tasks that raise, and of objects that do not travel."""

    def test_an_exception_comes_back_as_it_was_raised(self, shared: Harness) -> None:
        error = shared.error(shared.submit(tasks.fail_with, "no luck"))

        assert type(error) is ValueError
        assert error.args == ("no luck",)

    def test_an_exceptions_traceback_leads_to_the_task(self, shared: Harness) -> None:
        error = shared.error(shared.submit(tasks.fail_with, "no luck"))

        assert "in fail_with" in "".join(traceback.format_exception(error))

    @pytest.mark.parametrize(
        ("function", "named"),
        [
            (tasks.leave, "SystemExit"),
            (tasks.fail_with_interrupt, "KeyboardInterrupt"),
            (tasks.fail_with_generator_exit, "GeneratorExit"),
        ],
    )
    def test_what_would_end_a_program_ends_the_task_alone(
        self, shared: Harness, function: Callable[[], Any], named: str
    ) -> None:
        with pytest.raises(TaskExitError, match=named):
            shared.value(shared.submit(function))

        self.still_works(shared)

    def test_an_exception_that_cannot_be_shown_ends_the_task_alone(
        self, shared: Harness
    ) -> None:
        with pytest.raises(JackfieldError):
            shared.value(shared.submit(tasks.fail_unspeakably))

        self.still_works(shared)

    def test_an_exception_that_cannot_be_unpickled_is_told(
        self, shared: Harness
    ) -> None:
        error = shared.error(shared.submit(tasks.fail_with_two_arguments))

        assert isinstance(error, tasks.TwoArguments | RemoteError)
        assert "TwoArguments" in f"{type(error).__name__}: {error}"
        assert "this and that" in str(error)
        self.still_works(shared)

    def test_an_exception_that_cannot_be_pickled_is_told(self, shared: Harness) -> None:
        error = shared.error(shared.submit(tasks.fail_with_a_lock))

        assert isinstance(error, ValueError | RemoteError)
        assert "holds a lock" in str(error)
        self.still_works(shared)

    @pytest.mark.parametrize(
        "make",
        [threading.Lock, tasks.return_a_tower, tasks.Mine, tasks.Trap],
        ids=["unpicklable", "too deep", "interrupts", "cannot be unpickled"],
    )
    def test_an_argument_that_does_not_travel_fails_its_task_alone(
        self, shared: Harness, make: Callable[[], Any]
    ) -> None:
        needs(capabilities(shared).isolated, "does not pickle")
        batch = [
            shared.work(tasks.identity, 1),
            shared.work(tasks.identity, make()),
            shared.work(tasks.identity, 3),
        ]

        shared.submit_batch(batch)

        assert isinstance(shared.error(batch[1]), JackfieldError)
        assert shared.values(batch[::2]) == [1, 3]
        self.still_works(shared)

    def test_an_unpicklable_argument_is_named(self, shared: Harness) -> None:
        needs(capabilities(shared).isolated, "does not pickle")

        work = shared.submit(tasks.add, 1, b=threading.Lock())

        with pytest.raises(SerializationError, match="argument 'b'"):
            shared.value(work)

    def test_a_function_that_does_not_travel_fails_its_task_alone(
        self, shared: Harness
    ) -> None:
        needs(capabilities(shared).isolated, "does not pickle")
        lock = threading.Lock()

        work = shared.submit(lock.locked)

        assert isinstance(shared.error(work), SerializationError)
        self.still_works(shared)

    @pytest.mark.parametrize(
        "function",
        [tasks.return_a_lock, tasks.return_a_tower, tasks.return_a_trap, tasks.Mine],
        ids=["unpicklable", "too deep", "cannot be unpickled", "interrupts"],
    )
    def test_a_result_that_does_not_travel_fails_its_task_alone(
        self, shared: Harness, function: Callable[[], Any]
    ) -> None:
        needs(capabilities(shared).isolated, "does not pickle")

        error = shared.error(shared.submit(function))

        assert isinstance(error, SerializationError)
        self.still_works(shared)

    def still_works(self, harness: Harness) -> None:
        """Check that plain tasks still run: two for each worker."""
        count = 2 * harness.executor.workers
        works = harness.submit_each(tasks.add, range(count))
        assert harness.values(works) == list(range(count))


class Deaths(ExecutorCase):
    """What becomes of tasks whose worker dies."""

    @pytest.mark.parametrize(
        "death",
        [tasks.die_by_exit_0, tasks.die_by_exit_1, tasks.die_by_kill],
        ids=["exit 0", "exit 1", "SIGKILL"],
    )
    def test_a_dead_worker_fails_only_its_task(
        self, tmp_path: Path, death: Callable[[], Any]
    ) -> None:
        with self.running(tmp_path) as harness:
            needs(capabilities(harness).survives_worker_death, "dies with a worker")
            gate = open_gate(harness, tmp_path)
            bystander = harness.submit(gate.hold, "bystander")
            until_entered(gate, "bystander")

            victim = harness.submit(death)
            queued = harness.submit_each(tasks.identity, range(20))

            with pytest.raises(WorkerDiedError, match=harness.label):
                harness.value(victim)
            assert harness.values(queued) == list(range(20))
            gate.open()
            assert harness.value(bystander) == "bystander"

    def test_an_idle_workers_death_is_not_felt(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            needs(capabilities(harness).survives_worker_death, "dies with a worker")
            needs(in_other_processes(harness), "has no processes")
            pid = harness.value(harness.submit(tasks.process_id))

            os.kill(pid, signal.SIGKILL)

            assert settled(lambda: not alive(pid), WAIT_S)
            works = harness.submit_each(tasks.identity, range(20))
            assert harness.values(works) == list(range(20))

    def test_whatever_a_death_breaks_every_work_is_reported(
        self, tmp_path: Path
    ) -> None:
        with self.running(tmp_path) as harness:
            needs(in_other_processes(harness), "has no processes")
            before = harness.submit_each(tasks.identity, range(20))
            victim = harness.submit(tasks.die_by_exit_1)
            after = harness.submit_each(tasks.identity, range(20))

            harness.wait([*before, victim, *after])

            with pytest.raises(ExecutorError, match=harness.label):
                harness.value(victim)
            errors = [harness.error(work) for work in (*before, *after)]
            kinds = {type(error) for error in errors if error is not None}
            assert all(issubclass(kind, ExecutorError) for kind in kinds)

    def test_after_a_death_every_work_is_still_reported(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            needs(in_other_processes(harness), "has no processes")
            harness.wait([harness.submit(tasks.die_by_exit_1)])

            for _ in range(3):
                works = harness.submit_each(tasks.identity, range(10))
                harness.wait(works)
                errors = list(filter(None, map(harness.error, works)))
                assert all(isinstance(one, ExecutorError) for one in errors), errors
                assert all(harness.label in str(one) for one in errors), errors


class Resources(ExecutorCase):
    """Executors that know resources, and have a single worker in that sense."""

    def test_what_is_taken_together_is_never_more_than_there_is(
        self, tmp_path: Path
    ) -> None:
        with self.running(tmp_path) as harness:
            for name, amount in _amounts(harness).items():
                works = [
                    harness.work(tasks.span, n, resources={name: amount})
                    for n in range(4)
                ]
                harness.submit_batch(works)
                spans = sorted(harness.values(works))
                for (_, ended), (began, _) in pairwise(spans):
                    assert ended <= began, f"more than {amount:g} {name}"

    def test_what_fits_together_runs_together(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            needs(capabilities(harness).shared_filesystem, "shares no files")
            for name, amount in _amounts(harness).items():
                if harness.executor.workers < 2 or amount % 2:
                    continue
                gate = tasks.Gate(tmp_path / name)
                harness.cleanups.append(gate.open)
                known = capabilities(harness).resources
                half = {one: 0.0 for one in known if one == "cores"}
                half[name] = amount / 2
                names = ["one", "other"]
                works = [harness.work(gate.hold, one, resources=half) for one in names]
                harness.submit_batch(works)
                until_entered(gate, *names)
                gate.open()
                harness.wait(works)

    def test_a_large_one_does_not_starve_behind_small_ones(
        self, tmp_path: Path
    ) -> None:
        with self.running(tmp_path) as harness:
            for name, amount in _amounts(harness).items():
                large = harness.work(tasks.span, resources={name: amount})
                half = {name: amount / 2}
                again = partial(harness.work, tasks.span, resources=half)

                def go_on(
                    outcomes: Sequence[Outcome],
                    large: Work = large,
                    again: Callable[[], Work] = again,
                ) -> None:
                    small = [one for one in outcomes if one[0] is not large]
                    if not harness.reported(large):
                        harness.submit_batch([again() for _ in small])

                harness.submit_batch([again() for _ in range(4)])
                harness.on_report = go_on
                harness.submit_batch([again(), again(), large])
                try:
                    harness.wait([large], STARVES_S)
                finally:
                    harness.on_report = None

    def test_more_than_there_is_is_an_error_and_does_not_wait(
        self, tmp_path: Path
    ) -> None:
        with self.running(tmp_path) as harness:
            for name, amount in _amounts(harness).items():
                work = harness.work(tasks.add, 1, resources={name: 2 * amount + 1})
                try:
                    harness.submit_batch([work])
                except Exception:
                    continue
                assert harness.error(work) is not None


def _amounts(harness: Harness) -> Mapping[str, float]:
    needs(bool(capabilities(harness).resources), "knows no resources")
    return capabilities(harness).resources


class Walltimes(ExecutorCase):
    """Executors with the capability ``walltime="kill"``."""

    @pytest.mark.parametrize("task", [tasks.spin, tasks.block], ids=["Python", "C"])
    def test_a_task_is_ended_at_its_walltime(
        self, tmp_path: Path, task: Callable[[Path], Any]
    ) -> None:
        with self.running(tmp_path) as harness:
            needs(capabilities(harness).walltime == "kill", "ends no task by itself")
            gate = open_gate(harness, tmp_path)
            bystander = harness.submit(gate.hold, "bystander")
            started = tmp_path / "started"

            following: list[Work] = []
            for walltime in WALLTIMES_S:
                late = harness.submit(task, started, walltime=walltime)
                following = harness.submit_each(tasks.identity, range(5))

                with pytest.raises(AppTimeout, match=f"{walltime:g} s"):
                    harness.value(late)
                if started.exists():
                    break
            assert started.exists()
            pid = int(started.read_text())
            assert settled(lambda: not alive(pid), WAIT_S)
            assert harness.values(following) == list(range(5))
            gate.open()
            assert harness.value(bystander) == "bystander"

    def test_a_task_within_its_walltime_is_left_alone(self, shared: Harness) -> None:
        needs(capabilities(shared).walltime == "kill", "ends no task by itself")

        works = [shared.submit(tasks.add, n, walltime=WAIT_S) for n in range(10)]

        assert shared.values(works) == list(range(10))


class Faults(Errors, Deaths, Resources, Walltimes):
    """All of them together, for the kit."""
