"""Asks plugins how many workers elastic executors are to have, and passes it on.

Made for the first elastic executor. All of it runs on the dispatcher, but ``ask_soon``.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import PluginError, one_line

if TYPE_CHECKING:
    from logging import Logger

    from jackfield.executors.pool import ExecutorPool
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
            executors = {
                label: entry.executor
                for label, entry in self._pool.entries.items()
                if entry.elastic
            }
            asked = {label: one.load() for label, one in executors.items()}
            loads = {label: load for label, load in asked.items() if load is not None}
            check = partial(_checked, loads)
            answer = self._manager.ask(self._manager.hooks.scale, check, loads)
            for label, number in (answer or {}).items():
                least, most = loads[label].least, loads[label].most
                executors[label].scale(min(max(number, least), most))
            self._told = ""
        except Exception as error:
            if one_line(error) != self._told:  # once, and not each period
                self._told = one_line(error)
                self._log.exception("Scaling executors has failed")


def _checked(asked: Container[str], answer: Any) -> Mapping[str, int]:
    if not isinstance(answer, Mapping):
        raise TypeError(f"A plugin's jackfield_scale answered {answer!r}, no mapping")
    for label in answer:
        if label not in asked:
            raise LookupError(f"jackfield_scale was not asked about {label!r}")
    return {label: operator.index(number) for label, number in answer.items()}
