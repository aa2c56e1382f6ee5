"""Parsl's module of Python apps."""

from __future__ import annotations

from jackfield import timeout
from jackfield_parsl.app.app import PythonApp

__all__ = ["PythonApp", "timeout"]
