"""What a call's key was made of, part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any


class CallManifest:
    """Gives label and digest of each part of a key when it is called.

    One is kept for each cached call that somebody holds, so it is small: nothing is
    digested and no dictionary is made before somebody asks.

    Args:
        parts: Of the function: label to digest in hexadecimal.
        arguments: Name and encoding of each in turn.
    """

    __slots__ = ("arguments", "parts")

    def __init__(self, parts: Mapping[str, str], arguments: tuple[Any, ...]) -> None:
        self.parts: Mapping[str, str] = parts
        self.arguments: tuple[Any, ...] = arguments

    def __call__(self) -> dict[str, str]:
        """Return label to digest in hexadecimal."""
        found = dict(self.parts)
        for name, encoded in zip(
            self.arguments[::2], self.arguments[1::2], strict=True
        ):
            found[f"argument {name}"] = hashlib.sha256(encoded).hexdigest()
        return found
