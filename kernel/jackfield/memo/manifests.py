"""Manifests: what a key was made of, part by part; and how two calls differ.

A manifest has a digest for each part. A part is named by its kind, its full name, and
where it was found or which version it has::

    function helpers.clean (helpers.py:23)
    global helpers.RATE (helpers.py:3)
    package numpy 2.4.6
    argument x

Lines and versions are told, not compared: a function that has moved is the same one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from jackfield.memo.labels import free_label

_ARGUMENT: Final = "argument "
_PLACE: Final = re.compile(r"(?P<name>.*?)(?: \((?P<place>.*)\))?(?: #\d+)?", re.DOTALL)


class Manifest:
    """What a call's key was made of; called, it gives the digests.

    One is kept for each cached call that somebody holds, so it is small.

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
            found[f"{_ARGUMENT}{name}"] = hashlib.sha256(encoded).hexdigest()
        return found


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Compare the manifests of two calls, and tell what differs.

    Functions are compared by name, wherever in their file they stand.

    Returns:
        Sentences: ``"function helpers.clean (helpers.py:23) has changed"``.
    """
    before, after = _by_name(old), _by_name(new)
    told = []
    for name, (part, digest) in after.items():
        if name not in before:
            told.append(f"{part} is new")
        elif before[name][1] != digest:
            told.append(_changed(name, before[name][0], part))
    return told + [f"{before[name][0]} is gone" for name in before if name not in after]


class Distance(NamedTuple):
    """How far two calls are apart.

    Attributes:
        arguments: How many arguments differ.
        code: How many other parts do.
    """

    arguments: int
    code: int


class Measure:
    """Measures how far other calls are from one."""

    def __init__(self, manifest: Mapping[str, str]) -> None:
        self._here: dict[str, tuple[str, str]] = _by_name(manifest)

    def distance(self, manifest: Mapping[str, str]) -> Distance:
        """Return how far the call with this manifest is away."""
        here, there = self._here, _by_name(manifest)
        arguments = code = 0
        for name in {**here, **there}:
            mine, other = here.get(name), there.get(name)
            if mine is None or other is None or mine[1] != other[1]:
                if name.startswith(_ARGUMENT):
                    arguments += 1
                else:
                    code += 1
        return Distance(arguments, code)


def _by_name(manifest: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return ``{name: (part, digest)}``; of parts with one name, the next is ``#2``."""
    found: dict[str, tuple[str, str]] = {}
    for part, digest in manifest.items():
        found[free_label(_read(part)[0], found)] = part, digest
    return found


def _changed(name: str, old: str, new: str) -> str:
    before, after = _read(old)[1], _read(new)[1]
    if before and after and before != after:
        return f"{name} has changed from {before} to {after}"
    return f"{new} has changed"


@lru_cache(maxsize=4096)
def _read(part: str) -> tuple[str, str]:
    """Return the name of a part, and its version if that is what it counts by."""
    kind, _, rest = part.partition(" ")
    if kind == "Python":
        return kind, rest
    if kind == "package":
        pairs = [one.rpartition(" ") for one in rest.split(", ")]
        names = ", ".join(name or version for name, _, version in pairs)
        return f"{kind} {names}", ", ".join(version for _, _, version in pairs)
    match = _PLACE.fullmatch(part)
    assert match is not None  # it takes any text
    place = match["place"] or ""
    return match["name"], place if place.startswith("version ") else ""
