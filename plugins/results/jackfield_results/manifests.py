"""How two calls differ: their manifests, compared part by part.

A manifest says what a key was made of: see ``jackfield.memo_keys.Manifest``. Places and
versions are told, not compared: a function that has moved is the same one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

_ARGUMENT: Final = "argument "
_ABSENT: Final = (None, None)
_PLACE: Final = re.compile(r"(?P<name>.*?)(?: \((?P<place>.*)\))?(?: #\d+)?", re.DOTALL)


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Compare the manifests of two calls, and tell what differs.

    Functions are compared by name, wherever in their file they stand. Returns sentences
    such as ``"function helpers.clean (helpers.py:23) has changed"``.
    """
    before, after = _by_name(old), _by_name(new)
    told = []
    for name, (part, digest) in after.items():
        if name not in before:
            told.append(f"{part} is new")
        elif before[name][1] != digest:
            told.append(_changed(name, before[name][0], part))
    return told + [f"{before[name][0]} is gone" for name in before if name not in after]


def measure(
    manifest: Mapping[str, str],
) -> Callable[[Mapping[str, str]], tuple[int, int]]:
    """Return what tells how far the call of another manifest is from this one.

    It gives two numbers: how many arguments differ, and how many other parts.
    """
    here = _by_name(manifest)

    def distance(manifest: Mapping[str, str]) -> tuple[int, int]:
        there = _by_name(manifest)
        differing = [
            name.startswith(_ARGUMENT)
            for name in {**here, **there}
            if here.get(name, _ABSENT)[1] != there.get(name, _ABSENT)[1]
        ]
        return sum(differing), len(differing) - sum(differing)

    return distance


def _by_name(manifest: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return ``{name: (part, digest)}``; of parts with one name, the next is ``#2``."""
    found: dict[str, tuple[str, str]] = {}
    for part, digest in manifest.items():
        name, number = _read(part)[0], 1
        free = name
        while free in found:
            number += 1
            free = f"{name} #{number}"
        found[free] = part, digest
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
