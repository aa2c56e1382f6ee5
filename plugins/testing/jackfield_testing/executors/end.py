"""Executor conformance: shutdown, and that nothing is left behind."""

from __future__ import annotations

import gc
import inspect
import subprocess
import sys
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING

import pytest

from jackfield_testing.background import Background
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import (
    ExecutorCase,
    hold_all,
    in_other_processes,
    needs,
    open_gate,
    until_entered,
)
from jackfield_testing.executors.harness import Harness
from jackfield_testing.footprint import WAIT_S, alive, footprint, session, settled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jackfield.abc import Outcome

QUEUED = 20
WARM_UP_CYCLES = 2
SUBMITTERS = 4
PROMPT_S = 0.1
"""Seconds within which a shutdown that does not wait for tasks would have returned."""

EXIT_SCRIPT = """\
import runpy, sys
from pathlib import Path
from jackfield_testing import Harness
from jackfield_testing.executors import tasks

if __name__ == "__main__":
    _, file, name, directory, held = sys.argv
    executor = runpy.run_path(file)[name]().make_executor(1)
    harness = Harness(executor, Path(directory)).start()
    assert harness.value(harness.submit(tasks.add, 40, 2)) == 42
    if held:
        started = Path(directory, "started")
        harness.submit(tasks.block, started)
        tasks.wait_for(started)
        harness.executor.shutdown(grace=0)
    print("the script has ended")
"""


def _shut_down_in_report(harness: Harness, grace: float | None) -> threading.Event:
    """Have the next report shut the executor down; the event is set when it has."""
    returned = threading.Event()

    def shutdown(_: Sequence[Outcome]) -> None:
        harness.on_report = None
        harness.executor.shutdown(grace=grace)
        returned.set()

    harness.on_report = shutdown
    return returned


class Referent:
    """An argument that a weak reference can watch, and that can be pickled."""


