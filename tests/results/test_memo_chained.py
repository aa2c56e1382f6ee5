"""Results of earlier runs are read behind the store of this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from jackfield.abc import CheckpointRecord, CheckpointStore
from jackfield.errors import CheckpointError, CheckpointWarning, ConfigurationError
from jackfield.plugins import PluginManager
from jackfield_results.chained import ChainedStore, open_stores


class DictStore(CheckpointStore):
    """Keeps records in memory; breaks when told to."""

    def __init__(self, *numbers: int, value: bytes = b"") -> None:
        records = [CheckpointRecord(key(n), value, f"app{n}") for n in numbers]
        self.held = {record.key: record for record in records}
        self.closed = 0
        self.broken = False

    def _check(self) -> None:
        if self.broken:
            raise CheckpointError("it is broken.", "store-of-1999")

    def get(self, key: bytes) -> CheckpointRecord | None:
        self._check()
        return self.held.get(key)

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        self._check()
        self.held.update((record.key, record) for record in records)

    def keys(self) -> Iterator[bytes]:
        self._check()
        yield from list(self.held)

    def delete(self, keys: Iterable[bytes]) -> None:
        self._check()
        for one in keys:
            self.held.pop(one, None)

    def close(self) -> None:
        self.closed += 1
        self._check()


def key(number: int) -> bytes:
    return bytes([number]) * 32


def value_of(store: CheckpointStore, number: int) -> bytes | None:
    record = store.get(key(number))
    return None if record is None else record.value


def test_the_first_store_that_has_a_record_gives_it() -> None:
    chain = ChainedStore(
        DictStore(1, value=b"new"),
        [DictStore(1, 2, value=b"old"), DictStore(2, 3, value=b"older")],
    )

    found = [value_of(chain, number) for number in (1, 2, 3, 4)]

    assert found == [b"new", b"old", b"older", None]


def test_only_the_first_store_is_written() -> None:
    first, earlier = DictStore(), DictStore(1)
    chain = ChainedStore(first, [earlier])

    assert chain.get(key(1)) is not None
    assert first.held == {}
    chain.put_many([CheckpointRecord(key(2), b"")])
    chain.delete([key(1), key(2)])

    assert first.held == {}
    assert list(earlier.held) == [key(1)]


def test_each_key_is_listed_once() -> None:
    chain = ChainedStore(DictStore(1, 2), [DictStore(2, 3), DictStore(3, 4)])

    assert sorted(chain.keys()) == [key(n) for n in (1, 2, 3, 4)]
    assert sorted(entry.app for entry in chain.scan()) == [
        "app1",
        "app2",
        "app3",
        "app4",
    ]


def test_an_earlier_store_that_breaks_is_told_once_and_left_out() -> None:
    broken = DictStore(1)
    chain = ChainedStore(DictStore(), [broken, DictStore(1, value=b"other")])
    broken.broken = True

    with pytest.warns(CheckpointWarning, match="store-of-1999"):
        assert value_of(chain, 1) == b"other"

    assert value_of(chain, 1) == b"other"
    assert list(chain.keys()) == [key(1)]


def test_an_earlier_store_that_breaks_is_left_out_of_a_listing() -> None:
    broken = DictStore(1)
    chain = ChainedStore(DictStore(2), [broken])
    broken.broken = True

    with pytest.warns(CheckpointWarning):
        assert list(chain.keys()) == [key(2)]


def test_the_first_store_must_work() -> None:
    first = DictStore()
    chain = ChainedStore(first, [DictStore(1)])
    first.broken = True

    with pytest.raises(CheckpointError):
        chain.get(key(1))
    with pytest.raises(CheckpointError):
        list(chain.keys())


def test_all_are_closed_whatever_one_raises() -> None:
    stores = [DictStore(), DictStore(), DictStore()]
    stores[1].broken = True
    chain = ChainedStore(stores[0], stores[1:])

    with pytest.raises(CheckpointError):
        chain.close()
    assert [store.closed for store in stores] == [1, 1, 1]


# -- Opening what a table names


class Opener:
    """Opens dictionaries, and remembers with what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.opened: list[DictStore] = []

    def __call__(self, url: str, options: Mapping[str, Any]) -> CheckpointStore:
        self.asked.append((url, dict(options)))
        if url.startswith("no:"):
            raise CheckpointError("it does not exist.", url)
        self.opened.append(DictStore())
        return self.opened[-1]


def test_a_store_gets_its_own_options_and_not_the_kernels() -> None:
    opener = Opener()
    table = {
        "store": "a:",
        "read": ["b:", "c:"],
        "mode": "task_exit",
        "period": "00:30:00",
        "key_file": "team.key",
        "sync": "power",
    }

    store = open_stores(opener, table)

    assert isinstance(store, ChainedStore)
    assert sorted(opener.asked, key=lambda asked: asked[0]) == [
        ("a:", {"sync": "power"}),
        ("b:", {"sync": "power", "read_only": True}),
        ("c:", {"sync": "power", "read_only": True}),
    ]
    store.close()
    assert [one.closed for one in opener.opened] == [1, 1, 1]


def test_a_store_alone_is_itself() -> None:
    opener = Opener()

    assert open_stores(opener, {"store": "a:"}) is opener.opened[0]


@pytest.mark.parametrize(
    "table", [{"store": "no:", "read": ["b:"]}, {"store": "a:", "read": ["b:", "no:"]}]
)
def test_nothing_stays_open_if_one_cannot_be_opened(table: dict[str, Any]) -> None:
    opener = Opener()

    with pytest.raises(CheckpointError):
        open_stores(opener, table)
    assert [store.closed for store in opener.opened] == [1]


@pytest.mark.parametrize("read", ["a:", [1], {"a": 1}, 3])
def test_what_is_to_be_read_is_a_list_of_urls(read: object) -> None:
    with pytest.raises(ConfigurationError, match="list of URLs"):
        open_stores(Opener(), {"store": "a:", "read": read})


def test_stores_of_all_kinds_are_read_behind_one() -> None:
    manager = PluginManager()
    for url, number in [("sqlite:///a.db", 1), ("pickle:///b", 2)]:
        store = manager.open_checkpoint(url, {})
        store.put_many([CheckpointRecord(key(number), b"%d" % number)])
        store.close()
    table = {"store": "sqlite:///new.db", "read": ["pickle:///b", "sqlite:///a.db"]}

    chain = open_stores(manager.open_checkpoint, table)
    chain.put_many([CheckpointRecord(key(3), b"3")])
    found = [value_of(chain, number) for number in (1, 2, 3)]
    chain.close()

    assert found == [b"1", b"2", b"3"]
