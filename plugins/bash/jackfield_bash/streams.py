"""The files for a command's streams, and what they tell of one that has failed."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from jackfield.errors import BadStdStreamFile, printable
from jackfield.messages import LONGEST, cut, hide_secrets
from jackfield_system.own_files import open_no_link

_TAIL: Final = 2000
"""Bytes at the end of standard error that an error message shows."""

_LAST: Final = 300
"""Characters of its last line that stand in the first line of the message."""


def shown_command(command: str) -> str:
    """Return a command line as messages show it: in one line, cut, without secrets."""
    return printable(cut(hide_secrets(command.strip()), LONGEST))


def at(directory: str, stream: Any) -> Any:
    """Return a stream with its path, which may be relative, in a directory."""
    if isinstance(stream, tuple):
        return at(directory, stream[0]), stream[1]
    return None if stream is None else Path(directory, stream)


def is_one_file(stdout: Any, stderr: Any) -> bool:
    """Tell whether both streams go to one file.

    It must be opened once, or each would write over what the other has written.
    """
    one, other = (s[0] if isinstance(s, tuple) else s for s in (stdout, stderr))
    return None not in (one, other) and one.resolve() == other.resolve()


@contextmanager
def opened(name: str, spec: Any, app: str) -> Iterator[Any]:
    """Open the file for a stream.

    ``name`` is ``"stdout"`` or ``"stderr"``. ``spec`` is a path, to which is appended;
    a pair of path and mode; or ``None``, which leaves the stream as it is.

    Raises:
        BadStdStreamFile: It cannot be opened.
    """
    if spec is None:
        yield None
        return
    path, mode = spec if isinstance(spec, tuple) else (spec, "a")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # A link is refused, because another user may have put it there. In /dev only
        # the administrator can, and /dev/stdout is one.
        device = os.fspath(path).startswith("/dev/")
        opener = None if device else open_no_link
        stream = open(path, mode, opener=opener)  # noqa: SIM115  (closed below)
    except (OSError, ValueError, TypeError) as error:
        raise BadStdStreamFile(
            f"{name}= of bash app {app!r}, {spec!r}, cannot be opened: {error}"
        ) from error
    with stream:
        yield stream


@contextmanager
def kept_at(path: str | None) -> Iterator[str | None]:
    """Give the file for the standard error of a command whose call names none.

    It is ``path``, in the run directory; where a worker does not see that, it is a
    temporary one. Afterwards it is removed if it is empty or temporary.
    """
    seen = path is None or Path(path).parents[2].is_dir()
    place = path if seen else tempfile.mkstemp(prefix="jackfield-", suffix=".stderr")[1]
    try:
        yield place
    finally:
        if place is not None:
            with contextlib.suppress(OSError):
                if not seen or Path(place).stat().st_size == 0:
                    Path(place).unlink()


def detail_of(code: int, command: str, stderr: Any, begin: int) -> str:
    """Return how a command has ended, which it is, and the end of its standard error.

    ``begin`` is how long the file for that was when the command began.
    """
    parts = []
    if code < 0:
        with contextlib.suppress(ValueError):
            parts.append(f"killed by {signal.Signals(-code).name}")
    if stderr is None:
        return "; ".join([*parts, f"command: {shown_command(command)}"])
    path = Path(stderr[0] if isinstance(stderr, tuple) else stderr)
    if _is_empty(path):  # and may soon be removed
        parts.append("it wrote nothing to standard error")
        return "; ".join([*parts, f"command: {shown_command(command)}"])
    tail = _tail(path, begin)
    last = tail.rpartition("\n")[2].strip()[:_LAST]
    if last:
        parts.append(last if code else f"it wrote: {last}")
    text = "; ".join([*parts, f"command: {shown_command(command)}", f"see {path}"])
    return f"{text}\nIts standard error ends:\n{tail}" if "\n" in tail else text


def _is_empty(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.is_file() and path.stat().st_size == 0
    return False


def _tail(path: Path, begin: int) -> str:
    """Return the end of a file, printable, but nothing that was there before."""
    with contextlib.suppress(OSError):
        if path.is_file():  # and no named pipe, at which one would wait
            with path.open("rb") as stream:
                stream.seek(max(begin, path.stat().st_size - _TAIL))
                text = stream.read(_TAIL).decode(errors="replace").strip()
            return printable(text, keep="\n\t")
    return ""
