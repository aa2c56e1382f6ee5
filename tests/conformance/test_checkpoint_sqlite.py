"""The SQLite store passes the kit; then what is particular to it."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import warnings
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.abc import CheckpointRecord
from jackfield.errors import (
    CheckpointError,
    ConfigurationError,
    CorruptCheckpointError,
)
from jackfield_checkpoint._sqlite_rows import PART_SIZE
from jackfield_checkpoint.sqlite import jackfield_open_checkpoint
from jackfield_system.mounts import shared_kind
from jackfield_testing import CheckpointStoreConformance

if TYPE_CHECKING:
    from jackfield.abc import CheckpointStore

WAL_LIMIT = 40 * 2**20
PAGE = 4096


def open_store(path: Path, **options: Any) -> CheckpointStore:
    store = jackfield_open_checkpoint(f"sqlite:///{path}", options)
    assert store is not None
    return store


def record(number: int, size: int = 100) -> CheckpointRecord:
    return CheckpointRecord(number.to_bytes(32, "big"), b"%d" % number * size)


class TestSqlite(CheckpointStoreConformance):
    local_damage = False  # a page holds several records, or leads to many

    def make_store(self, directory: Path, **options: Any) -> CheckpointStore:
        return open_store(directory / "results.db", **options)

    def make_newer(self, directory: Path) -> None:
        with (directory / "results.db").open("r+b") as file:
            file.seek(60)
            file.write((2).to_bytes(4, "big"))


@pytest.mark.slow
class TestSqliteWithRollbackJournal(TestSqlite):
    def make_store(self, directory: Path, **options: Any) -> CheckpointStore:
        return open_store(directory / "results.db", journal="rollback", **options)


# -- The URL and the options


def test_urls_of_other_schemes_are_not_its_own() -> None:
    assert jackfield_open_checkpoint("pickle:///results", {}) is None


def test_three_slashes_are_relative_and_four_absolute(tmp_path: Path) -> None:
    for url, path in [
        ("sqlite:///here.db", Path.cwd() / "here.db"),
        ("SQLITE:///sub/dir/here.db", Path.cwd() / "sub/dir/here.db"),
        (f"sqlite:///{tmp_path}/there.db", tmp_path / "there.db"),
    ]:
        store = jackfield_open_checkpoint(url, {})
        assert store is not None
        store.close()
        assert path.is_file()


@pytest.mark.parametrize(
    "url",
    [
        *(
            "sqlite:",
            "sqlite:x.db",
            "sqlite://x.db",
            "sqlite:///",
            "sqlite:///x.db?a=b",
        ),
        *("sqlite:///a\0b", "sqlite:///a\ud800b"),
    ],
    ids=ascii,
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sqlite:.*'|path"):
        jackfield_open_checkpoint(url, {})


def test_an_error_shows_no_query_of_a_url() -> None:
    with pytest.raises(ConfigurationError) as raised:
        jackfield_open_checkpoint("sqlite:///x.db?key=hunter2", {})

    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"journal": "WAL"}, "'auto' or 'wal' or 'rollback'"),
        ({"sync": "full"}, "'process' or 'power'"),
        ({"busy_timeout": -1}, "seconds"),
        ({"busy_timeout": True}, "seconds"),
        ({"read_only": "yes"}, "true or false"),
        ({"trust": "all"}, "'owner' or 'signed' or 'any'"),
        ({"trust": []}, "'owner' or 'signed' or 'any'"),
        ({"shared": True, "trust": "any"}, "signed"),
        ({"jurnal": "wal"}, "did you mean 'journal'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        open_store(Path("x.db"), **options)
    assert not Path("x.db").exists()


def test_changing_the_directory_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = jackfield_open_checkpoint("sqlite:///x.db", {})
    assert store is not None
    monkeypatch.chdir(tmp_path)
    store.put_many([record(1)])
    assert store.get(record(1).key) == record(1)
    store.close()

    assert not (tmp_path / "x.db").exists()


# -- What is in the file


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE records (key, value)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(CheckpointError, match="another program"):
        open_store(path)
    assert path.read_bytes() == before


def test_an_empty_file_is_not_taken_for_a_new_store(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch(0o600)

    with pytest.raises(CheckpointError, match="empty"):
        open_store(path)
    assert path.stat().st_size == 0


def test_people_can_read_it_with_sql(tmp_path: Path) -> None:
    store = open_store(tmp_path / "x.db")
    store.put_many([record(1)._replace(app="fit", manifest={"function": "ab"})])
    store.close()

    connection = sqlite3.connect(tmp_path / "x.db")
    rows = connection.execute(
        "SELECT app, manifest ->> 'function', size FROM records WHERE app = 'fit'"
    ).fetchall()
    connection.close()

    assert rows == [("fit", "ab", 100)]


def test_two_keys_with_one_hash_are_two_keys(tmp_path: Path) -> None:
    from zlib import crc32

    dice = random.Random(1)
    seen: dict[int, bytes] = {}
    while True:
        key = dice.randbytes(32)
        other = seen.setdefault(crc32(key), key)
        if other != key:
            break
    store = open_store(tmp_path / "x.db")
    store.put_many([CheckpointRecord(key, b"one"), CheckpointRecord(other, b"other")])

    for wanted, value in [(key, b"one"), (other, b"other")]:
        found = store.get(wanted)
        assert found is not None
        assert found.value == value
    store.delete([key])
    assert store.get(key) is None
    assert store.get(other) is not None
    store.close()


def test_a_value_too_large_for_a_row_goes_in_parts(tmp_path: Path) -> None:
    large = CheckpointRecord(
        bytes(32), b"0123456789abcdef" * (PART_SIZE // 16) + b"end"
    )
    store = open_store(tmp_path / "x.db")

    store.put_many([record(1), large])
    found = store.get(large.key)
    assert found == large
    store.put_many([large._replace(value=b"small")])
    found = store.get(large.key)
    assert found is not None
    assert found.value == b"small"
    store.put_many([large])
    store.delete([large.key])
    assert list(store.keys()) == [record(1).key]
    store.close()

    assert (tmp_path / "x.db").stat().st_size < 2**20


# -- Others


def test_a_writer_that_does_not_end_is_waited_for_and_then_told(tmp_path: Path) -> None:
    store = open_store(tmp_path / "x.db", busy_timeout=0.05)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(CheckpointError, match="busy_timeout"):
        store.put_many([record(1)])
    assert store.get(record(1).key) is None
    other.execute("ROLLBACK")
    other.close()
    store.put_many([record(1)])

    assert store.get(record(1).key) == record(1)
    store.close()


def test_a_store_replaced_while_it_is_open_is_told(tmp_path: Path) -> None:
    store = open_store(tmp_path / "x.db")
    open_store(tmp_path / "y.db").close()
    (tmp_path / "y.db").replace(tmp_path / "x.db")

    with pytest.raises(CheckpointError, match="replaced"):
        store.put_many([record(1)])
    store.close()


def test_a_slow_reader_does_not_make_the_log_grow_without_end(tmp_path: Path) -> None:
    store = open_store(tmp_path / "x.db")
    store.put_many([record(n) for n in range(2_000)])
    listing = store.scan()
    next(listing)

    for first in range(10_000, 10_300, 10):
        store.put_many([record(n, 50_000) for n in range(first, first + 10)])

    assert (tmp_path / "x.db-wal").stat().st_size < WAL_LIMIT
    assert len(list(listing)) >= 1_999
    store.close()


def test_the_journal_can_be_chosen(tmp_path: Path) -> None:
    for journal, log in [("wal", True), ("auto", True), ("rollback", False)]:
        path = tmp_path / f"{journal}.db"
        store = open_store(path, journal=journal)
        store.put_many([record(1)])
        assert path.with_name(f"{path.name}-wal").exists() is log
        store.close()


MOUNTS = r"""
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:30 / /home rw,relatime shared:1 - nfs4 server:/home rw
24 23 0:31 / /home/me/scratch rw - xfs /dev/sdb rw
25 22 0:32 / /mnt/with\040space rw - fuse.sshfs host: rw
26 22 0:33 / /mnt/usb rw - fuseblk /dev/sdc1 rw
27 22 0:34 / /both rw - nfs server:/both rw
28 22 0:35 / /both rw - tmpfs tmpfs rw
a line of another kind
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/x", None),
        ("/home", "nfs4"),
        ("/home/me/x", "nfs4"),
        ("/homes", None),
        ("/home/me/scratch/x", None),
        ("/mnt/with space/x", "fuse.sshfs"),
        ("/mnt/usb/x", None),
        ("/both/x", None),
    ],
)
def test_file_systems_of_several_machines_are_known(
    path: str, kind: str | None
) -> None:
    assert shared_kind(Path(path), MOUNTS) == kind


