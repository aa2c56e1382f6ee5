"""Parsl's base class of what moves files."""

from __future__ import annotations

from jackfield_parsl.utils import RepresentationMixin


class Staging:
    """One of the user's own is refused when the kernel starts."""


class Known(Staging, RepresentationMixin):
    """One of Parsl's own; Jackfield has a provider for its scheme."""

    in_task_schemes: tuple[str, ...] = ()
    """Schemes whose files the task itself is to move."""
