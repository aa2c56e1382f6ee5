"""How a kernel ends: by ``cleanup``, at the interpreter's exit, in a forked child."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jackfield import futures
from jackfield.abc import runs_tasks
from jackfield.dataflow import current
from jackfield.dataflow.rundir import close_log
from jackfield.errors import KernelClosedError

if TYPE_CHECKING:
    from jackfield.dataflow.dfk import DataFlowKernel
    from jackfield.dataflow.engine import Engine

_CALLBACKS_S = 5.0
"""Seconds that queued done-callbacks and events get at the end."""

_open: set[DataFlowKernel] = set()
"""Kernels that have not ended. Held, so that nothing but an end ends one."""


def watch(kernel: DataFlowKernel) -> None:
    """Have a kernel ended at the interpreter's exit, and made inert by a fork."""
    _open.add(kernel)


def cleanup(kernel: DataFlowKernel, *, wait: bool) -> None:
    """End a kernel; see ``DataFlowKernel.cleanup``."""
    if kernel._pid != os.getpid() or kernel._ended.is_set():
        return
    if _is_own_thread(kernel._engine):
        threading.Thread(
            target=cleanup,
            args=(kernel,),
            kwargs={"wait": wait},
            name="jackfield-cleanup",
        ).start()
        return
    if not kernel._closing.acquire(blocking=False):
        kernel._ended.wait()
        return
    try:
        _cleanup(kernel, wait=wait)
    except BaseException:  # a second Ctrl-C: leave at once
        _finish(kernel, grace=0.0)
        raise


def _is_own_thread(engine: Engine) -> bool:
    current = threading.current_thread()
    return runs_tasks() or current in (
        engine.scheduler.thread,
        engine.callbacks.thread,
        engine.events.thread if engine.events is not None else None,
    )


def _cleanup(kernel: DataFlowKernel, *, wait: bool) -> None:
    engine = kernel._engine
    if wait:
        while engine.unfinished():  # tasks may submit tasks while we wait
            kernel.wait_for_current_tasks()
        engine.closed = engine.closed or "it is closed"
        kernel.wait_for_current_tasks()  # for one that was submitted just before
        _finish(kernel, grace=None)
    else:
        engine.closed = engine.closed or "it is closed"
        engine.staging.cancelled.set()
        engine.scheduler.post(engine.cancel_unsubmitted)
        _finish(kernel, grace=kernel.config.exit_grace)


def _finish(kernel: DataFlowKernel, *, grace: float | None) -> None:
    """Stop everything, whatever goes wrong on the way."""
    engine = kernel._engine
    engine.closed = engine.closed or "it is closed"
    events = engine.events
    steps: list[Callable[[], Any]] = [
        lambda: engine.pool.shutdown(grace),
        lambda: engine.scheduler.post(engine.cancel_rest),
        engine.scheduler.stop,
        lambda: events.stop(_CALLBACKS_S) if events is not None else None,
        lambda: kernel._manager.notify("jackfield_kernel_closing", kernel=kernel),
        engine.memo.close,
        lambda: _stop_callbacks(engine),
        lambda: _log_summary(kernel),
    ]
    try:
        for step in steps:
            _guarded(engine, step)
    finally:
        close_log(engine.log)
        _open.discard(kernel)
        current.forget(kernel)
        kernel._ended.set()


def _stop_callbacks(engine: Engine) -> None:
    if not engine.callbacks.stop(_CALLBACKS_S):
        engine.log.warning("A done-callback still runs after %g s; left", _CALLBACKS_S)


def _guarded(engine: Engine, action: Callable[[], Any]) -> None:
    try:
        action()
    except Exception:
        engine.log.exception("Closing went wrong; going on")


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
        unfinished = kernel._engine.unfinished()
        if unfinished:
            sys.stderr.write(
                f"jackfield: the program ends with {unfinished} unfinished tasks; "
                f"those that run get {kernel.config.exit_grace:g} s. Use `with "
                f"jackfield.load():`, or wait_for_current_tasks(), to wait for all.\n"
            )
        cleanup(kernel, wait=False)


def _after_fork() -> None:
    """Make the parent's kernels inert in the child: they have no threads here."""
    futures.reset_after_fork()
    for kernel in list(_open):
        engine = kernel._engine
        engine.closed = f"it belongs to process {kernel._pid}; this is a fork of it"
        error = KernelClosedError(engine.closed)
        futures.settle([(task.future, error, None) for task in engine.live.values()])
    _open.clear()
    current.forget(None)


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
