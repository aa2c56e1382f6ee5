"""Parsl's module of bash apps."""

from __future__ import annotations

from jackfield_parsl.app.app import BashApp

__all__ = ["BashApp"]
