"""How code is called: in digests, and in messages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from jackfield.memo.atoms import sized
from jackfield.memo.looking import class_name


def type_alone(value: object, reason: str = "") -> bytes:
    """Encode a value without identity: by its type."""
    del reason
    return sized(b"?", class_name(type(value)).encode())


def function_label(function: FunctionType, name: str) -> str:
    """Return a function's name and place, for messages."""
    code = function.__code__
    return f"{name} ({shown(code.co_filename)}:{code.co_firstlineno})"


def shown(file: str) -> str:
    """Return a file as messages show it: relative to where we are, if below."""
    here = os.getcwd() + os.sep  # noqa: PTH109  (compared as text)
    return file.removeprefix(here)


def free_label(label: str, taken: Mapping[str, Any]) -> str:
    """Return a label that is not taken: this one, or with a number."""
    free, number = label, 1
    while free in taken:
        number += 1
        free = f"{label} #{number}"
    return free
