"""``File``: the path or URL of a file that a task takes or makes."""

from __future__ import annotations

import os
import re
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from urllib.parse import SplitResult

CALLED_IN: Final = "the directory of the call"
"""Under this name, which no parameter can have, a bash app's call has just that."""

KEPT_STDERR: Final = "_jackfield_stderr"
"""Under this name, where its standard error is kept if the call does not say."""

_DIGEST: Final = re.compile("[0-9a-fA-F]{64}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")

_LOCAL: Final = frozenset({"file", "zip"})
"""Schemes of this machine, in whose URLs the path may follow the colon."""

NO_NAME: Final = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
"""Found in texts that cannot name a file: a NUL; a surrogate that is no single byte."""

_ALL_IS_PATH: Final = frozenset({"ftp", "ftps"})
"""Schemes in whose URLs ``?`` and ``#`` belong to the path."""


class File:
    """A file, named by a path or a URL.

    A relative path means the directory in which the script is when it calls an app with
    the file; the app, and the file of ``future.outputs``, have it as an absolute one.
    If it is remote and an argument of an app, it is staged in before the task runs, and
    the app sees the local copy: ``open(file)`` and f-strings use the local path. If it
    is remote and in ``outputs=``, it is staged out when the app has made it.

    Attributes:
        url: The path or URL as it was given. Of a password, what should have been
            escaped has been.
        scheme: The URL's scheme, ``"file"`` for a plain path.
        netloc: The URL's host part.
        path: The URL's path, decoded; for a plain path the path as it was given.
        local_path: Where the local copy is, or ``None`` while there is none. For a
            relative path that a call was given, the absolute one.
        sha256: Digest that the content must have, in hexadecimal, or ``None``.
        size: Number of bytes that it must have, or ``None``.
        verified: How a copy that was staged in was verified: by the ``"digest"`` that
            the user declares; by the server's ``"etag"``, which is the same after the
            transfer; by its ``"size"``; or by ``"none"`` of these. ``None`` if the file
            was not staged in.
    """

    __slots__ = (
        "local_path",
        "netloc",
        "path",
        "scheme",
        "sha256",
        "size",
        "url",
        "verified",
    )

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        sha256: str | None = None,
        size: int | None = None,
    ) -> None:
        text = os.fspath(url)
        if not isinstance(text, str) or not text:
            raise ValueError(f"A File needs a path or a URL, not {url!r}.")
        if NO_NAME.search(text):
            raise ValueError(f"NUL or surrogate in a File's name: {redact(text)!r}.")
        if sha256 is not None and not _DIGEST.fullmatch(str(sha256)):
            raise ValueError(f"sha256= has 64 hexadecimal digits, not {sha256!r}.")
        if size is not None and (type(size) is not int or size < 0):
            raise ValueError(f"size= is a number of bytes, not {size!r}.")
        if not isinstance(url, str) and _SCHEME.match(text):
            text = f"./{text}"  # a path object is a path, whatever it looks like
        text = _with_escaped_user(text)
        self.url: str = text
        self.scheme: str
        self.netloc: str
        self.path: str
        self.scheme, self.netloc, self.path = _split(text)
        self.local_path: str | None = None
        self.sha256: str | None = sha256
        self.size: int | None = size
        self.verified: str | None = None
        if self.declared and self.tree:
            raise ValueError(
                f"{redact(text)} stands for many files, which have no one sha256= or "
                f"size=; declare those of single files."
            )

    @property
    def remote(self) -> bool:
        """Whether the file is on another machine, so that it has to be staged."""
        return self.scheme != "file"

    @property
    def relative(self) -> bool:
        """Whether it is a plain path that means another file in another directory."""
        plain = not self.remote and not self.url.startswith("file:")
        return plain and not os.path.isabs(self.path)  # noqa: PTH117  (a str is at hand)

    @property
    def stageable(self) -> bool:
        """Whether the kernel may replace the file before the task runs.

        It may if the file is remote, because the task gets the local copy; if a size or
        digest is declared, because it is verified first; and if it is a ``file:`` URL,
        because the configuration may ask for a copy of those.
        """
        return self.remote or self.declared or self.url.startswith("file:")

    @property
    def declared(self) -> bool:
        """Whether its user says which size or digest it has."""
        return self.sha256 is not None or self.size is not None

    @property
    def tree(self) -> bool:
        """Whether a URL stands for many files: a directory, or a pattern.

        A directory's URL ends with ``/``. A pattern has a ``*`` in its path. A star
        that belongs to a name is written ``%2A``. A URL with a query stands for what a
        server answers to that, which is one file.
        """
        if not (self.remote or self.url.startswith("file:")):
            return False
        path = raw_path(self.url)
        return (path.endswith("/") or "*" in path) and not _parts(self.url).query

    @property
    def filename(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    @property
    def filepath(self) -> str:
        """The path to use on this machine.

        Raises:
            ValueError: The file is remote and not staged.
        """
        if self.local_path is not None:
            return self.local_path
        if self.remote:
            raise ValueError(f"{redact(self.url)} is remote and has no local copy yet.")
        return self.path

    def located(self) -> File:
        """Return the file that a relative path means now; others as they are.

        Raises:
            FileNotFoundError: The working directory is gone.
        """
        if self.local_path is not None or not self.relative:
            return self
        return self.at(here(self.path))

    def cleancopy(self) -> File:
        """Return the same file without ``local_path`` and ``verified``."""
        return File(self.url, sha256=self.sha256, size=self.size)

    def at(
        self, local_path: str | os.PathLike[str], verified: str | None = None
    ) -> File:
        """Return the same file with a local copy at ``local_path``."""
        copy = self.cleancopy()
        copy.local_path = os.fspath(local_path)
        copy.verified = verified
        return copy

    def __fspath__(self) -> str:
        return self.filepath

    def __str__(self) -> str:
        return self.filepath

    def __repr__(self) -> str:
        return f"File({redact(self.url)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, File):
            return NotImplemented
        if self._identity() != other._identity():
            return False
        # One relative path in two directories is two files, once it is known in which.
        places = {self.local_path, other.local_path} if self.relative else {None}
        return None in places or len(places) == 1

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        return self.url, self.sha256, self.size


def here(path: str) -> str:
    """Return a path as an absolute one, as it is in the present directory.

    Raises:
        FileNotFoundError: There is none any more.
    """
    try:
        return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118  (strs are at hand)
    except FileNotFoundError as error:
        reason = "the working directory is gone, in which a relative path would be"
        raise FileNotFoundError(error.errno, reason, path) from None


def _split(text: str) -> tuple[str, str, str]:
    """Return scheme, host part and decoded path; a plain path is left as it is.

    Raises:
        ValueError: It is neither a path nor a URL.
    """
    found = _SCHEME.match(text)
    if found is None:
        return "file", "", text
    from urllib.parse import unquote

    scheme, after, wrong = found[1].lower(), text[found.end() :], ""
    parts = _parts(text)
    if not after.startswith("/" if scheme in _LOCAL else "//"):
        wrong = (
            "is neither a path nor a URL: a URL goes on with // after the colon, and a "
            "path that looks like one begins with ./ or /"
        )
    elif _CONTROL.search(text):
        wrong = "holds a control character; in a URL that is written as %XX"
    elif scheme == "file" and parts.netloc.lower() not in {"", "localhost"}:
        wrong = f"is on another machine, {parts.netloc!r}; write file:///path"
    if wrong:
        shown = text if "@" not in text else f"{found[0]}..."  # perhaps a password
        raise ValueError(f"{shown!r} {wrong}.")
    return scheme, parts.netloc, unquote(parts.path)


def _parts(url: str) -> SplitResult:
    """Split a URL into its parts, as they are written."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
    except ValueError as error:  # it says what is wrong, and not where
        raise ValueError(f"{redact(url)!r} cannot be read as a URL: {error}.") from None
    if parts.scheme in _ALL_IS_PATH:
        path = url.partition("://")[2][len(parts.netloc) :]
        return parts._replace(path=path, query="", fragment="")
    return parts


def raw_path(url: str) -> str:
    """Return the path of a URL as it is written, not decoded."""
    return _parts(url).path


def _user(rest: str) -> str | None:
    """Return whose password follows in what comes after ``://``, if one does.

    In ``me:pass/word@host``, what looks like a host with a port is the user and the
    beginning of the password.
    """
    user, colon, port = re.split("[/?#]", rest, maxsplit=1)[0].partition(":")
    is_host = port.isdigit() or user.startswith("[") or "@" in user
    return user if colon and "@" in rest and not is_host else None


def _with_escaped_user(url: str) -> str:
    """Escape what ends a URL's host part too early: ``/``, ``?``, ``#`` in a password.

    Such a password ends at the last ``@``.
    """
    head, mark, rest = url.partition("://")
    if not mark or _user(rest) is None or "@" in re.split("[/?#]", rest, maxsplit=1)[0]:
        return url
    from urllib.parse import quote

    login, _, place = rest.rpartition("@")
    return f"{head}://{quote(login, safe=':%@!$&*+,;=')}@{place}"


def redact(url: str) -> str:
    """Return a URL as it may be shown: without its password and its query.

    Whatever may belong to the password, up to the last ``@``, is taken for it.
    """
    head, mark, rest = url.partition("://")
    if not mark:
        return url
    user = _user(rest)
    login = "" if user is None else f"{user}:***@"
    place = rest if user is None else rest.rpartition("@")[2]
    shown, query, _ = place.partition("?")
    return f"{head}://{login}{shown.partition('#')[0]}{'?***' if query else ''}"


def as_file(value: object) -> File:
    """Return a ``File``: the value itself, or one for a string or path."""
    if isinstance(value, File):
        return value
    if isinstance(value, str | os.PathLike):
        return File(value)
    raise TypeError(f"Expected a File, a path or a URL, not {value!r}.")


def lack_of(path: str) -> str:
    """Return what to say of an output that is not there, or is no file; else ``""``."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  (a str is at hand)
    except OSError as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        return path if absent else f"{path} ({error.strerror})"
    made = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return "" if made else f"{path} (a named pipe, socket or device, and no file)"
