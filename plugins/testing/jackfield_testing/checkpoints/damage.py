"""Checkpoint store conformance: damage of every kind costs little and is told."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest

from jackfield.errors import CheckpointError
from jackfield_testing.background import apart
from jackfield_testing.checkpoints.case import CheckpointStoreCase, needs
from jackfield_testing.checkpoints.child import key_of, record_of

if TYPE_CHECKING:
    from pathlib import Path

EARLIER = range(8)
LAST = 8
LAST_SIZE = 6000
"""Enough that the last record lengthens whatever file it is in."""

SHORT_CUTS = 40
FLIPPED = range(64)
GARBAGE = {
    "nothing": b"",
    "text": b"This is not a store.\n" * 500,
    "zeros": bytes(10_000),
    "noise": random.Random(0).randbytes(10_000),
}


class Damage(CheckpointStoreCase):
    """Files cut, flipped, emptied, replaced and removed."""

    @apart
    def test_a_last_record_that_is_cut_costs_that_record(self, tmp_path: Path) -> None:
        needs(self.local_damage, "may lose all by a cut (local_damage)")
        step = LAST_SIZE // SHORT_CUTS + 1

        assert self._cut(tmp_path, step) > SHORT_CUTS // 2

    @pytest.mark.slow
    @apart
    def test_a_last_record_may_be_cut_at_every_byte(self, tmp_path: Path) -> None:
        needs(self.local_damage, "may lose all by a cut (local_damage)")
        assert self._cut(tmp_path, 1) > LAST_SIZE // 2

    def _cut(self, tmp_path: Path, step: int) -> int:
        """Cut files at every ``step`` bytes of what the last record has added to them.

        Returns:
            At how many places.
        """
        whole = tmp_path / "whole"
        whole.mkdir()
        self.fill(whole, EARLIER)
        before = {path: path.stat().st_size for path in self.files(whole)}
        self.fill(whole, [LAST], LAST_SIZE)
        places = 0
        for path in self.files(whole):
            # A cut between two records leaves a store that never had the last one.
            for size in range(before.get(path, 0) + 1, path.stat().st_size, step):
                self._check_cut(whole, path, size)
                places += 1
        return places

    def _check_cut(self, whole: Path, path: Path, size: int) -> None:
        copy = whole.with_name("copy")
        shutil.copytree(whole, copy)
        with (copy / path.relative_to(whole)).open("r+b") as file:
            file.truncate(size)
        found, told = self.survivors(copy, EARLIER)
        last, more = self.survivors(copy, [LAST], LAST_SIZE)
        if self.local_damage:
            assert found == set(EARLIER), f"cut at {size}: {told}"
            self.fill(copy, [99])
            kept, _ = self.survivors(copy, [*EARLIER, 99])
            assert kept == {*EARLIER, 99}, f"cut at {size}, then written"
        assert last or told or more, f"cut at {size}: nothing was told"
        shutil.rmtree(copy)

    @apart
    def test_a_flipped_bit_gives_no_wrong_value(self, tmp_path: Path) -> None:
        self._flip(tmp_path, self.short_flips)

    @pytest.mark.slow
    @apart
    def test_thousands_of_flipped_bits_give_no_wrong_value(
        self, tmp_path: Path
    ) -> None:
        self._flip(tmp_path, self.flips)

    def _flip(self, tmp_path: Path, count: int) -> None:
        """Flip bits all over the files, one at a time."""
        self.fill(tmp_path, FLIPPED)
        whole = {path: path.read_bytes() for path in self.files(tmp_path)}
        for path, offset, bit in _places(whole, count):
            _flip_bit(path, offset, bit)
            found, told = self.survivors(tmp_path, FLIPPED)
            where = f"bit {bit} of byte {offset} of {path.name}: {told}"
            if self.local_damage:
                assert len(found) >= len(FLIPPED) - 1, where
                assert told or len(found) == len(FLIPPED), where
            self._restore(tmp_path, whole)

    def _restore(self, directory: Path, whole: dict[Path, bytes]) -> None:
        for path in {*self.files(directory), *whole}:
            if path not in whole:
                path.unlink()
            elif not path.exists() or path.read_bytes() != whole[path]:
                path.write_bytes(whole[path])
                path.chmod(0o600)

    @pytest.mark.parametrize("garbage", GARBAGE)
    @apart
    def test_a_file_of_garbage_is_an_error_or_costs_nothing(
        self, tmp_path: Path, garbage: str
    ) -> None:
        needs(self.private_files, "is not made of files")
        self.fill(tmp_path, EARLIER)
        for path in self.files(tmp_path):
            kept = path.read_bytes()
            path.write_bytes(GARBAGE[garbage])
            found, told = self.survivors(tmp_path, EARLIER)
            assert told or found == set(EARLIER)
            if not found:
                assert str(tmp_path) in told
                assert path.read_bytes() == GARBAGE[garbage], "it was changed"
            path.write_bytes(kept)

    @apart
    def test_a_store_of_a_newer_format_is_an_error(self, tmp_path: Path) -> None:
        self.fill(tmp_path, EARLIER)
        self.make_newer(tmp_path)
        before = [path.read_bytes() for path in self.files(tmp_path)]

        for read_only in (False, True):
            with pytest.raises(CheckpointError, match=r"(?i)upgrade"):
                self.make_store(tmp_path, read_only=read_only)

        assert [path.read_bytes() for path in self.files(tmp_path)] == before

    @apart
    def test_a_store_removed_while_it_is_open_is_an_error_or_made_anew(
        self, tmp_path: Path
    ) -> None:
        needs(self.private_files, "is not made of files")
        with self.opened(tmp_path) as store:
            store.put_many([record_of(0)])
            for path in tmp_path.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            try:
                store.put_many([record_of(1)])
            except CheckpointError as error:
                assert str(tmp_path) in str(error)
                return
            assert self.survivors(tmp_path, [1]) == ({1}, "")

    @apart
    def test_damage_is_told_once(self, tmp_path: Path) -> None:
        self.fill(tmp_path, EARLIER, extra=LAST_SIZE)
        pattern = b"pppppppp"
        path = next(p for p in self.files(tmp_path) if pattern in p.read_bytes())
        _flip_bit(path, path.read_bytes().rindex(pattern), 0)

        with pytest.warns(Warning) as caught, self.opened(tmp_path) as store:
            found = [store.get(key_of(n)) for n in EARLIER for _ in range(3)]

        assert found.count(None) == 3
        assert len(caught) == 1
        assert str(tmp_path) in str(caught[0].message)


def _places(files: dict[Path, bytes], count: int) -> list[tuple[Path, int, int]]:
    """Choose bits to flip, three of four in bytes that are not zero."""
    dice = random.Random(7)
    everywhere = [(path, n) for path, data in files.items() for n in range(len(data))]
    filled = [(path, n) for path, n in everywhere if files[path][n]]
    chosen = [dice.choice(everywhere) for _ in range(count // 4)]
    chosen += [dice.choice(filled) for _ in range(count - len(chosen))]
    return [(path, offset, dice.randrange(8)) for path, offset in chosen]


def _flip_bit(path: Path, offset: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))
