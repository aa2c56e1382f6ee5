r"""Some lines below all that a program prints, which are drawn anew again and again.

The cursor stays where the program's output has ended, and the lines are drawn below the
line that it is in. So whoever writes to the terminal writes into the right place,
without knowing of us: ``input`` with what the user types, a program that was started, a
library in C. To go away, or to be drawn anew, the lines need only an "erase all that
comes", however the terminal has wrapped them when its size was changed. And when the
process dies, the terminal is in no state that anybody would have to undo.

What Python code prints is written together with the lines: erase, the text, the lines
again, in one write. For that ``write`` and ``flush`` of the standard streams are
replaced, in the stream objects themselves, because handlers of logging and other code
keep these. They work as before: a stream of a terminal shows whole lines, or what it
has at a ``flush``. But each thread's line is its own until it is whole.

What others write to the terminal is never lost either. But if it is more than a line
between two times that we draw, it goes over our lines, and rests of these may stay
behind it.

Nothing is drawn while somebody else is in charge of the terminal: the shell, after
Ctrl-Z, or whoever reads single keys: an editor, or ``input`` with line editing, where
the cursor may be in the midst of what was typed.
"""

from __future__ import annotations

import io
import os
import sys
import termios
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from threading import Lock, RLock, get_ident
from typing import Any, Final

_DOWN: Final = "\x1bD"  # to the next line, same column; scrolls at the screen's end
_SAVE: Final = "\x1b7"
_BACK: Final = "\x1b8"
_ERASE_LINE: Final = "\x1b[K"
_ERASE: Final = "\x1b[J"  # all from the cursor on, to the screen's end
_NO_COLOUR: Final = "\x1b[0m"

_LOCAL_FLAGS: Final = 3  # their place in what ``tcgetattr`` returns

_plain_write: Final = io.TextIOWrapper.write
_plain_flush: Final = io.TextIOWrapper.flush

MOST_HELD: Final = 8192
"""Characters of a line that is not whole after which it is shown all the same."""

COLUMNS: Final = 80
ROWS: Final = 24
"""The size of a terminal that knows none, as those over a serial line, or in tests."""

LEFT_ALONE: Final = 3
"""Lines of the terminal that stay the program's."""


