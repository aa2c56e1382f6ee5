"""Makes any ``concurrent.futures.Executor`` an executor of the kernel.

The kernel asks for ``plugin = "adapter"`` with the executor as an option, where a
configuration, a script or another plugin gives it one that is not of its own kind. So a
site may adapt such executors in its own way.

The adapted one is called *foreign* here, like the futures that it returns. Each work
becomes one foreign future, and each foreign future becomes one report, however it ends.
Where the foreign executor pickles, it gets bytes and gives bytes back, so that its own
pickling meets built-in types only and no object of a user can break it.

Several threads meet here: those of the kernel that submit, those of users that cancel,
those of the foreign executor, on which done-callbacks report, and whoever shuts down.
There is no lock around the works. ``_flying`` has each work from before it enters the
foreign executor until after its report, and every step on it is one step of the
interpreter. Where two threads may meet at a work, a comment says why either order of
their steps is right.
"""

from __future__ import annotations

import concurrent.futures
import inspect
import logging
import os
import sys
import threading
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from jackfield.abc import Capabilities, Executor, run_work
from jackfield.errors import (
    ConfigurationError,
    ExecutorBrokenError,
    ExecutorError,
    JackfieldError,
)
from jackfield.hookspecs import hookimpl
from jackfield_executors.surroundings import present_directory, run_there
from jackfield_executors.threads import join_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from jackfield.abc import ExecutorContext, Outcome, Work

log: logging.Logger = logging.getLogger("jackfield.executors.adapter")

END_S: Final = 5.0
"""Seconds beyond the grace that an idle or killed foreign executor gets to end."""


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | None:
    """Adapt the executor that is given as the option ``executor``."""
    return adapt(_given(label, options), label) if kind == "adapter" else None


@hookimpl
def jackfield_check_options(name: str, options: Mapping[str, Any]) -> bool:
    """Check an executor's table."""
    _given(name, options)
    return True


def _given(label: str, options: Mapping[str, Any]) -> concurrent.futures.Executor:
    executor = options.get("executor")
    if set(options) != {"executor"} or not isinstance(
        executor, concurrent.futures.Executor
    ):
        raise ConfigurationError(
            f"Executor {label!r}: the plugin 'adapter' takes one option, executor, "
            f"which is a concurrent.futures.Executor; it was given "
            f"{', '.join(options) or 'none'}."
        )
    return executor


def adapt(executor: concurrent.futures.Executor, label: str) -> Executor:
    """Return a foreign executor as one of the kernel's.

    Args:
        executor: Any executor. Its attribute ``jackfield_capabilities``, if there is
            one, tells what it can do. Without it, a ``ThreadPoolExecutor`` is known to
            share memory with us, and any other is taken to pickle.
        label: Its name, for messages.

    Raises:
        ConfigurationError: ``jackfield_capabilities`` is not ``Capabilities``.
    """
    return AdaptedExecutor(executor, label)


def _capabilities(executor: concurrent.futures.Executor, label: str) -> Capabilities:
    declared = getattr(executor, "jackfield_capabilities", None)
    if declared is None:
        return Capabilities(isolated=not _shares_memory(executor))
    if not isinstance(declared, Capabilities):
        raise ConfigurationError(
            f"Executor {label!r}: its attribute 'jackfield_capabilities' must be a "
            f"jackfield.abc.Capabilities, not {declared!r}."
        )
    return declared


def _shares_memory(executor: concurrent.futures.Executor) -> bool:
    """Tell whether a foreign executor is a pool of plain threads.

    Python 3.14's ``InterpreterPoolExecutor`` inherits from that, but it pickles.
    """
    names = [cls.__name__ for cls in type(executor).__mro__]
    threads = isinstance(executor, concurrent.futures.ThreadPoolExecutor)
    return threads and "InterpreterPoolExecutor" not in names


