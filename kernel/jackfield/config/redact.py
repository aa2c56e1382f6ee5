"""Showing configured values without the secrets among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from jackfield.files import redact as redact_url

HIDDEN: Final = "***"

_SECRET: Final = re.compile(r"(password|passwd|secret|token|key)$", re.IGNORECASE)


def redacted(name: str, value: object) -> object:
    """Return a value to be shown; secrets in it are replaced by asterisks.

    A value is secret if its name ends like one (``secret_access_key``). In URLs,
    passwords and queries are.
    """
    if isinstance(value, Mapping):
        return {inner: redacted(str(inner), one) for inner, one in value.items()}
    if _SECRET.search(name) and value is not None and not isinstance(value, bool):
        return HIDDEN
    if isinstance(value, list | tuple):
        return [redacted(name, one) for one in value]
    if isinstance(value, str) and "://" in value and re.search(r"[@?]", value):
        return redact_url(value)
    return value
