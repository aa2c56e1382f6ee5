"""Containers that stay beside their pickles, and who gets which of the two."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from jackfield_executors.processes.whole import MANY, Original, is_container
from jackfield_executors.remote.shelf import Unpacked
from jackfield_serialize import dumps

LARGE = 300_000  # of these, a pickle is large enough to stay


def numbers() -> dict[int, float]:
    return {n: float(n) for n in range(LARGE)}


def packed(value: Unpacked) -> tuple[Any, Any]:
    """Return the outcome as its process finds it again, and the pickle in it."""
    buffers: list[pickle.PickleBuffer] = []
    data = dumps(value, buffers)
    assert len(buffers) == 1
    with memoryview(buffers[0]) as view:
        owner: Any = view.obj
    return pickle.loads(data, buffers=[owner]), owner


def opened(outcome: Any) -> Any:
    from jackfield_executors.processes import whole

    kind, data, buffers = outcome
    assert kind == "large"
    return whole.opened(data, buffers)


@pytest.mark.parametrize(
    "make",
    [
        numbers,
        lambda: list(range(LARGE)),
        lambda: set(range(LARGE)),
        lambda: {str(n): (n % 2 == 0) or None for n in range(LARGE)},
        lambda: [b"%d" % n for n in range(LARGE)],
    ],
    ids=["dict", "list", "set", "texts", "bytes"],
)
def test_each_reader_gets_a_copy_of_its_own(make: Any) -> None:
    outcome, owner = packed(Unpacked(make()))
    assert type(owner) is Original

    first = opened(outcome)
    first.clear()

    assert opened(outcome) == make()
    assert type(opened(outcome)) is type(make())
    assert owner.whole.value == make()
    assert pickle.loads(owner) == make()


def test_what_somebody_else_has_does_not_stay() -> None:
    kept = numbers()

    outcome, owner = packed(Unpacked(kept))
    kept[0] = 1.0

    assert type(owner) is bytes
    assert opened(outcome) == numbers()


@pytest.mark.parametrize(
    "item", [[], (1,), bytearray(b"x"), type("Number", (int,), {})(3)], ids=repr
)
def test_what_could_be_changed_inside_does_not_stay(item: Any) -> None:
    _, owner = packed(Unpacked([*range(2 * LARGE), item]))

    assert type(owner) is bytes


def test_only_the_last_one_stays_and_the_others_are_read_from_their_pickles() -> None:
    (before, first), (_, second) = (packed(Unpacked(numbers())) for _ in range(2))

    assert first.whole.value is None
    assert second.whole.value == numbers()
    assert opened(before) == numbers()


def test_it_may_be_pickled_twice() -> None:
    value = Unpacked(numbers())
    packed(value)

    outcome, owner = packed(value)

    assert owner.whole.value is not None
    assert opened(outcome) == numbers()


def test_small_ones_and_those_of_other_types_are_packed_as_ever() -> None:
    class Own(dict[int, Any]):
        pass

    assert is_container(dict.fromkeys(range(MANY)))
    assert not is_container(dict.fromkeys(range(MANY - 1)))
    assert not is_container(Own(dict.fromkeys(range(MANY))))
    assert not is_container(b"x" * MANY)
