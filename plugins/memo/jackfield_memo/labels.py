"""How code is called: in digests, and in messages.

A label is a kind, a full name and a place: ``"global helpers.RATE (helpers.py:3)"``.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from jackfield_memo.atoms import sized
from jackfield_memo.introspection import attributes_of, class_name, home_of
from jackfield_memo.sources import parse


def type_alone(value: object, reason: str = "") -> bytes:
    """Encode a value without identity: by its type."""
    del reason
    return sized(b"?", class_name(type(value)).encode())


def function_label(function: FunctionType, name: str) -> str:
    """Return what a function is called."""
    code = function.__code__
    return f"function {name} ({shown(code.co_filename)}:{code.co_firstlineno})"


def class_label(owner: type) -> str:
    """Return what a class is called."""
    namespace = attributes_of(sys.modules.get(home_of(owner)))
    return f"class {class_name(owner)}{_place(namespace, owner.__qualname__)}"


def global_label(namespace: Mapping[str, Any], name: str) -> str:
    """Return what a value is called that is bound to a name in a module."""
    full = f"{namespace.get('__name__', '')}.{name}"
    return f"global {full}{_place(namespace, name)}"


def _place(namespace: Mapping[str, Any], name: str) -> str:
    """Return where a module's text binds a name, if that can be found out."""
    file = namespace.get("__file__")
    if not isinstance(file, str) or "<locals>" in name:
        return ""
    lines = linecache.getlines(file, dict(namespace))
    text = parse("".join(lines), file) if lines else None
    line = text.line_of(name) if text is not None else None
    return f" ({shown(file)}:{line})" if line is not None else ""


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
