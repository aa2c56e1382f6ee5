"""The plugin: it counts, and a thread of its own shows what was counted."""

from __future__ import annotations

import io
import os
import sys
import time
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Final, Protocol

from jackfield import hookimpl
from jackfield_monitoring.progress import lines
from jackfield_monitoring.progress.counts import Counts
from jackfield_monitoring.progress.terminal import Terminal, terminal_of

if TYPE_CHECKING:
    from typing import TextIO

    from jackfield import DataFlowKernel
    from jackfield.events import Batch

MOST_LINES: Final = 14
"""Lines that one run has at most on a terminal."""

_GONE: Final = (OSError, ValueError)
"""What a stream raises whose other end, or which itself, is closed."""


class Face(Protocol):
    """Where progress is shown.

    Attributes:
        period: Seconds between two times.
    """

    period: float

    def show(self, counts: Counts, seconds: float) -> None:
        """Show how a run that goes on for ``seconds`` gets on."""
        ...

    def finish(self, counts: Counts, seconds: float) -> None:
        """Show how it has ended, so that this stays."""
        ...


class Progress:
    """Shows how the tasks of one kernel get on.

    What it is told comes on the thread of the kernel's events, the start and the end on
    whatever thread loads and ends the kernel. In between a thread of this object shows
    what there is; the end waits for it.
    """

    def __init__(self) -> None:
        self._counts: Counts = Counts()
        self._began: float = 0.0
        self._face: Face | None = None
        self._stop: Event = Event()
        self._thread: Thread = Thread(
            target=self._run, name="jackfield-progress", daemon=True
        )

    @hookimpl
    def jackfield_kernel_started(self, kernel: DataFlowKernel) -> None:
        """Begin to show."""
        self._counts.know(kernel.summary)
        self._began = time.monotonic()
        self._face = _face()
        # Another plugin that is told of the start may have ended the kernel: then the
        # end has been told before the start.
        if self._face is not None and not self._stop.is_set():
            self._thread.start()

    @hookimpl
    def jackfield_run_events(self, batch: Batch) -> None:
        """Count."""
        self._counts.take(batch)

    @hookimpl
    def jackfield_kernel_closing(self, kernel: DataFlowKernel) -> None:
        """Show for the last time."""
        del kernel
        self._stop.set()
        try:
            if self._thread.is_alive():
                self._thread.join()
        finally:  # after a Ctrl-C, too
            if self._face is not None:
                with suppress(*_GONE):
                    self._face.finish(self._counts, time.monotonic() - self._began)

    def _run(self) -> None:
        face = self._face
        assert face is not None
        with suppress(*_GONE):  # then nobody looks any more
            while not self._stop.wait(face.period):
                face.show(self._counts, time.monotonic() - self._began)


def _face() -> Face | None:
    """Return where progress can be shown now; ``None``: nowhere."""
    if _in_notebook():
        from jackfield_monitoring.progress.notebook import NotebookFace

        return NotebookFace()
    stream = sys.stderr
    if stream is None or stream.closed:
        return None
    if isinstance(stream, io.TextIOWrapper) and _can_draw(stream):
        return TerminalFace(stream)
    return LogFace(stream)


def _in_notebook() -> bool:
    """Tell whether this is a process of Jupyter's, which need not be imported."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return hasattr(shell, "kernel")


def _can_draw(stream: TextIO) -> bool:
    """Tell whether a stream is on a terminal that understands control sequences.

    Where tests run without people, there may be one, but nobody sees it move.
    """
    understands = os.environ.get("TERM", "") not in {"", "dumb", "unknown", "emacs"}
    unattended = os.environ.get("CI", "") not in {"", "0", "false"}
    return stream.isatty() and understands and not unattended


class TerminalFace:
    """Lines below the output."""

    period: float = 0.25

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._terminal: Terminal = terminal_of(stream)
        self._plain: bool = stream.encoding.lower().replace("-", "") != "utf8"
        self._colours: bool = not os.environ.get("NO_COLOR")

    def show(self, counts: Counts, seconds: float) -> None:
        """Draw the lines anew."""
        self._terminal.show(self, self._lines(counts, seconds))

    def finish(self, counts: Counts, seconds: float) -> None:
        """Leave the last lines as output, if there was a task."""
        made = self._lines(counts, seconds) if len(counts) else []
        self._terminal.finish(self, made)

    def _lines(self, counts: Counts, seconds: float) -> list[str]:
        width, height = self._terminal.size(self)
        look = lines.Look(width, min(height, MOST_LINES), self._colours, self._plain)
        return lines.lines(counts, look, seconds, time.monotonic())


class LogFace:
    """A line now and then, where nobody may be looking."""

    period: float = 10.0

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO = stream
        self._told: object = None

    def show(self, counts: Counts, seconds: float) -> None:
        """Write a line, with the newest failure if it has not been told."""
        text = lines.sentence(counts, seconds, time.monotonic())
        newest = counts.newest
        if newest is not None and newest is not self._told:
            self._told = newest
            text = f"{text}; {lines.failure(newest)}"
        self._stream.write(f"jackfield: {text}\n")
        self._stream.flush()

    def finish(self, counts: Counts, seconds: float) -> None:
        """Write the last line, if there was a task."""
        if len(counts):
            self.show(counts, seconds)
