"""The conformance kit notices checkpoint stores that break the contract."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.errors import CheckpointError, ConfigurationError
from jackfield_checkpoint.pickle_log import jackfield_open_checkpoint
from jackfield_testing import CheckpointStoreConformance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from jackfield.abc import CheckpointEntry, CheckpointRecord, CheckpointStore


class Behaved:
    """Hands everything on to a store without a fault, for others to inherit."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.store = self.open(**options)

    def open(self, **options: Any) -> CheckpointStore:
        store = jackfield_open_checkpoint(f"pickle:///{self.directory}/log", options)
        assert store is not None
        return store

    def get(self, key: bytes) -> CheckpointRecord | None:
        return self.store.get(key)

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        self.store.put_many(records)

    def keys(self) -> Iterator[bytes]:
        return self.store.keys()

    def scan(self, app: str | None = None) -> Iterator[CheckpointEntry]:
        return self.store.scan(app)

    def delete(self, keys: Iterable[bytes]) -> None:
        self.store.delete(keys)

    def close(self) -> None:
        self.store.close()


class DropsTheLastOfABatch(Behaved):
    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        super().put_many(records[:-1])


class KeepsTheOlderRecord(Behaved):
    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        super().put_many([one for one in records if self.get(one.key) is None])


class DeletesNothing(Behaved):
    def delete(self, keys: Iterable[bytes]) -> None:
        pass


class WritesAtItsEnd(Behaved):
    """What was put is there for itself, and for others when it closes."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, **options)
        self.waiting: dict[bytes, CheckpointRecord] = {}

    def get(self, key: bytes) -> CheckpointRecord | None:
        return self.waiting.get(key) or super().get(key)

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        self.waiting.update((record.key, record) for record in records)

    def close(self) -> None:
        super().put_many(list(self.waiting.values()))
        super().close()


class ListsAllForOneApp(Behaved):
    def scan(self, app: str | None = None) -> Iterator[CheckpointEntry]:
        return super().scan()


class StaysOpen(Behaved):
    def close(self) -> None:
        pass


class IsWrittenThoughReadOnly(Behaved):
    def open(self, **options: Any) -> CheckpointStore:
        options.pop("read_only", None)
        return super().open(**options)


class TakesAnyOption(Behaved):
    def open(self, **options: Any) -> CheckpointStore:
        try:
            return super().open(**options)
        except ConfigurationError:
            return super().open()


class ShowsItsFilesToAll(Behaved):
    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        super().put_many(records)
        for path in self.directory.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)


class IsSilentAboutDamage(Behaved):
    def get(self, key: bytes) -> CheckpointRecord | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return super().get(key)


class DiesOfDamage(Behaved):
    """As one does that maps a file which has become shorter."""

    def get(self, key: bytes) -> CheckpointRecord | None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record = super().get(key)
        if caught:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGBUS)
        return record


class InterruptsAtDamage(Behaved):
    def get(self, key: bytes) -> CheckpointRecord | None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record = super().get(key)
        if caught:
            raise KeyboardInterrupt
        return record


class ServesOneThread(Behaved):
    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, **options)
        self.thread = threading.get_ident()

    def close(self) -> None:
        if threading.get_ident() != self.thread:
            raise CheckpointError("it belongs to another thread.", str(self.directory))
        super().close()

    def get(self, key: bytes) -> CheckpointRecord | None:
        if threading.get_ident() != self.thread:
            raise CheckpointError("it belongs to another thread.", str(self.directory))
        return super().get(key)


def kit_of(store: Callable[..., Any]) -> CheckpointStoreConformance:
    class Kit(CheckpointStoreConformance):
        def make_store(self, directory: Path, **options: Any) -> Any:
            return store(directory, **options)

    return Kit()


CASES = [
    (DropsTheLastOfABatch, "test_thousands_of_records_are_found_and_listed"),
    (KeepsTheOlderRecord, "test_a_key_put_again_has_the_new_record"),
    (DeletesNothing, "test_a_deleted_record_stays_away"),
    (WritesAtItsEnd, "test_each_of_two_stores_sees_what_the_other_puts"),
    (ListsAllForOneApp, "test_the_records_of_one_app_can_be_listed"),
    (StaysOpen, "test_a_closed_store_says_so"),
    (StaysOpen, "test_nothing_is_held_after_closing"),
    (IsWrittenThoughReadOnly, "test_what_is_read_only_is_not_changed"),
    (TakesAnyOption, "test_an_unknown_option_is_refused_by_name"),
    (ShowsItsFilesToAll, "test_files_are_for_this_user_alone_whatever_the_umask"),
    (IsSilentAboutDamage, "test_damage_is_told_once"),
    (DiesOfDamage, "test_damage_is_told_once"),
    (InterruptsAtDamage, "test_damage_is_told_once"),
    (ServesOneThread, "test_threads_may_read_while_one_writes"),
    (ServesOneThread, "test_another_thread_may_close"),
]


@pytest.mark.parametrize(("broken", "test"), CASES)
def test_a_store_that_breaks_its_contract_is_noticed(
    broken: type[Behaved], test: str, tmp_path: Path
) -> None:
    opened: list[Behaved] = []

    def make(directory: Path, **options: Any) -> Behaved:
        opened.append(broken(directory, **options))
        return opened[-1]

    try:
        with pytest.raises((AssertionError, pytest.fail.Exception, CheckpointError)):
            getattr(kit_of(make), test)(tmp_path)
    finally:
        for one in opened:
            one.store.close()


@pytest.mark.parametrize("test", sorted({test for _, test in CASES}))
def test_a_store_that_keeps_it_passes(test: str, tmp_path: Path) -> None:
    getattr(kit_of(Behaved), test)(tmp_path)


@pytest.mark.parametrize(
    ("attributes", "test"),
    [
        ({"gives_space_back": False}, "test_deleting_gives_disk_space_back"),
        (
            {"local_damage": False},
            "test_a_last_record_that_is_cut_costs_that_record",
        ),
    ],
)
def test_what_a_store_does_not_promise_is_not_tested(
    attributes: dict[str, Any], test: str, tmp_path: Path
) -> None:
    kit = type("Kit", (type(kit_of(Behaved)),), attributes)()

    with pytest.raises(pytest.skip.Exception):
        getattr(kit, test)(tmp_path)


class NotesItsReaders(Behaved):
    def open(self, **options: Any) -> CheckpointStore:
        with (self.directory / "readers").open("a") as file:
            file.write("x")
        (self.directory / "readers").chmod(0o600)
        return super().open(**options)


@pytest.mark.parametrize("touch", [False, True])
def test_readers_may_touch_files_where_that_is_said(
    touch: bool, tmp_path: Path
) -> None:
    kit = type(
        "Kit", (type(kit_of(NotesItsReaders)),), {"readers_touch_files": touch}
    )()

    if touch:
        kit.test_what_is_read_only_is_not_changed(tmp_path)
    else:
        with pytest.raises(AssertionError):
            kit.test_what_is_read_only_is_not_changed(tmp_path)
