"""Results of earlier runs, read behind the store of this one."""

from __future__ import annotations

import threading
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import CheckpointEntry, CheckpointRecord, CheckpointStore
from jackfield.config.check import KEEPERS_OWN
from jackfield.errors import CheckpointError, CheckpointWarning, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

IN_MEMORY: Final = "memory"
"""For ``checkpoint.store``: results are kept for the run only."""


class ChainedStore(CheckpointStore):
    """One store that is written, and others, of whatever kind, that are read behind it.

    A record comes from the first store that has it. It is not copied, and what is
    deleted is deleted in the first store only, so that an earlier one may still have
    it. An earlier store that cannot be read any more is warned of once, and then left
    out. All are closed with this one.
    """

    def __init__(
        self, first: CheckpointStore, earlier: Iterable[CheckpointStore]
    ) -> None:
        self._first: CheckpointStore = first
        self._earlier: tuple[CheckpointStore, ...] = tuple(earlier)
        self._usable: tuple[CheckpointStore, ...] = self._earlier
        self._lock: threading.Lock = threading.Lock()

    @property
    def stores(self) -> tuple[CheckpointStore, ...]:
        """The stores, in the order in which they are asked."""
        return self._first, *self._earlier

    def get(self, key: bytes) -> CheckpointRecord | None:
        """See ``CheckpointStore``."""
        record = self._first.get(key)
        if record is not None:
            return record
        for store in self._usable:
            try:
                record = store.get(key)
            except CheckpointError as error:
                self._leave_out(store, error)
            if record is not None:
                return record
        return None

    def _leave_out(self, store: CheckpointStore, error: CheckpointError) -> None:
        with self._lock:
            if store not in self._usable:
                return
            self._usable = tuple(one for one in self._usable if one is not store)
        warnings.warn(
            f"{error} The results of that earlier run are not used from now on.",
            CheckpointWarning,
            stacklevel=4,
        )

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        """See ``CheckpointStore``."""
        self._first.put_many(records)

    def keys(self) -> Iterator[bytes]:
        """See ``CheckpointStore``; holds the keys in memory."""
        return self._distinct(lambda store: store.keys(), lambda key: key)

    def scan(self, app: str | None = None) -> Iterator[CheckpointEntry]:
        """See ``CheckpointStore``; holds the keys in memory."""
        return self._distinct(lambda store: store.scan(app), lambda entry: entry.key)

    def _distinct(
        self,
        listing: Callable[[CheckpointStore], Iterator[Any]],
        key_of: Callable[[Any], bytes],
    ) -> Iterator[Any]:
        seen: set[bytes] = set()
        for store in (self._first, *self._usable):
            try:
                for item in listing(store):
                    key = key_of(item)
                    if key not in seen:
                        seen.add(key)
                        yield item
            except CheckpointError as error:
                if store is self._first:
                    raise
                self._leave_out(store, error)

    def delete(self, keys: Iterable[bytes]) -> None:
        """See ``CheckpointStore``."""
        self._first.delete(keys)

    def close(self) -> None:
        """See ``CheckpointStore``; closes all, whatever one of them raises."""
        with ExitStack() as closing:
            for store in self.stores:
                closing.callback(store.close)


class _NothingStored(CheckpointStore):
    """Stands before stores that are only read, where a run keeps its own in memory."""

    def get(self, key: bytes) -> CheckpointRecord | None:
        del key
        return None

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        del records
        raise CheckpointError("results are kept in memory only.", IN_MEMORY)

    def keys(self) -> Iterator[bytes]:
        return iter(())

    def delete(self, keys: Iterable[bytes]) -> None:
        del keys

    def close(self) -> None:
        return None


def open_stores(
    open_checkpoint: Callable[[str, Mapping[str, Any]], CheckpointStore],
    table: Mapping[str, Any],
) -> CheckpointStore:
    """Open what a ``[checkpoint]`` table names: ``store``, and behind it ``read``.

    The rest of the table, but for what concerns the keeper alone, goes to each store;
    those that are only read get ``read_only = true`` besides.

    Raises:
        ConfigurationError: ``read`` is no list of URLs.
        JackfieldError: What ``open_checkpoint`` raises. Nothing stays open.
    """
    options = {name: table[name] for name in table if name not in KEEPERS_OWN}
    urls = table.get("read", ())
    if not isinstance(urls, list | tuple) or not all(isinstance(u, str) for u in urls):
        raise ConfigurationError(
            f"checkpoint.read must be a list of URLs such as ['pickle:///old'], "
            f"not {urls!r}."
        )
    with ExitStack() as opened:
        earlier = []
        for url in urls:
            store = open_checkpoint(url, {**options, "read_only": True})
            opened.callback(store.close)
            earlier.append(store)
        if table["store"] == IN_MEMORY:
            first: CheckpointStore = _NothingStored()
        else:
            first = open_checkpoint(table["store"], options)
        opened.pop_all()
    return ChainedStore(first, earlier) if earlier else first


def named_stores(
    store: CheckpointStore, table: Mapping[str, Any]
) -> list[tuple[str, CheckpointStore]]:
    """Return what ``open_stores`` has opened, each store with its URL."""
    stores = store.stores if isinstance(store, ChainedStore) else (store,)
    return list(zip((table["store"], *table.get("read", ())), stores, strict=True))
