"""The variables with credentials, which are not for the programs of tasks."""

from __future__ import annotations

import os
from typing import Final

from jackfield.staging.names import CREDENTIALS_PREFIX

_taken: Final[dict[str, str]] = {}
"""The variables that ``take_variables`` has taken out of the environment."""


def take_variables() -> None:
    """Take the variables out of this process's environment, and know them still.

    For workers: programs that tasks start there inherit their environment.
    """
    for name in [one for one in os.environ if one.startswith(CREDENTIALS_PREFIX)]:
        _taken[name] = os.environ.pop(name)


def variables() -> dict[str, str]:
    """Return the variables with their values, those that were taken among them."""
    return {
        name: value
        for name, value in (_taken | dict(os.environ)).items()
        if name.startswith(CREDENTIALS_PREFIX)
    }


def environment_of_programs() -> dict[str, str] | None:
    """Return the environment for a task's program, or ``None`` for this process's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(CREDENTIALS_PREFIX)}
    return kept if len(kept) < len(os.environ) else None
