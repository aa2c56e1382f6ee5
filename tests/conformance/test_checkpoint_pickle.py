"""The append-only log passes the kit; then what is particular to it."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import subprocess
import sys
import threading
import warnings
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.abc import CheckpointRecord
from jackfield.errors import CheckpointError, CheckpointWarning, ConfigurationError
from jackfield_checkpoint import _runs
from jackfield_checkpoint._frames import HEAD, Head, scan
from jackfield_checkpoint.pickle_log import jackfield_open_checkpoint
from jackfield_testing import CheckpointStoreConformance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jackfield.abc import CheckpointStore

LIMIT_S = 30.0
MANY = 40_000
"""Records of which one run is made before the store is closed, and one after."""


def open_store(path: Path, **options: Any) -> CheckpointStore:
    store = jackfield_open_checkpoint(f"pickle:///{path}", options)
    assert store is not None
    return store


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[CheckpointStore]:
    store = open_store(path, **options)
    try:
        yield store
    finally:
        store.close()


def record(number: int, size: int = 30) -> CheckpointRecord:
    return CheckpointRecord(number.to_bytes(32, "big"), b"%d." % number * size)


def fill(path: Path, count: int = 20) -> None:
    with opened(path) as store:
        store.put_many([record(n) for n in range(count)])


def all_found(path: Path, count: int = 20) -> bool:
    """Whether records are there, and nothing is told."""
    with opened(path) as store:
        found = [store.get(record(n).key) == record(n) for n in range(count)]
        return all(found) and len(list(store.keys())) == count


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def logs(store: Path) -> list[Path]:
    return sorted(store.glob("*.log"))


def runs(store: Path) -> list[Path]:
    return sorted(store.glob("*.run"))


def the_log(store: Path) -> Path:
    (log,) = logs(store)
    return log


def size_of(store: Path) -> int:
    return sum(path.stat().st_size for path in store.iterdir())


def spoil(store: Path) -> None:
    """Damage every block of the index, but not the headers."""
    for run in runs(store):
        for place in range(100, run.stat().st_size, 100):
            flip(run, place)


class TestPickleLog(CheckpointStoreConformance):
    def make_store(self, directory: Path, **options: Any) -> CheckpointStore:
        return open_store(directory / "results", **options)

    def survivors_of(self, store: Path) -> tuple[int, str]:
        """See how many of twenty records are found, and what is told."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with opened(store) as one:
                found = [one.get(record(n).key) for n in range(20)]
                assert len(list(one.keys())) <= 20
        assert all(got in (None, record(n)) for n, got in enumerate(found))
        return len(found) - found.count(None), " ".join(str(w.message) for w in caught)

    def make_newer(self, directory: Path) -> None:
        path = directory / "results" / "format-2"
        path.rename(path.with_name("format-3"))


# -- The URL and the options


def test_urls_of_other_schemes_are_not_its_own() -> None:
    assert jackfield_open_checkpoint("sqlite:///x.db", {}) is None


def test_a_journal_is_none_of_its_options() -> None:
    with pytest.raises(ConfigurationError, match="journal"):
        open_store(Path("x"), journal="wal")


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()

    with pytest.raises(CheckpointError, match="thesis"):
        open_store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_directory_that_others_may_write_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "x")
    (tmp_path / "x").chmod(0o770)

    with pytest.raises(CheckpointError, match="shared = true"):
        open_store(tmp_path / "x")
    open_store(tmp_path / "x", shared=True).close()


