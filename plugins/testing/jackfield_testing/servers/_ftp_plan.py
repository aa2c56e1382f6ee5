"""What a hostile FTP server and its sessions share.

The faults that were set, the commands that have come, and the transfers that are held
until the server's ``release`` is set.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jackfield_testing.servers._ftp_faults import FTPCommand, FTPFault, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable


class Plan:
    """The faults that are set, and what clients have done so far.

    Attributes:
        commands: All commands so far; append and copy under ``lock``.
        sessions: The number of control connections so far.
        transfers: The number of transfers begun so far.
        dead_port: A port that refuses connections.
        stalled: Set when something begins to stall.
    """

    def __init__(self, dead_port: int) -> None:
        self.lock = threading.Lock()
        self.commands: list[FTPCommand] = []
        self.sessions: int = 0
        self.transfers: int = 0
        self.dead_port = dead_port
        self.stalled = threading.Event()
        self._faults: list[_Planned] = []
        self._held: list[Callable[[], object]] = []

    def add(self, verb: str, fault: FTPFault, times: int | None) -> None:
        """Plan a fault."""
        with self.lock:
            self._faults.append(_Planned(verb, fault, times))

    def drop(self, verb: str | None) -> None:
        """Drop the faults of a command, or all."""
        with self.lock:
            self._faults = [f for f in self._faults if verb not in (None, f.verb)]

    def unknown(self) -> set[str]:
        """Give the commands that the server does not know at present."""
        with self.lock:
            return {f.verb for f in self._faults if isinstance(f.fault, Unknown)}

    def due(self, verb: str) -> FTPFault | None:
        """Give the fault that happens to a command now; it counts as used once more."""
        with self.lock:
            for planned in self._faults:
                if planned.verb == verb and planned.left != 0:
                    planned.left = None if planned.left is None else planned.left - 1
                    return planned.fault
        return None

    def note(self, verb: str, argument: str) -> None:
        """Record a command."""
        with self.lock:
            self.commands.append(FTPCommand(verb, argument))

    def hold(self, proceed: Callable[[], object]) -> None:
        """Keep what is to be called on release. Called on the loop's thread."""
        self._held.append(proceed)
        self.stalled.set()

    def proceed(self) -> None:
        """Call all that is held. Called on the loop's thread."""
        held, self._held = self._held, []
        for proceed in held:
            proceed()


@dataclass(slots=True)
class _Planned:
    """A fault that was set; ``left`` is how often it may still happen."""

    verb: str
    fault: FTPFault
    left: int | None
