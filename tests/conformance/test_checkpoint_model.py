"""Whatever is done to a store, it holds what a dictionary would hold."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jackfield.abc import CheckpointRecord
from jackfield_checkpoint import pickle_log, sqlite

if TYPE_CHECKING:
    from jackfield.abc import CheckpointStore

NUMBERS = st.integers(0, 30)
BATCHES = st.lists(st.tuples(NUMBERS, st.binary(max_size=60)), max_size=12)


def key(number: int) -> bytes:
    return number.to_bytes(32, "little")


class Model(RuleBasedStateMachine):
    """Two stores on one place, and the dictionary that both should be."""

    scheme = ""

    def __init__(self) -> None:
        super().__init__()
        self.directory: Path = Path(tempfile.mkdtemp())
        self.held: dict[bytes, CheckpointRecord] = {}
        self.stores: list[CheckpointStore] = [self.open(), self.open()]

    def open(self, **options: Any) -> CheckpointStore:
        url = f"{self.scheme}:///{self.directory}/store"
        if self.scheme == "sqlite":
            store = sqlite.jackfield_open_checkpoint(url, options)
        else:
            store = pickle_log.jackfield_open_checkpoint(url, options)
        assert store is not None
        return store

    @rule(batch=BATCHES, by=st.integers(0, 1), size=st.sampled_from([1, 30_000]))
    def put(self, batch: list[tuple[int, bytes]], by: int, size: int) -> None:
        records = [
            CheckpointRecord(key(n), value * size, f"app{n}", n / 2, {"x": value.hex()})
            for n, value in batch
        ]
        self.stores[by].put_many(records)
        self.held.update((record.key, record) for record in records)

    @rule(numbers=st.lists(NUMBERS), by=st.integers(0, 1))
    def delete(self, numbers: list[int], by: int) -> None:
        self.stores[by].delete(key(number) for number in numbers)
        for number in numbers:
            self.held.pop(key(number), None)

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = self.open()

    @precondition(lambda self: self.scheme == "pickle")
    @rule()
    def lose_the_index(self) -> None:
        for path in (self.directory / "store").glob("*.run"):
            path.unlink()

    @rule(number=NUMBERS, by=st.integers(0, 1))
    def get(self, number: int, by: int) -> None:
        assert self.stores[by].get(key(number)) == self.held.get(key(number))

    @invariant()
    def both_hold_it(self) -> None:
        for store in self.stores:
            entries = {
                one.key: (one.app, one.created, one.size) for one in store.scan()
            }
            assert entries == {
                one.key: (one.app, one.created, len(one.value))
                for one in self.held.values()
            }
            assert sorted(store.keys()) == sorted(self.held)

    def teardown(self) -> None:
        for store in self.stores:
            assert {k: store.get(k) for k in self.held} == self.held
            store.close()
        shutil.rmtree(self.directory)


@pytest.mark.parametrize(
    "examples", [15, pytest.param(300, marks=pytest.mark.slow)], ids=["short", "long"]
)
@pytest.mark.parametrize("scheme", ["sqlite", "pickle"])
def test_a_store_is_a_dictionary(scheme: str, examples: int) -> None:
    machine = type("Machine", (Model,), {"scheme": scheme})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
