"""Texts of users in messages: short, printable, and without what may be a secret."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import Final

from jackfield.errors import printable
from jackfield.files import hide_secrets

LONGEST: Final = 240
"""Characters of a whole call."""

SECRET: Final = re.compile(
    r"passw|passphrase|secret|token|credential|api_?key|access_?key|cookie"
    r"|(?<![a-z])(?:auth|pwd)(?![a-z])|authorization",
    re.IGNORECASE,
)
"""Found in a name whose value is a secret."""


def cut(text: str, limit: int) -> str:
    """Return a text with its middle left out, if it has more characters than that."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}...{text[3 - limit // 2 :]}"


def say(text: str) -> None:
    """Print lines on standard error, without secrets.

    It never raises: standard error may be closed, or ``None``.
    """
    with contextlib.suppress(Exception):
        sys.stderr.write(printable(f"jackfield: {hide_secrets(text)}\n", keep="\n"))
        sys.stderr.flush()
