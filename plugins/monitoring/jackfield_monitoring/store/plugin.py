"""The monitor ``sqlite``: keeps the history of a run in ``monitor.db``.

Switched on by ``[monitors.db] plugin = "sqlite"``. No task ever waits for it, whatever
the disk does: what cannot be written is kept for a while, and then counted as lost.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from jackfield import hookimpl
from jackfield.version import installed_version
from jackfield_monitoring import facts
from jackfield_monitoring.options import check_names
from jackfield_monitoring.store.rows import microseconds
from jackfield_monitoring.store.schema import FILE_NAME
from jackfield_monitoring.store.sound import sound
from jackfield_monitoring.store.texts import PATH_MOST, clean, path
from jackfield_monitoring.store.writer import (
    LAST_BUSY_S,
    RunRow,
    StoreGoneError,
    Writer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jackfield import DataFlowKernel
    from jackfield.events import Batch

JACKFIELD_API = ">=1,<2"

RECORDS_KEPT: Final = 100_000
"""Records that wait for a disk that takes none; the earliest are lost first."""

BATCHES_KEPT: Final = 10_000

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0

log: Final = logging.getLogger("jackfield.monitoring")


@hookimpl
def jackfield_create_monitor(
    kind: str, label: str, options: Mapping[str, Any]
) -> object | None:
    """Make the monitor of a table ``[monitors.LABEL]`` with ``plugin = "sqlite"``."""
    if kind != "sqlite":
        return None
    check_names("sqlite", label, options)
    return SqliteMonitor()


@hookimpl
def jackfield_check_options(kind: str, name: str, options: Mapping[str, Any]) -> bool:
    """Refuse all options; this is asked about the tables that are for this plugin.

    Raises:
        ConfigurationError: There are some.
    """
    del kind
    check_names("sqlite", name, options)
    return True


class SqliteMonitor:
    """An observer that writes what it is told into a database.

    Batches come on the thread of events. The start and the end of the kernel come on
    others, maybe while a batch is being written; a lock keeps them apart.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._run: RunRow | None = None
        self._writer: Writer | None = None
        self._waiting: deque[Batch] = deque()
        self._records: int = 0
        self._gaps: list[tuple[int, int, str]] = []
        self._stored: int = 0
        self._pause_s: float = 0.0
        self._again_at: float = 0.0
        self._reason: str = ""
        self._told: str = ""
        self._ended: bool = False
        self._until: float = 0.0  # the end waits no longer than that

    @hookimpl
    def jackfield_kernel_started(self, kernel: DataFlowKernel) -> None:
        """Note what is to be written about the run; the file comes with a batch."""
        wall, monotonic = time.time(), time.monotonic()
        program = facts.program()
        argv = [clean(one, PATH_MOST) for one in program.get("argv", [])]
        with self._lock:
            self._path = kernel.run_dir / FILE_NAME
            self._run = RunRow(
                uuid=facts.id_of(kernel.run_dir),
                dir=path(str(kernel.run_dir.absolute())),
                wall=microseconds(wall),
                monotonic=microseconds(monotonic),
                host=clean(program.get("host", "")),
                user=clean(program.get("user", "")),
                pid=program.get("pid", 0),
                python=program.get("python", ""),
                jackfield=installed_version(),
                argv=json.dumps(argv),
                cwd=path(program.get("cwd", "")),
            )

    @hookimpl
    def jackfield_run_events(self, batch: Batch) -> None:
        """Write a batch, or keep it for the next time."""
        with self._lock:
            if self._ended:
                return
            self._waiting.append(batch)
            self._records += _records(batch)
            if self._path is not None and time.monotonic() >= self._again_at:
                self._write()
            self._forget_what_is_too_much()

    @hookimpl
    def jackfield_kernel_closing(self, kernel: DataFlowKernel) -> None:
        """Write what is left and how the run has ended, and close the file.

        If another program keeps it locked, that is waited for, but not for long.
        """
        with self._lock:
            if self._path is None or self._ended:
                return
            self._ended = True
            self._until = time.monotonic() + LAST_BUSY_S
            state = "failed" if kernel.summary().failed else "done"
            self._write(last=True)
            if self._waiting:
                log.warning(
                    "The history of the run lacks the last %s records: %s",
                    self._records, self._reason,
                )  # fmt: skip
                self._lose(self._reason)
            if self._writer is not None:
                self._end(self._writer, state)

    # -- Under the lock

    def _end(self, writer: Writer, state: str) -> None:
        now = time.monotonic()
        try:
            writer.end(state, microseconds(now), self._gaps, self._until - now)
        except (OSError, sqlite3.Error) as error:
            lost = sum(lost for _, lost, _ in self._gaps)
            log.warning(
                "%s does not say that the run has ended%s: %s", self._path,
                f", nor that it lacks {lost} records" if lost else "", error,
            )  # fmt: skip

    def _write(self, *, last: bool = False) -> None:
        """Write all that waits in one transaction; if that fails, it waits on."""
        file, run = self._path, self._run
        assert file is not None
        assert run is not None
        try:
            if self._writer is None:
                self._writer = Writer(file, run)
            if self._waiting:
                patience = self._until - time.monotonic() if last else None
                self._writer.write(self._waiting, self._gaps, patience=patience)
                self._gaps.clear()
        except StoreGoneError as error:
            self._begin_anew(error)
            self._write(last=last)
        except FileExistsError:
            self._give_up()
        except (OSError, sqlite3.OperationalError) as error:
            self._put_off(error)
        except Exception as error:
            if self._leave_out(error):
                self._write(last=last)
                return
            # It is not the disk, so another time would end the same way.
            reason = f"They could not be stored: {clean(str(error))}"
            if reason != self._told:  # a damaged file says the same ten times a second
                text = "The history of the run lacks records that cannot be stored."
                log.exception(text)
            self._told = reason
            self._lose(reason)
        else:
            self._stored += self._records
            self._records, self._pause_s = 0, 0.0
            self._waiting.clear()

    def _leave_out(self, error: Exception) -> bool:
        """Take out of what waits whatever cannot be stored; tell if there was any."""
        found = [sound(batch) for batch in self._waiting]
        if not any(changed for _, changed in found):
            return False
        self._waiting = deque(batch for batch, _ in found)
        left = sum(map(_records, self._waiting))
        reason = f"They could not be stored: {clean(str(error))}"
        self._note_lost(self._records - left, self._waiting[-1].monotonic, reason)
        self._records = left
        if reason != self._told:
            text = "The history of the run lacks records that cannot be stored: %s"
            log.warning(text, clean(str(error)))
        self._told = reason
        return True

    def _give_up(self) -> None:
        """Leave what somebody else has put in the file's place as it is."""
        log.warning(
            "There is something else at %s, perhaps the file of another monitor. This "
            "one keeps no history.", self._path,
        )  # fmt: skip
        self._ended = True
        self._waiting.clear()
        self._records = 0

    def _put_off(self, error: Exception) -> None:
        if not self._pause_s:
            log.warning(
                "The history of the run cannot be written to %s now: %s. It is tried "
                "again; the tasks go on.", self._path, error,
            )  # fmt: skip
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._again_at = time.monotonic() + self._pause_s
        self._reason = f"They could not be written: {clean(str(error))}"

    def _begin_anew(self, error: StoreGoneError) -> None:
        """Make ready for a new file in place of one that is gone."""
        log.warning("The history of the run begins anew: %s", error)
        assert self._writer is not None
        self._writer.close()
        self._writer = None
        when = microseconds(time.monotonic())
        self._gaps.append((when, self._stored, clean(str(error))))
        self._stored = 0

    def _forget_what_is_too_much(self) -> None:
        while self._records > RECORDS_KEPT or len(self._waiting) > BATCHES_KEPT:
            oldest = self._waiting.popleft()
            lost = _records(oldest)
            self._records -= lost
            self._note_lost(lost, oldest.monotonic, self._reason)

    def _lose(self, reason: str) -> None:
        """Count all that waits as lost."""
        self._note_lost(self._records, self._waiting[-1].monotonic, reason)
        self._waiting.clear()
        self._records = 0

    def _note_lost(self, lost: int, when: float, reason: str) -> None:
        if self._gaps and self._gaps[-1][2] == reason:
            lost += self._gaps.pop()[1]
        if lost:
            self._gaps.append((microseconds(when), lost, reason))


def _records(batch: Batch) -> int:
    return (
        len(batch.tasks)
        + len(batch.attempts)
        + len(batch.workers)
        + len(batch.transfers)
        + batch.lost
    )
