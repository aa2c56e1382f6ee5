"""Whose code it is: the project's, an installed package's, or Python's own.

The project's code counts by its text, a package by the version of its distribution,
the standard library by Python's version. Code is the project's unless its file lies
in the standard library or in a ``site-packages`` or ``dist-packages`` directory of a
distribution; so an editable install counts as the project's, and so does a loose
file in ``site-packages`` that no distribution owns. Jackfield itself is a package,
however it is installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache
from inspect import getmodulename
from pathlib import PurePath
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_SITE: Final = frozenset({"site-packages", "dist-packages"})
_STDLIB: Final = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120  (compared as text)

OURS: Final = frozenset(
    {"jackfield", "jackfield_archives", "jackfield_bash", "jackfield_checkpoint"}
    | {"jackfield_cli", "jackfield_configuration", "jackfield_executors"}
    | {"jackfield_memo", "jackfield_monitoring", "jackfield_observers"}
    | {"jackfield_parsl", "jackfield_policies", "jackfield_results"}
    | {"jackfield_serialize", "jackfield_staging", "jackfield_stream"}
    | {"jackfield_system", "jackfield_testing", "jackfield_transfers"}
)
"""Top-level modules of Jackfield."""


class Origin(NamedTuple):
    """Whose some code is.

    Attributes:
        kind: ``"project"``, ``"package"`` or ``"python"``.
        version: For a package: its distribution and version, ``"numpy 2.4.6"``.
    """

    kind: Literal["project", "package", "python"]
    version: str = ""


PROJECT: Final = Origin("project")
PYTHON: Final = Origin("python")


def origin_of_module(module: ModuleType) -> Origin:
    """Return whose a module is."""
    return origin(module.__name__, file_of(module))


def origin_by_name(name: str | None) -> Origin:
    """Return whose the module of this name is; one that is not loaded: the project's.

    Classes and C functions say where they belong by a module's name alone.
    """
    module = sys.modules.get(name or "")
    if module is not None:
        return origin_of_module(module)
    return PYTHON if _root(name or "") in sys.builtin_module_names else PROJECT


def is_project_name(name: str) -> bool:
    """Tell whether a module is imported here and the project's."""
    module = sys.modules.get(name)
    return module is not None and origin_of_module(module).kind == "project"


@cache
def origin(name: str, file: str | None) -> Origin:
    """Return whose a module is.

    Args:
        name: Its full name.
        file: Its file or directory, ``None`` if it has none.
    """
    root = _root(name)
    if root in OURS:
        return Origin("package", package_version("jackfield") or "jackfield")
    if root == "__main__":
        return PROJECT
    if file is None:
        return PYTHON if root in sys.stdlib_module_names else PROJECT
    if _SITE.intersection(PurePath(file).parts):
        version = package_version(root)
        return Origin("package", version) if version else PROJECT
    return PYTHON if file.startswith(_STDLIB) else PROJECT


@cache
def package_version(root: str) -> str:
    """Return the distributions that own a top-level module, with their versions.

    Returns:
        As ``"numpy 2.4.6"``, with commas if there are several; ``""`` for none.
    """
    module = sys.modules.get(root)
    if module is None or getattr(module, "__file__", None):  # no namespace package
        for found in _distributions(name=root):
            return f"{root} {found.version}"
    owners = sorted(set(_owners().get(root, ())))
    versions = [(one, next(iter(_distributions(name=one)), None)) for one in owners]
    return ", ".join(f"{one} {found.version}" for one, found in versions if found)


@cache
def _owners() -> dict[str, list[str]]:
    """Return top-level module to distributions: some 100 ms, so only if needed."""
    owners: dict[str, list[str]] = {}
    for one in _distributions():
        tops = (one.read_text("top_level.txt") or "").split()
        if not tops:
            parts = [file.parts for file in one.files or ()]
            tops = [some[0] if some[1:] else getmodulename(some[0]) for some in parts]  # type: ignore[misc]  # filtered below
        for top in {top for top in tops if top and "." not in top}:
            owners.setdefault(top, []).append(one.metadata["Name"])
    return owners


def _distributions(**named: Any) -> Iterable[Distribution]:
    """Find distributions, all or of a name, where an import looks for modules.

    That is in those entries of ``sys.path`` that are texts; ``importlib.metadata`` by
    itself raises if there is anything else.
    """
    from importlib import metadata

    places = [place for place in sys.path if isinstance(place, str)]
    found: Iterable[Distribution] = metadata.distributions(path=places, **named)
    return found


def file_of(module: ModuleType) -> str | None:
    """Return a module's file, or its directory; ``None`` if it has neither."""
    file = getattr(module, "__file__", None)
    if file is None:
        paths = list(getattr(module, "__path__", ()))
        file = paths[0] if paths else None
    return file if isinstance(file, str) else None


def _root(name: str) -> str:
    return name.partition(".")[0]
