"""The append-only log passes the kit; then what is particular to it."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

from jackfield.abc import CheckpointRecord
from jackfield.errors import CheckpointError, CheckpointWarning, ConfigurationError
from jackfield_checkpoint import _index
from jackfield_checkpoint.pickle_log import jackfield_open_checkpoint
from jackfield_testing import CheckpointStoreConformance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.abc import CheckpointStore

MANY = 12_000
"""Records that need more than one level of the index."""


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


def spoil(index: Path) -> None:
    """Damage the header and every bucket of an index."""
    for place in [0, *range(4096, index.stat().st_size, 500)]:
        flip(index, place)


class TestPickleLog(CheckpointStoreConformance):
    def make_store(self, directory: Path, **options: Any) -> CheckpointStore:
        return open_store(directory / "results", **options)

    def make_newer(self, directory: Path) -> None:
        path = directory / "results" / "records.log"
        bare = struct.pack("<16sIxxxxQ28x", b"jackfield log\r\n\x1a", 2, 1)
        header = bare + crc32(bare).to_bytes(4, "little")
        path.write_bytes(header + path.read_bytes()[len(header) :])


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


# -- The index


def test_the_index_grows_level_by_level(tmp_path: Path) -> None:
    with opened(tmp_path / "x") as store:
        for first in range(0, MANY, 1_000):
            store.put_many([record(n) for n in range(first, first + 1_000)])
        store.put_many([record(0), record(MANY - 1)])

    assert all_found(tmp_path / "x", MANY)


def test_an_index_that_is_missing_is_made_anew(tmp_path: Path) -> None:
    fill(tmp_path / "x", MANY)
    with opened(tmp_path / "x") as store:
        store.delete([record(7).key])
        store.put_many([record(7)])
    (tmp_path / "x" / "index").unlink()

    assert all_found(tmp_path / "x", MANY)
    assert (tmp_path / "x" / "index").exists()


def test_an_index_of_another_log_is_made_anew(tmp_path: Path) -> None:
    fill(tmp_path / "x")
    fill(tmp_path / "y", 10)
    (tmp_path / "y" / "index").replace(tmp_path / "x" / "index")

    assert all_found(tmp_path / "x")


def test_an_older_copy_of_the_index_is_caught_up_with(tmp_path: Path) -> None:
    fill(tmp_path / "x", 10)
    older = (tmp_path / "x" / "index").read_bytes()
    fill(tmp_path / "x", 20)
    (tmp_path / "x" / "index").write_bytes(older)
    with opened(tmp_path / "x") as store:
        store.put_many([record(20)])

    assert all_found(tmp_path / "x", 21)


def test_an_index_that_was_not_flushed_before_a_restart_of_the_machine_is_made_anew(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "x")
    path = tmp_path / "x" / "index"
    index = _index.Index(os.open(path, os.O_RDWR))
    header = index.header()
    assert header.boot == bytes(16)
    header.boot = b"of another start"
    os.pwrite(index.descriptor, header.pack(), 0)
    os.pwrite(index.descriptor, bytes(100_000), 4096)  # what never reached the disk

    assert all_found(tmp_path / "x")


def test_an_index_damaged_while_it_is_open_costs_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "x")
    index = tmp_path / "x" / "index"
    for options in ({}, {"read_only": True}):
        with opened(tmp_path / "x", **options) as store:
            data = index.read_bytes()
            used = [n for n in range(4096, len(data)) if data[n]]
            for place in used:
                flip(index, place)
            assert all(store.get(record(n).key) == record(n) for n in range(20))
            assert len(list(store.keys())) == 20


def test_an_index_damaged_while_it_is_open_does_not_hinder_writing(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "x")
    index = tmp_path / "x" / "index"
    with opened(tmp_path / "x") as store:
        spoil(index)
        store.put_many([record(n) for n in range(20)])
        spoil(index)
        store.delete([record(0).key])
        assert store.get(record(0).key) is None
        spoil(index)
        store.put_many([record(0)])

    assert all_found(tmp_path / "x")


def test_an_index_removed_while_the_store_is_open_is_made_anew(tmp_path: Path) -> None:
    with opened(tmp_path / "x") as store:
        store.put_many([record(n) for n in range(10)])
        (tmp_path / "x" / "index").unlink()
        store.put_many([record(n) for n in range(10, 20)])
        assert store.get(record(15).key) == record(15)

    assert all_found(tmp_path / "x")


def test_an_index_made_anew_by_one_store_is_noticed_by_others(tmp_path: Path) -> None:
    fill(tmp_path / "x", 1)
    with (
        opened(tmp_path / "x") as one,
        opened(tmp_path / "x", read_only=True) as reader,
    ):
        (tmp_path / "x" / "index").unlink()
        with opened(tmp_path / "x") as other:
            other.put_many([record(1)])
        for store in (one, reader):
            assert store.get(record(1).key) == record(1)
            assert len(list(store.keys())) == 2


def test_two_keys_with_one_hash_cost_a_miss_at_worst(tmp_path: Path) -> None:
    fill(tmp_path / "x", 1)
    index = _index.Index(os.open(tmp_path / "x" / "index", os.O_RDWR))
    location = index.find(record(0).key)
    assert location is not None
    header = _index.enter(index, index.header(), [(record(1).key, location, 999)])
    assert header.frames == 2
    os.pwrite(index.descriptor, index.header().pack(), 0)

    with opened(tmp_path / "x") as store, warnings.catch_warnings(record=True):
        assert store.get(record(1).key) is None


# -- The log


def test_an_unfinished_record_is_cut_off_and_told_once(tmp_path: Path) -> None:
    fill(tmp_path / "x")
    path = tmp_path / "x" / "records.log"
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(path.read_bytes()[64:120])

    with (
        pytest.warns(CheckpointWarning, match="unfinished") as caught,
        opened(tmp_path / "x") as store,
    ):
        store.put_many([])
    assert len(caught) == 1
    assert path.stat().st_size == whole
    assert all_found(tmp_path / "x")


def test_a_damaged_header_is_mended(tmp_path: Path) -> None:
    fill(tmp_path / "x")
    flip(tmp_path / "x" / "records.log", 3)

    with pytest.warns(CheckpointWarning, match="header"):
        open_store(tmp_path / "x").close()
    assert all_found(tmp_path / "x")


def test_a_log_inside_a_value_is_not_read_as_one(tmp_path: Path) -> None:
    fill(tmp_path / "inner")
    inner = (tmp_path / "inner" / "records.log").read_bytes()
    with opened(tmp_path / "x") as store:
        store.put_many([CheckpointRecord(b"k" * 32, b"." * 1000 + inner), record(50)])
    flip(tmp_path / "x" / "records.log", 65)
    (tmp_path / "x" / "index").unlink()

    with (
        pytest.warns(CheckpointWarning, match="damaged"),
        opened(tmp_path / "x") as store,
    ):
        assert list(store.keys()) == [record(50).key]


def test_much_damage_is_not_told_without_end(tmp_path: Path) -> None:
    with opened(tmp_path / "x") as store:
        store.put_many([record(n, 1_000) for n in range(30)])
        path = tmp_path / "x" / "records.log"
        for offset in range(2_000, path.stat().st_size - 1_000, 1_000):
            flip(path, offset)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert not any(store.get(record(n).key) for n in range(1, 29))

    assert len(caught) == 11
    assert "not told one by one" in str(caught[-1].message)


def test_a_lock_that_is_held_is_waited_for_and_then_told(tmp_path: Path) -> None:
    with opened(tmp_path / "x", busy_timeout=0.05) as store:
        with (tmp_path / "x" / "records.log").open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(CheckpointError, match="busy_timeout"):
                store.put_many([record(0)])
            assert store.get(record(0).key) is None
        store.put_many([record(0)])
        assert store.get(record(0).key) == record(0)


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


# -- Rewriting


def test_a_rewritten_log_is_smaller_and_whole(tmp_path: Path) -> None:
    with opened(tmp_path / "x") as store, opened(tmp_path / "x") as other:
        store.put_many([record(n, 20_000) for n in range(60)])
        store.delete([record(n).key for n in range(5, 60)])
        assert (tmp_path / "x" / "records.log").stat().st_size < 2**20
        other.put_many([record(100)])
        for one in (store, other):
            assert len(list(one.keys())) == 6
            assert one.get(record(4).key) == record(4, 20_000)
            assert one.get(record(100).key) == record(100)


def test_what_is_damaged_is_left_out_of_a_rewritten_log(tmp_path: Path) -> None:
    with opened(tmp_path / "x") as store:
        store.put_many([record(n, 20_000) for n in range(60)])
        flip(tmp_path / "x" / "records.log", 5_000)
        with pytest.warns(CheckpointWarning, match="offset 64"):
            store.delete([record(n).key for n in range(5, 60)])
        assert [store.get(record(n).key) is not None for n in range(6)] == [
            *[False, True, True, True, True, False]
        ]


@pytest.mark.parametrize("renamed", [False, True])
def test_a_process_that_died_while_it_rewrote_the_log_costs_nothing(
    tmp_path: Path, renamed: bool
) -> None:
    fill(tmp_path / "x")
    fill(tmp_path / "y")
    index = _index.Index(os.open(tmp_path / "x" / "index", os.O_RDWR))
    header = index.header()
    header.retired = 1
    os.pwrite(index.descriptor, header.pack(), 0)
    for name in ("records.log", "index"):
        (tmp_path / "y" / name).rename(tmp_path / "x" / f"{name}.new")
    if renamed:
        (tmp_path / "x" / "records.log.new").replace(tmp_path / "x" / "records.log")

    assert all_found(tmp_path / "x")
    with opened(tmp_path / "x") as store:
        store.put_many([replace(record(n), value=b"v" * 100_000) for n in range(20)])
        store.delete([record(n).key for n in range(19)])
        assert list(store.keys()) == [record(19).key]
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == [
        "index",
        "records.log",
    ]
