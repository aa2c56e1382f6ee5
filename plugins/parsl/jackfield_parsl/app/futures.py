"""The future of a file."""

from __future__ import annotations

from jackfield import DataFuture

__all__ = ["DataFuture"]
