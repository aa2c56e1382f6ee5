"""A kernel for one test, which ends whatever the test and its tasks do."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

import jackfield as jf
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from jackfield import AppFuture, Config, DataFlowKernel, TaskEvent

DEFAULTS: Final[Mapping[str, Any]] = {
    "executors": {"threads": {"plugin": "threads", "workers": 4}},
    "exit_grace": 1.0,
}
"""What a configuration that is a mapping need not say."""

NAMED: Final = 10
"""So many tasks are named in a message; the others are counted."""


@contextmanager
def kernel_that_ends(
    config: Config | Mapping[str, Any] | str | os.PathLike[str],
    run_dir: Path,
    limit: float,
    failed: Callable[[], bool],
) -> Iterator[DataFlowKernel]:
    """Load a kernel for the length of a block.

    Args:
        config: As for ``jackfield.load``; ``DEFAULTS`` are under a mapping.
        run_dir: Where the kernel makes its run's directory, whatever ``config`` says.
        limit: Seconds from now after which all that is unfinished is cancelled.
        failed: Asked at the end of the block: whether there is no point in waiting
            for tasks that still run.

    Raises:
        pytest.fail.Exception: Tasks were unfinished at the limit.
    """
    if isinstance(config, Mapping):
        config = {**DEFAULTS, **config}
    submitted = _SubmittedTasks()
    kernel = jf.load(config, run_dir=run_dir, plugins=[submitted])
    alarm = _Alarm(kernel, submitted, limit)
    try:
        yield kernel
    finally:
        try:
            # If the limit passes while this waits, the alarm's own call of `cleanup`
            # cancels what this one waits for.
            kernel.cleanup(wait=not failed())
        finally:
            alarm.stop()
            _end_another()
    if alarm.rang:
        pytest.fail(_message(alarm, limit), pytrace=False)


def handed_over(futures: Iterable[AppFuture[Any]]) -> None:
    """Wait until the executors have the tasks of the futures.

    A call returns before the kernel's dispatcher has chosen an executor for the task
    and given it to that one. A test which opens a gate right after its calls, and then
    looks at an order or at a division between executors, could so open it while half
    of the tasks are on their way.

    Raises:
        AssertionError: One of them still waits for others, or is not yet given away.
    """
    left = [one for one in futures if one.task_status() in ("waiting", "ready")]

    def all_are_submitted() -> bool:
        left[:] = [one for one in left if one.task_status() in ("waiting", "ready")]
        return not left

    assert settled(all_are_submitted, WAIT_S), f"not given to an executor: {left}"

    # A task's state becomes `submitted` just before the dispatcher calls the executor's
    # `submit`. The dispatcher does one thing after the other: when it has run another
    # task, that was called only now, it has returned from that `submit`.
    @jf.join_app
    def later() -> tuple[()]:
        return ()

    later().result(WAIT_S)


class _SubmittedTasks:
    """A plugin that knows by name the tasks that an executor has and not ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[int, str] = {}

    @jf.hookimpl
    def jackfield_task_events(self, events: Sequence[TaskEvent]) -> None:
        with self._lock:
            for event in events:
                if event.state is jf.TaskState.SUBMITTED:
                    self._tasks[event.task] = f"{event.app} on {event.executor}"
                else:
                    self._tasks.pop(event.task, None)

    def names(self) -> list[str]:
        """Return a line for each, in the order in which the program called them."""
        with self._lock:
            return [self._tasks[number] for number in sorted(self._tasks)]


class _Alarm:
    """Ends a kernel at its limit, on a thread of its own.

    Two threads may call ``cleanup`` at the same time: this one, and the one that the
    test runs on. The kernel allows that; whoever comes second with ``wait=False`` cuts
    the first one's waiting short, and both return when the kernel has ended.

    Attributes:
        rang: Whether the limit passed before the kernel had ended. Final after
            ``stop``, as are the other two.
        unfinished: State to the number of tasks that were in it then.
        running: The names of those that an executor had.
    """

    def __init__(
        self, kernel: DataFlowKernel, submitted: _SubmittedTasks, limit: float
    ) -> None:
        self.rang: bool = False
        self.unfinished: dict[str, int] = {}
        self.running: list[str] = []
        self._kernel = kernel
        self._submitted = submitted
        self._timer = threading.Timer(limit, self._ring)
        self._timer.name = "jackfield-testing-limit"
        self._timer.daemon = True
        self._timer.start()

    def _ring(self) -> None:
        self.running = self._submitted.names()
        counts = self._kernel.task_state_counts
        self.unfinished = {
            state.value: count
            for state, count in counts.items()
            if count and not state.final
        }
        # At the very limit the kernel may just have ended by itself: that is no delay.
        self.rang = bool(self.unfinished) or not self._kernel.closed
        self._kernel.cleanup(wait=False)

    def stop(self) -> None:
        """Call the alarm off; if it is ringing already, wait until it has ended."""
        self._timer.cancel()
        self._timer.join()


def _end_another() -> None:
    """End a kernel that the test itself has loaded and left loaded."""
    try:
        another = jf.dfk()
    except jf.NoDataFlowKernelError:
        return
    another.cleanup(wait=False)


def _message(alarm: _Alarm, limit: float) -> str:
    states = ", ".join(f"{n} {state}" for state, n in alarm.unfinished.items())
    text = (
        f"The kernel of this test was ended after {limit:g} s, which is the value of "
        f"the fixture jackfield_timeout. Unfinished tasks: {states or 'none'}"
    )
    names = [f"  {name}" for name in alarm.running[:NAMED]]
    if len(alarm.running) > NAMED:
        names.append(f"  ... and {len(alarm.running) - NAMED} more")
    return "\n".join([text, *names])
