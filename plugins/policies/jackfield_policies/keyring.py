"""Credentials from the system's keyring, by the library ``keyring``.

``credentials = "lab"`` in the configuration is the service ``jackfield:lab`` there,
which has an entry for each part: ``keyring set jackfield:lab user`` asks for the user's
name, ``keyring set jackfield:lab password`` for the password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import keyring

from jackfield import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

JACKFIELD_API = ">=1,<2"

_PARTS: Final = ("user", "password", "key", "secret", "token")
"""What providers of files look for in credentials."""


@hookimpl
def jackfield_credentials(name: str) -> Mapping[str, str] | None:
    """Return the parts that the keyring has for a name; none of them: ``None``.

    Raises:
        keyring.errors.KeyringError: There is no keyring here, or it stays locked.
    """
    service = f"jackfield:{name}"
    found = {part: keyring.get_password(service, part) for part in _PARTS}
    known = {part: value for part, value in found.items() if value is not None}
    return known or None
