"""Any ``concurrent.futures.Executor`` as an executor of the kernel.

Each work becomes one foreign future, and each foreign future one report, whatever
becomes of it. Where the foreign executor pickles, it gets bytes and gives bytes
back, so that its own pickling meets built-in types only and no object of a user can
break it.

Done-callbacks run on threads of the foreign executor: nothing is ever raised into
them.
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
    ExecutorError,
    JackfieldError,
)
from jackfield.futures.locks import join

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from jackfield.abc import ExecutorContext, Outcome, Work

log: logging.Logger = logging.getLogger("jackfield.executors.adapter")

END_S: Final = 5.0
"""Seconds that an idle or killed foreign executor gets to end, beyond the grace."""


def adapt(executor: concurrent.futures.Executor, label: str) -> Executor:
    """Make a foreign executor one of the kernel's.

    Args:
        executor: Any. Its attribute ``jackfield_capabilities``, if there is one,
            tells what it can do; without it, a ``ThreadPoolExecutor`` is known to
            run in this process and anything else is taken to pickle.
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
    """Whether it is a pool of plain threads.

    Python 3.14's pool of interpreters is one by inheritance, but does pickle.
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
        # Works that are not reported. A work has no future yet while it is on its
        # way into the foreign executor.
        self._flying: dict[Work, Future[Any] | None] = {}
        self._cancelled: set[Work] = set()  # by us: nothing is to be reported
        self._dumped: WeakKeyDictionary[FunctionType, bytes] = WeakKeyDictionary()
        self._reporter = threading.local()  # has `busy` on a thread inside a report
        self._closed = False
        self._muted = False
        self._ended = False
        self._ending = threading.Lock()  # pools do not bear two shutdowns at once
        self._idle = threading.Event()  # closed, and nothing flies

    @property
    def workers(self) -> int:
        """What the foreign executor says, or the number of cores."""
        number = getattr(self._executor, "_max_workers", None)
        if isinstance(number, int) and number > 0:
            return number
        return os.cpu_count() or 1

    def start(self, context: ExecutorContext) -> None:
        """Remember where to report; the foreign executor starts as it likes."""
        self._label = context.label
        self._report = context.report

    # -- works

    def submit(self, batch: Sequence[Work]) -> None:
        """Submit works one by one; one that is refused is reported as failed.

        Raises:
            ExecutorError: After ``shutdown``.
        """
        self._flying.update(dict.fromkeys(batch))
        if self._closed:  # asked after the works are noted, so that none is overlooked
            self._forget(batch)
            raise ExecutorError(self._label, "it takes no works after shutdown")
        for work in batch:
            try:
                future = self._submit(work)
            except BaseException as error:
                self._settle(work, (work, self._refusal(error), None))
            else:
                self._flying[work] = future
                future.add_done_callback(partial(self._done, work))

    def _submit(self, work: Work) -> Future[Any]:
        if not self.capabilities.isolated:
            return self._executor.submit(run_work, work)
        from jackfield.serialize import dump_call, run_packed

        function = self._dump(work)
        call = dump_call(work.name, work.function, work.args, work.kwargs)
        return self._executor.submit(run_packed, function, call)

    def _dump(self, work: Work) -> bytes:
        """Pickle the work's function, once where that cannot change its meaning."""
        from jackfield.serialize import dump_function

        function = work.function
        # What is in a closure, a partial or an object may be other the next time.
        if not isinstance(function, FunctionType) or function.__closure__:
            return dump_function(work.name, function)
        data = self._dumped.get(function)
        if data is None:
            data = self._dumped[function] = dump_function(work.name, function)
        return data

    def _refusal(self, error: BaseException) -> BaseException:
        if isinstance(error, JackfieldError):
            return error
        if isinstance(error, concurrent.futures.BrokenExecutor):
            return self._broken(error)
        return self._failure(f"it did not take the task: {error!r}", error)

    def cancel(self, work: Work) -> bool:
        """Cancel the foreign future; true if that says that it was in time."""
        future = self._flying.get(work)
        if future is None:
            return False
        self._cancelled.add(work)  # first: `cancel` calls the done-callback
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
        """Report a foreign future that is done; called once, never raises."""
        outcome: Outcome | None
        try:
            outcome = self._outcome(work, future)
        except BaseException as error:
            failure = self._failure(f"its future cannot be read: {error!r}", error)
            outcome = work, failure, None
        self._settle(work, outcome)

    def _outcome(self, work: Work, future: Future[Any]) -> Outcome | None:
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
        """Report an outcome, if there is one to report, and forget the work."""
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
        return self._failure(
            f"its {kind} broke as a whole, so that every task in it fails, whichever "
            f"was the cause (the plugin 'processes' loses that one alone): {cause}",
            cause,
        )

    # -- the end

    def shutdown(self, *, grace: float | None = None) -> None:
        """Shut the foreign executor down; kill its processes if the grace is over.

        Inside a report it does not wait: what calls there is one of the foreign
        executor's own threads, and the end goes on behind it.
        """
        self._closed = True
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
        if grace is None:
            self._wait_idle(None)
            self._shut_down(kill=False)
            return
        for work in list(self._flying):
            self.cancel(work)
        self._wait_idle(grace)
        self._muted = True
        stuck = list(self._flying)
        if stuck and not self.capabilities.isolated:
            self._leave(stuck)
        else:
            self._shut_down_within(END_S, kill=bool(stuck))
        self._forget(stuck)

    def _wait_idle(self, limit: float | None) -> None:
        self._forget(())  # sets the event if nothing flies any more
        self._idle.wait(limit)

    def _leave(self, stuck: list[Work]) -> None:
        log.warning(
            "Executor %r leaves threads that run %r: a thread cannot be stopped, and "
            "Python waits at its exit for those of a ThreadPoolExecutor",
            self._label, stuck,
        )  # fmt: skip
        with self._ending:
            self._executor.shutdown(wait=False)
            self._ended = True

    def _shut_down_within(self, limit: float, *, kill: bool) -> None:
        """Shut the foreign executor down on a thread that can be left behind."""
        end = threading.Thread(target=self._shut_down_logged, args=(kill,), daemon=True)
        end.start()
        join(end, limit)
        if end.is_alive():
            log.warning("Executor %r does not end; it is left", self._label)

    def _shut_down_logged(self, kill: bool) -> None:
        try:
            self._shut_down(kill=kill)
        except Exception:
            log.exception("Executor %r raised in its shutdown", self._label)

    def _shut_down(self, *, kill: bool) -> None:
        """Shut the foreign executor down, unless it is, and wait for it."""
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
    """Let a pool that breaks go past a future that we are about to cancel.

    In Python 3.11 the thread of a process pool dies there, and all that is in the
    pool hangs (CPython issue 107219).
    """
    if sys.version_info >= (3, 12):
        return

    def set_exception(error: BaseException | None) -> None:
        with suppress(concurrent.futures.InvalidStateError):
            type(future).set_exception(future, error)

    vars(future)["set_exception"] = set_exception


def _has_own_way_to_kill(executor: concurrent.futures.Executor) -> bool:
    """Whether its ``shutdown`` can be asked to kill, as loky's can."""
    try:
        return "kill_workers" in inspect.signature(executor.shutdown).parameters
    except ValueError:  # written in C
        return False


def _kill_workers(executor: concurrent.futures.Executor) -> None:
    """Kill a pool's processes: by its method, or before Python 3.14 one by one."""
    kill = getattr(executor, "kill_workers", None)
    if kill is not None:
        kill()
        return
    # The standard library had no public way to them.
    processes = getattr(executor, "_processes", None) or {}
    for process in list(processes.values()):
        process.kill()
