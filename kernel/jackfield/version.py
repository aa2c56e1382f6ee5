"""The version of the installed Jackfield."""

from __future__ import annotations

from functools import cache


@cache
def installed_version() -> str:
    """Return it, as the metadata of the distribution has it."""
    from importlib.metadata import version  # it is slow to import

    return version("jackfield")
