"""Parsl's ``DataFlowKernel`` and its loader, in front of Jackfield's."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import jackfield as jf
from jackfield_parsl._plugins import LOGGER, log_submission
from jackfield_parsl.dataflow.states import STATES, States
from jackfield_parsl.dataflow.taskrecord import TaskRecord
from jackfield_parsl.errors import ConfigurationError, NoDataFlowKernelError
from jackfield_parsl.logconfigs.file import FileLogging
from jackfield_parsl.logconfigs.noop import NoopLogging

if TYPE_CHECKING:
    from jackfield_parsl.config import Config
    from jackfield_parsl.dataflow.memoization import BasicMemoizer
    from jackfield_parsl.executors.base import ParslExecutor


SPECIFICATION: Final = "parsl_resource_specification"
"""The argument of a call, and parameter of a function, by which a task asks."""


class DataFlowKernel:
    """Parsl's face of a kernel.

    Attributes:
        kernel: Jackfield's own, which has more to it.
    """

    def __init__(
        self,
        config: Config | None = None,
        start: Callable[[jf.Config], jf.DataFlowKernel] = jf.DataFlowKernel,
    ) -> None:
        from jackfield_parsl.config import Config

        self.config: Config = config or Config()
        self.memoizer: BasicMemoizer = self.config.memoizer
        self.kernel: jf.DataFlowKernel = start(self.config.as_jackfield())
        self.run_dir: str = os.fspath(self.kernel.run_dir)
        self.cleanup_called: bool = False
        self.executors: dict[str, ParslExecutor] = {}
        log = self.config.initialize_logging
        if isinstance(log, bool):
            log = FileLogging() if log else NoopLogging()
        self._close_log: Callable[[], None] = log.initialize_logging(
            log_dir=self.run_dir, log_name="parsl"
        )
        self._note_executors(self.config.executors)
        self.memoizer.started(self.kernel)

    def _note_executors(self, executors: Iterable[ParslExecutor]) -> None:
        for one in executors:
            self.executors[one.label] = one
            home = type(one).__module__.removeprefix("jackfield_")
            kind = f"{home}.{type(one).__qualname__}"
            facts = {"parsl.executor.label": one.label, "parsl.executor.type": kind}
            LOGGER.info("Executor %s", one.label, extra=facts)

    def add_executors(self, executors: Iterable[ParslExecutor]) -> None:
        """Add executors to a kernel that runs."""
        executors = list(executors)
        self.kernel.add_executors({one.label: one.as_jackfield() for one in executors})
        self._note_executors(executors)

    def call(
        self, app: jf.App[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> jf.AppFuture[Any]:
        """Submit a call of an app, with the arguments that are Parsl's own translated.

        Raises:
            ConfigurationError: Staging is to be left out, which cannot be here; or a
                priority is no number.
        """
        if kwargs.pop("_parsl_staging_inhibit", False):
            raise ConfigurationError("wrap files in jackfield.quote() to stage none")
        asks = dict(kwargs.pop(SPECIFICATION, None) or {})
        if asks:
            priority = _priority(asks.pop("priority", None))
            app = app.options(resources=asks, priority=priority)
        future = app.submit_to(self.kernel, args, kwargs)
        record = TaskRecord(
            id=future.tid, func_name=future.app, func=app.__wrapped__, dfk=self
        )
        future.task_record = record  # type: ignore[attr-defined]  # Parsl's name
        inputs = kwargs.get("inputs")
        listed = inputs if isinstance(inputs, list | tuple) else ()
        log_submission(future, (*args, *kwargs.values(), *listed))
        return future

    @property
    def tasks(self) -> dict[int, TaskRecord]:
        """The tasks that have not ended."""
        return {
            number: TaskRecord(id=number, func_name=future.app, app_fu=future)
            for number, future in self.kernel.tasks.items()
        }

    @property
    def task_state_counts(self) -> Mapping[States, int]:
        """How many tasks are in each state."""
        counts = dict.fromkeys(STATES.values(), 0)
        for state, number in self.kernel.task_state_counts.items():
            counts[STATES[state]] += number
        return counts

    def checkpoint(self) -> None:
        """Write results that have not been written."""
        self.kernel.checkpoint()

    def wait_for_current_tasks(self) -> None:
        """Wait for all tasks so far."""
        self.kernel.wait_for_current_tasks()

    def cleanup(self) -> None:
        """Wait for all tasks, and end the kernel."""
        self.kernel.cleanup()
        self._ended()

    def _ended(self) -> None:
        if self.cleanup_called or not self.kernel.closed:
            return
        self.cleanup_called = True
        LOGGER.info("Summary of tasks in DFK:")
        for state, number in self.task_state_counts.items():
            LOGGER.info("Tasks in state %s: %d", state, number)
        self._close_log()
        DataFlowKernelLoader.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.kernel.__exit__(kind, error, traceback)
        finally:
            self._ended()


def _priority(rank: Any) -> int | None:
    """Return Jackfield's priority for a task.

    With Parsl the lowest number begins first, and what has none comes last. So all of
    them are above 0 here, and a millionth still makes a difference.
    """
    if rank is None:
        return None
    if not issubclass(type(rank), Real) or not abs(rank) < 2**50:
        raise ConfigurationError(
            f"priority={rank!r} in {SPECIFICATION}= is no number below 2**50; the "
            "lowest begins first"
        )
    millionths: int = math.floor(rank * 2**20)
    return 2**80 - millionths


class DataFlowKernelLoader:
    """The one kernel that apps use."""

    _dfk: ClassVar[DataFlowKernel | None] = None

    @classmethod
    def load(cls, config: Config | None = None) -> DataFlowKernel:
        """Start the kernel that apps use from now on."""
        if cls._dfk is not None:
            raise ConfigurationError("Config has already been loaded")
        cls._dfk = DataFlowKernel(config, start=jf.load)
        return cls._dfk

    @classmethod
    def clear(cls) -> None:
        """Forget the kernel, without ending it."""
        jf.clear()
        cls._dfk = None

    @classmethod
    def forget(cls, kernel: DataFlowKernel) -> None:
        """Forget a kernel that has ended, if it is this."""
        if cls._dfk is kernel:
            cls._dfk = None

    @classmethod
    def dfk(cls) -> DataFlowKernel:
        """Return the kernel."""
        if cls._dfk is None:
            raise NoDataFlowKernelError
        return cls._dfk

    @classmethod
    def wait_for_current_tasks(cls) -> None:
        """Wait for all tasks of the kernel."""
        cls.dfk().wait_for_current_tasks()
