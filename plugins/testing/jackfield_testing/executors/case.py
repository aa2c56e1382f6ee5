"""What all parts of the executor conformance kit share."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import pytest

from jackfield_testing.executors import tasks
from jackfield_testing.executors.harness import Harness
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Iterator
    from pathlib import Path

    from jackfield.abc import Capabilities, Executor, Work


class ExecutorCase(ABC):
    """How to make the executor under test, and what tests cannot find out about it."""

    cancels_queued: ClassVar[bool] = True
    """Whether a work that waits for a worker can be cancelled. Where works are handed
    to the workers ahead of time, this is about the last of those that wait."""

    keeps_order: ClassVar[bool] = True
    """Whether a single worker runs works in the order they were submitted in."""

    waits_at_exit: ClassVar[bool] = False
    """Whether Python cannot end while a task runs that cannot be stopped, although
    ``shutdown`` has given it up: a ``ThreadPoolExecutor`` is like that."""

    owns_processes: ClassVar[bool] = True
    """Whether the processes of its tasks are its own, and end with it. Those of a
    cluster that was there before go on."""

    spare_descriptors: ClassVar[int] = 0
    """How many descriptors more than before may be open after starts and stops: those
    that somebody else's pool of connections keeps."""

    cycles: ClassVar[int] = 200
    """Starts and stops in the long form of the leak test (``-m slow``)."""

    short_cycles: ClassVar[int] = 5
    """Starts and stops in its short form."""

    @abstractmethod
    def make_executor(self, workers: int) -> Executor | concurrent.futures.Executor:
        """Make the executor under test, not started.

        Called for each test, or for several that share one, on an instance of the
        subclass of its own. One test calls it in a new interpreter, which runs the
        subclass's file: it must do without fixtures.

        Args:
            workers: How many tasks it should run at once: 1 or 2. Where the number
                cannot be chosen, another is fine, and tests that need it skip.
        """

    def make_losing_executor(self) -> Executor | concurrent.futures.Executor:
        """Make the executor from which workers are taken away, not started.

        If executors of ``make_executor`` have their workers from one cluster, this one
        needs a cluster of its own. Otherwise the executor that tests share would lose
        its workers, too, and start again in the middle of some test.
        """
        return self.make_executor(2)

    def remove_workers(self) -> None:
        """Take all workers away from an executor of ``make_losing_executor``.

        For executors whose workers are started by somebody else, and may be gone one
        day. Those that do not override this skip the tests of it. The executor may
        notice later that they are gone.
        """
        pytest.skip("this executor's workers cannot be taken away")

    def lose_patience(self) -> None:  # noqa: B027  (with the others, or not at all)
        """Have the executor give works up seconds after its last worker is gone.

        Called before ``remove_workers`` by the test of that. In all others it is to
        wait for ``restore_workers``, however long a busy machine takes for it: so an
        executor whose patience can be set should begin with a minute.
        """

    def restore_workers(self) -> None:  # noqa: B027  (with the other one, or not at all)
        """Give the executor workers again, after ``remove_workers``."""

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
        """A started executor of two workers, shared by all tests that do it no harm."""
        run_dir = tmp_path_factory.mktemp("shared")
        with Harness(cls().make_executor(2), run_dir) as harness:
            harness.start()
            _warm_up(harness)
            yield harness

    @pytest.fixture(autouse=True)
    def _all_workers(self, request: pytest.FixtureRequest) -> None:
        """Wait until the shared executor has all its workers; or make another one.

        A test before this one may have killed a worker of a cluster that both executors
        use. The cluster starts another one, and until then the shared executor says, as
        it should, that it has fewer workers.

        If a test has waited in vain for a work of it, or its workers do not come again,
        that test has failed, or the one that killed them. Those that follow get an
        executor that works, and do not fail with it.
        """
        if "shared" not in request.fixturenames:
            return
        harness: Harness = request.getfixturevalue("shared")
        executor, all_of_them = harness.executor, harness.workers_at_first
        if harness.lost or not settled(lambda: executor.workers >= all_of_them, WAIT_S):
            harness.begin_anew(type(self)().make_executor(2))
            _warm_up(harness)

    @contextmanager
    def running(self, run_dir: Path, workers: int = 2) -> Iterator[Harness]:
        """Give a started executor for one test alone."""
        with Harness(self.make_executor(workers), run_dir) as harness:
            harness.start()
            assert settled(lambda: harness.executor.workers >= 1, WAIT_S), "no worker"
            if workers == 1 and harness.executor.workers != 1:
                pytest.skip("this executor cannot be limited to one worker")
            yield harness


def _warm_up(harness: Harness) -> None:
    """Have workers that start on first use start here, and not in somebody's test."""
    assert settled(lambda: harness.executor.workers >= 1, WAIT_S), "no worker"
    harness.workers_at_first = harness.executor.workers
    harness.wait(harness.submit_each(tasks.now, range(harness.workers_at_first)))


def needs(wanted: bool, what: str) -> None:
    """Skip the test, with a reason, unless it applies to this executor."""
    if not wanted:
        pytest.skip(f"this executor {what}")


def capabilities(harness: Harness) -> Capabilities:
    """What the executor declares."""
    return harness.executor.capabilities


def open_gate(harness: Harness, directory: Path) -> tasks.Gate:
    """Make a gate that is opened when the harness is left, if not before.

    Skips where tasks do not see the driver's files.
    """
    needs(capabilities(harness).shared_filesystem, "shares no files with its tasks")
    gate = tasks.Gate(directory / "gate")
    harness.cleanups.append(gate.open)
    return gate


def hold_all(harness: Harness, gate: tasks.Gate) -> dict[str, Work]:
    """Occupy every worker with a task that waits at a gate; return works by name."""
    names = [f"held-{n}" for n in range(harness.executor.workers)]
    works = harness.submit_each(gate.hold, names)
    until_entered(gate, *names)
    return dict(zip(names, works, strict=True))


def until_entered(gate: tasks.Gate, *names: str) -> None:
    """Wait until the tasks of these names have entered a gate."""
    assert settled(lambda: gate.entered() >= set(names), WAIT_S), (
        f"running: {sorted(gate.entered())}, wanted: {sorted(names)}"
    )


def in_other_processes(harness: Harness) -> bool:
    """Whether tasks run in processes of their own."""
    return bool(harness.value(harness.submit(tasks.process_id)) != os.getpid())