class Terminal:
    """The terminal on which standard error is; any thread may use it.

    The lock is reentrant, because a handler of signals, or a ``__del__``, may print on
    a thread that is just printing.

    Args:
        stream: Standard error, which is on a terminal.

    Attributes:
        stream: The same.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self.stream: io.TextIOWrapper = stream
        self._lock: Any = RLock()  # typeshed has it as a function up to Python 3.12
        self._blocks: dict[object, Sequence[str]] = {}
        self._drawing: str = ""
        self._taken: dict[io.TextIOWrapper, dict[str, object]] = {}
        # What a thread has printed to a stream since the last whole line.
        self._begun: dict[tuple[io.TextIOWrapper, int], str] = {}

    def size(self, owner: object) -> tuple[int, int]:
        """Return how many columns and lines ``owner`` may use.

        Raises:
            OSError, ValueError: The terminal is gone, or the stream is closed.
        """
        columns, rows = os.get_terminal_size(self.stream.fileno())
        columns, rows = columns or COLUMNS, rows or ROWS
        sharing = len(self._blocks.keys() | {owner})
        return max(0, columns - 1), max(0, (rows - LEFT_ALONE) // sharing)

    def show(self, owner: object, lines: Sequence[str]) -> None:
        """Draw these lines, in the place of those that ``owner`` has shown before.

        Raises:
            OSError, ValueError: The terminal is gone, or the stream is closed.
        """
        with self._lock:
            self._blocks[owner] = lines
            self._draw()
            if not self._taken:
                self._take_streams()
            if self._reads_lines() and self._in_foreground():
                self._put(self.stream, self._drawing)

    def finish(self, owner: object, lines: Sequence[str]) -> None:
        """Erase what ``owner`` has shown, and print these lines, which stay.

        Raises:
            OSError, ValueError: The terminal is gone, or the stream is closed.
        """
        with self._lock:
            self._blocks.pop(owner, None)
            self._draw()
            if not self._blocks:
                self._give_streams_back()
            stay = "".join(f"\n{line}" for line in lines)
            stay = f"{stay}\n" if stay else ""
            self._put(self.stream, f"{_ERASE}{stay}{self._drawing}")

    def hold(self) -> None:
        """Let no other thread be at work here while the process forks."""
        self._lock.acquire()

    def let_go(self) -> None:
        """Go on after a fork, in the parent."""
        self._lock.release()

    def leave_to_parent(self) -> None:
        """Draw nothing any more, in a forked child, and print nothing twice."""
        self._lock = RLock()
        self._blocks.clear()
        self._begun.clear()
        self._drawing = ""
        self._give_streams_back()

    def _draw(self) -> None:
        """Make the text that draws all lines, and leaves the cursor where it was."""
        lines = [line for block in self._blocks.values() for line in block]
        room = f"{_DOWN * len(lines)}\x1b[{len(lines)}A" if lines else ""
        drawn = "".join(f"\r\n{line}{_ERASE_LINE}" for line in lines)
        drawn = f"{_SAVE}{_NO_COLOUR}{_ERASE_LINE}{drawn}{_ERASE}{_BACK}"
        self._drawing = f"{room}{drawn}" if lines else ""

    def _in_foreground(self) -> bool:
        """Tell whether the terminal is not the shell's, as it is after Ctrl-Z."""
        try:
            return os.tcgetpgrp(self.stream.fileno()) == os.getpgrp()
        except (OSError, ValueError):  # it need not be the one that controls us
            return True

    def _reads_lines(self) -> bool:
        """Tell whether nobody reads single keys."""
        try:
            attributes = termios.tcgetattr(self.stream.fileno())
        except (OSError, ValueError, termios.error):  # it is gone
            return False
        return bool(attributes[_LOCAL_FLAGS] & termios.ICANON)

    # -- what the program prints

    def _take_streams(self) -> None:
        """Replace the methods of the standard streams that are on this terminal."""
        ours = os.fstat(self.stream.fileno()).st_rdev
        for stream in (self.stream, sys.stdout):
            # It may be a class of somebody's, or have got a method of somebody's.
            if isinstance(stream, io.TextIOWrapper) and "write" not in vars(stream):
                with suppress(OSError, ValueError):
                    if os.fstat(stream.fileno()).st_rdev == ours and stream.isatty():
                        self._taken[stream] = {
                            "write": partial(self._write, stream),
                            "flush": partial(self._flush, stream),
                        }
                        vars(stream).update(self._taken[stream])

    def _give_streams_back(self) -> None:
        """Let the standard streams be as they were, and print what is still held."""
        while self._taken:
            stream, methods = self._taken.popitem()
            for name, method in methods.items():
                if vars(stream).get(name) is method:  # else somebody has wrapped it
                    del vars(stream)[name]
        for stream, thread in list(self._begun):
            self._put(stream, _ERASE + self._begun.pop((stream, thread)))

    def _write(self, stream: io.TextIOWrapper, text: str, /) -> int:
        """Do what the stream's own ``write`` does, and leave our lines whole."""
        with self._lock:
            if stream not in self._taken:  # somebody has kept this very method
                return _plain_write(stream, text)
            key = stream, get_ident()
            begun = self._begun.pop(key, "") + text
            whole, end, rest = begun.rpartition("\n")
            if "\r" in rest or len(rest) > MOST_HELD:
                whole, end, rest = begun, "", ""
            if rest:
                self._begun[key] = rest
            if whole or end:
                self._print(stream, whole + end)
        return len(text)

    def _flush(self, stream: io.TextIOWrapper, /) -> None:
        """Show what this thread has begun, as the stream's own ``flush`` does."""
        with self._lock:
            begun = self._begun.pop((stream, get_ident()), "")
            if begun:
                self._print(stream, begun)
            else:
                _plain_flush(stream)

    def _print(self, stream: io.TextIOWrapper, text: str) -> None:
        """Print a text of the program's above our lines."""
        drawing = self._drawing
        if drawing and self._in_foreground():
            if not self._reads_lines():
                drawing = ""  # but what was drawn before is not to stand in the way
            if not drawing.isascii():  # the two streams may not be able to say the same
                code = stream.encoding
                drawing = drawing.encode(code, "replace").decode(code)
            text = f"{_ERASE}{text}{drawing}"
        self._put(stream, text)

    def _put(self, stream: io.TextIOWrapper, text: str) -> None:
        """Write at once; up to some kilobytes it is one write to the terminal."""
        _plain_write(stream, text)
        _plain_flush(stream)


_making: Final = Lock()
_terminals: Final[list[Terminal]] = []


def terminal_of(stream: io.TextIOWrapper) -> Terminal:
    """Return the terminal of a stream: the same for all kernels that share it."""
    with _making:
        found = next((one for one in _terminals if one.stream is stream), None)
        if found is None:
            found = Terminal(stream)
            _terminals.append(found)
        return found


def _before_fork() -> None:
    _making.acquire()
    for terminal in _terminals:
        terminal.hold()


def _after_fork_in_parent() -> None:
    for terminal in _terminals:
        terminal.let_go()
    _making.release()


def _after_fork_in_child() -> None:
    for terminal in _terminals:
        terminal.leave_to_parent()
    _making.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
