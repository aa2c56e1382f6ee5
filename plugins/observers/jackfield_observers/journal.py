"""Writes what happens to tasks and transfers into the run's directory, as JSON lines.

The file is for people with ``grep`` and ``jq``, and for programs: one object a line, in
order, each batch written at once, so that a killed run loses a fraction of a second.
"""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TextIO

from jackfield import ConfigurationError, TaskState, hookimpl
from jackfield.messages import hide_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from jackfield import DataFlowKernel, TaskEvent, TransferEvent

JACKFIELD_API = ">=1,<2"
JACKFIELD_SHOWN = ("max_megabytes",)

FILE_NAME: Final = "journal.jsonl"


class Journal:
    """An observer with a file of its own.

    The events come on one thread, the kernel's start and end on others, maybe while a
    batch is being written; a lock makes each write whole. Writing events cannot disturb
    a task: the kernel tells of them on a thread that no task waits for.

    Args:
        max_megabytes: Size beyond which no events are written. The last line is written
            nevertheless, and tells how many events were left out.

    Raises:
        ConfigurationError: The size is no positive number.
    """

    def __init__(self, *, max_megabytes: float = 100.0) -> None:
        number = isinstance(max_megabytes, int | float)
        number = number and not isinstance(max_megabytes, bool)
        if not number or not 0 < max_megabytes < math.inf:
            raise ConfigurationError(
                f"plugins.journal.max_megabytes must be a number above 0, not "
                f"{max_megabytes!r}."
            )
        self._bytes_left: int = int(max_megabytes * 1_000_000)
        self._skipped: int = 0
        self._early: list[str] = []
        self._file: TextIO | None = None
        self._ended: bool = False
        self._last: dict[str, Any] | None = None
        self._lock = Lock()

    @hookimpl
    def jackfield_kernel_started(self, kernel: DataFlowKernel) -> None:
        """Begin the file. Other plugins may have submitted tasks already.

        Raises:
            OSError: There can be no such file; the kernel logs it.
        """
        executors, pid = kernel.executors, os.getpid()
        first = {"wall": time.time(), "executors": executors, "pid": pid}
        with self._lock:
            early, self._early = self._early, []
            # If the file cannot be made, no more events are kept.
            self._ended = True
            self._file = _create(kernel.run_dir / FILE_NAME)
            self._ended = False
            self._write([_line("started", first), *early])
            # Another plugin that is told of the start may have ended the kernel, so
            # that the end was told first.
            if self._last is not None:
                self._end(self._last)

    @hookimpl
    def jackfield_task_events(self, events: Sequence[TaskEvent]) -> None:
        """Write a batch of changes of tasks' states."""
        self._add(_line("task", event._asdict()) for event in events)

    @hookimpl
    def jackfield_transfer_events(self, events: Sequence[TransferEvent]) -> None:
        """Write a batch of steps of transfers, without those that tell of progress."""
        self._add(
            _line("transfer", event._asdict())
            for event in events
            if event.stage != "progress"
        )

    @hookimpl
    def jackfield_kernel_closing(self, kernel: DataFlowKernel) -> None:
        """Write how many tasks ended in which way, and close the file."""
        counts = kernel.task_state_counts
        last: dict[str, Any] = {"wall": time.time()}
        last |= {state.value: counts[state] for state in TaskState if counts[state]}
        with self._lock:
            self._last = last
            self._end(last)

    def _end(self, last: dict[str, Any]) -> None:
        """Write the last line, if there is a file, and close it. With the lock held."""
        if self._skipped:
            last["left_out"] = self._skipped
        if self._file is not None:
            self._put([_line("ended", last)])
            self._file.close()
        self._file, self._ended = None, True

    def _add(self, lines: Iterable[str]) -> None:
        made = list(lines)
        with self._lock:
            if self._file is not None:
                self._write(made)
            elif not self._ended:
                self._early += made

    def _write(self, lines: Sequence[str]) -> None:
        """Write the lines that fit into the size that is left, count the others."""
        fitting = 0
        for line in lines:
            self._bytes_left -= len(line)
            if self._bytes_left < 0:
                break
            fitting += 1
        self._skipped += len(lines) - fitting
        self._put(lines[:fitting])

    def _put(self, lines: Sequence[str]) -> None:
        """Write lines.

        After an error nothing more is written, because the error would come again.

        Raises:
            OSError: The file cannot be written; the kernel logs it.
        """
        file = self._file
        assert file is not None
        try:
            file.write("".join(lines))
            file.flush()
        except OSError:
            self._file, self._ended = None, True
            with suppress(OSError):  # it still has what could not be written
                file.close()
            raise


def _create(path: Path) -> TextIO:
    """Make a file that nobody else can read, and open it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8")


def _line(what: str, fields: Mapping[str, Any]) -> str:
    """Return a line; fields without a value are left out."""
    values = {
        name: _json_value(value) for name, value in fields.items() if value is not None
    }
    return json.dumps({"what": what, **values}) + "\n"


def _json_value(value: Any) -> Any:
    if isinstance(value, TaskState):
        return value.value
    return hide_secrets(value) if isinstance(value, str) else value
