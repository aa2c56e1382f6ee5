"""Checkpoint store conformance: what each method promises."""

from __future__ import annotations

import pickle
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.abc import CheckpointRecord
from jackfield.errors import CheckpointError, ConfigurationError
from jackfield.keeping import ResultKeeper, Stored, Surroundings
from jackfield.plugins import PluginManager
from jackfield_testing.background import Background
from jackfield_testing.checkpoints.case import CheckpointStoreCase, needs
from jackfield_testing.checkpoints.child import key_of, record_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 3_000


class Early:
    """A class whose instance is stored, and which is gone when that is read again."""


class Contract(CheckpointStoreCase):
    """One store, used as it should be, and as it should not be."""

    def test_an_unknown_key_has_no_record(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as store:
            assert store.get(key_of(0)) is None
            assert list(store.keys()) == []
            assert list(store.scan()) == []

    def test_a_record_comes_back_as_it_was(self, tmp_path: Path) -> None:
        record = CheckpointRecord(
            key_of(0),
            bytes(range(256)),
            "größe",
            1.25,
            {"argument 'é'": "00ff", "": ""},
        )

        with self.opened(tmp_path) as store:
            store.put_many([record])
            assert store.get(record.key) == record
        with self.opened(tmp_path) as store:
            assert store.get(record.key) == record

    @pytest.mark.parametrize(
        "size", [0, 1, 4000, 4096, 65_536, 2**20 - 1, 8 * 2**20 + 1]
    )
    def test_values_of_all_sizes_come_back(self, tmp_path: Path, size: int) -> None:
        record = record_of(1)._replace(
            value=b"\x00\xffv" * (size // 3) + b"v" * (size % 3)
        )

        with self.opened(tmp_path) as store:
            store.put_many([record_of(0), record, record_of(2)])
        with self.opened(tmp_path) as store:
            assert store.get(record.key) == record
            assert store.get(key_of(2)) == record_of(2)
            assert {entry.size for entry in store.scan()} >= {size}

    def test_an_app_may_have_any_name(self, tmp_path: Path) -> None:
        names = ["", "<lambda>", "x" * 10_000, "a\x00b\n\x1b", "\udce9"]

        with self.opened(tmp_path) as store:
            store.put_many(
                [record_of(n)._replace(app=name) for n, name in enumerate(names)]
            )
            found = [store.get(key_of(n)) for n in range(len(names))]

        assert all(found)
        assert [r.app for r in found if r][:4] == names[:4]

    def test_thousands_of_records_are_found_and_listed(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as store:
            for first in range(0, MANY, 500):
                store.put_many([record_of(n) for n in range(first, first + 500)])
        with self.opened(tmp_path) as store:
            assert all(store.get(key_of(n)) == record_of(n) for n in range(MANY))
            assert all(store.get(key_of(n)) is None for n in range(MANY, MANY + 100))
            keys = list(store.keys())
            entries = list(store.scan())

        assert len(keys) == len(entries) == MANY
        assert set(keys) == {key_of(n) for n in range(MANY)}
        for entry in entries[::100]:
            record = record_of(int(entry.manifest["argument 'x'"], 16))
            assert (entry.key, entry.app) == (record.key, record.app)
            assert (entry.created, entry.size) == (record.created, len(record.value))
            assert entry.manifest == record.manifest

    def test_the_records_of_one_app_can_be_listed(self, tmp_path: Path) -> None:
        names = ["fit", "fit2", 'f"i\\t', "größe", "\udce9", ""]

        with self.opened(tmp_path) as store:
            for number in range(0, 600, 60):
                store.put_many(
                    [
                        record_of(n)._replace(app=names[n % len(names)])
                        for n in range(number, number + 60)
                    ]
                )
            store.delete([key_of(6)])
            for place, name in enumerate(names):
                keys = {entry.key for entry in store.scan(name)}
                numbers = set(range(place, 600, len(names))) - {6}
                assert keys == {key_of(n) for n in numbers}, name
            assert list(store.scan("unknown")) == []
            found = store.get(key_of(0))
            assert found is not None
            entry = next(one for one in store.scan("fit") if one.key == key_of(0))
            assert entry.manifest == found.manifest
            assert entry.created == found.created
            assert entry.size == len(found.value)

    # -- replacing and deleting

    def test_a_key_put_again_has_the_new_record(self, tmp_path: Path) -> None:
        old, new = record_of(0), record_of(0)._replace(value=b"new" * 1000, created=2.0)
        newest = new._replace(value=b"")

        with self.opened(tmp_path) as store:
            store.put_many([old, record_of(1)])
            store.put_many([new])
            assert store.get(old.key) == new
            store.put_many([old, new, newest])
            assert store.get(old.key) == newest
        with self.opened(tmp_path) as store:
            assert store.get(old.key) == newest
            assert store.get(key_of(1)) == record_of(1)
            assert sorted(store.keys()) == sorted([old.key, key_of(1)])

    def test_a_deleted_record_stays_away(self, tmp_path: Path) -> None:
        self.fill(tmp_path, range(10))

        with self.opened(tmp_path) as store:
            store.delete([key_of(3), key_of(3), key_of(99)])
            store.delete([])
            assert store.get(key_of(3)) is None
        with self.opened(tmp_path) as store:
            assert store.get(key_of(3)) is None
            assert set(store.keys()) == {key_of(n) for n in range(10) if n != 3}

    def test_a_deleted_key_can_be_put_again(self, tmp_path: Path) -> None:
        self.fill(tmp_path, [0])

        with self.opened(tmp_path) as store:
            store.delete([key_of(0)])
            store.put_many([record_of(0)])
        with self.opened(tmp_path) as store:
            assert store.get(key_of(0)) == record_of(0)

    def test_everything_can_be_deleted_while_it_is_listed(self, tmp_path: Path) -> None:
        self.fill(tmp_path, range(MANY))

        with self.opened(tmp_path) as store:
            store.delete(store.keys())
            assert list(store.keys()) == []
            store.put_many([record_of(0)])
        with self.opened(tmp_path) as store:
            assert list(store.keys()) == [key_of(0)]

    def test_deleting_gives_disk_space_back(self, tmp_path: Path) -> None:
        needs(self.gives_space_back, "keeps the space (gives_space_back)")
        numbers = range(200)
        self.fill(tmp_path, numbers, extra=50_000)
        full = sum(path.stat().st_size for path in self.files(tmp_path))

        with self.opened(tmp_path) as store:
            store.delete([key_of(n) for n in numbers[10:]])

        assert sum(path.stat().st_size for path in self.files(tmp_path)) < full / 2
        assert self.survivors(tmp_path, numbers, 50_000) == (set(range(10)), "")

    # -- misuse

    def test_an_empty_batch_is_nothing(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as store:
            store.put_many([])

            assert list(store.keys()) == []

    @pytest.mark.parametrize("value", [None, "text", 1, object()])
    def test_a_value_that_is_not_packed_is_refused_before_anything_is_written(
        self, tmp_path: Path, value: Any
    ) -> None:
        with self.opened(tmp_path) as store:
            with pytest.raises((TypeError, CheckpointError)):
                store.put_many([record_of(0), record_of(1)._replace(value=value)])
            assert store.get(key_of(1)) is None
            store.put_many([record_of(2)])
        assert 2 in self.survivors(tmp_path, range(3))[0]

    def test_closing_twice_is_closing_once(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.put_many([record_of(0)])
        store.close()
        store.close()

        with self.opened(tmp_path) as again:
            store.close()
            assert again.get(key_of(0)) == record_of(0)

    def test_a_closed_store_says_so(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.close()

        for use in (
            lambda: store.get(key_of(0)),
            lambda: store.put_many([record_of(0)]),
            lambda: store.delete([key_of(0)]),
            lambda: list(store.keys()),
            lambda: list(store.scan()),
        ):
            with pytest.raises(CheckpointError, match="closed"):
                use()

    def test_an_unknown_option_is_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="read_onyl"):
            self.make_store(tmp_path, read_onyl=True)

    # -- options

    def test_what_is_read_only_is_not_changed(self, tmp_path: Path) -> None:
        self.fill(tmp_path, range(5))
        before = {path: path.read_bytes() for path in self.files(tmp_path)}

        with self.opened(tmp_path, read_only=True) as store:
            assert store.get(key_of(4)) == record_of(4)
            assert len(list(store.scan())) == 5
            with pytest.raises(CheckpointError):
                store.put_many([record_of(5)])
            with pytest.raises(CheckpointError):
                store.delete([key_of(4)])

        if not self.readers_touch_files:
            assert {path: path.read_bytes() for path in self.files(tmp_path)} == before
        assert self.survivors(tmp_path, range(6)) == (set(range(5)), "")

    def test_what_does_not_exist_cannot_be_read_only(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError):
            self.make_store(tmp_path, read_only=True)

        assert list(tmp_path.iterdir()) == []

    def test_records_may_be_brought_to_the_disk(self, tmp_path: Path) -> None:
        with self.opened(tmp_path, sync="power") as store:
            store.put_many([record_of(n) for n in range(10)])
        with self.opened(tmp_path) as store:
            assert store.get(key_of(9)) == record_of(9)

    # -- threads

    def test_threads_may_read_while_one_writes(self, tmp_path: Path) -> None:
        wrong: list[object] = []
        written = 0
        ended = threading.Event()

        def read() -> None:
            known = 0
            while not ended.is_set() or not known:
                known = written
                numbers = range(known)
                wrong.extend(n for n in numbers if store.get(key_of(n)) != record_of(n))
                if not set(store.keys()) >= {key_of(n) for n in numbers}:
                    wrong.append("keys")

        with self.opened(tmp_path) as store:
            readers = [Background(read) for _ in range(3)]
            for first in range(0, 400, 10):
                store.put_many([record_of(n) for n in range(first, first + 10)])
                written = first + 10
            ended.set()
            for reader in readers:
                reader.finish()

        assert wrong == []

    def test_another_thread_may_close(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.put_many([record_of(0)])
        assert store.get(key_of(0)) is not None

        Background(store.close).finish()

        assert self.survivors(tmp_path, [0]) == ({0}, "")

    # -- what the kernel puts in

    def test_a_result_comes_back_signed(self, tmp_path: Path) -> None:
        with self._keeper(tmp_path) as keeper:
            _save(keeper, {"answer": 42})
        with self._keeper(tmp_path) as keeper:
            found = keeper.load("app", key_of(0), _unknown)

        assert isinstance(found, Stored), found
        assert found.value == {"answer": 42}

    def test_a_class_renamed_since_is_a_miss_that_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with self._keeper(tmp_path) as keeper:
            _save(keeper, [Early()])
        monkeypatch.delattr(f"{__name__}.Early")

        with self._keeper(tmp_path) as keeper:
            found = keeper.load("app", key_of(0), _unknown)

        assert isinstance(found, str)
        assert f"{__name__}.Early, which is gone" in found

    @contextmanager
    def _keeper(self, directory: Path) -> Iterator[ResultKeeper]:
        """Give what keeps the results of a kernel, with the store under test."""
        around = Surroundings(
            directory=directory,
            started=0.0,
            open_store=lambda _, options: self.make_store(directory, **options),
            gathering=nullcontext,
            warn=lambda *_: None,
            stop_run=pytest.fail,
        )
        table = {"store": "tested://"}
        keeper = PluginManager().usual("keeper", (ResultKeeper,), table, around)
        try:
            yield keeper
        finally:
            keeper.close()


def _save(keeper: ResultKeeper, value: object) -> None:
    """Have a result written, and wait until it is."""
    said: list[CheckpointError | None] = []
    keeper.save("app", key_of(0), pickle.dumps(value), dict, said.append)
    keeper.flush()
    assert said == [None]


def _unknown(code: object) -> bytes:
    raise AssertionError(f"{code!r} is no code of the script")
