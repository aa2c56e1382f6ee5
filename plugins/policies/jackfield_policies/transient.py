"""Retries what may go better next time, and gives up at once what cannot.

A failure that is in neither list is left to the kernel: it costs 1 of the task's
retries. Whatever is said here, a task is tried again only while it has retries left.
"""

from __future__ import annotations

import math
import signal
from typing import TYPE_CHECKING, Any, Final

from jackfield import (
    BashExitFailure,
    ConfigurationError,
    Retry,
    WorkerDiedError,
    hookimpl,
)
from jackfield.errors import ExecutorError, MemoKeyError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackfield import TaskView

JACKFIELD_API = ">=1,<2"
JACKFIELD_SHOWN = ("give_up", "delay", "memory_delay", "memory_executor")

_HOPELESS: Final = (
    ConfigurationError,
    ImportError,
    MemoKeyError,
    NameError,
    NotImplementedError,
    SerializationError,
    SyntaxError,
)
"""What the same code with the same arguments will raise again."""

_NO_COMMAND: Final = frozenset({126, 127})
"""Bash's exit codes for a command that it cannot run, or that is not there."""

_KILLED: Final = frozenset({-signal.SIGKILL, 128 + signal.SIGKILL})
"""Exit codes of a process that was killed, as Python and as bash have them. If nobody
did it by hand, it was the system, and it does so when memory is short."""

_LONGEST_S: Final = 600.0
"""Seconds beyond which no delay grows."""


class Transient:
    """Sorts failures by whether another attempt is worth it.

    Args:
        give_up: Names of more exceptions to give up at once. A name means every class
            of that name and what is derived from it; with dots in it
            (``"lab.BadInput"``), the class of that module alone.
        delay: Seconds before the first retry of a task whose worker died; doubled for
            each further one.
        memory_delay: The same for a task that ran out of memory, so that what it has to
            share the memory with may have ended by then.
        memory_executor: Label of the executor for such a task, where the app may use
            it; ``""`` to choose again.

    Raises:
        ConfigurationError: An option is of the wrong type.
    """

    def __init__(
        self,
        *,
        give_up: Sequence[str] = (),
        delay: float = 5.0,
        memory_delay: float = 60.0,
        memory_executor: str = "",
    ) -> None:
        if isinstance(give_up, str) or not all(isinstance(one, str) for one in give_up):
            raise ConfigurationError(
                f"plugins.transient.give_up must be a list of names, not {give_up!r}."
            )
        if not isinstance(memory_executor, str):
            raise ConfigurationError(
                f"plugins.transient.memory_executor must be a label, not "
                f"{memory_executor!r}."
            )
        self._give_up: frozenset[str] = frozenset(give_up)
        self._delay: float = _seconds("delay", delay)
        self._memory_delay: float = _seconds("memory_delay", memory_delay)
        self._memory_executor: str = memory_executor

    @hookimpl
    def jackfield_retry(
        self, task: TaskView, error: BaseException, attempt: int
    ) -> Retry | None:
        """Say whether an attempt is worth repeating, when, and where."""
        if self._is_hopeless(error):
            return Retry(cost=math.inf)
        if _out_of_memory(error):
            fits = self._memory_executor in task.executors
            where = self._memory_executor if fits else None
            return Retry(delay=_doubled(self._memory_delay, attempt), executor=where)
        if isinstance(error, ExecutorError):
            delay = _doubled(self._delay, attempt)
            return Retry(delay=delay, executor=_another(task))
        return None

    def _is_hopeless(self, error: BaseException) -> bool:
        if isinstance(error, BashExitFailure):
            return error.exitcode in _NO_COMMAND
        return isinstance(error, _HOPELESS) or not self._give_up.isdisjoint(
            name for kind in type(error).__mro__ for name in _names(kind)
        )


def _names(kind: type) -> tuple[str, str]:
    return kind.__name__, f"{kind.__module__}.{kind.__qualname__}"


def _seconds(option: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:
        raise ConfigurationError(
            f"plugins.transient.{option} must be a number of seconds, not {value!r}."
        )
    return float(value)


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory is the cause, or the most likely one."""
    if isinstance(error, WorkerDiedError | BashExitFailure):
        return error.exitcode in _KILLED
    return isinstance(error, MemoryError)


def _doubled(first: float, attempt: int) -> float:
    return min(first * 2.0 ** min(attempt - 1, 30), max(first, _LONGEST_S))


def _another(task: TaskView) -> str | None:
    """Return the label of an executor other than the one that failed."""
    return next((label for label in task.executors if label != task.executor), None)
