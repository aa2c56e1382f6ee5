"""Showing configured values without the secrets among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from jackfield.files import redact as redact_url

HIDDEN: Final = "***"

_CONNECTS: Final = re.compile(r"[=;@]")
"""What connection strings have; no path or name that we know needs it."""


def redacted(
    key: tuple[str, ...], value: object, is_shown: Callable[[tuple[str, ...]], bool]
) -> object:
    """Return a value to be shown: asterisks, unless it is known to be no secret.

    Yes and no are never secrets; of other values ``is_shown`` says of which keys they
    are not. In URLs, who asks and the query are secrets even so.
    """
    if isinstance(value, Mapping):
        return {k: redacted((*key, str(k)), one, is_shown) for k, one in value.items()}
    if isinstance(value, list | tuple):
        shown = is_shown(key)
        return [redacted(key, one, is_shown) for one in value] if shown else HIDDEN
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str | int | float | Path):
        return f"<{type(value).__name__}>"  # its ``repr`` may show anything
    if not is_shown(key):
        return HIDDEN
    text = str(value)
    if "://" in text:
        return re.sub(r"://[^/@]*@", f"://{HIDDEN}@", redact_url(text))
    return HIDDEN if _CONNECTS.search(text) and len(key) > 1 else value
