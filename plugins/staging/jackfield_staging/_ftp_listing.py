"""What is below a directory of an FTP server, whichever way the server can tell.

``MLSD`` is made for it. Servers without show what ``ls -l`` or Windows' ``dir`` would;
of this, names, kinds and sizes are used. Its times are not: they lack the zone, and
mostly the year.
"""

from __future__ import annotations

import ftplib
import re
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield_staging._ftp_address import HOME
from jackfield_staging._ftp_data import data
from jackfield_staging._ftp_look import (
    NOT_OFFERED,
    facts,
    facts_of,
    info_of,
    look,
    resolved,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield import RemoteInfo
    from jackfield_staging._ftp_line import Line

DEEPEST: Final = 100
"""Directories within each other. Where links make a loop that cannot be seen as one, it
ends here, or at this many directories:"""

MOST: Final = 100_000

_UNIX: Final = re.compile(
    r"(?P<kind>[-a-z])[-a-zA-Z]{9}[.+@]?\s+(?:\d+\s+)?\S+\s+(?:\S+\s+)?"
    r"(?P<size>\d+)\s+\S+\s+\d+\s+[\d:]+ (?P<name>.+)"
)
_WINDOWS: Final = re.compile(
    r"\d\d-\d\d-\d\d(?:\d\d)?\s+\d\d:\d\d[AP]M\s+"
    r"(?:<DIR>\s+|(?P<size>\d+) )(?P<name>.+)"
)


class _Entry(NamedTuple):
    """A line of a listing.

    ``kind`` is ``file``, ``dir``, ``link`` or ``other``; ``identity`` is the same for
    two names of the same directory, and empty if the server does not tell.
    """

    name: str
    kind: str
    info: RemoteInfo
    identity: str


class _Directory(NamedTuple):
    """One to be listed, its name below the top, and the identities of those above."""

    path: str
    below: str
    identity: str
    above: tuple[str, ...]


def list_below(line: Line, top: str) -> dict[str, RemoteInfo]:
    """Find all files below a directory; names are relative to it.

    Links are followed, unless they lead to a directory that they are in.

    Raises:
        ftplib.error_perm: There is no such directory, or it is not to be listed.
        ValueError: What the server tells cannot be understood.
    """
    found: dict[str, RemoteInfo] = {}
    pending = [_Directory(top.rstrip("/") or "/", "", _identity(line, top), ())]
    for number in count():
        if not pending:
            break
        here = pending.pop()
        if here.identity in here.above:
            continue
        entries, identity = _entries(line, here)
        if identity in here.above:
            continue
        if len(here.above) == DEEPEST or number == MOST:
            raise ValueError(f"links make a loop of it, it seems: {here.path!r}")
        above = (*here.above, identity)
        for entry in entries:
            path = f"{here.path.rstrip('/')}/{entry.name}"
            below = here.below + entry.name
            if entry.kind == "file":
                found[below] = entry.info
            elif entry.kind == "dir" or (entry.kind == "link" and _enters(line, path)):
                pending.append(_Directory(path, below + "/", entry.identity, above))
            elif entry.kind == "link":
                found |= _target(line, path, below)
    return found


def _identity(line: Line, top: str) -> str:
    try:
        return facts(line, top).get("unique", "")
    except ftplib.error_perm:
        return ""  # listing tells more of the reason


def _entries(line: Line, here: _Directory) -> tuple[list[_Entry], str]:
    """List one directory, and say what it can be known again by."""
    if "MLSD" not in line.lacks:
        try:
            return _from_mlsd(line, here.path), here.identity or here.path
        except ftplib.error_perm as error:
            if str(error)[:3] in NOT_OFFERED:
                line.lacks.add("MLSD")
            # Another refusal has its reason, which the other way brings to light.
    return _from_list(line, here.path)


def _from_mlsd(line: Line, path: str) -> list[_Entry]:
    entries = []
    for text in _lines(line, f"MLSD {path}"):
        name, told = facts_of(text)
        kind = told.get("type", "").lower()
        if kind not in ("cdir", "pdir", "") and name not in (".", ".."):
            info = info_of(told.get("size"), told.get("modify"))
            kind = "link" if kind.startswith(("os.unix=sl", "os.unix=sy")) else kind
            entries.append(_Entry(_checked(name), kind, info, told.get("unique", "")))
    return entries


def _from_list(line: Line, path: str) -> tuple[list[_Entry], str]:
    resolved(line, HOME)  # while it can still be asked
    line.cwd(path)
    # Where links were followed, many servers tell the true name.
    identity = line.pwd()
    # With "-a", files whose name begins with a dot are shown, and "." at least; who
    # shows nothing has taken it for a name.
    texts = _list(line, "LIST -a") or _list(line, "LIST")
    return list(parsed(texts)), identity


def _list(line: Line, command: str) -> list[str]:
    try:
        return _lines(line, command)
    except (ftplib.error_perm, ftplib.error_temp) as error:
        if command != "LIST" or "no files" in str(error).lower():
            return []
        raise


def parsed(texts: list[str]) -> Iterator[_Entry]:
    for text in texts:
        match = _UNIX.fullmatch(text) or _WINDOWS.fullmatch(text)
        if match is None:
            if text.lower().startswith("total ") or not text.strip():
                continue
            raise ValueError(f"a line of its listing cannot be understood: {text!r}")
        name = match["name"]
        kind = _kind(match)
        if kind == "link":
            name = name.partition(" -> ")[0]
        if name not in (".", ".."):
            size = match["size"] if kind == "file" else None
            yield _Entry(_checked(name), kind, info_of(size, None), "")


def _kind(match: re.Match[str]) -> str:
    if match.re is _WINDOWS:
        return "file" if match["size"] else "dir"
    return {"-": "file", "d": "dir", "l": "link"}.get(match["kind"], "other")


def _checked(name: str) -> str:
    """Return a name that is one, and no path that leads elsewhere."""
    if not name or "/" in name or "\0" in name:
        raise ValueError(f"its listing holds {name!r}, which is no name of a file")
    return name


def _enters(line: Line, path: str) -> bool:
    resolved(line, HOME)  # while it can still be asked
    try:
        line.cwd(path)
    except ftplib.error_perm:
        return False
    return True


def _target(line: Line, path: str, below: str) -> dict[str, RemoteInfo]:
    """Look at the file that a link leads to; a link to nowhere is no file."""
    try:
        info = look(line, path)
    except ftplib.error_perm:
        return {}
    return {below: info}


def _lines(line: Line, command: str) -> list[str]:
    blocks = []
    with data(line, command) as connection:
        while block := connection.recv(1 << 16):
            blocks.append(block)
    text = b"".join(blocks).decode("utf-8", "surrogateescape")
    return [one.removesuffix("\r") for one in text.split("\n") if one.strip()]
