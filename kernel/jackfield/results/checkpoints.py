"""Results across runs: the store, opened when it is first needed, and its writer.

Results are written by one thread, as many at a time as have come meanwhile: a group
commit. In mode ``task_exit`` a task ends only after the commit of its result, so that
whoever has seen a future end finds its result again, whatever happens then. The other
modes let it end at once and write later.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import CheckpointRecord
from jackfield.errors import (
    CheckpointError,
    CheckpointWarning,
    KernelClosedError,
    one_line,
)
from jackfield.files import redact
from jackfield.results.chained import IN_MEMORY
from jackfield.results.writer import CheckpointWriter, again

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from jackfield.abc import CheckpointStore
    from jackfield.results.copies import IdentifyCode
    from jackfield.results.outputs import Kept
    from jackfield.results.signing import SigningKey
    from jackfield.results.writer import Done

DEFAULT_FILE: Final = "checkpoints.db"
"""Name of the store, beside the numbered runs, where none is configured."""


_MOST_NAMES: Final = 1_000
"""Names of apps that are remembered; after so many some are told once more."""


@dataclass(eq=False)
class Checkpoints:
    """The checkpoint store of one kernel.

    A store that is configured is opened with the kernel, so that a mistake shows at
    once; the default one with the first cached call.

    Attributes:
        table: The ``[checkpoint]`` table; that of the default store, once it is opened.
        open_store: Opens the store of a URL: ``PluginManager.open_checkpoint``.
        directory: Where the default store is.
        log: Takes what is warned of.
        gathering: Entered while the tasks of one commit are ended.
        stop_run: Called with a reason when the table says that the run is to stop
            where results cannot be stored.
        started: When the kernel was made, in seconds since the epoch.
        store: The store, once it is opened, and if there is one.

    Raises:
        JackfieldError: The configured store cannot be opened.
    """

    table: Mapping[str, Any]
    open_store: Callable[[str, Mapping[str, Any]], CheckpointStore]
    directory: Path
    log: logging.Logger
    gathering: Callable[[], AbstractContextManager[object]]
    stop_run: Callable[[str], None]
    started: float = field(default_factory=time.time)
    store: CheckpointStore | None = None

    def __post_init__(self) -> None:
        self._lock: threading.Lock = threading.Lock()
        self._opened: bool = False
        self._closed: bool = False
        self._key: SigningKey | None = None
        self._unsaved: set[str] = set()
        self._why_in_memory: str = ""
        self._writer: CheckpointWriter | None = None
        if self.table:
            self._open()
            self._opened = True

    # -- for cached calls

    def load(
        self, app: str, key: bytes, identify: IdentifyCode, missing: str = ""
    ) -> tuple[Kept | None, Any, str]:
        """Look a result up. Never raises: what goes wrong is a miss, and warned of.

        ``identify`` tells whether code of the script is what it was; ``missing`` says
        why a result would be of no use although it is stored.

        Returns:
            What is kept of the call, or ``None``; what it gave; and why a result that
            is stored is not used, or ``""``.
        """
        self._open_once()
        if self.store is None:
            return None, None, ""
        try:
            record = self.store.get(key)
        except BaseException as error:
            self._warn(f"A result of {app!r} cannot be looked up: {one_line(error)}")
            return None, None, f"the store cannot be read: {one_line(error)}"
        if record is None or missing:
            return None, None, missing if record is not None else ""
        from jackfield.results.envelope import (
            Envelope,
            Value,
            load_value,
            open_envelope,
        )
        from jackfield.results.outputs import kept  # for cached calls only

        trust = self.table.get("trust", "signed")
        found = load_value(key, record.value, self._key, trust, identify)
        envelope = open_envelope(record.value)
        if isinstance(found, Value) and isinstance(envelope, Envelope):
            return kept(found.value, envelope.payload), found.value, ""
        self._warn(f"A result of {app!r} is not used: {found}.")
        return None, None, str(found)

    @property
    def writes(self) -> bool:
        """Whether results are stored at all."""
        return self._writer is not None

    @property
    def promise(self) -> list[str]:
        """A sentence on the results of this run in later ones, if they are kept."""
        where = "" if self.store is None else f" in {redact(str(self.table['store']))}"
        kept = not self._why_in_memory and self.table.get("mode") != "manual"
        return [f"Results of cached apps are kept{where} for the next run."] * kept

    def save(
        self,
        app: str,
        key: bytes,
        value: bytes,
        manifest: Callable[[], Mapping[str, str]],
        done: Done,
    ) -> None:
        """Store a pickled result, and call ``done`` when the task may end.

        Never raises. ``done`` gets ``None``; or an error if the result is not stored
        and the configuration wants the task to fail then. It is called on this thread,
        or on the one that writes.
        """
        writer = self._writer
        if writer is None:
            done(None)
            return
        from jackfield.results.envelope import pack

        try:
            data = pack(key, value, self._key)
            record = CheckpointRecord(key, data, app, time.time(), manifest())
        except BaseException as error:
            self.not_stored(app, error)
            done(None)
            return
        writer.put(record, done)

    def not_stored(self, app: str, error: BaseException) -> None:
        """Tell, once for each app, that a result cannot be stored."""
        if self.writes and app not in self._unsaved:
            if len(self._unsaved) >= _MOST_NAMES:
                self._unsaved.clear()
            self._unsaved.add(app)
            self._warn(f"Results of {app!r} are not stored: {one_line(error)}")

    def checkpoint(self) -> None:
        """Write what is to be written, and wait for it.

        Raises:
            CheckpointError: It is not written; or results are kept in memory only.
            KernelClosedError: The store is closed.
        """
        if self._closed:
            raise KernelClosedError("cannot checkpoint: the kernel has ended")
        if self._why_in_memory:
            raise CheckpointError(self._why_in_memory)
        writer = self._writer
        if writer is None:  # nothing has been looked up, so there is no result
            return
        writer.flush()
        if writer.error is not None:
            raise again(writer.error)

    @contextmanager
    def reading(self) -> Iterator[list[tuple[str, CheckpointStore]]]:
        """Give the stores with their URLs; opened once more if they are closed.

        Raises:
            CheckpointError: They cannot be opened.
        """
        from jackfield.results.chained import named_stores, open_stores

        with ExitStack() as opened:
            store = self.store
            if store is not None and self._closed:
                table = {**self.table, "read_only": True}
                store = open_stores(self.open_store, table)
                opened.callback(store.close)
            yield named_stores(store, self.table) if store is not None else []

    def close(self) -> None:
        """Write the rest, and close the store."""
        with self._lock:
            self._opened = self._closed = True
            writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        if self.store is not None:
            self.store.close()

    # -- opening

    def _open_once(self) -> None:
        """Open the default store, if that has not been tried.

        Threads that come while another opens it wait for that at the lock. Those that
        come later do not need the lock: ``_opened`` is set when everything else is,
        or they would take it that there is no store.
        """
        if self._opened:
            return
        with self._lock:
            if self._opened:
                return
            path = self.directory / DEFAULT_FILE
            self.table = {"store": f"sqlite:///{path}", "mode": "task_exit"}
            try:
                self._open()
            except Exception as error:
                self._why_in_memory = (
                    f"results are kept in memory only: {one_line(error)}"
                )
                self._warn(f"Results are kept in memory only: {one_line(error)}")
            finally:
                self._opened = True

    def _open(self) -> None:
        if self.table.get("store") == IN_MEMORY:
            self._why_in_memory = (
                f"results are kept in memory only: store = {IN_MEMORY!r}."
            )
            if not self.table.get("read"):
                return
        from jackfield.results.chained import open_stores
        from jackfield.results.signing import signing_key

        self._key = signing_key(self.table)
        self.store = open_stores(self.open_store, self.table)
        if self._why_in_memory:
            return
        self._writer = CheckpointWriter(
            self.store,
            self.table.get("mode", "task_exit"),
            _seconds(self.table.get("period", "00:30:00")),
            self._broken,
            fails_tasks=self._stops,
            gathering=self.gathering,
        )

    @property
    def _stops(self) -> bool:
        return bool(self.table.get("on_failure") == "stop")

    def _broken(self, error: CheckpointError) -> None:
        self._warn(f"Results are not stored any more: {error}", logging.ERROR)
        if self._stops:
            self.stop_run(f"the run has stopped: results cannot be stored. {error}")

    def _warn(self, text: str, level: int = logging.WARNING) -> None:
        self.log.log(level, "%s", text)
        with suppress(CheckpointWarning):  # made an error: but nobody could catch it
            warnings.warn(text, CheckpointWarning, stacklevel=2)


def _seconds(period: str) -> float:
    hours, minutes, seconds = (int(part) for part in period.split(":"))
    return float(hours * 3600 + minutes * 60 + seconds)
