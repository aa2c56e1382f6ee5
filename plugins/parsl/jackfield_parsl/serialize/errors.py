"""The errors of pickling."""

from __future__ import annotations

from jackfield import SerializationError
from jackfield import SerializationError as DeserializationError

__all__ = ["DeserializationError", "SerializationError"]
