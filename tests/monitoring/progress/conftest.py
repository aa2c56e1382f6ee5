"""A terminal for the tests of progress: a script runs on it, and its screen is read."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

LIMIT_S = 100.0


class Tty:
    """A script on a terminal of its own.

    Attributes:
        raw: All that was written to the terminal.
        screen: What it shows, and what has scrolled out of it.
    """

    def __init__(
        self, command: list[str], environ: dict[str, str], rows: int, columns: int
    ) -> None:
        self.raw = b""
        self.screen = pyte.HistoryScreen(columns, rows, history=1_000_000)
        self._parser = pyte.ByteStream(self.screen)
        self._status: int | None = None
        size = struct.pack("HHHH", rows, columns, 0, 0)
        ready, go = os.pipe()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:  # pragma: no cover  (it becomes the script)
            os.close(go)
            os.read(ready, 1)  # the terminal has its size
            os.execve(command[0], command, environ)
        os.close(ready)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)
        os.close(go)

    def until(self, wanted: Callable[[Tty], object]) -> None:
        """Read what comes until something is so."""
        end = time.monotonic() + LIMIT_S
        while not wanted(self):
            assert time.monotonic() < end, "\n".join(self.text)
            assert self._read(), "\n".join(self.text)

    def sees(self, text: str) -> None:
        """Wait until a text is on the screen."""
        self.until(lambda tty: text in "\n".join(tty.screen.display))

    def end(self) -> int:
        """Read all, and return the exit code: negative for a signal."""
        while self._read():
            pass
        return self.wait()

    def wait(self) -> int:
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        self.screen.resize(rows, columns)
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)  # sends SIGWINCH

    def hang_up(self) -> None:
        """Take the terminal away."""
        os.close(self._fd)
        self._fd = -1

    def close(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        if self._fd >= 0:
            os.close(self._fd)

    @property
    def text(self) -> list[str]:
        """All lines, those that have scrolled out of the screen first."""
        columns = self.screen.columns
        gone = (
            "".join(line[at].data for at in range(columns))
            for line in self.screen.history.top
        )
        lines = [line.rstrip() for line in (*gone, *self.screen.display)]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _read(self) -> bool:
        if not select.select([self._fd], [], [], LIMIT_S)[0]:
            raise TimeoutError("\n".join(self.text))
        try:
            got = os.read(self._fd, 1 << 16)
        except OSError:  # Linux tells so that nobody has the terminal any more
            got = b""
        self.raw += got
        self._parser.feed(got)
        return bool(got)


Start = Callable[..., Tty]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Run a script's text on a terminal.

    Its arguments are those of Python before the script's name; keywords are for the
    environment.
    """
    started: list[Tty] = []
    scrubbed = {"CI", "NO_COLOR", "PYTHONUNBUFFERED", "PYTHONIOENCODING"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in scrubbed and not name.startswith("JACKFIELD_")
    }
    monkeypatch.chdir(tmp_path)
    kept |= {"TERM": "xterm-256color", "PYTHONUTF8": "1"}

    def begin(
        text: str,
        *options: str,
        rows: int = 24,
        columns: int = 80,
        **environ: str,
    ) -> Tty:
        (tmp_path / "script.py").write_text(textwrap.dedent(text))
        command = [sys.executable, *options, "script.py"]
        started.append(Tty(command, kept | environ, rows, columns))
        return started[-1]

    yield begin
    for tty in started:
        tty.close()
