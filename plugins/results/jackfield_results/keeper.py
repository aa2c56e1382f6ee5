"""Results across runs: the plugin that keeps them, with its stores and its writer.

Results are written by one thread, as many at a time as have come meanwhile: a group
commit. In mode ``task_exit`` a task ends only after the commit of its result, so that
whoever has seen a future end finds its result again, whatever happens then. The other
modes let it end at once and write later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from jackfield import hookimpl
from jackfield.abc import CheckpointRecord
from jackfield.errors import CheckpointError, one_line
from jackfield.files import redact
from jackfield.keeping import (
    CachedCall,
    Done,
    Explanation,
    IdentifyCode,
    ResultKeeper,
    Stored,
    Surroundings,
)
from jackfield_results.chained import IN_MEMORY, named_stores, open_stores
from jackfield_results.copies import result_bytes, result_value
from jackfield_results.envelope import (
    Envelope,
    Value,
    load_value,
    open_envelope,
    pack,
)
from jackfield_results.explanation import explain_hit, explain_miss
from jackfield_results.signing import signing_key, trust_of
from jackfield_results.writer import CheckpointWriter, again

if TYPE_CHECKING:
    from jackfield.abc import CheckpointStore
    from jackfield.memo_keys import Manifest
    from jackfield_results.signing import SigningKey

DEFAULT_FILE: Final = "checkpoints.db"
"""Name of the store, beside the numbered runs, where none is configured."""


_MOST_NAMES: Final = 1_000
"""Names of apps that are remembered; after so many some are told once more."""


@hookimpl
def jackfield_create_keeper(
    table: Mapping[str, Any], around: Surroundings
) -> ResultKeeper:
    """Keep results in the checkpoint stores, signed."""
    return Checkpoints(table, around)


@hookimpl
def jackfield_check_options(
    kind: str, name: str, options: Mapping[str, Any]
) -> bool | None:
    """Refuse what a ``[checkpoint]`` table cannot say of trust."""
    del name
    if kind != "keeper":
        return None
    trust_of(options)
    return True


class Checkpoints(ResultKeeper):
    """The checkpoint stores of one kernel.

    Attributes:
        table: The ``[checkpoint]`` table, with the default store if it names none.
        store: The store, if there is one.

    Raises:
        JackfieldError: The configured store cannot be opened.
    """

    def __init__(self, table: Mapping[str, Any], around: Surroundings) -> None:
        self._around: Surroundings = around
        self._closing: threading.Lock = threading.Lock()
        self._closed: bool = False
        self._key: SigningKey | None = None
        self._unsaved: set[str] = set()
        self._why_in_memory: str = ""
        self._writer: CheckpointWriter | None = None
        self.store: CheckpointStore | None = None
        self.table: Mapping[str, Any] = table
        if "store" not in table:
            store = f"sqlite:///{around.directory / DEFAULT_FILE}"
            self.table = {"mode": "task_exit", **table, "store": store}
        if table:
            self._open()
        else:
            self._open_if_possible()

    # -- for cached calls

    def pack(self, value: Any, identify: IdentifyCode) -> bytes:
        """See ``ResultKeeper``."""
        return result_bytes(value, identify)

    def unpack(self, data: bytes | memoryview, identify: IdentifyCode) -> Any:
        """See ``ResultKeeper``."""
        return result_value(data, identify)

    def _warn(self, text: str) -> None:
        """Tell of something that the run goes on with."""
        self._around.warn(text, logging.WARNING)

    def load(
        self, app: str, key: bytes, identify: IdentifyCode, missing: str = ""
    ) -> Stored | str:
        """See ``ResultKeeper``."""
        if self.store is None:
            return ""
        try:
            record = self.store.get(key)
        except BaseException as error:
            text = f"A result of {app!r} cannot be looked up: {one_line(error)}"
            self._warn(text)
            return f"the store cannot be read: {one_line(error)}"
        if record is None or missing:
            return missing if record is not None else ""
        trust = self.table.get("trust", "signed")
        found = load_value(key, record.value, self._key, trust, identify)
        envelope = open_envelope(record.value)
        if isinstance(found, Value) and isinstance(envelope, Envelope):
            return Stored(found.value, envelope.payload)
        self._warn(f"A result of {app!r} is not used: {found}.")
        return str(found)

    @property
    def writes(self) -> bool:
        """See ``ResultKeeper``."""
        return self._writer is not None

    @property
    def promise(self) -> str:
        """See ``ResultKeeper``."""
        if self._why_in_memory or self.table.get("mode") == "manual":
            return ""
        where = redact(str(self.table["store"]))
        return f"Results of cached apps are kept in {where} for the next run."

    def save(
        self, app: str, key: bytes, value: bytes, manifest: Manifest, done: Done
    ) -> None:
        """See ``ResultKeeper``."""
        writer = self._writer
        if writer is None:
            done(None)
            return
        try:
            data = pack(key, value, self._key)
            record = CheckpointRecord(key, data, app, time.time(), manifest())
        except BaseException as error:
            self.not_stored(app, error)
            done(None)
            return
        writer.put(record, done)

    def not_stored(self, app: str, error: BaseException) -> None:
        """See ``ResultKeeper``."""
        if self.writes and app not in self._unsaved:
            if len(self._unsaved) >= _MOST_NAMES:
                self._unsaved.clear()
            self._unsaved.add(app)
            text = f"Results of {app!r} are not stored: {one_line(error)}"
            self._warn(text)

    def flush(self) -> None:
        """See ``ResultKeeper``."""
        if self._why_in_memory:
            raise CheckpointError(self._why_in_memory)
        writer = self._writer
        if writer is None:  # closed: everything is written
            return
        writer.flush()
        if writer.error is not None:
            raise again(writer.error)

    def explain(self, call: CachedCall) -> Explanation:
        """See ``ResultKeeper``."""
        with self._reading() as stores:
            explained = explain_hit if call.hit else explain_miss
            return explained(call, stores, self._around.started)

    @contextmanager
    def _reading(self) -> Iterator[list[tuple[str, CheckpointStore]]]:
        """Give the stores with their URLs; opened once more if they are closed.

        Raises:
            CheckpointError: They cannot be opened.
        """
        with ExitStack() as opened:
            store = self.store
            if store is not None and self._closed:
                table = {**self.table, "read_only": True}
                store = open_stores(self._around.open_store, table)
                opened.callback(store.close)
            yield named_stores(store, self.table) if store is not None else []

    def close(self) -> None:
        """See ``ResultKeeper``."""
        with self._closing:
            self._closed = True
            writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        if self.store is not None:
            self.store.close()

    # -- opening

    def _open_if_possible(self) -> None:
        try:
            self._open()
        except Exception as error:
            self._why_in_memory = f"results are kept in memory only: {one_line(error)}"
            self._warn(f"Results are kept in memory only: {one_line(error)}")

    def _open(self) -> None:
        if self.table.get("store") == IN_MEMORY:
            self._why_in_memory = (
                f"results are kept in memory only: store = {IN_MEMORY!r}."
            )
            if not self.table.get("read"):
                return
        self._key = signing_key(self.table)
        self.store = open_stores(self._around.open_store, self.table)
        if self._why_in_memory:
            return
        self._writer = CheckpointWriter(
            self.store,
            self.table.get("mode", "task_exit"),
            _seconds(self.table.get("period", "00:30:00")),
            self._broken,
            fails_tasks=self._stops,
            gathering=self._around.gathering,
        )

    @property
    def _stops(self) -> bool:
        return bool(self.table.get("on_failure") == "stop")

    def _broken(self, error: CheckpointError) -> None:
        self._around.warn(f"Results are not stored any more: {error}", logging.ERROR)
        if self._stops:
            self._around.stop_run(
                f"the run has stopped: results cannot be stored. {error}"
            )


def _seconds(period: str) -> float:
    hours, minutes, seconds = (int(part) for part in period.split(":"))
    return float(hours * 3600 + minutes * 60 + seconds)
