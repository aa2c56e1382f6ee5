"""Checks of the options of monitors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackfield import ConfigurationError
from jackfield.errors import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_names(
    plugin: str, label: str, options: Mapping[str, Any], *known: str
) -> None:
    """Refuse options that a plugin does not have.

    Raises:
        ConfigurationError: There is one. It is named, with the monitor's label and what
            options there are.
    """
    for name in options:
        if name not in known:
            there = ", ".join(map(repr, known)) or "none"
            raise ConfigurationError(
                f"monitors.{label} has no option {name!r}{suggest(name, known)} "
                f"{plugin} has {there}."
            )
