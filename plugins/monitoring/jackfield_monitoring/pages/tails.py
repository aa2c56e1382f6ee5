"""Reads the ends of what tasks have written, from within a run's directory only.

What a store says of a file's place is not believed: a store may come from somebody
else, and a task may have put a link there. So each step of the path is opened without
following links, from the run's directory on, and only plain files are read.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final, TypedDict

from jackfield.errors import printable

TAIL_BYTES: Final = 8_192
"""Bytes of a file that are shown: its last ones."""

_ANSI: Final = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|[PX^_][^\x1b]*(?:\x1b\\)?"
    r"|[ -/]*[0-~]"
    r")"
)
"""Escape sequences of terminals: those with parameters, with a text, and the others."""


class Tail(TypedDict):
    """The end of a file, as the page shows it.

    Attributes:
        name: What it is: ``"stdout"``.
        text: Its last lines, without anything that could command a terminal.
        note: What is to be known about it, such as its size; or why there is no text.
    """

    name: str
    text: str
    note: str


def read_tail(run: Path, name: str, told: str, most: int = TAIL_BYTES) -> Tail:
    """Read the end of a file that a task of a run has written.

    Args:
        run: The run's directory.
        name: What the file is.
        told: Its path, as the store has it.
        most: So many bytes.
    """
    within = _within(run, told)
    if within is None:
        note = f"{printable(told)} lies outside of the run's directory and is not shown"
        return {"name": name, "text": "", "note": note}
    try:
        descriptor = _open(run, within)
    except OSError as error:
        reason = error.strerror or "it is no plain file"
        return {"name": name, "text": "", "note": f"{printable(told)}: {reason}"}
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        file.seek(max(0, size - most))
        data = file.read(most)
    text = data.decode("utf-8", "replace")
    if size > most:
        text = text.partition("\n")[2] or text
    note = f"the last {len(data):,} of {size:,} bytes" if size > most else ""
    return {
        "name": name,
        "text": plain(text),
        "note": note or ("" if text else "empty"),
    }


def plain(text: str) -> str:
    """Return what a terminal would be left with, and nothing that could command one.

    Escape sequences go, and of a line that was written over again and again, as bars of
    progress are, only the last form stays.
    """
    text = _ANSI.sub("", text).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return printable("\n".join(lines), keep="\n\t")


def _within(run: Path, told: str) -> tuple[str, ...] | None:
    """Return the steps from a run's directory to a file; ``None`` if it is elsewhere.

    The run may lie elsewhere today than when it ran. Then what follows ``task_logs``,
    where tasks write unless they are told otherwise, is looked for in it.
    """
    if "\0" in told or not told:
        return None
    real, path = os.path.realpath(run), os.path.normpath(told)
    roots = {real, os.path.abspath(run)}  # noqa: PTH100  (no links may be followed)
    for root in roots:
        if path.startswith(f"{root}{os.sep}"):
            return Path(path[len(root) + 1 :]).parts
    parts = Path(path).parts
    if Path(path).is_absolute() and "task_logs" in parts:
        return parts[parts.index("task_logs") :]
    return None


def _open(run: Path, steps: tuple[str, ...]) -> int:
    """Open a plain file below a directory, without following any link.

    Raises:
        OSError: There is none, or a link is in the way.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    at = os.open(os.path.realpath(run), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for place, step in enumerate(steps, 1):
        if step in ("..", "/"):
            os.close(at)
            raise OSError(0, "it lies outside of the run's directory")
        last = place == len(steps)
        try:
            following = os.open(
                step, flags | (0 if last else os.O_DIRECTORY), dir_fd=at
            )
        finally:
            os.close(at)
        at = following
    if not stat.S_ISREG(os.fstat(at).st_mode):
        os.close(at)
        raise OSError(0, "it is no plain file")
    return at
