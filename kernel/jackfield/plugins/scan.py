"""The entry points of installed distributions, without importing any.

``importlib.metadata`` gives the same answer. But it imports ``email`` and ``zipfile``,
and that alone takes longer than everything else that starts a kernel. So this module
reads the metadata directories on ``sys.path`` itself, by the same rules: of two
distributions with one name, the first on the path counts. There are two cases in which
``importlib.metadata`` is asked after all: an entry of the path is an archive, or an
import hook knows distributions of its own.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from functools import cache, reduce
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution

Kind: TypeAlias = Literal[
    "configuration",
    "log",
    "executor",
    "walltime",
    "shell",
    "staging",
    "mover",
    "keeper",
    "checkpoint",
    "memo",
    "stream",
    "monitor",
    "optional",
    "command",
    "plugin",
    "profile",
]
"""What an entry point offers. Each kind has its group of entry points."""

GROUPS: Final[dict[Kind, str]] = {
    "configuration": "jackfield.configuration",
    "log": "jackfield.logs",
    "executor": "jackfield.executors",
    "walltime": "jackfield.walltimes",
    "shell": "jackfield.shells",
    "staging": "jackfield.staging",
    "mover": "jackfield.movers",
    "keeper": "jackfield.keepers",
    "checkpoint": "jackfield.checkpoint",
    "memo": "jackfield.memo",
    "stream": "jackfield.streams",
    "monitor": "jackfield.monitors",
    "optional": "jackfield.optional",
    "command": "jackfield.commands",
    "plugin": "jackfield.plugins",
    "profile": "jackfield.profiles",
}
KINDS: Final[dict[str, Kind]] = {group: kind for kind, group in GROUPS.items()}


class EntryPoint(NamedTuple):
    """One line of a distribution's ``entry_points.txt``.

    Attributes:
        distribution: The distribution's name, as it spells it.
        name: What users write.
        kind: Which of our groups it is in.
        value: ``module``, ``module:attribute``, either with `` [extra]`` behind.
        version: The distribution's version.
    """

    distribution: str
    name: str
    kind: Kind
    value: str
    version: str

    @property
    def origin(self) -> str:
        """Distribution and version, as messages name them."""
        return f"{self.distribution} {self.version}"

    @property
    def module(self) -> str:
        """The module that is imported."""
        return self._target.partition(":")[0].strip()

    @property
    def extras(self) -> str:
        """The extras that it needs, comma-separated, or nothing."""
        return self.value.partition("[")[2].rstrip("] ")

    @property
    def ours(self) -> bool:
        """Whether it is Jackfield's own, by its files: anybody may take the name."""
        named = _normalized(self.distribution) == "jackfield"
        return named and self.module.partition(".")[0] in _own_packages()

    @property
    def _target(self) -> str:
        return self.value.partition("[")[0]

    def resolve(self) -> object:
        """Import the module and return what the entry point names.

        Raises:
            BaseException: Whatever the module raises.
        """
        path = self._target.partition(":")[2].strip()
        names = path.split(".") if path else []
        return reduce(getattr, names, cast("object", import_module(self.module)))


@cache
def _own_packages() -> frozenset[str]:
    """Return the packages that were installed together with this one."""
    package = Path(__file__).parents[1]
    for name in _children(str(package.parent)):  # which takes a fraction of ``glob``
        if name.startswith("jackfield-") and name.endswith(".dist-info"):
            record = _read(package.parent / name / "RECORD")
            found = {line.partition("/")[0] for line in record.splitlines()}
            if package.name in found:
                return frozenset(found)
    rooms = f"{package.parents[1]}/plugins"  # a source tree
    own = (one for room in _children(rooms) for one in _children(f"{rooms}/{room}"))
    return frozenset({package.name, *(one for one in own if one[:10] == "jackfield_")})


def find_entry_points() -> tuple[EntryPoint, ...]:
    """Return every entry point of our groups, sorted by distribution and name.

    Takes a few milliseconds. Plugins are loaded in this order. That of the path has no
    influence on it, because it depends on how and when things were installed.
    """
    found = _from_importlib() if _needs_importlib() else _from_directories()
    return tuple(sorted(found, key=lambda one: (one.distribution, one.name, one.kind)))