def test_a_store_of_the_first_format_is_told_from_other_files(tmp_path: Path) -> None:
    for name in ("records.log", "index"):
        (tmp_path / name).write_bytes(b"jackfield log")

    with pytest.raises(CheckpointError, match=r"records\.log.*upgrade"):
        open_store(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


# -- The index


def test_many_records_need_several_runs(tmp_path: Path) -> None:
    with opened(tmp_path / "x") as store:
        for first in range(0, MANY, 1_000):
            store.put_many([record(n) for n in range(first, first + 1_000)])
        assert runs(tmp_path / "x")
        store.put_many([record(0), record(MANY - 1)])
        assert all(store.get(record(n).key) == record(n) for n in range(0, MANY, 99))
    assert all_found(tmp_path / "x", MANY)

    for _ in range(3):  # the run of the first is taken into that of the next
        fill(tmp_path / "x", 10)

    assert len(runs(tmp_path / "x")) == 3
    assert all_found(tmp_path / "x", MANY)
    fill(tmp_path / "x", 2_000)
    assert len(runs(tmp_path / "x")) == 1
    assert all_found(tmp_path / "x", MANY)


def test_an_index_that_is_missing_is_made_anew(tmp_path: Path) -> None:
    fill(tmp_path / "x")
    with opened(tmp_path / "x") as store:
        store.delete([record(7).key])
        store.put_many([record(7)])
    for run in runs(tmp_path / "x"):
        run.unlink()

    assert all_found(tmp_path / "x")
    fill(tmp_path / "x", 1)
    assert len(runs(tmp_path / "x")) == 1


def test_an_index_of_another_log_is_not_used(tmp_path: Path) -> None:
    fill(tmp_path / "x")
    fill(tmp_path / "y", 10)
    runs(tmp_path / "y")[0].replace(runs(tmp_path / "x")[0])

    assert all_found(tmp_path / "x")


def test_an_older_copy_of_the_index_is_caught_up_with(tmp_path: Path) -> None:
    fill(tmp_path / "x", 10)
    (run,) = runs(tmp_path / "x")
    older = run.read_bytes()
    fill(tmp_path / "x", 20)
    run.write_bytes(older)
    with opened(tmp_path / "x") as store:
        store.put_many([record(20)])

    assert all_found(tmp_path / "x", 21)


def test_an_index_that_covers_more_than_there_is_is_told_of_and_made_anew(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "x", 10)
    size = the_log(tmp_path / "x").stat().st_size
    fill(tmp_path / "x", 11)
    os.truncate(the_log(tmp_path / "x"), size)

    with pytest.warns(CheckpointWarning, match="cut short"):
        store = open_store(tmp_path / "x")
    # Longer than before: the old index must not come to count again.
    store.put_many([record(n + 20) for n in range(11)])
    assert all(store.get(record(n).key) for n in range(10))
    store.close()
    assert all_found_of(tmp_path / "x", [*range(10), *range(20, 31)])


@pytest.mark.parametrize("read_only", [False, True])
def test_an_index_damaged_while_it_is_open_costs_nothing(
    tmp_path: Path, read_only: bool
) -> None:
    fill(tmp_path / "x", 200)
    with opened(tmp_path / "x", read_only=read_only) as store:
        spoil(tmp_path / "x")
        assert all(store.get(record(n).key) == record(n) for n in range(200))
        assert len(list(store.keys())) == 200


def test_an_index_damaged_while_it_is_open_does_not_hinder_writing(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "x")
    with opened(tmp_path / "x") as store:
        spoil(tmp_path / "x")
        store.put_many([record(n) for n in range(20)])
        spoil(tmp_path / "x")
        store.delete([record(0).key])
        assert store.get(record(0).key) is None
        spoil(tmp_path / "x")
        store.put_many([record(0)])

    (run,) = runs(tmp_path / "x")
    before = run.read_bytes()
    assert all_found(tmp_path / "x")
    assert run.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
def test_an_index_cut_while_it_is_open_costs_nothing(
    tmp_path: Path, read_only: bool
) -> None:
    fill(tmp_path / "x", 200)
    with opened(tmp_path / "x", read_only=read_only) as store:
        for run in runs(tmp_path / "x"):
            os.truncate(run, 0)
        assert all(store.get(record(n).key) == record(n) for n in range(200))


def test_an_index_removed_while_the_store_is_open_is_made_anew(tmp_path: Path) -> None:
    fill(tmp_path / "x", 5)
    with (
        opened(tmp_path / "x") as store,
        opened(tmp_path / "x", read_only=True) as reader,
    ):
        store.put_many([record(n) for n in range(10)])
        for run in runs(tmp_path / "x"):
            run.unlink()
        store.put_many([record(n) for n in range(10, 20)])
        for one in (store, reader):
            assert one.get(record(15).key) == record(15)

    assert all_found(tmp_path / "x")


def test_keys_with_one_hash_cost_a_miss_at_worst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poor(data: bytes, *, digest_size: int) -> Any:
        return blake2b(b"%d" % (int.from_bytes(data, "big") % 50), digest_size=8)

    monkeypatch.setattr(_runs, "blake2b", poor)
    for _ in range(2):  # from the segment, then from its index
        with opened(tmp_path / "x") as store:
            if store.get(record(99).key) is None:
                store.put_many([record(n) for n in range(100)])
            found = [store.get(record(n).key) for n in range(100)]
            assert found == [None] * 50 + [record(n) for n in range(50, 100)]


# -- The segments


def test_an_unfinished_record_is_cut_off_and_told_once(tmp_path: Path) -> None:
    fill(tmp_path / "x")
    path = the_log(tmp_path / "x")
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(path.read_bytes()[:56])

    with (
        pytest.warns(CheckpointWarning, match="no whole record") as caught,
        opened(tmp_path / "x") as store,
    ):
        store.put_many([])
    assert len(caught) == 1
    assert path.stat().st_size == whole
    assert all_found(tmp_path / "x")


def test_a_record_that_is_being_written_is_waited_for_not_told_of(
    tmp_path: Path,
) -> None:
    """What a writer is about to complete looks like what one has left behind."""
    fill(tmp_path / "x", 1)
    path = the_log(tmp_path / "x")
    fill(tmp_path / "x", 2)
    whole, size = path.read_bytes(), path.stat().st_size
    os.truncate(path, size - 10)
    for run in runs(tmp_path / "x"):
        run.unlink()
    with path.open("r+b") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with (
            opened(tmp_path / "x") as one,
            opened(tmp_path / "x", read_only=True) as reader,
        ):
            assert [store.get(record(1).key) for store in (one, reader)] == [None, None]
            assert path.stat().st_size == size - 10
            path.write_bytes(whole)
            for store in (one, reader):
                assert store.get(record(1).key) == record(1)


def test_what_is_in_the_file_of_the_format_does_not_matter(tmp_path: Path) -> None:
    fill(tmp_path / "x")
    (tmp_path / "x" / "format-2").write_bytes(b"noise")

    assert all_found(tmp_path / "x")


def test_a_log_inside_a_value_is_not_read_as_one(tmp_path: Path) -> None:
    fill(tmp_path / "inner")
    inner = the_log(tmp_path / "inner").read_bytes()
    with opened(tmp_path / "x") as store:
        store.put_many([CheckpointRecord(b"k" * 32, b"." * 1000 + inner), record(50)])
    flip(the_log(tmp_path / "x"), 1)
    runs(tmp_path / "x")[0].unlink()

    with (
        pytest.warns(CheckpointWarning, match="no whole record"),
        opened(tmp_path / "x") as store,
    ):
        assert list(store.keys()) == [record(50).key]
    assert all_found_of(tmp_path / "x", [50])


def all_found_of(path: Path, numbers: list[int]) -> bool:
    with opened(path) as store:
        return [store.get(record(n).key) for n in numbers] == [*map(record, numbers)]


def test_much_damage_is_not_told_without_end(tmp_path: Path) -> None:
    with opened(tmp_path / "x") as store:
        store.put_many([record(n, 1_000) for n in range(30)])
        path = the_log(tmp_path / "x")
        for offset in range(2_000, path.stat().st_size - 1_000, 1_000):
            flip(path, offset)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert not any(store.get(record(n).key) for n in range(1, 29))

    assert len(caught) == 11
    assert "not told one by one" in str(caught[-1].message)


@pytest.mark.slow
@pytest.mark.parametrize("bit", [0, 5])
def test_any_byte_may_be_flipped(tmp_path: Path, bit: int) -> None:
    """One after another, all of them: each costs one record at most, and is told."""
    fill(tmp_path / "x")
    flipped = 0
    for path in sorted((tmp_path / "x").iterdir()):
        whole = path.read_bytes()
        for offset in range(len(whole)):
            damaged = bytearray(whole)
            damaged[offset] ^= 1 << bit
            path.write_bytes(damaged)
            found, told = TestPickleLog().survivors_of(tmp_path / "x")
            assert found >= 19, f"byte {offset} of {path.name}"
            assert told or found == 20, f"byte {offset} of {path.name}"
            path.write_bytes(whole)
            flipped += 1
    assert flipped > 3_000


def test_a_segment_that_another_process_writes_is_not_waited_for(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "x", 1)
    with the_log(tmp_path / "x").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with opened(tmp_path / "x") as store:
            store.put_many([record(1)])
            assert len(logs(tmp_path / "x")) == 2
            assert store.get(record(0).key) == record(0)
            assert store.get(record(1).key) == record(1)

    assert all_found(tmp_path / "x", 2)
    fill(tmp_path / "x", 3)
    assert len(logs(tmp_path / "x")) == 2


def test_what_once_failed_to_reach_the_disk_is_not_believed_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with opened(tmp_path / "x", sync="power") as store:
        store.put_many([record(0)])
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", fail)
            with pytest.raises(CheckpointError, match="Input/output"):
                store.put_many([record(1)])
        with pytest.raises(CheckpointError, match="brought to the disk"):
            store.put_many([record(2)])
        assert store.get(record(0).key) == record(0)
    with opened(tmp_path / "x", sync="power") as store:
        store.put_many([record(2)])
        assert store.get(record(2).key) == record(2)


def test_one_store_follows_another_that_writes_very_much(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "x") as store,
        opened(tmp_path / "x", read_only=True) as reader,
    ):
        for first in range(0, MANY, 1_000):
            store.put_many([record(n) for n in range(first, first + 1_000)])
            assert reader.get(record(first).key) == record(first)
            assert reader.get(record(first // 2).key) == record(first // 2)
        assert len(list(reader.keys())) == MANY


def test_the_last_to_put_a_key_wins_whoever_opened_first(tmp_path: Path) -> None:
    values = [bytes([n]) * 9 for n in range(30)]
    with ExitStack() as stack:
        stores = [stack.enter_context(opened(tmp_path / "x")) for _ in range(3)]
        for n, value in enumerate(values):
            stores[n * n % 3].put_many([record(0)._replace(value=value)])
            for store in stores:
                found = store.get(record(0).key)
                assert found is not None
                assert found.value == value
    assert len(logs(tmp_path / "x")) == 2

    with opened(tmp_path / "x") as store:
        found = store.get(record(0).key)
        assert found is not None
        assert found.value == values[-1]
        assert len(list(store.keys())) == 1


# -- Between two steps of another


def failing_after(count: int, *, then: Callable[[], Any] = lambda: None) -> Any:
    """Return what writes so many bytes, does something, and fails, once."""
    left, write = [count], os.pwrite

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        if not left:
            return write(descriptor, data, offset)
        write(descriptor, data[: left.pop()], offset)
        then()
        raise OSError(errno.ENOSPC, "No space left on device")

    return pwrite


def test_a_deletion_that_failed_half_way_does_not_hide_what_is_put_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may count, but the put that follows must have a higher order."""
    with opened(tmp_path / "x") as store:
        store.put_many([record(0), record(1)])
        monkeypatch.setattr(os, "pwrite", failing_after(HEAD.size + 10))
        with pytest.raises(CheckpointError, match="No space"):
            store.delete([record(0).key, record(1).key])
        store.put_many([record(0), record(1)])
        assert all_found(tmp_path / "x", 2)
        assert [store.get(record(n).key) for n in range(2)] == [record(0), record(1)]
    assert len(logs(tmp_path / "x")) == 1


def test_what_takes_the_place_of_a_torn_record_is_seen_though_it_is_as_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that looked in between finds the file as long as it was."""
    fill(tmp_path / "y", 1)
    size = the_log(tmp_path / "y").stat().st_size
    with (
        opened(tmp_path / "x") as store,
        opened(tmp_path / "x", read_only=True) as reader,
    ):
        store.put_many([record(1)])

        def look() -> None:
            assert reader.get(record(0).key) is None

        torn = failing_after(size, then=look)
        monkeypatch.setattr(os, "pwrite", torn)
        with pytest.raises(CheckpointError, match="No space"):
            store.put_many([record(2, 900)])
        store.put_many([record(0)])
        assert reader.get(record(0).key) == record(0)
    with opened(tmp_path / "x") as store:
        assert sorted(store.keys()) == [record(0).key, record(1).key]


def test_a_thread_waits_for_another_that_reads_what_was_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one reads on, another must not take it that all is read."""
    reading, go_on = threading.Event(), threading.Event()
    read, found = os.pread, {}

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if threading.current_thread() is first and not go_on.is_set():
            reading.set()
            assert go_on.wait(LIMIT_S)
        return read(descriptor, size, offset)

    with opened(tmp_path / "x") as writer, opened(tmp_path / "x") as store:
        writer.put_many([record(0)])
        assert store.get(record(0).key) == record(0)
        writer.put_many([record(1)])

        def look(number: int) -> None:
            found[number] = store.get(record(1).key)

        first, second = (Thread(target=look, args=(n,)) for n in range(2))
        monkeypatch.setattr(os, "pread", pread)
        first.start()
        assert reading.wait(LIMIT_S)
        second.start()
        second.join(0.2)  # it would end at once if it did not wait
        go_on.set()
        for thread in (first, second):
            thread.join(LIMIT_S)
    assert found == {0: record(1), 1: record(1)}


def test_a_thread_that_was_overtaken_does_not_use_the_old_list_of_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has looked at the length of ``format-2``, and another then lists all anew."""
    looked, go_on = threading.Event(), threading.Event()
    status, found = os.fstat, []

    class Slow:
        def __init__(self, of: os.stat_result) -> None:
            self.st_nlink = of.st_nlink
            self.size = of.st_size

        @property
        def st_size(self) -> int:
            looked.set()
            assert go_on.wait(LIMIT_S)
            return self.size

    def fstat(descriptor: int) -> Any:
        result = status(descriptor)
        if threading.current_thread() is slow and not looked.is_set():
            return Slow(result)
        return result

    with opened(tmp_path / "x") as writer, opened(tmp_path / "x") as store:
        writer.put_many([record(0)])
        assert store.get(record(0).key) == record(0)
        with opened(tmp_path / "x") as other:
            other.put_many([record(1)])
            slow = Thread(target=lambda: found.append(store.get(record(1).key)))
            monkeypatch.setattr(os, "fstat", fstat)
            slow.start()
            assert looked.wait(LIMIT_S)
            assert store.get(record(1).key) == record(1)
            go_on.set()
            slow.join(LIMIT_S)
    assert found == [record(1)]


def test_what_could_not_be_read_once_is_read_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with opened(tmp_path / "x") as writer, opened(tmp_path / "x") as store:
        writer.put_many([record(0)])
        assert store.get(record(0).key) == record(0)
        writer.put_many([record(1)])
        with monkeypatch.context() as patched:
            patched.setattr(os, "pread", fail)
            with pytest.raises(CheckpointError, match="Input/output"):
                store.get(record(1).key)
        assert store.get(record(1).key) == record(1)


def test_damage_does_not_hide_what_is_written_after_it(tmp_path: Path) -> None:
    """Its writer is alive: nobody else can have the lock, and judge the end."""
    with opened(tmp_path / "x") as writer:
        writer.put_many([record(n) for n in range(20)])
        flip(the_log(tmp_path / "x"), 1)
        with pytest.warns(CheckpointWarning, match="no whole record"):
            store = open_store(tmp_path / "x")
        assert [store.get(record(n).key) == record(n) for n in range(20)] == [
            *[False] + [True] * 19
        ]
        writer.put_many([record(20)])
        assert store.get(record(20).key) == record(20)
        store.close()


# -- Gathering


def orders(log: int) -> list[int]:
    """Return the orders of a segment's frames."""
    pieces = scan(log, 0, os.fstat(log).st_size)
    return [piece.order for piece in pieces if isinstance(piece, Head)]


def test_an_order_is_not_given_once_more_after_what_had_it_is_gone(
    tmp_path: Path,
) -> None:
    """Another store may still look into the segment that was removed.

    That is so if the process died before it announced the removal. What a third puts
    then must be newer than whatever the removed segment holds.
    """
    with opened(tmp_path / "x") as store:
        store.put_many([record(0), *[record(n, 20_000) for n in range(1, 60)]])
        with the_log(tmp_path / "x").open("rb") as old:
            store.delete([record(n).key for n in range(60)])
            assert not os.fstat(old.fileno()).st_nlink
            highest = max(orders(old.fileno()))
    with opened(tmp_path / "x") as store:
        assert list(store.keys()) == []
        store.put_many([record(0)])
        with the_log(tmp_path / "x").open("rb") as new:
            assert orders(new.fileno())[-1] > highest


def test_what_is_damaged_does_not_come_back_as_it_was_before(tmp_path: Path) -> None:
    """A store that gathers leaves the damaged record out, but not that it was there."""
    older = record(0)._replace(value=b"older")
    with opened(tmp_path / "x") as one, opened(tmp_path / "x") as other:
        one.put_many([older])
        (first,) = logs(tmp_path / "x")
        other.put_many([record(n, 20_000) for n in range(60)])
        (path,) = {*logs(tmp_path / "x")} - {first}
        flip(path, 10_000)
        with pytest.warns(CheckpointWarning, match="offset 0 of"):
            other.delete([record(n).key for n in range(1, 60)])
        assert not path.exists()
        assert other.get(record(0).key) is None
        assert one.get(record(0).key) is None


def test_a_rewritten_log_is_smaller_and_whole(tmp_path: Path) -> None:
    with opened(tmp_path / "x") as store, opened(tmp_path / "x") as other:
        store.put_many([record(n, 20_000) for n in range(60)])
        store.delete([record(n).key for n in range(5, 60)])
        assert size_of(tmp_path / "x") < 2**20
        other.put_many([record(100)])
        for one in (store, other):
            assert len(list(one.keys())) == 6
            assert one.get(record(4).key) == record(4, 20_000)
            assert one.get(record(100).key) == record(100)


def test_what_is_damaged_is_left_out_of_a_rewritten_log(tmp_path: Path) -> None:
    with opened(tmp_path / "x") as store:
        store.put_many([record(n, 20_000) for n in range(60)])
        flip(the_log(tmp_path / "x"), 5_000)
        with pytest.warns(CheckpointWarning, match="offset 0 of"):
            store.delete([record(n).key for n in range(5, 60)])
        assert [store.get(record(n).key) is not None for n in range(6)] == [
            *[False, True, True, True, True, False]
        ]


def test_there_are_not_more_and_more_segments(tmp_path: Path) -> None:
    for count in range(3):
        with ExitStack() as stack:
            for n in range(20):
                store = stack.enter_context(opened(tmp_path / "x"))
                store.put_many([record(n)])
            assert len(logs(tmp_path / "x")) == 20
        assert len(logs(tmp_path / "x")) <= 8, count
        assert all_found(tmp_path / "x")


def test_a_deletion_outlives_the_record_in_a_segment_of_another_store(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "x") as writer:
        writer.put_many([record(n, 20_000) for n in range(60)])
        with opened(tmp_path / "x") as store:
            store.put_many([record(n, 20_000) for n in range(100, 160)])
            store.delete([record(n).key for n in (*range(60), *range(100, 150))])
            assert len(logs(tmp_path / "x")) == 2
            assert len(list(writer.keys())) == 10
        assert len(list(writer.keys())) == 10
        assert writer.get(record(0).key) is None

    with opened(tmp_path / "x") as store:
        store.delete([record(150).key])
        assert sorted(store.keys()) == [record(n).key for n in range(151, 160)]
        assert len(logs(tmp_path / "x")) == 1
    assert size_of(tmp_path / "x") < 2**20


def test_a_record_that_stands_twice_is_left_to_no_other_process(
    tmp_path: Path,
) -> None:
    """The other process might leave it to this one."""
    fill(tmp_path / "x")
    original = the_log(tmp_path / "x")
    copies = [original.with_name(digit * 16 + ".log") for digit in "0f"]
    for copy in copies:
        shutil.copy2(original, copy)
    with copies[0].open("rb") as one, copies[1].open("rb") as other:
        for writer in (one, other):
            fcntl.flock(writer, fcntl.LOCK_EX)
        with opened(tmp_path / "x") as store:
            store.put_many([record(n, 20_000) for n in range(100, 160)])
            store.delete([record(n).key for n in range(100, 160)])
            assert not original.exists()
    for copy in copies:
        copy.unlink()

    assert all_found(tmp_path / "x")


WRITER = """
import random, sys
from jackfield.abc import CheckpointRecord
from jackfield_checkpoint import _segments, pickle_log

directory, number, start = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
pickle_log.SMALLEST_WASTE, pickle_log.MOST = 4_000, 2
_segments.TAIL, _segments._LARGE = 60, 10
dice = random.Random(start + number)
key = lambda n: bytes([number, n]) * 16
while True:
    store = pickle_log.jackfield_open_checkpoint(f"pickle:///{directory}", {})
    for _ in range(dice.randrange(1, 12)):
        start += 1
        some = dice.sample(range(25), dice.randrange(1, 8))
        value = 0 if dice.random() < 0.35 else start
        print("i", value, *some, flush=True)
        if value:
            data = b"%d." % value * (value % 40 + 1)
            store.put_many([CheckpointRecord(key(n), data) for n in some])
        else:
            store.delete(map(key, some))
        print("a", value, *some, flush=True)
    store.close()
"""
"""Puts and deletes 25 keys of its own, and tells before and after each time."""


@pytest.mark.slow
def test_processes_killed_while_they_put_delete_and_gather_lose_nothing(
    tmp_path: Path,
) -> None:
    path, dice, done = tmp_path / "x", random.Random(5), 0
    held: dict[tuple[int, int], int] = {}
    for round_ in range(10):
        command = (sys.executable, "-W", "ignore", "-c", WRITER, str(path))
        writers = [
            subprocess.Popen(
                [*command, str(n), str(round_ * 100_000)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(3)
        ]
        told = []
        for writer in writers:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(dice.randrange(20, 60))]
            writer.kill()
            told.append(lines + writer.stdout.read().splitlines(keepends=True))
            writer.wait()
            writer.stdout.close()
        allowed: dict[tuple[int, int], set[int]] = {}
        for number, lines in enumerate(told):
            for line in (line for line in lines if line.endswith("\n")):
                kind, value, *some = line.split()
                for n in map(int, some):
                    before = allowed.get((number, n), {held.get((number, n), 0)})
                    allowed[number, n] = {int(value)} | (
                        before if kind == "i" else set()
                    )
                done += kind == "a"
        with warnings.catch_warnings(), opened(path) as store:
            warnings.simplefilter("ignore")  # of what was not put to its end
            for number, n in ((number, n) for number in range(3) for n in range(25)):
                found = store.get(bytes([number, n]) * 16)
                got = int(found.value.partition(b".")[0]) if found else 0
                assert got in allowed.get((number, n), {held.get((number, n), 0)})
                held[number, n] = got
            assert len(list(store.keys())) == sum(map(bool, held.values()))
    assert done > 200


@pytest.mark.parametrize("copied", [1, 7, 20])
def test_a_process_that_died_while_it_gathered_costs_nothing(
    tmp_path: Path, copied: int
) -> None:
    fill(tmp_path / "x")
    path = the_log(tmp_path / "x")
    data = path.read_bytes()
    part = data[: len(data) * copied // 20]
    path.with_name("0" * 16 + ".log").write_bytes(part)
    path.with_name("0" * 16 + ".log").chmod(0o600)

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of the last one that was not copied to its end
        open_store(tmp_path / "x").close()
    assert all_found(tmp_path / "x")
    with opened(tmp_path / "x") as store:
        store.put_many([record(n)._replace(value=b"v" * 100_000) for n in range(20)])
        store.delete([record(n).key for n in range(19)])
        assert list(store.keys()) == [record(19).key]
    fill(tmp_path / "x", 1)
    assert len(logs(tmp_path / "x")) == 1


def test_a_process_that_died_before_it_told_that_it_gathered_costs_nothing(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "x")
    with (
        opened(tmp_path / "x") as one,
        opened(tmp_path / "x", read_only=True) as reader,
    ):
        assert one.get(record(0).key) == record(0)
        path = the_log(tmp_path / "x")
        shutil.copy2(path, path.with_name("0" * 16 + ".log"))
        for gone in (path, *runs(tmp_path / "x")):
            gone.unlink()
        assert reader.get(record(19).key) == record(19)
        one.put_many([record(20)])
        for store in (one, reader):
            assert len(list(store.keys())) == 21
            assert store.get(record(20).key) == record(20)

    assert all_found(tmp_path / "x", 21)
