"""Hooks of Jackfield that stand for options and registries of Parsl."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jackfield as jf
from jackfield_parsl.dataflow.memoization import id_for_memo, is_registered
from jackfield_parsl.dataflow.states import STATES
from jackfield_parsl.dataflow.taskrecord import TaskRecord

if TYPE_CHECKING:
    from jackfield_parsl.dataflow.dependency_resolvers import DependencyResolver

LOGGER = logging.getLogger("parsl.dataflow.dflow")
"""Named like Parsl's own, for scripts that set levels and handlers."""


def plugins_for(
    resolver: DependencyResolver,
    retry_handler: Callable[[Exception, TaskRecord], float] | None,
    std_autopath: Callable[[TaskRecord, str], Any] | None,
    *,
    log: bool,
) -> list[object]:
    """Return the plugins that a configuration of Parsl's calls for."""
    plugins: list[object] = [MemoIds()]
    if retry_handler is not None:
        plugins.append(RetryHandler(retry_handler))
    if std_autopath is not None:
        plugins.append(StreamNames(std_autopath))
    if resolver.is_custom:
        plugins.append(Resolver(resolver))
    if log:
        plugins.append(EventLog())
    return plugins


class RetryHandler:
    """``Config(retry_handler=...)``."""

    def __init__(self, handler: Callable[[Any, TaskRecord], float]) -> None:
        self._handler = handler

    @jf.hookimpl
    def jackfield_retry(
        self, task: jf.TaskView, error: BaseException, attempt: int
    ) -> jf.Retry:
        """Ask the handler what the failure costs."""
        record = TaskRecord.of(task, fail_count=attempt)
        return jf.Retry(cost=float(self._handler(error, record)))


class StreamNames:
    """``Config(std_autopath=...)``."""

    def __init__(self, name: Callable[[TaskRecord, str], Any]) -> None:
        self._name = name

    @jf.hookimpl
    def jackfield_stream_path(self, task: jf.TaskView, stream: str) -> Any:
        """Ask the function where a stream goes."""
        return self._name(TaskRecord.of(task), stream)


class Resolver:
    """``Config(dependency_resolver=...)``, one of the user's own.

    Jackfield looks into builtin containers by itself, and asks about the rest.
    """

    def __init__(self, resolver: DependencyResolver) -> None:
        self._resolver = resolver

    @jf.hookimpl
    def jackfield_find_futures(
        self, value: object
    ) -> tuple[Sequence[Any], Callable[[Sequence[Any]], Any]] | None:
        """Gather futures, and have the value unwrapped when they have ended."""
        futures = list(self._resolver.traverse_to_gather(value))

        def unwrap(results: Sequence[Any]) -> Any:
            del results  # it asks the futures themselves
            return self._resolver.traverse_to_unwrap(value)

        return (futures, unwrap) if futures else None


class MemoIds:
    """``@id_for_memo.register(Type)``."""

    @jf.hookimpl
    def jackfield_hash_value(self, value: object) -> bytes | None:
        """Ask the function that is registered for the value's type."""
        # Parsl takes any value that pickles.
        known = is_registered(type(value))
        return pickle.dumps(id_for_memo(value)) if known else None


class EventLog:
    """Parsl's log records with ``extra``: what happens to each task."""

    @jf.hookimpl
    def jackfield_task_events(self, events: Sequence[jf.TaskEvent]) -> None:
        """Log each change of a task's state."""
        for event in events:
            extra = {"executor": event.executor} if event.state is _SENT else {}
            log_state(event.task, event.app, STATES[event.state].name, **extra)


_SENT = jf.TaskState.SUBMITTED


def log_state(task: int, app: str, state: str, **more: Any) -> None:
    """Log that a task is in a state, as Parsl does."""
    facts = {"task": task, "app_name": app, "task_state": state, **more}
    extra = {f"parsl.{name}": value for name, value in facts.items()}
    LOGGER.info("Task %d (%s) is now %s", task, app, state, extra=extra)


def log_submission(future: jf.AppFuture[Any], values: Sequence[Any]) -> None:
    """Log a task that was just submitted, and the futures among its arguments."""
    log_state(future.tid, future.app, "pending")
    for value in values:
        if isinstance(value, jf.AppFuture | jf.DataFuture):
            extra = {"parsl.task": future.tid, "parsl.dependency_task": value.tid}
            LOGGER.info(
                "Task %d depends on task %d", future.tid, value.tid, extra=extra
            )
