"""How a kernel ends: by ``cleanup``, at the interpreter's exit, or in a forked child.

Any thread may end a kernel, several may do so at once, and a Ctrl-C may strike the main
thread anywhere within it. What must hold is that each kernel ends once, that an error
or a Ctrl-C in one step of the end does not keep the next steps from being taken, and
that no thread waits for itself: one on which tasks depend hands the end over to a new
thread.

An end has these steps: the executors are shut down; the tasks that are left are
cancelled; the dispatcher ends, then the event stream, after which observers are told;
what plugins have for the whole process ends with its last kernel; the checkpoint store
is closed, and then the thread of the done-callbacks ends.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield import clock
from jackfield.errors import KernelClosedError
from jackfield.futures.future import reset_after_fork, strand
from jackfield.futures.locks import NAP_S, is_interrupt
from jackfield.graph.task import Task
from jackfield.kernel import current
from jackfield.kernel.telling import INTERRUPTED, tell_cut, tell_failures
from jackfield.last_end import call_all
from jackfield.messages import say
from jackfield.states import TaskState

if TYPE_CHECKING:
    from jackfield.abc import Kernel
    from jackfield.graph.scheduler import Scheduler
    from jackfield.kernel.compose import Parts

_THREADS_S: Final = 5.0
"""Seconds to wait at the end for the kernel's threads.

One of them may be in a plugin or in a user's callback that never returns.
"""

_MOST_INTERRUPTS: Final = 20
"""So many times Ctrl-C, and the end is left as it is."""

_open: set[Shutdown] = set()
"""The ``Shutdown`` of each kernel that has not ended.

