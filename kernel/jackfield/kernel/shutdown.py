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
from typing import TYPE_CHECKING, Any

from jackfield.errors import KernelClosedError
from jackfield.futures.future import reset_after_fork, strand
from jackfield.futures.locks import NAP_S
from jackfield.graph.scheduler import is_interrupt
from jackfield.graph.task import Task
from jackfield.kernel import current
from jackfield.kernel.rundir import close_log

if TYPE_CHECKING:
    from jackfield.graph.events import EventStream
    from jackfield.kernel.compose import Parts
    from jackfield.kernel.dfk import DataFlowKernel

_THREADS_S = 5.0
"""Seconds that plugins and users' callbacks get to let go of the kernel's threads."""

_open: set[DataFlowKernel] = set()
"""Kernels that have not ended. Held, so that nothing but an end ends one."""


def watch(kernel: DataFlowKernel) -> None:
    """Have a kernel ended at the interpreter's exit, and made inert by a fork."""
    _open.add(kernel)


def cleanup(kernel: DataFlowKernel, *, wait: bool) -> None:
    """End a kernel; see ``DataFlowKernel.cleanup``."""
    if kernel._pid != os.getpid() or kernel._ended.is_set():
        return
    if _is_own_thread(kernel._parts):
        threading.Thread(
            target=cleanup,
            args=(kernel,),
            kwargs={"wait": wait},
            name="jackfield-cleanup",
        ).start()
        return
    # One step that Ctrl-C cannot tear. After one just behind it, the thread finds its
    # own number there when it comes again.
    here = threading.get_ident()
    if kernel._closer.setdefault("thread", here) != here:
        if not wait:
            _cut_short(kernel)
        while not kernel._ended.wait(NAP_S):
            pass
    elif "began" not in kernel._closer:  # else a plugin that is told of the end is here
        kernel._closer["began"] = here
        _cleanup(kernel, wait=wait)


def abort(kernel: DataFlowKernel) -> None:
    """Stop what a kernel that could not start has started."""
    _finish(kernel, grace=0.0)


def _is_own_thread(parts: Parts) -> bool:
    return parts.serves() or threading.current_thread() in (
        parts.scheduler.thread,
        parts.callbacks.thread,
        *(stream.thread for stream in _streams(parts)),
    )


def _cleanup(kernel: DataFlowKernel, *, wait: bool) -> None:
    grace: float | None = kernel.config.exit_grace
    try:
        if wait:
            _wait(kernel)
            grace = None
    finally:  # Ctrl-C while we wait does what it does inside `with`
        if grace is not None:
            _cancel(kernel)
        _finish(kernel, grace=grace)


def _wait(kernel: DataFlowKernel) -> None:
    parts = kernel._parts
    # First, since a task that is just being admitted is neither in the inbox nor live.
    kernel.wait_for_current_tasks()
    while parts.unfinished():  # tasks may submit tasks while we wait
        kernel.wait_for_current_tasks()
    _close(parts)
    kernel.wait_for_current_tasks()  # for one that was submitted just before


def _close(parts: Parts) -> None:
    parts.closing.close("it is closed")


def _cancel(kernel: DataFlowKernel) -> None:
    parts = kernel._parts
    _close(parts)
    parts.cut_short()
    parts.scheduler.post(parts.ends.cancel_all_not_begun)


def _cut_short(kernel: DataFlowKernel) -> None:
    """End the tasks that another thread's ``cleanup`` waits for."""
    _cancel(kernel)
    kernel._parts.pool.shutdown(kernel.config.exit_grace)
    parts = kernel._parts
    parts.scheduler.post(parts.ends.cancel_all_left)


def _finish(kernel: DataFlowKernel, *, grace: float | None) -> None:
    """Stop everything, whatever goes wrong on the way.

    Ctrl-C ends the step at which it comes, and leaves the others no time.
    """
    interrupts: list[BaseException] = []
    try:
        for step in _steps(kernel, grace, interrupts):
            try:
                step()
            except BaseException as error:
                if is_interrupt(error):
                    interrupts.append(error)
                else:
                    kernel._log.exception("Closing went wrong; going on")
    finally:
        close_log(kernel._log)
        _open.discard(kernel)
        current.forget(kernel)
        kernel._ended.set()
    if interrupts:
        raise interrupts[0]


