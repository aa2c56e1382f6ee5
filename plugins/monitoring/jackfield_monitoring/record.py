"""Writes ``run.json``: what a run is, and how it goes, for whoever comes later.

Every run has one, without anybody asking: when a run is looked at, it is too late to
begin. What it costs is a thread that sleeps, and some milliseconds of work on it.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jackfield import hookimpl
from jackfield.messages import hide_secrets
from jackfield_monitoring import facts
from jackfield_monitoring.fields import BEAT_S, FILE_NAME, FORMAT, Record

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield import DataFlowKernel, Summary

JACKFIELD_API = ">=1,<2"

FIRST_S: Final = 0.05
"""Seconds until a run's file is first written, so as not to slow its first results."""

FIRST_BEAT_S: Final = 1.0
"""Seconds until the first beat. Each pause is twice as long as that before, up to
``BEAT_S``: so a young run that is killed is not shown as one that has hardly begun."""

SHORT_S: Final = 0.2
"""Seconds more until Git is asked, which a shorter run is not worth."""


class RunRecord:
    """The plugin; one object for each kernel.

    The kernel's start and its end come on whatever thread loads and ends it. In between
    a thread of this object writes the file. The two never write at the same time: the
    end waits for the thread before it writes the last text.

    Another plugin that is told of the start may end the kernel, so the end may be told
    before the start or during it. One of the two takes ``_beginning`` first, and begins
    the record. If it is the end, the start makes no thread; if it is the start, the end
    finds a thread that has been started, and waits for it.
    """

    def __init__(self) -> None:
        self._record: Record = {}
        self._monotonic: float = 0.0
        self._git = facts.Git()
        self._stop = threading.Event()
        self._beginning = threading.Lock()
        self._thread: threading.Thread | None = None

    @hookimpl
    def jackfield_kernel_started(self, kernel: DataFlowKernel) -> None:
        """Begin the file, on a thread of its own: ``load`` does not wait for it."""
        # Found out here and not on the thread, because the script may change its
        # directory before the thread looks.
        place = facts.script_dir()
        thread = threading.Thread(
            target=self._run, args=(kernel, place), name="jackfield-record", daemon=True
        )
        with self._beginning:
            if not self._stop.is_set():
                self._begin(kernel)
                thread.start()
                self._thread = thread

    @hookimpl
    def jackfield_kernel_closing(self, kernel: DataFlowKernel) -> None:
        """Write the file for the last time.

        Raises:
            OSError: It cannot be written; the kernel logs it.
        """
        with self._beginning:
            self._stop.set()
            thread = self._thread
            if thread is None:  # it was not told of the start before
                self._begin(kernel)
        if thread is not None:
            self._git.stop()
            thread.join()
        record = self._record
        self._fill(kernel)
        summary = kernel.summary()
        record["state"] = "failed" if summary.failed else "done"
        record["ended"] = time.time()
        record["versions"] = record.get("versions", {}) | facts.imported_versions()
        self._write(kernel, summary)

    def _begin(self, kernel: DataFlowKernel) -> None:
        """Begin the record, with what may be another thing later."""
        self._monotonic = time.monotonic()
        self._record = Record(
            format=FORMAT,
            id=facts.id_of(kernel.run_dir),
            state="running",
            began=time.time(),
        )
        with suppress(OSError):  # the directory may have been removed
            self._record["program"] = {"cwd": os.getcwd()}  # noqa: PTH109  (0.01 ms)

    def _run(self, kernel: DataFlowKernel, place: Path | None) -> None:
        """Write the file soon, again when all facts are known, and at each beat."""
        record = self._record
        if self._stop.wait(FIRST_S):
            return
        self._fill(kernel)
        self._try_to_write(kernel)
        if self._stop.wait(SHORT_S):
            return
        record["versions"] = facts.plugin_versions() | facts.imported_versions()
        code = None if place is None else self._git.code_of(place)
        if code is not None:
            record["code"] = code
        self._try_to_write(kernel)
        pause = FIRST_BEAT_S
        while not self._stop.wait(pause):
            self._try_to_write(kernel)
            pause = min(2 * pause, BEAT_S)

    def _fill(self, kernel: DataFlowKernel) -> None:
        """Add, at the first call, what is quickly known and does not change."""
        record = self._record
        if "settings" not in record:
            record["program"] = {**facts.program(), **record.get("program", {})}
            record["executors"] = list(kernel.executors)
            record["settings"] = dict(kernel.settings())

    def _try_to_write(self, kernel: DataFlowKernel) -> None:
        with suppress(OSError):  # at the next beat the disk may have space again
            self._write(kernel, kernel.summary())

    def _write(self, kernel: DataFlowKernel, summary: Summary) -> None:
        """Replace the file as a whole, so that readers never see half of it.

        Raises:
            OSError: It cannot be written.
        """
        import json

        record = self._record
        record["beat"] = time.time()
        record["elapsed"] = round(time.monotonic() - self._monotonic, 3)
        record["counts"] = {
            state.value: count for state, count in summary.counts.items() if count
        }
        record["failed"] = summary.failed
        record["failures"] = [hide_secrets(line) for line in summary.failures]
        text = json.dumps(record, indent=1, default=str)
        path = kernel.run_dir / FILE_NAME
        new = path.with_name(f".{FILE_NAME}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)
