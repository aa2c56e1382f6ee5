"""How a kernel ends: by ``cleanup``, at the interpreter's exit, in a forked child."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import KernelClosedError
from jackfield.futures.future import reset_after_fork, strand
from jackfield.futures.locks import NAP_S
from jackfield.graph.scheduler import is_interrupt
from jackfield.graph.task import Task
from jackfield.kernel import current
from jackfield.kernel.rundir import close_log
from jackfield.kernel.waiting import wait_for_tasks

if TYPE_CHECKING:
    from jackfield.abc import Kernel
    from jackfield.graph.events import EventStream
    from jackfield.kernel.compose import Parts

_THREADS_S: Final = 5.0
"""Seconds that plugins and users' callbacks get to let go of the kernel's threads."""

_open: set[Shutdown] = set()
"""Those of kernels that have not ended. Held, so that nothing but an end ends one."""


class Shutdown:
    """The end of one kernel, which comes once.

    Args:
        kernel: The kernel, for the plugins that are told of its end.
        parts: What it is made of.

    Attributes:
        kernel: The kernel.
        ended: Set when it has ended.
    """

    def __init__(self, kernel: Kernel, parts: Parts) -> None:
        self.kernel: Kernel = kernel
        self.ended: threading.Event = threading.Event()
        self._parts: Parts = parts
        self._pid: int = os.getpid()
        # ``"thread"``: who ends the kernel; ``"began"``: that it has begun to.
        self._closer: dict[str, int] = {}

    def watch(self) -> None:
        """Have the kernel ended at the interpreter's exit, and made inert by a fork."""
        _open.add(self)

    def cleanup(self, *, wait: bool) -> None:
        """End the kernel; see ``DataFlowKernel.cleanup``."""
        if self._pid != os.getpid() or self.ended.is_set():
            return
        if self._is_own_thread():
            threading.Thread(
                target=self.cleanup, kwargs={"wait": wait}, name="jackfield-cleanup"
            ).start()
            return
        # Two threads may come here at once, and a Ctrl-C may strike the main thread
        # anywhere. ``setdefault`` is one step of the interpreter, so exactly one thread
        # finds its own number; the others wait for it. If a Ctrl-C strikes just behind
        # that step, nothing has begun, and the thread finds its own number again when
        # it comes back, as it does at the end of the ``with`` block or at the exit.
        here = threading.get_ident()
        if self._closer.setdefault("thread", here) != here:
            if not wait:
                self._cut_short()
            while not self.ended.wait(NAP_S):
                pass
        elif "began" not in self._closer:
            self._closer["began"] = here
            self._cleanup(wait=wait)
        # Otherwise a plugin calls ``cleanup`` when it is told of the end: it is within
        # the one that has begun, and must not wait for it.

    def abort(self) -> None:
        """Stop what a kernel that could not start has started."""
        self._finish(grace=0.0)

    def _is_own_thread(self) -> bool:
        parts = self._parts
        return parts.serves() or threading.current_thread() in (
            parts.scheduler.thread,
            parts.callbacks.thread,
            *(stream.thread for stream in _streams(parts)),
        )

    # -- the three parts of an end

    def _cleanup(self, *, wait: bool) -> None:
        grace: float | None = self._parts.config.exit_grace
        try:
            if wait:
                self._wait()
                grace = None
        finally:  # Ctrl-C while we wait does what it does inside `with`
            if grace is not None:
                self._cancel()
            self._finish(grace=grace)

    def _wait(self) -> None:
        parts = self._parts
        # Waiting comes first, because a task that is just being admitted is neither in
        # the inbox nor live, and the look at these two would miss it.
        wait_for_tasks(parts)
        while parts.unfinished():  # tasks may submit tasks while we wait
            wait_for_tasks(parts)
        self._close()
        wait_for_tasks(parts)  # for one that was submitted just before

    def _close(self) -> None:
        self._parts.closing.close("it is closed")

    def _cancel(self) -> None:
        self._close()
        self._parts.cut_short()
        self._parts.scheduler.post(self._parts.ends.cancel_all_not_begun)

    def _cut_short(self) -> None:
        """End the tasks that another thread's ``cleanup`` waits for."""
        parts = self._parts
        self._cancel()
        parts.pool.shutdown(parts.config.exit_grace)
        parts.scheduler.post(parts.ends.cancel_all_left)

    def _finish(self, *, grace: float | None) -> None:
        """Stop everything, whatever goes wrong on the way.

        Ctrl-C ends the step at which it comes, and leaves the others no time.
        """
        log = self._parts.log
        interrupts: list[BaseException] = []
        try:
            for step in self._steps(grace, interrupts):
                try:
                    step()
                except BaseException as error:
                    if is_interrupt(error):
                        interrupts.append(error)
                    else:
                        log.exception("Closing went wrong; going on")
        finally:
            close_log(log)
            _open.discard(self)
            current.forget(self.kernel)
            self.ended.set()
        if interrupts:
            raise interrupts[0]

    def _steps(
        self, grace: float | None, interrupts: list[BaseException]
    ) -> Iterator[Callable[[], Any]]:
        parts = self._parts

        def left() -> float:
            return 0.0 if interrupts else max(0.0, deadline - time.monotonic())

        self._close()
        yield lambda: parts.pool.shutdown(grace)
        if interrupts:
            yield lambda: parts.pool.shutdown(0.0)
        yield lambda: parts.scheduler.post(parts.ends.cancel_all_left)
        limit = _THREADS_S if grace is None else min(_THREADS_S, max(1.0, grace))
        deadline = time.monotonic() + limit
        yield lambda: parts.scheduler.stop(left())
        for stream in _streams(parts):
            yield partial(_stop_stream, stream, left)
        if self in _open:  # else it has never been started
            notify = parts.manager.notify
            yield lambda: notify("jackfield_kernel_closing", kernel=self.kernel)
        yield parts.checkpoints.close
        yield lambda: _stop_callbacks(parts, left())
        yield lambda: _log_summary(parts)

    # -- the interpreter's end, and forks

    def at_exit(self) -> None:
        """End a kernel that nobody ended, within ``exit_grace``, and say so.

        Called when the main thread has ended and other non-daemon threads too. No
        thread or process can be started any more on newer Pythons, so a kernel cannot
        go on with its work here; it can only keep the loss small and tell.
        """
        unfinished = self._parts.unfinished()
        if unfinished:
            grace = self._parts.config.exit_grace
            text = (
                f"jackfield: the program ends with {unfinished} unfinished tasks; "
                f"those that run get {grace:g} s. Use `with jackfield.load():`, or "
                f"wait_for_current_tasks(), to wait for all.\n"
            )
            with contextlib.suppress(Exception):  # it may be closed, or None
                sys.stderr.write(text)
        self.cleanup(wait=False)

    def before_fork(self) -> None:
        """Keep the graph as it is until the fork is done."""
        self._parts.scheduler.hold()

    def after_fork(self) -> None:
        """Let the parent's kernel go on."""
        self._parts.scheduler.let_go()

    def become_inert(self) -> None:
        """Make the parent's kernel inert in a forked child: it has no threads there."""
        parts = self._parts
        reason = f"it belongs to process {self._pid}; this is a fork of it"
        parts.closing.reason = reason
        error = KernelClosedError(reason)
        inbox = [item for item in parts.scheduler.inbox if isinstance(item, Task)]
        for task in (*parts.live.values(), *inbox):
            for future in filter(None, (task.future, *task.data_futures)):
                strand(future, error)
        self.ended = threading.Event()  # the old one's lock may be held for ever
        self.ended.set()


def _streams(parts: Parts) -> set[EventStream]:
    """Return the event stream, if there is one."""
    seen = parts.observation
    return {one for one in (seen.tasks, seen.transfers) if one is not None}


def _stop_stream(stream: EventStream, left: Callable[[], float]) -> None:
    stream.stop(left())


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


def _at_exit() -> None:
    for end in list(_open):
        end.at_exit()


def _before_fork() -> None:
    for end in _open:
        end.before_fork()


def _after_fork_in_parent() -> None:
    for end in _open:
        end.after_fork()


def _after_fork_in_child() -> None:
    reset_after_fork()
    for end in _open:
        end.become_inert()
    _open.clear()
    current.forget(None)


atexit.register(_at_exit)
os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
