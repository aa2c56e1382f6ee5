"""``File`` is Jackfield's."""

from __future__ import annotations

from jackfield import File

__all__ = ["File"]
