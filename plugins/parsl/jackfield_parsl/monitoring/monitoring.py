"""Parsl's module of the hub."""

from __future__ import annotations

from jackfield_parsl.monitoring import MonitoringHub

__all__ = ["MonitoringHub"]