class AdaptedExecutor(Executor):
    """A foreign executor behind the kernel's contract; see ``adapt``."""

    def __init__(self, executor: concurrent.futures.Executor, label: str) -> None:
        self._executor: concurrent.futures.Executor = executor
        self._label: str = label
        self.capabilities: Capabilities = _capabilities(executor, label)
        # Works that are not reported yet, each with its foreign future; with ``None``
        # while it is on its way into the foreign executor.
        self._flying: dict[Work, Future[Any] | None] = {}
        # Works that the kernel has cancelled, which must not be reported.
        self._cancelled: set[Work] = set()
        # Functions that were pickled before.
        self._dumped: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()
        # Has ``busy`` set on a thread that is within a report.
        self._reporter = threading.local()
        self._closed = False  # no work is taken any more
        self._muted = False  # the grace is over, and nothing is reported any more
        self._ended = False  # the foreign executor is shut down
        self._ending = threading.Lock()  # held to shut it down: once at a time
        self._idle = threading.Event()  # set when it is closed and nothing flies

    @property
    def workers(self) -> int:
        """The foreign executor's ``_max_workers``, or else the number of cores."""
        number = getattr(self._executor, "_max_workers", None)
        if isinstance(number, int) and number > 0:
            return number
        return os.cpu_count() or 1

    def start(self, context: ExecutorContext) -> None:
        """Remember where to report; a foreign executor needs no start."""
        self._label = context.label
        self._report = context.report

    # -- works

    def submit(self, batch: Sequence[Work]) -> None:
        """Submit works one by one; one that is refused is reported as failed.

        Raises:
            ExecutorError: After ``shutdown``.
        """
        # Here we note the works and then look whether the executor is closed; shutdown
        # closes and then looks at the works. So either we see that we come too late, or
        # shutdown sees the works and waits for them.
        self._flying.update(dict.fromkeys(batch))
        if self._closed:
            self._forget(batch)
            raise ExecutorError(self._label, "it takes no works after shutdown")
        for work in batch:
            try:
                future = self._submit(work)
            except BaseException as error:
                self._settle(work, (work, self._refusal(error), None))
            else:
                # In this order: the callback, which removes the work, may run at once.
                self._flying[work] = future
                future.add_done_callback(partial(self._done, work))

    def _submit(self, work: Work) -> Future[Any]:
        """Give a work to the foreign executor, as bytes if that pickles."""
        if not self.capabilities.isolated:
            return self._executor.submit(run_work, work)
        from jackfield.serialize import dump_call

        function = self._dump(work)
        call = dump_call(work.name, work.function, work.args, work.kwargs)
        local = self.capabilities.shared_filesystem
        directory = present_directory() if local else None
        return self._executor.submit(run_there, directory, function, call)

    def _dump(self, work: Work) -> bytes:
        """Pickle a work's function; a plain one only once.

        So are what the kernel gives in a function's place, which is another object when
        the function has changed, and a function without a closure. What a closure, a
        partial or an object holds may change from call to call.
        """
        from jackfield.serialize import dump_function

        function = work.function
        fixed = hasattr(type(function), "jackfield_sends")  # what it is, it stays
        if not fixed and (
            not isinstance(function, FunctionType) or function.__closure__
        ):
            return dump_function(work.name, function)
        data = self._dumped.get(function)
        if data is None:
            data = self._dumped[function] = dump_function(work.name, function)
        return data

    def _refusal(self, error: BaseException) -> BaseException:
        """Return the error of a work that the foreign executor has not taken."""
        if isinstance(error, JackfieldError):
            return error
        if isinstance(error, concurrent.futures.BrokenExecutor):
            return self._broken(error)
        return self._failure(f"it did not take the task: {error!r}", error)

    def cancel(self, work: Work) -> bool:
        """Cancel the foreign future; return whether it was in time."""
        # Without a future, the work was reported already, or is on its way into the
        # foreign executor. In both cases the kernel gets its outcome.
        future = self._flying.get(work)
        if future is None:
            return False
        # The function may return at this moment. The foreign future decides which was
        # first. If it was the cancel, the done-callback runs within ``cancel`` below,
        # finds the work in ``_cancelled`` and reports nothing. Otherwise the outcome is
        # reported as usual, whether or not the work is in the set.
        self._cancelled.add(work)
        try:
            _bear_cancelled(future)
            cancelled = future.cancel()
        except Exception:
            log.exception("Executor %r: cancelling %r raised", self._label, work)
            cancelled = False
        if not cancelled:
            self._cancelled.discard(work)
        return cancelled

    # -- reports

    def _done(self, work: Work, future: Future[Any]) -> None:
        """Report a foreign future that is done.

        This is its done-callback, called once, on any thread of the foreign executor.
        It never raises, because that thread is not ours.
        """
        outcome: Outcome | None
        try:
            outcome = self._outcome(work, future)
        except BaseException as error:
            failure = self._failure(f"its future cannot be read: {error!r}", error)
            outcome = work, failure, None
        self._settle(work, outcome)

    def _outcome(self, work: Work, future: Future[Any]) -> Outcome | None:
        """Return what to report of a foreign future; ``None`` for nothing."""
        if future.cancelled():
            if work in self._cancelled:
                return None
            reason = f"somebody else cancelled the task {work.id} ({work.name})"
            return work, ExecutorError(self._label, reason), None
        error = future.exception()
        if isinstance(error, concurrent.futures.BrokenExecutor):
            return work, self._broken(error), None
        if error is not None:
            reason = f"it failed to run the task {work.id} ({work.name}): {error!r}"
            return work, self._failure(reason, error), None
        if not self.capabilities.isolated:
            _, error, value = future.result()
            return work, error, value
        from jackfield.serialize import load_outcome

        return work, *load_outcome(work.name, future.result())

    def _settle(self, work: Work, outcome: Outcome | None) -> None:
        """Report an outcome, if there is one to report, then forget the work."""
        # The work is forgotten after the report, so that shutdown, which waits until
        # nothing flies, waits for the last report too. A report may call ``submit``,
        # and that may settle a work on this very thread; hence the value of before.
        outer = getattr(self._reporter, "busy", False)
        self._reporter.busy = True
        try:
            if outcome is not None and not self._muted:
                self._report((outcome,))
        except BaseException:
            log.exception("Executor %r: reporting %r raised", self._label, work)
        finally:
            self._reporter.busy = outer
            self._forget((work,))

    def _forget(self, works: Sequence[Work]) -> None:
        """Remove works, and wake whoever shuts down if they were the last."""
        for work in works:
            self._flying.pop(work, None)
            self._cancelled.discard(work)
        if self._closed and not self._flying:
            self._idle.set()

    def _failure(self, reason: str, cause: BaseException) -> ExecutorError:
        failure = ExecutorError(self._label, reason)
        failure.__cause__ = cause
        return failure

    def _broken(self, cause: BaseException) -> ExecutorError:
        kind = type(self._executor).__name__
        failure = ExecutorBrokenError(
            self._label,
            f"its {kind} broke as a whole, so that every task in it fails, whichever "
            f"was the cause (the plugin 'processes' loses that one alone): {cause}",
        )
        failure.__cause__ = cause
        return failure

    # -- the end

    def shutdown(self, *, grace: float | None = None) -> None:
        """Shut the foreign executor down; kill its processes when the grace is over.

        The kernel may end within a report, that is, on a thread of the foreign
        executor, which would have to wait for itself. Then the shutdown is done on
        another thread, and this returns at once.
        """
        self._closed = True  # before any look at the works; see ``submit``
        if self._ended:
            return
        if getattr(self._reporter, "busy", False):
            name = f"jackfield-{self._label}-shutdown"
            threading.Thread(
                target=self._end, args=(grace,), name=name, daemon=True
            ).start()
        else:
            self._end(grace)

    def _end(self, grace: float | None) -> None:
        """Wait for the works, or cancel and then kill or leave them."""
        if grace is None:
            self._wait_idle(None)
            self._shut_down(kill=False)
            return
        for work in list(self._flying):
            self.cancel(work)
        self._wait_idle(grace)
        # From here on nothing is reported; the kernel ends the tasks that are left.
        self._muted = True
        stuck = list(self._flying)
        if stuck and not self.capabilities.isolated:
            self._leave(stuck)
        else:
            self._shut_down_within(END_S, kill=bool(stuck))
        self._forget(stuck)

    def _wait_idle(self, limit: float | None) -> None:
        """Wait until nothing flies."""
        # If nothing flies already, nobody will come to set the event, so we do. If the
        # last work is settled at this moment, we both do, which does no harm.
        self._forget(())
        self._idle.wait(limit)

    def _leave(self, stuck: list[Work]) -> None:
        """Shut the foreign executor down without waiting for its threads."""
        log.warning(
            "Executor %r leaves threads that run %r: a thread cannot be stopped, and "
            "Python waits at its exit for those of a ThreadPoolExecutor",
            self._label, stuck,
        )  # fmt: skip
        with self._ending:
            self._executor.shutdown(wait=False)
            self._ended = True

    def _shut_down_within(self, limit: float, *, kill: bool) -> None:
        """Shut the foreign executor down, but wait only so many seconds.

        This is done on a daemon thread, which can be left behind.
        """
        end = threading.Thread(target=self._shut_down_logged, args=(kill,), daemon=True)
        end.start()
        join_within([end], limit)
        if end.is_alive():
            log.warning("Executor %r does not end; it is left", self._label)

    def _shut_down_logged(self, kill: bool) -> None:
        try:
            self._shut_down(kill=kill)
        except Exception:
            log.exception("Executor %r raised in its shutdown", self._label)

    def _shut_down(self, *, kill: bool) -> None:
        """Shut the foreign executor down, if nobody has yet, and wait for its end."""
        executor = self._executor
        with self._ending:
            if self._ended:
                return
            if kill and _has_own_way_to_kill(executor):
                executor.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]  # loky's
            elif kill:
                _kill_workers(executor)
                executor.shutdown(wait=True)
            else:
                executor.shutdown(wait=True)
            self._ended = True