# -- Damage


def test_a_damaged_page_costs_what_is_on_it_and_the_rest_can_be_saved(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.db"
    store = open_store(path)
    store.put_many([record(n, 300) for n in range(400)])
    store.close()
    data = bytearray(path.read_bytes())
    middle = data.index(b"200" * 300) // PAGE * PAGE
    data[middle : middle + PAGE] = bytes(PAGE)
    path.write_bytes(data)

    store = open_store(path, read_only=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = {n for n in range(400) if store.get(record(n).key) is not None}
        listed = list(store.scan())
    store.close()

    assert all("out of reach" in str(one.message) for one in caught)
    assert 380 < len(found) < 400
    assert len(listed) == len(found)
    assert path.read_bytes() == data


def test_a_damaged_schema_is_an_error_that_tells_how_to_save_what_can_be(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.db"
    open_store(path).close()
    data = path.read_bytes().replace(b"CREATE TABLE records", b"CREATE TABLE recorbs")
    path.write_bytes(data)

    with pytest.raises(CorruptCheckpointError, match="memo migrate"):
        open_store(path)
    assert path.read_bytes() == data


# -- Who may write


def test_a_shared_store_is_for_the_group(tmp_path: Path) -> None:
    path = tmp_path / "team" / "x.db"
    store = open_store(path, shared=True)
    store.put_many([record(1)])

    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o2770
    store.close()
    with pytest.raises(CheckpointError, match="shared = true"):
        open_store(path)
    path.chmod(0o666)
    with pytest.raises(CheckpointError, match="0666"):
        open_store(path, shared=True)


def test_with_trust_in_any_nothing_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    open_store(path).close()
    path.chmod(0o666)
    (tmp_path / "link.db").symlink_to(path)

    for name in ("x.db", "link.db"):
        with closing(open_store(tmp_path / name, trust="any")) as store:
            assert list(store.keys()) == []


@pytest.mark.parametrize(
    ("mode", "trust", "passes"),
    [
        (0o777, "signed", False),
        (0o1777, "signed", True),
        (0o775, "signed", True),
        (0o775, "owner", False),
        (0o755, "owner", True),
        (0o777, "any", True),
    ],
)
def test_a_directory_that_others_may_write_is_asked_for_as_much_as_needed(
    tmp_path: Path, mode: int, trust: str, passes: bool
) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    directory.chmod(mode)

    if passes:
        open_store(directory / "x.db", trust=trust).close()
        return
    with pytest.raises(CheckpointError, match="chmod go-w"):
        open_store(directory / "x.db", trust=trust)
    assert list(directory.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_journal_that_another_user_has_put_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    open_store(path).close()
    journal = tmp_path / "x.db-journal"
    journal.write_bytes(b"hot")
    os.chown(journal, 65534, -1)

    with pytest.raises(CheckpointError, match="belongs to"):
        open_store(path)
