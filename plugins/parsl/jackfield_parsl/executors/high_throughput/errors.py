"""The loss of workers."""

from __future__ import annotations

from jackfield import WorkerDiedError as WorkerLost
from jackfield import WorkerLostError as ManagerLost

__all__ = ["ManagerLost", "WorkerLost"]
