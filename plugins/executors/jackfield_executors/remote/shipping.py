"""The project's modules, as workers get them that do not see the driver's disk.

They travel as one zip, known by its digest. It is made anew when a file of it, or what
is imported here, has changed; which is looked at before each message. A worker has them
unpacked in one directory, in which a file is replaced when it has changed. So there is
the project's directory on every machine, and what finds modules that were edited (see
``docs/memo-identity.md``) works on each of them as it does on a shared disk.

By default the modules are found: those that the script imports, and those that these
import, wherever the import stands, if they belong to no installed package.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

import jackfield_serialize as serialize
from jackfield.errors import ConfigurationError

Code: TypeAlias = tuple[str, bytes]
"""A digest, and the zip that has it."""

_OURS: Final = "jackfield"
"""What runs on workers by itself, and its plugins: ``jackfield``, ``jackfield_*``."""

_INSTALLED: Final = ("site-packages", "dist-packages")
_SKIPPED: Final = ("__pycache__", "node_modules")
_STABLE: Final = (1980, 1, 1, 0, 0, 0)
"""A date for all members, so that equal files make equal zips."""

_IMPORT: Final = re.compile(
    r"^[ \t]*(?:import[ \t]+(?P<whole>\w[\w., \t]*)"
    r"|from[ \t]+(?P<base>\w[\w.]*)[ \t]+import[ \t]*"
    r"(?P<names>\([\w\s,]*|[\w ,]*))",
    re.MULTILINE,
)
"""An absolute import; relative ones lead to what is in the same package."""

_Stat: TypeAlias = tuple[int, int, int]


class Shipment:
    """What is shipped by one executor. Used under a lock of its user's.

    Args:
        label: The executor's label, for messages.
        named: Files and directories, relative to the present directory; ``None`` finds
            the project's modules.

    Raises:
        ConfigurationError: One of them is not there.
    """

    def __init__(self, label: str, named: Sequence[str] | None) -> None:
        self._named = None if named is None else [Path(one).absolute() for one in named]
        for path in self._named or ():
            if not path.exists():
                raise ConfigurationError(
                    f"Executor {label!r}: ship names {str(path)!r}, which is not there."
                )
        self._imports: dict[Path, tuple[_Stat, frozenset[str]]] = {}
        self._modules = -1
        self._stats: dict[Path, _Stat | None] = {}
        self._code: Code = ("", b"")

    def code(self) -> Code:
        """Return the modules as they are now; an empty digest if there are none."""
        if self._modules != len(sys.modules) or self._changed():
            self._modules = len(sys.modules)
            self._make()
        return self._code

    def _changed(self) -> bool:
        return any(_stat(path) != before for path, before in self._stats.items())

    def _make(self) -> None:
        files = dict(self._found() if self._named is None else _below(self._named))
        # Looked at before they are read: one that changes meanwhile is read again.
        self._stats = {path: _stat(path) for path in files.values()}
        if self._named is not None:  # there may come more files
            inner = {path.parent for path in files.values()}
            self._stats |= {path: _stat(path) for path in (*inner, *self._named)}
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(files):
                try:
                    data = files[name].read_bytes()
                except OSError:
                    continue  # it has just gone
                archive.writestr(zipfile.ZipInfo(name, _STABLE), data)
        data = sink.getvalue()
        self._code = (hashlib.sha256(data).hexdigest(), data) if files else ("", b"")

    # -- the project's modules

    def _found(self) -> Iterator[tuple[str, Path]]:
        """Give the files of the project's modules, with their names in the zip."""
        entries = _entries()
        script = getattr(sys.modules.get("__main__"), "__file__", None)
        wanted = set(sys.modules.copy())
        if isinstance(script, str) and script.endswith(".py"):
            wanted |= self._imported_by(Path(script))
        seen: set[str] = set()
        known: set[str] = set()
        while new := wanted - seen:
            seen |= new
            for name in sorted(new):
                for below, path in _sources(name, entries, known):
                    wanted |= self._imported_by(path)
                    yield below, path

    def _imported_by(self, path: Path) -> frozenset[str]:
        """Return the absolute names that a file imports, wherever in it, or seems to.

        A text that only looks like an import does no harm; to parse it would take long.
        """
        status = _stat(path)
        known = self._imports.get(path)
        if status is None or (known is not None and known[0] == status):
            return known[1] if known is not None else frozenset()
        try:
            text = path.read_text(errors="replace")
        except OSError:
            text = ""
        names: set[str] = set()
        for found in _IMPORT.finditer(text):
            if found["whole"]:
                parts = found["whole"].split(",")
                names |= {one.split()[0] for one in parts if one.strip()}
            else:
                names.add(found["base"])
                parts = found["names"].replace("(", " ").split(",")
                inner = {one.split()[0] for one in parts if one.strip()}
                names |= {f"{found['base']}.{one}" for one in inner}
        self._imports[path] = status, frozenset(names)
        return self._imports[path][1]