def _needs_importlib() -> bool:
    """Whether distributions may be elsewhere than in directories of the path."""
    if any(map(_finds_distributions, sys.meta_path)):
        return True
    return any(one.endswith(".egg") or os.path.isfile(one) for one in _search_path())  # noqa: PTH113  (it never raises)


def _finds_distributions(finder: object) -> bool:
    """Whether an import hook may know distributions that the path's directories do not.

    Two look into the same directories as this module does: Python's own, and that of
    the backport ``importlib_metadata``, which is there in every program that uses it.
    """
    if finder is PathFinder or type(finder).__module__ == "importlib_metadata":
        return False
    return hasattr(finder, "find_distributions")


def _search_path() -> list[str]:
    """Return ``sys.path``; others may have put anything in it."""
    return [one for one in sys.path if isinstance(one, str)]


# -- Read here


def _from_directories() -> Iterator[EntryPoint]:
    for directory in _metadata_directories():
        text = _read(f"{directory}/entry_points.txt")
        if "[jackfield." in text:
            yield from _parse(text, *_identity(directory))


def _metadata_directories() -> Iterator[str]:
    seen: set[str] = set()
    for parent in _search_path():
        for name in _children(parent):
            # A distribution's name begins with a letter or a digit. pip renames what
            # it could not remove so that it begins with a tilde.
            if name.endswith((".dist-info", ".egg-info")) and name[0].isalnum():
                project = _normalized(name.rpartition(".")[0].partition("-")[0])
                if project not in seen:
                    seen.add(project)
                    yield f"{parent or '.'}/{name}"


def _children(parent: str) -> list[str]:
    try:
        return sorted(os.listdir(parent or "."))  # noqa: PTH208  (names are all)
    except (OSError, ValueError):
        return []  # the path may name what is not there, or not ours to read


def _normalized(project: str) -> str:
    """Spell a project's name as PEP 503 does, with underscores."""
    return re.sub(r"[-_.]+", "_", project).lower()


def _identity(directory: str) -> tuple[str, str]:
    """Return name and version, from the metadata or else the directory's name."""
    name, _, version = directory.rpartition("/")[2].rpartition(".")[0].partition("-")
    text = _read(f"{directory}/METADATA") or _read(f"{directory}/PKG-INFO")
    headers = _headers(text)
    return headers.get("Name", name), headers.get("Version", version or "unknown")


def _headers(metadata: str) -> dict[str, str]:
    """Return ``Name`` and ``Version``, or those of them that metadata have."""
    return dict(
        line.split(": ", 1)
        for line in metadata.partition("\n\n")[0].splitlines()
        if line.startswith(("Name: ", "Version: "))
    )


def _read(path: str | Path) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123  (many)
            return file.read()
    except OSError:
        return ""  # a distribution need not have the file


def _parse(text: str, distribution: str, version: str) -> Iterator[EntryPoint]:
    """Give our entry points. Lines that are no entry points are passed over."""
    kind: Kind | None = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            kind = KINDS.get(line.strip("[]").strip())
        elif kind and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield EntryPoint(distribution, name.strip(), kind, value.strip(), version)


# -- Read by the standard library


def _from_importlib() -> Iterator[EntryPoint]:
    from importlib.metadata import distributions

    seen: set[str] = set()
    for one in distributions():
        try:
            name, version, text, stem = _parts(one)
        except Exception as error:  # an import hook's own distributions may do anything
            from jackfield.errors import PluginWarning, one_line

            message = f"Metadata of a distribution cannot be read: {one_line(error)}"
            warnings.warn(message, PluginWarning, stacklevel=2)
            continue
        if text and name and stem[0].isalnum() and _normalized(stem) not in seen:
            seen.add(_normalized(stem))
            yield from _parse(text, name, version)


def _parts(one: Distribution) -> tuple[str, str, str, str]:
    """Return name, version, entry points, directory's name: empty if not ours."""
    text = one.read_text("entry_points.txt") or ""
    if "[jackfield." not in text:
        return "", "", "", ""
    # Not from ``one.name`` and ``one.version``, which raise if metadata are incomplete.
    headers = _headers(one.read_text("METADATA") or one.read_text("PKG-INFO") or "")
    name = headers.get("Name", "")
    directory = getattr(getattr(one, "_path", None), "name", "")
    stem = directory.partition("-")[0] if directory.endswith("-info") else name
    return name, headers.get("Version", "unknown"), text, stem or name
