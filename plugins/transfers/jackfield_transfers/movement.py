"""The work of an executor that moves files: what it calls, and for which server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jackfield.staging.remote import Stop


@dataclass(frozen=True, slots=True)
class Movement:
    """The function of a work that moves one file.

    Attributes:
        action: Moves the file.
        host: The server that the file comes from or goes to.
        connections: How many files of that host may be moved at the same time.
        stop: Stops the transfer.
    """

    action: Callable[[], Any]
    host: str
    connections: int
    stop: Stop

    def __call__(self) -> Any:
        """Move the file."""
        return self.action()