class Shutdown(ExecutorCase):
    """All ways to end an executor."""

    @pytest.mark.parametrize("grace", [None, 0, 5.0])
    def test_an_executor_that_did_nothing_ends(
        self, tmp_path: Path, grace: float | None
    ) -> None:
        with self.running(tmp_path) as harness:
            within_limit(harness, grace)
            within_limit(harness, grace)

    @pytest.mark.parametrize("grace", [None, 0, 5.0])
    def test_an_executor_that_has_worked_ends(
        self, tmp_path: Path, grace: float | None
    ) -> None:
        with self.running(tmp_path) as harness:
            harness.values(harness.submit_each(tasks.identity, range(10)))

            within_limit(harness, grace)
            within_limit(harness, None)

    def test_without_grace_everything_submitted_is_done(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            gate = open_gate(harness, tmp_path)
            held = hold_all(harness, gate)
            queued = harness.submit_each(tasks.identity, range(QUEUED))
            ended = threading.Event()

            def open_unless_ended() -> None:
                ended.wait(PROMPT_S)
                gate.open()

            opener = Background(open_unless_ended)
            within_limit(harness, None)
            ended.set()
            opener.finish()

            works = [*held.values(), *queued]
            assert all(harness.reported(work) for work in works)
            assert harness.values(works) == [*held, *range(QUEUED)]

    def test_with_no_grace_at_all_it_ends_at_once(self, tmp_path: Path) -> None:
        executor = self.make_executor(2)
        # Those of a cluster that tests share, too: one may have been started just now.
        others = set(threading.enumerate())
        with Harness(executor, tmp_path) as harness:
            harness.start()
            assert settled(lambda: harness.executor.workers >= 1, WAIT_S), "no worker"
            gate = open_gate(harness, tmp_path)
            held = hold_all(harness, gate)
            harness.submit_each(gate.hold, [f"queued-{n}" for n in range(QUEUED)])

            within_limit(harness, 0)
            within_limit(harness, None)  # must not wait for what has been given up

            count = harness.count
            gate.open()
            join_all(set(threading.enumerate()) - others)
            assert gate.entered() == set(held)
            assert harness.count == count

    def test_processes_of_tasks_that_do_not_end_are_gone(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            needs(in_other_processes(harness), "has no processes")
            needs(self.owns_processes, "leaves processes that it did not start")
            gate = open_gate(harness, tmp_path)
            pids = [gate.process_of(name) for name in hold_all(harness, gate)]

            within_limit(harness, 0)

            assert settled(lambda: not any(map(alive, pids)), WAIT_S)

    def test_tasks_that_run_may_end_within_the_grace(self, tmp_path: Path) -> None:
        with self.running(tmp_path, workers=1) as harness:
            gate = open_gate(harness, tmp_path)
            running = harness.submit(gate.hold, "running")
            until_entered(gate, "running")
            queued = harness.submit_each(gate.hold, [f"{n}" for n in range(QUEUED)])

            ending = Background(lambda: harness.executor.shutdown(grace=WAIT_S))
            assert settled(lambda: _refuses(harness), WAIT_S)  # it has begun to end
            gate.open()
            ending.finish()

            assert harness.value(running) == "running"
            assert gate.entered() < {"running", *[f"{n}" for n in range(QUEUED)]}
            assert not harness.reported(queued[-1]) or harness.error(queued[-1])

    def test_a_report_may_shut_down(self, tmp_path: Path) -> None:
        for grace in (None, 0):
            with self.running(tmp_path) as harness:
                returned = _shut_down_in_report(harness, grace)
                harness.submit(tasks.add, 1)

                assert returned.wait(WAIT_S)

    def test_a_report_of_what_cannot_be_sent_may_shut_down(
        self, tmp_path: Path
    ) -> None:
        """It may come on the thread that submits, which the end must not wait for."""
        for grace in (None, 0):
            with self.running(tmp_path) as harness:
                returned = _shut_down_in_report(harness, grace)
                Background(
                    partial(harness.submit, tasks.identity, threading.Lock())
                ).finish()

                assert returned.wait(WAIT_S)

    def test_works_are_refused_afterwards(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            within_limit(harness, None)

            with pytest.raises(Exception, match=r"\w"):
                harness.submit(tasks.add, 1)

            assert harness.count == 0

    def test_threads_that_submit_meanwhile_are_answered(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            refusals: list[Exception] = []
            some_done = threading.Semaphore(0)

            def submit() -> None:
                try:
                    while True:
                        work = harness.submit(tasks.add, 1)
                        some_done.release()
                        harness.value(work)
                except Exception as error:
                    refusals.append(error)

            submitters = [Background(submit) for _ in range(SUBMITTERS)]
            for _ in range(5 * SUBMITTERS):
                assert some_done.acquire(timeout=WAIT_S)
            within_limit(harness, None)
            for submitter in submitters:
                submitter.finish()

            assert len(refusals) == SUBMITTERS
            assert not any(isinstance(e, AssertionError) for e in refusals), refusals

    def test_a_program_ends_without_shutdown(self, tmp_path: Path) -> None:
        self.run_script(tmp_path, held=False)

    def test_a_program_ends_though_a_task_does_not(self, tmp_path: Path) -> None:
        needs(not self.waits_at_exit, "keeps Python from ending")
        self.run_script(tmp_path, held=True)

    def run_script(self, directory: Path, *, held: bool) -> None:
        """Run a program that never shuts its executor down, and check that it ends."""
        cls = type(self)
        arguments = [inspect.getfile(cls), cls.__name__, str(directory)]
        script = directory / "script.py"
        script.write_text(EXIT_SCRIPT)
        with subprocess.Popen(
            [sys.executable, str(script), *arguments, "held" if held else ""],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as program:
            try:
                # It may have to start a cluster first.
                output, errors = program.communicate(timeout=2 * WAIT_S)
            finally:
                program.kill()
        assert (program.returncode, output) == (0, "the script has ended\n"), errors
        assert settled(lambda: not session(program.pid), WAIT_S)


class Leaks(ExecutorCase):
    """What an executor holds, and for how long."""

    def test_nothing_leaks_over_starts_and_stops(self, tmp_path: Path) -> None:
        self.start_and_stop(tmp_path, self.short_cycles)

    @pytest.mark.slow
    def test_nothing_leaks_over_many_starts_and_stops(self, tmp_path: Path) -> None:
        self.start_and_stop(tmp_path, self.cycles)

    def start_and_stop(self, run_dir: Path, cycles: int) -> None:
        """Start, use and end an executor many times; check that no more is held."""
        for _ in range(WARM_UP_CYCLES):
            self.one_cycle(run_dir)
        gc.collect()
        before = footprint()
        most = before._replace(descriptors=before.descriptors + self.spare_descriptors)

        for _ in range(cycles):
            self.one_cycle(run_dir)

        def back() -> bool:
            gc.collect()
            return all(now <= then for now, then in zip(footprint(), most, strict=True))

        assert settled(back, WAIT_S), f"{before} grew to {footprint()}"

    def one_cycle(self, run_dir: Path) -> None:
        """Use an executor once."""
        with Harness(self.make_executor(2), run_dir) as harness:
            harness.start()
            works = harness.submit_each(tasks.identity, range(4))
            assert harness.values(works) == [0, 1, 2, 3]

    def test_arguments_and_results_are_released(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            argument = Referent()
            released = weakref.ref(argument)
            work = harness.submit(tasks.identity, argument)
            result = weakref.ref(harness.value(work))

            harness.forget()
            del argument, work

            def gone() -> bool:
                gc.collect()
                return released() is None and result() is None

            assert settled(gone, WAIT_S), gc.get_referrers(released(), result())

    def test_arguments_of_cancelled_works_are_released(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            gate = open_gate(harness, tmp_path)
            held = hold_all(harness, gate)
            arguments = [Referent() for _ in range(QUEUED)]
            released = weakref.ref(arguments[-1])
            works = harness.submit_each(tasks.identity, arguments)
            refused = [work for work in works if not harness.executor.cancel(work)]
            gate.open()
            harness.wait([*held.values(), *refused])

            harness.forget()
            del arguments, works, refused

            def gone() -> bool:
                gc.collect()
                return released() is None

            assert settled(gone, WAIT_S), gc.get_referrers(released())

    def test_no_file_is_left_but_in_a_directory_of_its_own(
        self, tmp_path: Path
    ) -> None:
        with self.running(tmp_path) as harness:
            harness.value(harness.submit(tasks.add, 1))
            within_limit(harness, None)

            assert {path.name for path in tmp_path.iterdir()} <= {harness.label}


class End(Shutdown, Leaks):
    """Both of them together, for the kit."""


def within_limit(harness: Harness, grace: float | None) -> None:
    """Shut down, on another thread, so that a shutdown that hangs fails the test."""
    Background(partial(harness.executor.shutdown, grace=grace)).finish()


def join_all(threads: set[threading.Thread]) -> None:
    """Wait for threads to end."""
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive(), thread


def _refuses(harness: Harness) -> bool:
    """Tell whether the executor takes no more works."""
    try:
        harness.submit(tasks.add, 1)
    except Exception:
        return True
    return False
