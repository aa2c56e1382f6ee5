"""What an FTP server tells of files, and of what is below a directory.

``MLST`` and ``MLSD`` are made for it. Servers without ``MLSD`` show what ``ls -l`` or
Windows' ``dir`` would; of this, names, kinds and sizes are used. Its times are not:
they lack the zone, and mostly the year.
"""

from __future__ import annotations

import ftplib
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from jackfield import RemoteInfo
from jackfield_staging._ftp_client import HOME, Client

if TYPE_CHECKING:
    from jackfield_staging._core_files import Tally

NOT_OFFERED: Final = ("500", "502", "504")  # replies to a command that is not known

# Where links make a loop that cannot be seen as one, it ends at so many directories
# within each other.
DEEPEST: Final = 100
MOST_BYTES: Final = 16 << 20  # of one directory's listing
MOST_DIGITS: Final = 18  # of a size

_UNIX: Final = re.compile(
    r"(?P<kind>[-a-z])[-a-zA-Z]{9}[.+@]?\s+(?:\d+\s+)?\S+\s+(?:\S+\s+)?"
    r"(?P<size>\d+)\s+\S+\s+\d+\s+[\d:]+ (?P<name>.+)"
)
_WINDOWS: Final = re.compile(
    r"\d\d-\d\d-\d\d(?:\d\d)?\s+\d\d:\d\d[AP]M\s+"
    r"(?:<DIR>\s+|(?P<size>\d+) )(?P<name>.+)"
)


def resolved(ftp: Client, path: str) -> str:
    """Give a path from the root."""
    if not path.startswith(HOME):
        return path
    if ftp.home is None:
        ftp.home = ftp.pwd()
    return f"{ftp.home.rstrip('/')}/{path[len(HOME) :]}"


def look(ftp: Client, path: str) -> RemoteInfo:
    """Ask by ``MLST``, and by ``SIZE`` and ``MDTM`` for what that leaves open."""
    told = facts(ftp, path)
    if told.get("type", "").lower() in ("dir", "cdir", "pdir"):
        raise IsADirectoryError("it is a directory")
    size = told.get("size") or _ask(ftp, "SIZE", path)
    modified = told.get("modify") or _ask(ftp, "MDTM", path)
    return info_of(size, modified)


def info_of(size: str | None, modified: str | None) -> RemoteInfo:
    """Make what a server says into what the kernel compares.

    FTP has no etag. Size and time stand for one: they tell versions apart unless two
    of the same size were written in one unit of the server's clock, mostly a second.
    """
    if size is None or not size.isdecimal() or len(size) > MOST_DIGITS:
        return RemoteInfo(modified=modified)
    etag = f'"{size}-{modified}"' if modified else None
    return RemoteInfo(size=int(size), etag=etag, modified=modified)


def facts_of(text: str) -> tuple[str, dict[str, str]]:
    """Split a line of ``MLST`` or ``MLSD`` into name and facts (RFC 3659, 7.2)."""
    told, _, name = text.partition(" ")
    pairs = (fact.partition("=") for fact in told.split(";") if "=" in fact)
    return name, {key.lower(): value for key, _, value in pairs}


def facts(ftp: Client, path: str) -> dict[str, str]:
    """Ask by ``MLST``; a server that does not know it tells nothing."""
    texts = _unless_lacking(ftp, "MLST", path).split("\n")
    return facts_of(texts[1].removeprefix(" "))[1] if len(texts) > 2 else {}


def _ask(ftp: Client, verb: str, path: str) -> str | None:
    try:
        reply = _unless_lacking(ftp, verb, path)
    except ftplib.error_perm:
        if verb == "SIZE":
            raise
        return None
    return reply[4:].strip() if reply.startswith("213") else None


def _unless_lacking(ftp: Client, verb: str, path: str) -> str:
    """Send a command that not all servers know; return nothing if this does not."""
    if verb in ftp.lacks:
        return ""
    try:
        return ftp.sendcmd(f"{verb} {path}")
    except ftplib.error_perm as error:
        if str(error)[:3] not in NOT_OFFERED:
            raise
        ftp.lacks.add(verb)
        return ""


class _Entry(NamedTuple):
    """A line of a listing."""

    name: str
    kind: str  # ``file``, ``dir``, ``link`` or ``other``
    info: RemoteInfo
    identity: str  # the same for two names of one directory; empty if not told


