"""What a name of a module stands for in this process, and what a module's file says."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from jackfield_memo.introspection import MISSING, attributes_of


def found(module: str, path: str) -> Any:
    """Return what a name stands for here; ``MISSING`` if it is not there."""
    try:
        value: Any = sys.modules.get(module) or importlib.import_module(module)
    except BaseException:
        return MISSING
    for part in path.split("."):
        namespace = attributes_of(value)
        if part not in namespace:
            return getattr(value, part, MISSING) if value is not MISSING else MISSING
        value = namespace[part]
    return value


def text_digest(module: str, file: str = "") -> bytes:
    """Return the digest of a module's file as it is now; ``b""`` if there is none."""
    if not file:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError, AttributeError):
            return b""
        file = spec.origin if spec is not None and spec.origin else ""
    try:
        return sha256(Path(file).read_bytes()).digest()
    except OSError:
        return b""
