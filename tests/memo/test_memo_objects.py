"""Values of classes: what counts of them, and how a type is taught."""

from __future__ import annotations

import copyreg
import functools
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.errors import MemoKeyError
from jackfield.memo_keys import ValueHook, part_identity, with_parts
from jackfield_memo.key_maker import PythonKeyMaker

if TYPE_CHECKING:
    from types import ModuleType

    Importer = Callable[..., ModuleType]


def of(identity: PythonKeyMaker, value: object) -> str:
    return identity.value("app", "argument 'x'", value).hex()


def test_an_exception_is_the_same_where_dask_is_imported(
    identity: PythonKeyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_traceback(error: BaseException) -> Any:  # as ``tblib`` has it
        return ValueError, ("something else", error.args)

    for kind in (BaseException, ValueError):
        monkeypatch.delitem(copyreg.dispatch_table, kind, raising=False)
    before = of(identity, ValueError(1))
    for kind in (BaseException, ValueError):
        monkeypatch.setitem(copyreg.dispatch_table, kind, with_traceback)

    assert of(identity, ValueError(1)) == before
    assert of(identity, ValueError(2)) != before


# -- The class counts


def test_the_code_of_an_arguments_class_counts(
    identity: PythonKeyMaker, project: Importer
) -> None:
    found = []
    for body in ("return self.x", "return self.x  # it", "return -self.x"):
        sys.modules.pop("app", None)
        app = project(
            app="class Model:\n    def __init__(self, x):\n        self.x = x\n"
            f"    def run(self):\n        {body}\n"
        )
        found.append(of(identity, app.Model(1)))

    assert found[0] == found[1]
    assert found[0] != found[2]


def test_what_a_method_of_an_arguments_class_reaches_counts(
    identity: PythonKeyMaker, project: Importer
) -> None:
    found = []
    for rate in (1, 2):
        sys.modules.pop("app", None)
        app = project(
            app=f"RATE = {rate}\n"
            "class Model:\n    def run(self):\n        return RATE\n"
        )
        found.append(of(identity, [app.Model()]))

    assert found[0] != found[1]


def test_classes_of_one_name_and_content_are_told_apart(
    identity: PythonKeyMaker,
) -> None:
    def one() -> Any:
        @dataclass
        class Point:
            x: int

        return Point(1)

    def other() -> Any:
        @dataclass
        class Point:
            x: int

            def norm(self) -> int:
                return self.x

        return Point(1)

    assert of(identity, one()) == of(identity, one())
    assert of(identity, one()) != of(identity, other())


def test_a_class_that_is_not_where_its_name_says_counts_by_its_code(
    identity: PythonKeyMaker,
) -> None:
    found = []
    for rate in (1, 1, 2):
        names: dict[str, Any] = {}
        exec(f"class A:\n    def run(self):\n        return {rate}\n", names, names)
        bare: dict[str, Any] = {"__builtins__": __builtins__}
        exec(f"class A:\n    def run(self):\n        return {rate}\n", bare)
        made = make_dataclass("A", ["x"], namespace={"run": names["A"].run})
        found.append((of(identity, bare["A"]()), of(identity, made(1))))

    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
    assert found[0][1] != found[2][1]


# -- The content counts


def test_what_a_cached_property_keeps_does_not_count(identity: PythonKeyMaker) -> None:
    class Square:
        def __init__(self, side: int) -> None:
            self.side = side

        @functools.cached_property
        def area(self) -> int:
            return self.side**2

    fresh, used = Square(2), Square(2)
    assert used.area == 4

    assert of(identity, fresh) == of(identity, used)
    assert of(identity, fresh) != of(identity, Square(3))


def test_a_field_that_does_not_compare_counts(identity: PythonKeyMaker) -> None:
    @dataclass
    class Run:
        x: int
        seed: int = field(default=0, compare=False)

    assert Run(1, 2) == Run(1, 3)
    assert of(identity, Run(1, 2)) != of(identity, Run(1, 3))


def test_slots_and_attributes_count(identity: PythonKeyMaker) -> None:
    class Slotted:
        __slots__ = ("__dict__", "x")

        def __init__(self, x: int, y: int) -> None:
            self.x = x
            self.y = y

    found = [of(identity, Slotted(*two)) for two in ((1, 1), (1, 2), (2, 1), (2, 2))]

    assert len(set(found)) == 4


def test_attributes_of_derived_containers_count(identity: PythonKeyMaker) -> None:
    for kind in (list, dict, set, str, int, tuple, frozenset, bytearray):
        derived = type("Derived", (kind,), {})
        one, other = derived(), derived()
        one.tag, other.tag = 1, 2

        assert of(identity, one) != of(identity, other), kind
        other.tag = 1
        assert of(identity, one) == of(identity, other), kind


def test_the_order_of_attributes_does_not_matter(identity: PythonKeyMaker) -> None:
    class Any_:
        pass

    one, other = Any_(), Any_()
    one.__dict__.update(a=1, b=2)
    other.__dict__.update(b=2, a=1)

    assert of(identity, one) == of(identity, other)


# -- Teaching


def test_a_class_says_what_its_values_are_made_of(identity: PythonKeyMaker) -> None:
    class Connection:
        def __init__(self, url: str) -> None:
            self.url = url
            self.lock = threading.Lock()

        def __jackfield_hash__(self) -> object:
            return {"url": self.url}

    assert of(identity, Connection("a")) == of(identity, Connection("a"))
    assert of(identity, Connection("a")) != of(identity, Connection("b"))
    assert of(identity, Connection("a")) != of(identity, {"url": "a"})


def test_a_class_that_names_something_unknown_is_told_where(
    identity: PythonKeyMaker,
) -> None:
    class Connection:
        def __jackfield_hash__(self) -> object:
            return [threading.Lock()]

    with pytest.raises(MemoKeyError, match=r"at \[0\]\.__jackfield_hash__\(\)\[0\]"):
        of(identity, [Connection()])


class Foreign:
    def __init__(self, *parts: object) -> None:
        self.parts = parts
        self.lock = threading.Lock()


def plugged(hasher: Callable[[Any], bytes | None]) -> PythonKeyMaker:
    def value_hooks(kind: type) -> tuple[ValueHook, ...]:
        return (with_parts(hasher),) if issubclass(kind, Foreign) else ()

    return PythonKeyMaker(value_hooks=value_hooks, function_hooks=lambda: ())


def test_a_plugin_says_what_a_value_is() -> None:
    identity = plugged(lambda value: repr(value.parts).encode())

    assert of(identity, Foreign(1)) == of(identity, Foreign(1))
    assert of(identity, Foreign(1)) != of(identity, Foreign(2))
    assert of(identity, {"a": [Foreign(1)]}) != of(identity, {"a": [Foreign(2)]})


def test_a_plugin_may_leave_a_value_to_others() -> None:
    with pytest.raises(MemoKeyError, match="lock"):
        of(plugged(lambda value: None), Foreign(1))


def test_a_plugin_may_ask_for_the_identity_of_parts() -> None:
    identity = plugged(lambda value: part_identity(value.parts))

    assert of(identity, Foreign({3, 1}, "a")) == of(identity, Foreign({1, 3}, "a"))
    assert of(identity, Foreign(Foreign(1))) != of(identity, Foreign(Foreign(2)))
    with pytest.raises(MemoKeyError, match="lock"):
        of(identity, Foreign(threading.Lock()))


def test_a_value_that_contains_itself_by_way_of_a_plugin_has_an_identity() -> None:
    identity = plugged(lambda value: part_identity(value.parts))
    one, other = [Foreign(1, []), Foreign(1, [])], [Foreign(1, []), Foreign(1, [])]
    for ring in (one, other):
        ring[0].parts[1].append(ring[1])  # type: ignore[attr-defined]  # a list is there
        ring[1].parts[1].append(ring[0])  # type: ignore[attr-defined]  # a list is there

    assert of(identity, one) == of(identity, other)


@pytest.mark.parametrize("answer", [5, "text", [1]])
def test_a_plugin_that_answers_with_no_bytes_is_told(answer: Any) -> None:
    with pytest.raises(MemoKeyError, match="not bytes"):
        of(plugged(lambda value: answer), Foreign(1))


def test_a_plugin_that_raises_fails_the_call_only() -> None:
    def hasher(value: Any) -> bytes:
        raise ZeroDivisionError("no luck")

    with pytest.raises(MemoKeyError, match="no luck"):
        of(plugged(hasher), Foreign(1))


def test_parts_can_only_be_asked_for_by_plugins() -> None:
    with pytest.raises(RuntimeError, match="jackfield_hash_value"):
        part_identity(1)


# -- What stands for something else


@pytest.mark.parametrize(
    "make",
    [
        threading.Event,
        threading.Lock,
        lambda: open(__file__),  # noqa: PTH123, SIM115  (closed when it is dropped)
        lambda: (n for n in "a"),
        lambda: zip([1], [2], strict=True),
        sys._getframe,
        object,
    ],
)
def test_handles_and_iterators_are_refused(
    make: Callable[[], Any], identity: PythonKeyMaker
) -> None:
    value = make()

    with pytest.raises(MemoKeyError):
        of(identity, [value])
    if hasattr(value, "close"):
        value.close()


def test_shared_memory_is_refused_though_it_pickles(identity: PythonKeyMaker) -> None:
    from multiprocessing.shared_memory import SharedMemory

    memory = SharedMemory(create=True, size=8)
    try:
        with pytest.raises(MemoKeyError, match="outside itself"):
            of(identity, memory)
    finally:
        memory.close()
        memory.unlink()