def _steps(
    kernel: DataFlowKernel, grace: float | None, interrupts: list[BaseException]
) -> Iterator[Callable[[], Any]]:
    parts = kernel._parts

    def left() -> float:
        return 0.0 if interrupts else max(0.0, deadline - time.monotonic())

    _close(parts)
    yield lambda: parts.pool.shutdown(grace)
    if interrupts:
        yield lambda: parts.pool.shutdown(0.0)
    yield lambda: parts.scheduler.post(parts.ends.cancel_all_left)
    limit = _THREADS_S if grace is None else min(_THREADS_S, max(1.0, grace))
    deadline = time.monotonic() + limit
    yield lambda: parts.scheduler.stop(left())
    for stream in _streams(parts):
        yield partial(_stop_stream, stream, left)
    if kernel in _open:  # else it has never been started
        yield lambda: kernel._manager.notify("jackfield_kernel_closing", kernel=kernel)
    yield parts.checkpoints.close
    yield lambda: _stop_callbacks(parts, left())
    yield lambda: _log_summary(kernel)


def _streams(parts: Parts) -> set[EventStream]:
    """Return the event stream, if there is one."""
    seen = parts.observation
    return {one for one in (seen.tasks, seen.transfers) if one is not None}


def _stop_stream(stream: EventStream, left: Callable[[], float]) -> None:
    stream.stop(left())


def _stop_callbacks(parts: Parts, timeout: float) -> None:
    if not parts.callbacks.stop(timeout):
        parts.log.warning("A done-callback still runs after %.1f s; left", timeout)


def _log_summary(kernel: DataFlowKernel) -> None:
    summary = kernel.summary()
    counts = ", ".join(
        f"{state.value} {number}" for state, number in summary.counts.items() if number
    )
    kernel._log.info(
        "Kernel ended after %.3f s: %s", summary.elapsed, counts or "no task"
    )


# -- the interpreter's end, and forks


def _at_exit() -> None:
    """End the kernels that nobody ended, within ``exit_grace``, and say so.

    Runs when the main thread has ended and other non-daemon threads too. No thread
    or process can be started any more on newer Pythons, so a kernel cannot go on
    with its work here; it can only keep the loss small and tell.
    """
    for kernel in list(_open):
        unfinished = kernel._parts.unfinished()
        if unfinished:
            text = (
                f"jackfield: the program ends with {unfinished} unfinished tasks; "
                f"those that run get {kernel.config.exit_grace:g} s. Use `with "
                f"jackfield.load():`, or wait_for_current_tasks(), to wait for all.\n"
            )
            with contextlib.suppress(Exception):  # it may be closed, or None
                sys.stderr.write(text)
        cleanup(kernel, wait=False)


def _before_fork() -> None:
    for kernel in _open:
        kernel._parts.scheduler.hold()


def _after_fork_in_parent() -> None:
    for kernel in _open:
        kernel._parts.scheduler.let_go()


def _after_fork_in_child() -> None:
    """Make the parent's kernels inert in the child: they have no threads here."""
    reset_after_fork()
    for kernel in _open:
        parts = kernel._parts
        reason = f"it belongs to process {kernel._pid}; this is a fork of it"
        parts.closing.reason = reason
        error = KernelClosedError(reason)
        inbox = [item for item in parts.scheduler.inbox if isinstance(item, Task)]
        for task in (*parts.live.values(), *inbox):
            for future in filter(None, (task.future, *task.data_futures)):
                strand(future, error)
        kernel._ended = threading.Event()  # the old one's lock may be held for ever
        kernel._ended.set()
    _open.clear()
    current.forget(None)


atexit.register(_at_exit)
os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
