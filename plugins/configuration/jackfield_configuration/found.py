"""Finds the configuration files that nobody has named, and says which of them may act.

A configuration decides what code runs. One that is named has its user's word; one that
is only found may be anybody's: in a shared directory somebody else's, in a cloned
repository that of its authors. So, as with git and Ansible, a file that is found counts
if it is the user's or root's and nobody else can change it, and it needs the user's
word for the few keys that run code or lift a protection.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from jackfield.config.check import spelled
from jackfield.config.shown import flat
from jackfield.errors import ConfigurationError
from jackfield.places import doubt, here
from jackfield_configuration.sources import FILE_NAME, parsed, read
from jackfield_system.own_files import user_directory

if TYPE_CHECKING:
    from jackfield_configuration.merge import Layer

VARIABLE: Final = "JACKFIELD_CONFIG"
OFF: Final = "off"

_NEEDS_WORD: Final = (
    r"initializer|trust|key_file|shared|shared_run_dir|insecure\w*|ca_file|known_hosts"
    r"|private_redirects|PATH|LD_\w+|DYLD_\w+|PYTHON\w+|BASH_ENV|ENV"
)
"""Keys that run code, or that trust somebody. In capitals: in an executor's ``env``."""

_HARMLESS: Final = (None, False, "", "signed")
"""Values with which such a key does neither."""

_TABLE: Final = r"(?m)^\s*\[\s*tool\s*\.\s*[\"']?jackfield"


@dataclass(eq=False, repr=False, slots=True)
class Found:
    """What files set, the strongest last; their paths; where was looked, in words."""

    layers: list[Layer] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)


def search(directory: Path | None, environ: Mapping[str, str]) -> Found:
    """Read the files of the machine, of the user, and of the nearest directory.

    Nearest is the script's directory, if ``directory`` is ``None``, then the current
    one, then its parents, up to the first that belongs to somebody else. The first
    counts that has a ``jackfield.toml`` or a ``pyproject.toml`` with a
    ``[tool.jackfield]`` table; of both, the former comes above the latter.

    Raises:
        ConfigurationError: A file cannot be read, is wrong, or must not act.
    """
    found, home = Found(), _home(environ)
    machine = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    for base in (*(Path(one, "jackfield") for one in reversed(machine) if one), home):
        found.looked.append(str(base / "config.toml"))
        _add(found, base / "config.toml", home, asks=False)
    if environ.get(VARIABLE, "").lower() == OFF:
        found.looked.append(f"nowhere else, because {VARIABLE} is {OFF}")
        return found
    general = len(found.files)
    for place in _places(directory, found.looked):
        for name in ("pyproject.toml", FILE_NAME):
            _add(found, place / name, home, asks=True)
        if len(found.files) > general:
            break
    return found


def _home(environ: Mapping[str, str]) -> Path:
    """Return the directory of the user's own configuration, which need not exist."""
    try:
        return user_directory(environ)
    except RuntimeError:  # a user without a home has no such files
        return Path("/nonexistent/jackfield")


def _places(directory: Path | None, looked: list[str]) -> Iterator[Path]:
    """Give the directories to look in, and note them."""
    if directory is None:
        script = getattr(sys.modules.get("__main__"), "__file__", None)
        if script:
            beside = Path(script).absolute().resolve().parent
            # The code of a zipped application is within the file that is run.
            place = beside.parent if beside.is_file() else beside
            looked.append(str(place))
            yield place
    start = (directory or here()).resolve()
    for place in (start, *start.parents):
        try:
            owner = place.stat().st_uid
        except OSError as error:
            looked.append(f"no further: {place}: {error.strerror}")
            return
        if place != start and owner not in (os.geteuid(), 0):
            looked.append(f"no further: {doubt(place)}")
            return
        looked.append(str(place))
        yield place


def _add(found: Found, path: Path, home: Path, *, asks: bool) -> None:
    """Add what a file sets, if there is one and it may act.

    ``asks`` is whether it may do so only if it is harmless or has the user's word.
    """
    foreign = path.name == "pyproject.toml"  # most of them have nothing for us
    if not os.path.isfile(path):  # noqa: PTH113  (False where forbidden)
        if not foreign and os.path.lexists(path) and not _is_forbidden(path):
            what = "leads to no file" if path.is_symlink() else "is no file"
            raise ConfigurationError(
                f"{path} {what}, so it sets nothing: put it right or take it away; "
                f"{VARIABLE}={OFF} switches the search off."
            )
        return
    if foreign and not os.access(path, os.R_OK):
        return
    text, status = read(path)
    why = doubt(path, status) or doubt(path.parent)
    trusted = _has_word(path, home)
    if why and not trusted:
        if foreign and not re.search(_TABLE, text):
            return
        _refuse(path, f"{why}.")
    layer = parsed(path, text)
    if layer is None:
        return
    if asks and not trusted:
        for key, value in flat((), layer.values):
            if not key:  # an empty file
                continue
            if re.fullmatch(_NEEDS_WORD, key[-1]) and value not in _HARMLESS:
                _refuse(path, f"its {spelled(key)} needs your word.")
    found.layers.append(layer)
    found.files.append(str(path))


def _is_forbidden(path: Path) -> bool:
    """Tell whether it cannot even be seen what a path leads to."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _has_word(path: Path, home: Path) -> bool:
    """Tell whether the user's list has the file or a directory above it."""
    try:
        text, status = read(home / "trusted")
    except ConfigurationError:
        return False
    listed = {line.strip() for line in text.splitlines()}
    known = not listed.isdisjoint(map(str, (path, *path.parents)))
    return known and not doubt(home / "trusted", status)


def _refuse(path: Path, why: str) -> NoReturn:
    raise ConfigurationError(
        f"{path} was found, and is not used: {why} If you trust it, say so once, with "
        f"`jackfield config trust {path}`, or name it, with --config or in {VARIABLE}; "
        f"{VARIABLE}={OFF} switches the search off."
    )
