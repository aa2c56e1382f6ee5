"""How long an executor waits for a worker: one way for all that may lose theirs."""

from __future__ import annotations

import logging
from typing import Final

from jackfield.abc import READY, Health
from jackfield.clock import monotonic

log: Final = logging.getLogger("jackfield.executors")

WARN_AFTER: Final = 0.5
"""The part of the patience after which a warning says that there is no worker."""


class Patience:
    """Measures how long there has been no worker. For one thread, but for ``came``.

    It begins when the last worker is gone. An executor that never had one may be
    waiting for its turn in the queue of a cluster, which may take hours, and so may one
    whose next workers are in that queue: for those, ``waits`` is true. There is no end
    to it, but the user is told: by a warning, and as long as it lasts by ``health``.

    Attributes:
        health: As it was at the last look.
        seconds: How long it waits.

    Args:
        label: The executor's.
        seconds: How long it waits.
    """

    def __init__(self, label: str, seconds: float) -> None:
        self.health: Health = Health("starting", "it has had no worker yet")
        self._label = label
        self.seconds: float = seconds
        self._had = False
        self._since: float | None = None
        self._warned = False

    def look(
        self, workers: int, *, short: bool = False, waits: bool = False, why: str = ""
    ) -> Health:
        """Note how many workers there are; return what that makes of the executor.

        Args:
            workers: Workers.
            short: Whether these are fewer than are wanted. If there are none although
                none are wanted, this is not to be asked at all; see ``rest``.
            waits: Whether workers are known to be on their way.
            why: What is known of the reason, for messages.
        """
        if workers:
            self._had = True
            self.rest()
            if short:
                self.health = Health("short", why or "it has fewer workers than wanted")
            return self.health
        now = monotonic()
        since = self._since = now if self._since is None else self._since
        without, because = now - since, f": {why}" if why else ""
        lost = self._had and not waits and without >= self.seconds
        if lost:
            reason = f"it has had no worker for {self.seconds:g} s{because}"
            self.health = Health("lost", reason)
        elif self._had:
            self.health = Health("short", f"it has no worker{because}")
        else:
            self.health = Health("starting", f"it has had no worker yet{because}")
        if without >= self.seconds * WARN_AFTER and not self._warned and not lost:
            self._warned = True
            endless = waits or not self._had
            told = "; its tasks wait, however long that takes" if endless else ""
            log.warning("Executor %r: %s%s", self._label, self.health.reason, told)
        return self.health

    def came(self) -> None:
        """Note that a worker has come, though it may be gone before the next look.

        If a look is being taken at this moment, it may write its result over this one.
        The next look puts that right.
        """
        self._had = True
        self.health = READY
        if self._warned:
            self._warned = False
            log.info("Executor %r: a worker has come", self._label)

    def rest(self) -> None:
        """Note that no worker is missing."""
        self._since = None
        self._warned = False
        self.health = READY

    def give_up(self, why: str) -> Health:
        """Note that no worker will come, for this reason, until one has come."""
        self._had = True
        self.health = Health("lost", why)
        return self.health
