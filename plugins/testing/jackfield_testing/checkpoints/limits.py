"""Checkpoint store conformance: full disks, large stores, other users' files."""

from __future__ import annotations

import gc
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jackfield.errors import CheckpointError
from jackfield_testing.checkpoints.case import (
    LONG_LIMIT_S,
    CheckpointStoreCase,
    mounted,
    needs,
)
from jackfield_testing.checkpoints.child import key_of, record_of
from jackfield_testing.footprint import WAIT_S, footprint, settled

if TYPE_CHECKING:
    from jackfield_testing.footprint import Footprint

CYCLES = 30
OTHER_USER = 65534
OPEN_LIMIT_S = 0.1
OPEN_LIMIT_BYTES = 20e6
LOOK_UP_LIMIT_S = 120e-6
MILLION_BATCH = 5_000


class Limits(CheckpointStoreCase):
    """Limits of disks and of memory, and what other users may do."""

    def test_a_full_disk_is_an_error_and_costs_nothing(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        prefix = mounted(f"mount -t tmpfs -o size=1m,mode=700 tmpfs {disk}")

        answer = self.answer(
            self.start(disk, "fill", prefix=prefix, size=10_000, limit=0)
        )

        self._check_full(answer, disk)

    def test_a_limited_file_is_an_error_and_costs_nothing(self, tmp_path: Path) -> None:
        needs(self.private_files, "is not made of files")

        answer = self.child(tmp_path, "fill", size=10_000, limit=500_000)

        if answer["error"] is not None:  # a store may have many files
            self._check_full(answer, tmp_path)

    @staticmethod
    def _check_full(answer: dict[str, object], directory: Path) -> None:
        assert answer["refused"], answer["error"]
        assert str(directory) in str(answer["error"])
        assert answer["done"] == answer["kept"] == answer["found"]
        assert answer["done"]

    def test_a_medium_that_cannot_be_written_is_an_error_and_readable(
        self, tmp_path: Path
    ) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        self.fill(disk, [0])
        prefix = mounted(f"mount --bind -o ro {disk} {disk}")

        answer = self.answer(self.start(disk, "refuse", prefix=prefix, number=1))

        assert answer["refused"], answer["error"]
        assert str(disk) in answer["error"]
        assert answer["found"]

    # -- what is held

    def test_nothing_is_held_after_closing(self, tmp_path: Path) -> None:
        self._cycle(tmp_path)
        before = self._held()
        for _ in range(CYCLES):
            self._cycle(tmp_path)

        assert settled(lambda: self._held() == before, WAIT_S), (before, self._held())

    def _cycle(self, directory: Path) -> None:
        with self.opened(directory) as store:
            store.put_many([record_of(0)])
            assert store.get(key_of(0)) == record_of(0)
            assert len(list(store.scan())) == 1

    @staticmethod
    def _held() -> Footprint:
        gc.collect()
        return footprint()

    def test_nothing_lies_about_after_closing(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as store:
            store.put_many([record_of(0)])
        names = [path.name for path in self.files(tmp_path)]
        for _ in range(3):
            self.fill(tmp_path, [0])
            assert [path.name for path in self.files(tmp_path)] == names

    # -- who may read and write

    def test_files_are_for_this_user_alone_whatever_the_umask(
        self, tmp_path: Path
    ) -> None:
        needs(self.private_files, "is not made of files")
        before = os.umask(0)
        try:
            with self.opened(tmp_path) as store:
                store.put_many([record_of(0)])
                modes = {path: _mode(path) for path in tmp_path.rglob("*")}
        finally:
            os.umask(before)

        assert modes
        assert {path: mode for path, mode in modes.items() if mode & 0o077} == {}

    @pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
    def test_a_file_that_others_may_write_is_refused(
        self, tmp_path: Path, mode: int
    ) -> None:
        needs(self.private_files, "is not made of files")
        self.fill(tmp_path, [0])
        for path in self.files(tmp_path):
            path.chmod(mode)
            for read_only in (False, True):
                with pytest.raises(CheckpointError, match="chmod") as caught:
                    self.make_store(tmp_path, read_only=read_only)
                assert str(path) in str(caught.value)
            path.chmod(0o600)
        assert self.survivors(tmp_path, [0]) == ({0}, "")

    def test_a_file_of_another_user_is_refused(self, tmp_path: Path) -> None:
        needs(self.private_files, "is not made of files")
        needs(os.geteuid() == 0, "cannot be given to another user, but by root")
        self.fill(tmp_path, [0])
        for path in self.files(tmp_path):
            os.chown(path, OTHER_USER, -1)
            with pytest.raises(CheckpointError, match="belongs to") as caught:
                self.make_store(tmp_path)
            assert str(path) in str(caught.value)
            os.chown(path, 0, -1)

    def test_a_symbolic_link_is_refused(self, tmp_path: Path) -> None:
        needs(self.private_files, "is not made of files")
        self.fill(tmp_path, [0])
        for path in self.files(tmp_path):
            hidden = path.with_name("hidden")
            path.rename(hidden)
            path.symlink_to(hidden)
            with pytest.raises(CheckpointError, match="link"):
                self.make_store(tmp_path)
            hidden.replace(path)

    # -- much

    @pytest.mark.slow
    def test_a_value_may_be_huge(self, tmp_path: Path) -> None:
        size = 2**31 + 4097 if _available() > 12 * 2**30 else 2**29 + 4097
        value = bytes(size - 3) + b"end"

        with self.opened(tmp_path) as store:
            store.put_many([record_of(0), record_of(1)._replace(value=value)])
        with self.opened(tmp_path) as store:
            record = store.get(key_of(1))
            assert record is not None
            assert record.value == value  # no rewritten assert: it would show them
            assert store.get(key_of(0)) == record_of(0)
            store.delete([key_of(1)])

    @pytest.mark.slow
    def test_a_million_records_open_at_once_and_are_found_quickly(
        self, tmp_path: Path
    ) -> None:
        with self.opened(tmp_path) as store:
            for first in range(0, self.million, MILLION_BATCH):
                numbers = range(first, first + MILLION_BATCH)
                store.put_many([record_of(n) for n in numbers])

        answer = self.answer(
            self.start(tmp_path, "look_up", count=self.million), LONG_LIMIT_S
        )
        shutil.rmtree(tmp_path)  # pytest would keep it for two more sessions

        assert answer["wrong"] == 0
        assert answer["open_s"] < OPEN_LIMIT_S
        assert answer["open_bytes"] < OPEN_LIMIT_BYTES
        assert answer["get_s"] < LOOK_UP_LIMIT_S


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _available() -> int:
    """Memory that could be had, in bytes."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(sizes[0]) * 1024 if sizes else 0