def _bear_cancelled(future: Future[Any]) -> None:
    """Keep Python 3.11's process pool from hanging when it breaks after a cancel.

    When a worker dies, the pool's thread calls ``set_exception`` on all its futures. On
    one that is cancelled this raises, the thread dies, and the other futures never end
    (CPython issue 107219). So this future gets a ``set_exception`` that does not raise.
    """
    if sys.version_info >= (3, 12):
        return

    def set_exception(error: BaseException | None) -> None:
        with suppress(concurrent.futures.InvalidStateError):
            type(future).set_exception(future, error)

    vars(future)["set_exception"] = set_exception


def _has_own_way_to_kill(executor: concurrent.futures.Executor) -> bool:
    """Tell whether a foreign executor's ``shutdown`` can kill, as loky's can."""
    try:
        return "kill_workers" in inspect.signature(executor.shutdown).parameters
    except ValueError:  # written in C
        return False


def _kill_workers(executor: concurrent.futures.Executor) -> None:
    """Kill a pool's processes: by its method, or one by one before Python 3.14."""
    kill = getattr(executor, "kill_workers", None)
    if kill is not None:
        kill()
        return
    # The standard library had no public way to get at them.
    processes = getattr(executor, "_processes", None) or {}
    for process in list(processes.values()):
        process.kill()
