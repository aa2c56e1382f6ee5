"""What an FTP server tells of one file."""

from __future__ import annotations

import ftplib
from typing import TYPE_CHECKING, Final

from jackfield import RemoteInfo
from jackfield_staging._ftp_address import HOME

if TYPE_CHECKING:
    from jackfield_staging._ftp_line import Line

NOT_OFFERED: Final = ("500", "502", "504")
"""Replies to a command that the server does not know."""


def resolved(line: Line, path: str) -> str:
    """Give a path from the root."""
    if not path.startswith(HOME):
        return path
    if line.home is None:
        line.home = line.pwd()
    return f"{line.home.rstrip('/')}/{path[len(HOME) :]}"


def look(line: Line, path: str) -> RemoteInfo:
    """Ask by ``MLST``, and by ``SIZE`` and ``MDTM`` for what that leaves open.

    Raises:
        IsADirectoryError: It is a directory.
        ftplib.error_perm: There is no such file, or it is not to be seen.
    """
    told = facts(line, path)
    if told.get("type", "").lower() in ("dir", "cdir", "pdir"):
        raise IsADirectoryError("it is a directory")
    size = told.get("size") or _ask(line, "SIZE", path)
    modified = told.get("modify") or _ask(line, "MDTM", path)
    return info_of(size, modified)


def info_of(size: str | None, modified: str | None) -> RemoteInfo:
    """Make what a server says into what the kernel compares.

    FTP has no etag. Size and time stand for one: they tell versions apart unless two
    of the same size were written in one unit of the server's clock, mostly a second.
    """
    if size is None or not size.isdecimal():
        return RemoteInfo(modified=modified)
    etag = f'"{size}-{modified}"' if modified else None
    return RemoteInfo(size=int(size), etag=etag, modified=modified)


def facts_of(text: str) -> tuple[str, dict[str, str]]:
    """Split a line of ``MLST`` or ``MLSD`` into name and facts (RFC 3659, 7.2)."""
    told, _, name = text.partition(" ")
    pairs = (fact.partition("=") for fact in told.split(";") if "=" in fact)
    return name, {key.lower(): value for key, _, value in pairs}


def facts(line: Line, path: str) -> dict[str, str]:
    """Ask by ``MLST``; a server that does not know it tells nothing."""
    texts = _unless_lacking(line, "MLST", path).split("\n")
    return facts_of(texts[1].removeprefix(" "))[1] if len(texts) > 2 else {}


def _ask(line: Line, verb: str, path: str) -> str | None:
    try:
        reply = _unless_lacking(line, verb, path)
    except ftplib.error_perm:
        if verb == "SIZE":
            raise
        return None
    return reply[4:].strip() if reply.startswith("213") else None


def _unless_lacking(line: Line, verb: str, path: str) -> str:
    """Send a command that not all servers know; return nothing if this does not."""
    if verb in line.lacks:
        return ""
    try:
        return line.sendcmd(f"{verb} {path}")
    except ftplib.error_perm as error:
        if str(error)[:3] not in NOT_OFFERED:
            raise
        line.lacks.add(verb)
        return ""