def _stat(path: Path) -> _Stat | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _entries() -> list[str]:
    """Return where modules of the project may be: not with Python's, nor packages."""
    ours = sysconfig.get_paths()
    python = {os.path.realpath(ours[name]) for name in ("stdlib", "platstdlib")}
    found = []
    for entry in dict.fromkeys(str(Path(one or ".").absolute()) for one in sys.path):
        real = os.path.realpath(entry) + os.sep
        of_python = any(real.startswith(one + os.sep) for one in python)
        installed = any(one in Path(entry).parts for one in _INSTALLED)
        if os.path.isdir(entry) and not of_python and not installed:  # noqa: PTH112
            found.append(entry)
    return found


def _sources(
    name: str, entries: Sequence[str], known: set[str]
) -> Iterator[tuple[str, Path]]:
    """Give the Python files of a module of the project, with those of its package.

    Of a directory without ``__init__.py`` only those count that are asked for: it may
    be that of the whole project. ``known`` has the names that have been dealt with.
    """
    top, *inner = name.split(".")
    if top in known or top in sys.stdlib_module_names:
        return
    if top.partition("_")[0] == _OURS:
        return
    try:
        spec = PathFinder.find_spec(top, list(entries))
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        known.add(top)
    elif spec.submodule_search_locations is None:
        known.add(top)
        if spec.origin is not None and spec.origin.endswith(".py"):
            yield f"{top}.py", Path(spec.origin)
    elif spec.origin is not None:
        known.add(top)
        yield from _package(top, Path(spec.origin).parent)
    else:
        for place in map(Path, spec.submodule_search_locations):
            yield from _inner_sources(top, inner, place, known)


def _inner_sources(
    below: str, parts: Sequence[str], place: Path, known: set[str]
) -> Iterator[tuple[str, Path]]:
    """Give the files of a module that is below a directory without ``__init__.py``."""
    for part in parts:
        below, place = f"{below}/{part}", place / part
        if below in known:
            return
        if (place / "__init__.py").is_file():
            known.add(below)
            yield from _package(below, place)
            return
        if (module := place.with_name(f"{part}.py")).is_file():
            known.add(below)
            yield f"{below}.py", module
            return


def _package(name: str, place: Path) -> Iterator[tuple[str, Path]]:
    for path in _files_below(place):
        if path.suffix == ".py":
            yield f"{name}/{path.relative_to(place).as_posix()}", path


def _below(named: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    for top in named:
        if top.is_file():
            yield top.name, top
        for path in _files_below(top):
            yield f"{top.name}/{path.relative_to(top).as_posix()}", path


def _files_below(top: Path) -> Iterator[Path]:
    for here, inner, names in os.walk(top):
        inner[:] = [one for one in inner if one[0] != "." and one not in _SKIPPED]
        for name in names:
            path = Path(here, name)
            if name[0] != "." and not name.endswith(".pyc") and path.is_file():
                yield path


# -- on the worker


def unpack(data: bytes, directory: Path) -> None:
    """Make a directory have the files of a zip, and no others; others are kept as is.

    A file that has not changed is not touched. One that has is replaced in one step:
    somebody may be importing it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        for name in names:
            _put(directory, name, archive.read(name))
    wanted = {directory / name for name in names}
    for here, _, found in os.walk(directory):
        for name in found:
            path = Path(here, name)
            if path not in wanted and path.suffix != ".pyc":
                path.unlink(missing_ok=True)


def _put(directory: Path, name: str, data: bytes) -> None:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute():
        raise ValueError(f"{name!r} leads out of the directory")
    path = directory / name
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


_present: dict[str, str] = {}
"""The digests of what is unpacked, by directory, as this process has last seen it."""


def use(directory: str, digest: str) -> None:
    """Have this process find modules in a directory before it looks elsewhere."""
    if sys.path[:1] != [directory]:
        if directory in sys.path:
            sys.path.remove(directory)
        sys.path.insert(0, directory)
    if _present.get(directory) != digest:
        import importlib

        importlib.invalidate_caches()
        serialize.shipped.add(directory)
        _present[directory] = digest