Kept here, they keep the kernels themselves from being collected as garbage.
"""

_held: list[Scheduler] = []
"""Those of the graphs that cannot change while the process forks."""


class Shutdown:
    """The end of one kernel, which comes once.

    Attributes:
        kernel: The kernel. Plugins get it when they are told of its end.
        ended: Set when the kernel has ended.
        scheduler: What changes the graph; it is held while the process forks.
        tells: Whether the end says which failures nobody has asked for.
    """

    def __init__(self, kernel: Kernel, parts: Parts) -> None:
        self.kernel: Kernel = kernel
        self.ended: threading.Event = threading.Event()
        self.tells: bool = True
        self._grace: float = parts.config.exit_grace  # seconds, less those given
        self.scheduler: Scheduler = parts.scheduler
        self._parts: Parts = parts
        self._pid: int = os.getpid()
        # Under ``"thread"``: which thread ends the kernel. A dict, because its
        # ``setdefault`` is one step; see ``cleanup``.
        self._closer: dict[str, int] = {}
        self._began: bool = False

    def watch(self) -> None:
        """See that the kernel ends at the interpreter's exit, and is inert in forks."""
        _open.add(self)
        end_first_at_exit()
        current.running.append(self.kernel)

    def cleanup(self, *, wait: bool, why: str = "") -> None:
        """End the kernel; see ``DataFlowKernel.cleanup``.

        ``why`` begins what is said of tasks that are cut short; ``""`` says nothing.
        """
        if self._pid != os.getpid() or self.ended.is_set():
            return
        if self._is_own_thread():
            threading.Thread(
                target=self.cleanup, kwargs={"wait": wait}, name="jackfield-cleanup"
            ).start()
            return
        # Two threads may come here at once, and a Ctrl-C may strike the main thread
        # anywhere. ``setdefault`` is one step of the interpreter, so exactly one thread
        # gets its own identity from it and ends the kernel; the others wait. If a
        # Ctrl-C strikes before ``_cleanup`` notes that it has begun, nothing is done
        # yet, and the same thread begins when it comes again: at the end of the
        # ``with`` block, or at the interpreter's exit.
        here = threading.get_ident()
        if self._closer.setdefault("thread", here) != here:
            if not wait:  # the other thread may wait for all tasks: make them end
                self._end_tasks_now()
            while not self.ended.wait(NAP_S):  # in naps, so that a Ctrl-C is noticed
                pass
        elif not self._began:
            self._cleanup(wait=wait, why=why)
        # Otherwise this very thread is within the end, and a plugin that is told of it
        # calls ``cleanup``. To wait for the end here would be to wait for ever.

    def abort(self) -> None:
        """Stop what was started of a kernel that cannot start."""
        self._parts.log.setLevel("WARNING")  # there was no run to sum up
        self._finish(grace=0.0)

    def _is_own_thread(self) -> bool:
        """Tell whether the end would have to wait for this thread."""
        parts, stream = self._parts, self._parts.observation.stream
        if stream is not None and stream.is_own_thread():
            return True
        return parts.must_not_wait() or threading.current_thread() in (
            parts.scheduler.thread,
            parts.callbacks.thread,
        )

    # -- the three parts of an end

    def _cleanup(self, *, wait: bool, why: str) -> None:
        grace: float | None = self._grace
        try:
            # In the ``try``: from this mark on, a Ctrl-C leads into the ``finally``.
            self._began = True
            if wait:
                why = INTERRUPTED
                self._wait()
                grace = None
        finally:
            # A Ctrl-C while we wait for the tasks leaves the grace as it was: what has
            # not begun is cancelled, as by a Ctrl-C within the ``with`` block.
            try:
                if grace is not None:
                    self._cut(why)
            finally:
                self._finish(grace=grace)

    def _cut(self, why: str) -> None:
        """Cancel what has not begun; say so first, as long as it is there."""
        try:
            if why:
                tell_cut(self._parts, why)
        finally:  # after a second Ctrl-C too
            self._cancel()

    def _wait(self) -> None:
        """Wait for all tasks, and for those that they submit; then take no more."""
        parts = self._parts
        # ``unfinished`` counts the inbox and ``live``. A task that is being registered
        # right now is in neither, so we must not begin with that look. A barrier is an
        # item of the inbox and comes after such a task.
        parts.wait_for_tasks()
        while parts.unfinished():  # tasks have submitted tasks while we waited
            parts.wait_for_tasks()
        self._close()
        parts.wait_for_tasks()  # for one that was submitted just before we closed

    def _close(self) -> None:
        self._parts.closing.close("it is closed")

    def _cancel(self) -> None:
        """Take no more tasks, stop transfers, cancel what has not begun."""
        self._close()
        self._parts.cut_short()

    def _end_tasks_now(self) -> None:
        """End all tasks, so that another thread's waiting ``cleanup`` goes on."""
        parts = self._parts
        self._cancel()
        parts.pool.shutdown(self._grace)
        parts.scheduler.post(parts.ends.end_all_unreported)

    def _finish(self, *, grace: float | None) -> None:
        """Take all steps of the end, whatever goes wrong in one of them.

        A Ctrl-C breaks off the step in which it comes. That step and those after it are
        taken without waiting any more; in the end the Ctrl-C is raised.

        Args:
            grace: Seconds for tasks that run; ``None`` if there are none left.
        """
        interrupts: list[BaseException] = []
        steps = deque(self._steps(grace, interrupts))
        try:
            self._close()
            while steps:
                # Each step may be taken twice. So it goes from the list when it is
                # done: a Ctrl-C between the two loses none, and repeats one at most.
                try:
                    self._take(steps[0])
                    steps.popleft()
                except BaseException as error:
                    if len(interrupts) >= _MOST_INTERRUPTS:
                        raise
                    interrupts.append(error)
        finally:
            self._parts.log.close()
            _open.discard(self)
            current.forget(self.kernel)
            with contextlib.suppress(ValueError):  # it could not start
                current.running.remove(self.kernel)
            self.ended.set()
        if interrupts:
            raise interrupts[0]

    def _take(self, step: Callable[[], Any]) -> None:
        """Take a step; what it raises is logged, but for a Ctrl-C."""
        try:
            step()
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._parts.log.exception("Closing went wrong; going on")

    def _steps(
        self, grace: float | None, interrupts: list[BaseException]
    ) -> list[Callable[[], Any]]:
        """Return the steps of the end; after an interrupt they do not wait any more."""
        parts, stream = self._parts, self._parts.observation.stream
        limit = _THREADS_S if grace is None else min(_THREADS_S, max(1.0, grace))
        began: list[float] = []

        def left() -> float:
            """Return the seconds that there are to wait for the kernel's threads."""
            if interrupts:
                return 0.0
            began.append(clock.monotonic())  # the first one counts
            return max(0.0, began[0] + limit - began[-1])

        return [
            lambda: parts.pool.shutdown(0.0 if interrupts else grace),
            lambda: parts.scheduler.post(parts.ends.end_all_unreported),
            lambda: parts.scheduler.stop(left()),
            *([lambda: stream.stop(left())] if stream is not None else ()),
            self._tell_plugins,
            lambda: None if _open else call_all(),  # by the process's last kernel
            lambda: keeper.close() if (keeper := parts.keeper.end()) else None,
            lambda: _stop_callbacks(parts, left()),
            lambda: _log_summary(parts),
            *([partial(tell_failures, parts)] if self.tells else ()),
        ]

    def _tell_plugins(self) -> None:
        """Tell the plugins once; of a kernel that could not start they are not told."""
        if self in _open:
            _open.discard(self)
            self._parts.manager.notify("jackfield_kernel_closing", kernel=self.kernel)

    # -- the interpreter's end, and forks

    def at_exit(self) -> None:
        """End a kernel that nobody ended: its tasks get ``exit_grace`` seconds.

        Python calls this when the main thread and all other threads that are no daemons
        have ended. What is left is said by a line, and what is lost by the exit code.
        """
        before, unfinished, interrupted = self._lost(), 0, False
        try:
            try:
                # In turn: the result of the last task may be there a moment before its
                # end is recorded, and the program that waited for it goes on to here.
                unfinished = self._parts.in_turn(self._parts.unfinished)
                if unfinished:
                    self._give_grace(unfinished)
            finally:  # whoever reads that line may press Ctrl-C at once
                self.cleanup(wait=False)
        except KeyboardInterrupt:  # Python would show it, and end with 0
            interrupted = True
        lost = unfinished and self._lost() > before and not _has_exit_code()
        if lost or interrupted:
            sys.stderr = _Failing(sys.stderr, interrupted=interrupted)

    def _give_grace(self, unfinished: int) -> None:
        """Wait for all tasks, and for those that they submit, within the grace."""
        say(
            f"the program ends with {unfinished} unfinished tasks; they get "
            f"{self._grace:g} s (exit_grace). Use `with jackfield.load():`, or "
            f"wait_for_current_tasks(), to wait for all."
        )
        parts, until = self._parts, clock.monotonic() + self._grace
        with contextlib.suppress(TimeoutError):
            while self._grace and parts.unfinished():
                try:
                    parts.wait_for_tasks(self._grace)
                finally:
                    self._grace = max(0.0, until - clock.monotonic())

    def _lost(self) -> int:
        """Return how many tasks were cancelled, or did not run for a cancelled one."""
        counts = self._parts.tally.counts
        return counts[TaskState.CANCELLED] + counts[TaskState.DEPENDENCY_FAILED]

    def become_inert(self) -> None:
        """Make the parent's kernel inert in a forked child.

        There it has no threads, so no task of it would ever end. Whoever waits for one
        of its futures, or submits a task, gets an error instead.
        """
        parts = self._parts
        reason = (
            f"it belongs to process {self._pid}; this is a fork of it. A task that "
            f"needs others is a join_app, which returns their futures"
        )
        parts.closing.reason = reason
        error = KernelClosedError(reason)
        inbox = [item for item in parts.scheduler.inbox if isinstance(item, Task)]
        for task in (*parts.live.values(), *inbox):
            for future in filter(None, (task.future, *task.data_futures)):
                strand(future, error)
        # A new event, because a thread of the parent may have held the old one's lock
        # in the moment of the fork.
        self.ended = threading.Event()
        self.ended.set()


