"""What is known of an engine beyond the interface that it has.

``concurrent.futures.Executor`` does not tell how many workers there are, whether a
cancelled task really will not run, or how to end tasks that do not end. For the engines
that are known, it is found here.
"""

from __future__ import annotations

import concurrent.futures
import inspect
import logging
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Capabilities
from jackfield.errors import ConfigurationError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

log: logging.Logger = logging.getLogger("jackfield.executors.adapter")

WATCH_S: Final = 1.0
"""Seconds between two questions to an engine how many workers it has."""

ANSWER_S: Final = 5.0
"""Seconds that an engine gets to answer."""

_TRUE: Final = ("concurrent.futures", "loky")
"""Engines whose futures cannot be cancelled once their task may have begun. Others
leave a future pending while its task runs, and then call it cancelled."""


def capabilities(executor: concurrent.futures.Executor, label: str) -> Capabilities:
    """Return what an engine declares, or else what can be assumed.

    Raises:
        ConfigurationError: Its ``jackfield_capabilities`` is not ``Capabilities``.
    """
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
    """Tell whether an engine is a pool of plain threads.

    Python 3.14's ``InterpreterPoolExecutor`` inherits from that, but it pickles.
    """
    names = [cls.__name__ for cls in type(executor).__mro__]
    threads = isinstance(executor, concurrent.futures.ThreadPoolExecutor)
    return threads and "InterpreterPoolExecutor" not in names


def cancels_truly(executor: concurrent.futures.Executor) -> bool:
    """Tell whether a future of the engine that says it is cancelled will not run."""
    bases = [cls.__module__ for cls in type(executor).__mro__[:-2]]
    return any(module.startswith(_TRUE) for module in bases)


# -- How many workers there are


def dask_threads(client: Any) -> int:
    """Return how many threads the workers of a ``distributed.Client`` have together.

    Raises whatever the client raises where it cannot ask.
    """
    if client.status != "running":
        return 0
    identity = client.scheduler.identity
    info = client.sync(identity, n_workers=0, callback_timeout=ANSWER_S)
    return int(info["total_threads"])


def counter(executor: concurrent.futures.Executor) -> Callable[[], int] | None:
    """Return what asks an engine for its number of workers, if that may change."""
    client = getattr(executor, "_client", None)
    if type(executor).__module__.startswith("distributed.") and client is not None:
        return lambda: dask_threads(client)
    view = getattr(executor, "view", None)
    if type(executor).__module__.startswith("ipyparallel.") and view is not None:
        return lambda: len(view.client.ids)
    return None


def fixed_workers(executor: concurrent.futures.Executor) -> int:
    """Return how many workers an engine has as it says, or else the number of cores."""
    for name in ("_max_workers", "num_workers", "max_workers"):
        number = getattr(executor, name, None)
        if isinstance(number, int) and number > 0:
            return number
    return os.cpu_count() or 1


class Watch:
    """Asks an engine for its number of workers, on a thread of its own.

    The question may take long, or never be answered, when the engine has a network
    between its parts.

    Attributes:
        workers: The last answer; 0 if the question failed.
        why: Why it did; ``""`` if it did not.
        gone: Whether it failed for good, so that no worker is to be waited for.

    Args:
        count: Asks the engine.
        label: The executor's, for the thread's name.
        changed: Called on the thread after each question.
    """

    def __init__(
        self, count: Callable[[], int], label: str, changed: Callable[[], None]
    ) -> None:
        self.workers: int = 0
        self.why: str = ""
        self.gone: bool = False
        self._count = count
        self._changed = changed
        self._stop = threading.Event()
        name = f"jackfield-{label}-watch"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Ask once here, and then again and again."""
        self._ask()
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(WATCH_S):
            self._ask()
            self._changed()

    def _ask(self) -> None:
        from jackfield_executors.remote.hosted import EngineGoneError

        self.why, self.gone = "", False
        try:
            self.workers = self._count()
        except Exception as error:
            log.debug("The number of workers cannot be had: %r", error)
            self.why, self.gone = one_line(error), isinstance(error, EngineGoneError)
            self.workers = 0


# -- The end


def bear_cancelled(future: Future[Any]) -> None:
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


def end(executor: concurrent.futures.Executor, *, kill: bool) -> None:
    """Shut an engine down and wait for its end; first kill its processes, if wanted."""
    if kill and _has_own_way_to_kill(executor):
        executor.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]  # loky's
        return
    if kill:
        _kill_workers(executor)
    executor.shutdown(wait=True)


def _has_own_way_to_kill(executor: concurrent.futures.Executor) -> bool:
    """Tell whether an engine's ``shutdown`` can kill, as loky's can."""
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
