"""The environment variables that hold credentials, and who gets to see them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

CREDENTIALS_PREFIX: Final = "JACKFIELD_CREDENTIALS_"
"""As in ``JACKFIELD_CREDENTIALS_LAB_PASSWORD``: the password of credentials ``lab``."""

_SECRET: Final = (
    f"(?i){CREDENTIALS_PREFIX}|JACKFIELD_.*__(HEADERS|COOKIES)__"
    "|JACKFIELD_.*(PASSW|SECRET|TOKEN|AUTHORIZATION)"
)
"""Of configuration, too: ``JACKFIELD_STAGING__HTTPS__HEADERS__AUTHORIZATION``."""

_taken: Final[dict[str, str]] = {}
"""The variables that ``take_credential_variables`` has taken out of the environment."""


def _is_secret(name: str) -> bool:
    return re.match(_SECRET, name) is not None


def credential_variables() -> dict[str, str]:
    """Return the variables that hold credentials, those that were taken out as well."""
    known = _taken | dict(os.environ)
    return {k: v for k, v in known.items() if k.startswith(CREDENTIALS_PREFIX)}


def take_credential_variables() -> None:
    """Take them out of this process's environment, and know them still.

    For workers: programs that tasks start there inherit their environment.
    """
    for name in list(filter(_is_secret, os.environ)):
        _taken[name] = os.environ.pop(name)


def without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment as the programs of tasks get it."""
    return {k: v for k, v in environment.items() if not _is_secret(k)}