def _stop_callbacks(parts: Parts, timeout: float) -> None:
    if not parts.callbacks.stop(timeout):
        parts.log.warning("A done-callback still runs after %.1f s; left", timeout)


def _log_summary(parts: Parts) -> None:
    summary = parts.summary()
    counts = ", ".join(
        f"{state.value} {number}" for state, number in summary.counts.items() if number
    )
    parts.log.info(
        "Kernel ended after %.3f s: %s", summary.elapsed, counts or "no task"
    )


class _Failing:
    """Stands for standard error at the program's end, to make its exit code 120.

    Python has that code for programs whose end went wrong, and gives it if it cannot
    flush standard error, which it does after all functions at exit. So ``flush`` fails
    for that call alone. It is known by its frame, which has no other one above it: the
    interpreter has made the call, and no Python code.
    """

    closed = False

    def __init__(self, stream: Any, *, interrupted: bool) -> None:
        self._stream = stream
        self._interrupted = interrupted  # so that it ends by the signal, as Python does

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()
        frame = inspect.currentframe()
        if frame is not None and frame.f_back is None:
            if self._interrupted:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.raise_signal(signal.SIGINT)
            raise OSError("tasks were cut short")


def _has_exit_code() -> bool:
    """Tell whether the program ends by an exception, or by ``sys.exit`` in a script.

    Python keeps the former. When a script has come to its end, Python takes its
    ``__file__`` away again; after ``sys.exit`` it does not come to that.
    """
    main = sys.modules.get("__main__")
    script = getattr(main, "__spec__", None) is None and hasattr(main, "__file__")
    return script or hasattr(sys, "last_value")


def _at_exit() -> None:
    for end in list(_open):
        end.at_exit()


def _before_fork() -> None:
    # Noted, because a kernel may end while we hold it, and is to be let go even so.
    _held[:] = [end.scheduler for end in list(_open)]
    for scheduler in _held:
        scheduler.hold()


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().let_go()


def _after_fork_in_child() -> None:
    reset_after_fork()
    for end in list(_open):
        end.become_inert()
    _open.clear()
    current.running.clear()
    current.forget(None)


def end_first_at_exit() -> None:
    """Have kernels end before the executors that they have started.

    These may end themselves at the interpreter's exit, and would take from running
    tasks the grace that they have. What was registered last is called first.
    """
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
