"""Checkpoint store conformance: several at once, and processes that die."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from jackfield_testing.checkpoints.case import (
    CHILD_LIMIT_S,
    LONG_LIMIT_S,
    CheckpointStoreCase,
)
from jackfield_testing.checkpoints.child import key_of, record_of

if TYPE_CHECKING:
    from pathlib import Path

WRITERS = 3
EACH = 300
LONGEST_KILL_S = 0.03
START_S = 1.0


class Sharing(CheckpointStoreCase):
    """Two kernels and more on one store."""

    def test_each_of_two_stores_sees_what_the_other_puts(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as one, self.opened(tmp_path) as other:
            for number in range(0, 40, 2):
                one.put_many([record_of(number)])
                assert other.get(key_of(number)) == record_of(number)
                other.put_many([record_of(number + 1)])
                assert one.get(key_of(number + 1)) == record_of(number + 1)
            one.delete([key_of(1)])
            assert other.get(key_of(1)) is None
            assert set(one.keys()) == set(other.keys())
            assert len(list(other.keys())) == 39

    def test_one_that_only_reads_sees_what_another_puts(self, tmp_path: Path) -> None:
        with (
            self.opened(tmp_path) as writer,
            self.opened(tmp_path, read_only=True) as reader,
        ):
            for number in range(20):
                writer.put_many([record_of(number, extra=number * 1000)])
                assert reader.get(key_of(number)) == record_of(number, number * 1000)

    def test_one_that_closes_leaves_the_other_working(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as one:
            with self.opened(tmp_path) as other:
                other.put_many([record_of(0)])
            one.put_many([record_of(1)])
            assert one.get(key_of(0)) == record_of(0)
        assert self.survivors(tmp_path, [0, 1]) == ({0, 1}, "")

    def test_space_given_back_by_one_does_not_hurt_another(
        self, tmp_path: Path
    ) -> None:
        numbers = range(100)
        self.fill(tmp_path, numbers, extra=50_000)

        with (
            self.opened(tmp_path) as one,
            self.opened(tmp_path) as other,
            self.opened(tmp_path, read_only=True) as reader,
        ):
            assert other.get(key_of(99)) == record_of(99, 50_000)
            one.delete([key_of(n) for n in numbers[10:]])
            other.put_many([record_of(n) for n in range(200, 210)])
            one.put_many([record_of(n) for n in range(210, 220)])
            for store in (one, other, reader):
                assert store.get(key_of(50)) is None
                assert store.get(key_of(5)) == record_of(5, 50_000)
                assert store.get(key_of(205)) == record_of(205)
                assert store.get(key_of(215)) == record_of(215)
                assert len(set(store.keys())) == 30

    def test_processes_that_write_at_once_lose_nothing(self, tmp_path: Path) -> None:
        writers = [
            self.start(tmp_path, "write", start=n * EACH, count=EACH, batch=7)
            for n in range(WRITERS)
        ]
        answers = [self.answer(writer) for writer in writers]

        assert answers == [{"lost": []}] * WRITERS
        numbers = range(WRITERS * EACH)
        assert self.survivors(tmp_path, numbers) == (set(numbers), "")

    def test_processes_that_write_the_same_agree(self, tmp_path: Path) -> None:
        writers = [
            self.start(tmp_path, "write", start=0, count=EACH, batch=11) for _ in "12"
        ]
        answers = [self.answer(writer) for writer in writers]

        assert answers == [{"lost": []}] * 2
        assert self.survivors(tmp_path, range(EACH)) == (set(range(EACH)), "")
        with self.opened(tmp_path) as store:
            assert len(list(store.keys())) == EACH

    def test_processes_that_make_the_store_at_once_make_one(
        self, tmp_path: Path
    ) -> None:
        at = time.time() + START_S
        makers = [self.start(tmp_path, "write_one", number=n, at=at) for n in range(4)]
        answers = [self.answer(maker) for maker in makers]

        assert answers == [{"lost": []}] * 4
        assert self.survivors(tmp_path, range(4)) == (set(range(4)), "")

    def test_a_process_killed_while_it_writes_loses_nothing_acknowledged(
        self, tmp_path: Path
    ) -> None:
        answer = self.child(
            tmp_path, "kill", rounds=self.short_kills, longest=LONGEST_KILL_S, seed=1
        )

        assert answer["acknowledged"] > 0
        assert (answer["lost"], answer["wrong"]) == ([], [])

    @pytest.mark.slow
    def test_hundreds_of_processes_killed_lose_nothing_acknowledged(
        self, tmp_path: Path
    ) -> None:
        killing = self.start(
            tmp_path, "kill", rounds=self.kills, longest=LONGEST_KILL_S, seed=2
        )
        answer = self.answer(killing, LONG_LIMIT_S)

        assert answer["acknowledged"] > self.kills
        assert (answer["lost"], answer["wrong"]) == ([], [])

    def test_a_forked_process_keeps_its_hands_off(self, tmp_path: Path) -> None:
        answer = self.child(tmp_path, "fork")

        assert answer["child"]["refused"], answer["child"]
        assert answer["kept"] == [True, True]
        assert self.survivors(tmp_path, [0, 1]) == ({0, 1}, "")

    def test_a_program_that_forgets_to_close_ends_quietly(self, tmp_path: Path) -> None:
        with self.start(tmp_path, "forget") as process:
            try:
                out, errors = process.communicate(timeout=CHILD_LIMIT_S)
            finally:
                process.kill()

        assert (process.returncode, errors) == (0, "")
        assert "true" in out
        assert self.survivors(tmp_path, [0]) == ({0}, "")
