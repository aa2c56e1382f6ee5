"""Asks plugins how many workers elastic executors are to have, and passes it on.

Made for the first elastic executor. All of it runs on the dispatcher, but ``ask_soon``.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import PluginError, one_line

if TYPE_CHECKING:
    from logging import Logger

    from jackfield.events import Load
    from jackfield.executors.pool import ExecutorPool
    from jackfield.graph.route import ExecutorEntry
    from jackfield.plugins.manager import PluginManager

SCALING: Final = "scaling"
"""The optional plugin that answers where no other one does."""


class Scaling:
    """Asks ``jackfield_scale`` each ``period`` seconds, and whenever it is told to.

    ``call_later`` has the dispatcher call a function after some seconds.
    """

    def __init__(
        self,
        manager: PluginManager,
        pool: ExecutorPool,
        period: float,
        call_later: Callable[[float, Callable[[], None]], None],
        log: Logger,
    ) -> None:
        self._manager = manager
        self._pool = pool
        self._period = period
        self._call_later = call_later
        self._log = log
        self._lock = threading.Lock()
        self._asked_for = False
        self._told = ""
        try:
            manager.load("optional", SCALING)
        except PluginError as error:
            log.info("Executors are scaled by other plugins alone: %s", error)
        call_later(period, self._ask_again)

    def ask_soon(self) -> None:
        """Have the plugins asked now. On any thread; several calls may be one."""
        with self._lock:
            first, self._asked_for = not self._asked_for, True
        if first:
            self._call_later(0.0, self._ask)

    def _ask_again(self) -> None:
        self._call_later(self._period, self._ask_again)
        self._ask()

    def _ask(self) -> None:
        """Ask the plugins, and pass on what they answer."""
        with self._lock:
            # Before the loads are read: who changes one after that asks once more.
            self._asked_for = False
        try:
            asked = dict(self._loads())
            loads = {label: load for label, (_, load) in asked.items()}
            answer = self._manager.ask(self._manager.hooks.scale, _checked, loads)
            for label, number in (answer or {}).items():
                entry, load = _named(asked, label)
                entry.executor.scale(min(max(number, load.least), load.most))
            self._told = ""
        except Exception as error:
            if one_line(error) != self._told:  # once, and not each period
                self._told = one_line(error)
                self._log.exception("Scaling executors has failed")

    def _loads(self) -> Iterator[tuple[str, tuple[ExecutorEntry, Load]]]:
        """Give label, executor and load of those that can be scaled."""
        for label, entry in self._pool.entries.items():
            load = entry.executor.load() if entry.elastic else None
            if load is not None:
                yield label, (entry, load)


def _named(
    asked: Mapping[str, tuple[ExecutorEntry, Load]], label: str
) -> tuple[ExecutorEntry, Load]:
    if label not in asked:
        raise LookupError(f"jackfield_scale was not asked about {label!r}")
    return asked[label]


def _checked(answer: Any) -> Mapping[str, int]:
    if not isinstance(answer, Mapping):
        raise TypeError(f"A plugin's jackfield_scale answered {answer!r}, no mapping")
    return {label: operator.index(number) for label, number in answer.items()}