def list_below(ftp: Client, top: str, tally: Tally) -> dict[str, RemoteInfo]:
    """Find all files below a directory; names are relative to it.

    Links are followed, unless they lead to a directory that they are in. What cannot be
    understood is a ValueError.
    """
    found: dict[str, RemoteInfo] = {}
    identity = ""
    with suppress(ftplib.error_perm):  # listing tells more of the reason
        identity = facts(ftp, top).get("unique", "")
    # The directories that are still to be listed. Of each: its path below the top, its
    # identity on the server, and the identities of the directories that it lies in.
    pending: list[tuple[str, str, tuple[str, ...]]] = [("", identity, ())]
    while pending:
        here, identity, above = pending.pop()
        path = f"{top.rstrip('/')}/{here}"
        if identity in above:
            continue
        entries, identity = _entries(ftp, path.rstrip("/") or "/", identity, tally)
        if identity in above:
            continue
        if len(above) == DEEPEST:
            raise ValueError(f"links make a loop of it, it seems: {path!r}")
        for entry in entries:
            place, below = path + entry.name, here + entry.name
            tally.add("directories" if entry.kind == "dir" else "files")
            if entry.kind == "file":
                found[below] = entry.info
            elif entry.kind == "dir" or (entry.kind == "link" and _enters(ftp, place)):
                pending.append((f"{below}/", entry.identity, (*above, identity)))
            elif entry.kind == "link":
                with suppress(ftplib.error_perm):  # it leads nowhere
                    found[below] = look(ftp, place)
    return found


def _entries(
    ftp: Client, path: str, identity: str, tally: Tally
) -> tuple[list[_Entry], str]:
    """List one directory, and say what it can be known again by."""
    if "MLSD" not in ftp.lacks:
        try:
            found = _from_mlsd(_lines(ftp, f"MLSD {path}", tally))
            return found, identity or path
        except ftplib.error_perm as error:
            if str(error)[:3] in NOT_OFFERED:
                ftp.lacks.add("MLSD")
            # Another refusal has its reason, which the other way brings to light.
    _enter(ftp, path)
    identity = ftp.pwd()  # where links were followed, many servers tell the true name
    # With "-a", files whose name begins with a dot are shown, and "." at least; who
    # shows nothing has taken it for a name.
    texts = _list(ftp, "LIST -a", tally) or _list(ftp, "LIST", tally)
    return list(parsed(texts)), identity


def _from_mlsd(texts: list[str]) -> list[_Entry]:
    entries = []
    for text in texts:
        name, told = facts_of(text)
        kind = told.get("type", "").lower()
        if kind not in ("cdir", "pdir", "") and name not in (".", ".."):
            info = info_of(told.get("size"), told.get("modify"))
            kind = "link" if kind.startswith(("os.unix=sl", "os.unix=sy")) else kind
            entries.append(_Entry(_checked(name), kind, info, told.get("unique", "")))
    return entries


def _list(ftp: Client, command: str, tally: Tally) -> list[str]:
    try:
        return _lines(ftp, command, tally)
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
        name, size = match["name"], match["size"]
        mark = match["kind"] if match.re is _UNIX else "-" if size else "d"
        kind = {"-": "file", "d": "dir", "l": "link"}.get(mark, "other")
        if kind == "link":
            name = name.partition(" -> ")[0]
        if name not in (".", ".."):
            info = info_of(size if kind == "file" else None, None)
            yield _Entry(_checked(name), kind, info, "")


def _checked(name: str) -> str:
    """Return a name that is one, and no path that leads elsewhere."""
    if not name or "/" in name or "\0" in name:
        raise ValueError(f"its listing holds {name!r}, which is no name of a file")
    return name


def _enter(ftp: Client, path: str) -> None:
    resolved(ftp, HOME)  # while it can still be asked
    ftp.cwd(path)


def _enters(ftp: Client, path: str) -> bool:
    with suppress(ftplib.error_perm):
        _enter(ftp, path)
        return True
    return False


def _lines(ftp: Client, command: str, tally: Tally) -> list[str]:
    with ftp.data(command) as connection, connection.makefile("rb") as file:
        data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"a directory's listing has more than {MOST_BYTES} bytes")
    tally.add("bytes", len(data))
    texts = data.decode("utf-8", "surrogateescape").split("\n")
    return [one.removesuffix("\r") for one in texts if one.strip()]
