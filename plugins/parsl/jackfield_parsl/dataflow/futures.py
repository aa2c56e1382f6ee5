"""The future of an app."""

from __future__ import annotations

from jackfield import AppFuture

__all__ = ["AppFuture"]
