"""Futures among arguments: where they are found, and what stands in their place."""

from __future__ import annotations

import copy
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jackfield as jf
from jackfield.graph.arguments import find, futures_in, substitute

LIMIT_S = 60.0


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Plain:
    x: Any
    y: Any = 0


@dataclass(frozen=True)
class Frozen:
    x: Any
    y: Any = 0


@dataclass(frozen=True, slots=True)
class Slotted:
    x: Any


@dataclass
class Computed:
    x: Any
    doubled: Any = field(init=False, default=None)
    calls: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.calls += 1


class Row(list[Any]):
    def __init__(self, name: str, items: list[Any]) -> None:
        super().__init__(items)
        self.name = name


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def result(future: Future[Any]) -> Any:
    return future.result(0)


def put(value: Any) -> Any:
    """Return a value with its futures replaced, as a task would get it."""
    (new,), _ = substitute((value,), {}, result)
    return new


# -- where futures are found


SHAPES: dict[str, Callable[[Any], Any]] = {
    "itself": lambda f: f,
    "list": lambda f: [1, f],
    "tuple": lambda f: (1, f),
    "named tuple": lambda f: Pair(1, f),
    "dict value": lambda f: {"k": f},
    "dict key": lambda f: {f: "v"},
    "set": lambda f: {1, f},
    "frozenset": lambda f: frozenset({1, f}),
    "dataclass": Plain,
    "frozen dataclass": Frozen,
    "slotted dataclass": Slotted,
    "ordered dict": lambda f: OrderedDict(k=f),
    "deep": lambda f: [{"k": (Plain([{f}]),)}],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_future_in_any_container_is_found_and_replaced(
    shape: Callable[[Any], Any],
) -> None:
    future = done("new")
    value = shape(future)

    found = find((value,), {})

    assert found is not None
    assert list(found.futures) == [future]
    assert put(value) == shape("new")
    assert type(put(value)) is type(shape("new"))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_app_gets_results_for_futures_in_any_container(
    kernel: jf.DataFlowKernel, shape: Callable[[Any], Any]
) -> None:
    held = threading.Event()

    def made() -> str:
        assert held.wait(LIMIT_S)
        return "new"

    by_position = kernel.submit(lambda value: value, shape(kernel.submit(made)))
    by_name = kernel.submit(lambda *, value: value, value=shape(kernel.submit(made)))
    held.set()

    assert by_position.result(LIMIT_S) == shape("new")
    assert by_name.result(LIMIT_S) == shape("new")


def test_each_future_is_listed_once_in_the_order_met() -> None:
    a, b, c = done(1), done(2), done(3)

    found = find((a, [b, a]), {"k": {"x": c, "y": b}})

    assert found is not None
    assert list(found.futures) == [a, b, c]


def test_plain_arguments_need_no_waiting() -> None:
    assert find((1, "text", [1, 2], {"a": (None,)}, Plain(1)), {"k": {3}}) is None


def test_classes_and_modules_are_not_looked_into() -> None:
    assert find((Plain, threading, Pair), {}) is None


def test_shallow_looks_at_arguments_and_inputs_only() -> None:
    a, b, c, nested = done(1), done(2), done(3), done(4)
    args = (a, [nested])
    kwargs = {"k": b, "inputs": [c, [nested]], "others": [nested]}

    found = find(args, kwargs, deep=False)
    new_args, new_kwargs = substitute(args, kwargs, result, deep=False)

    assert found is not None
    assert list(found.futures) == [a, b, c]
    assert new_args == (1, [nested])
    assert new_kwargs == {"k": 2, "inputs": [3, [nested]], "others": [nested]}


def test_a_shallow_kernel_passes_nested_futures_through() -> None:
    with jf.load({"dependencies": "shallow", "run_dir": "runs"}) as kernel:
        inner = kernel.submit(int, 5)

        got = kernel.submit(lambda a, inputs: (a, inputs), [inner], inputs=[inner])

        assert got.result(LIMIT_S) == ([inner], [5])


def test_a_future_put_into_a_list_after_the_call_is_an_error_not_none(
    kernel: jf.DataFlowKernel,
) -> None:
    gate = threading.Event()
    first = kernel.submit(gate.wait, LIMIT_S)
    values = [first]
    total = kernel.submit(len, values)
    values.append(kernel.submit(lambda x: x, first))
    late: Future[Any] = Future()
    values.append(late)  # type: ignore[arg-type]  # any future is meant
    gate.set()

    with pytest.raises(ValueError, match="after the call"):
        total.result(LIMIT_S)


# -- quote


def test_a_quoted_container_arrives_untouched(kernel: jf.DataFlowKernel) -> None:
    inner = kernel.submit(int, 5)
    values = [inner, {"k": inner}]

    got = kernel.submit(lambda quoted, plain: (quoted, plain), jf.quote(values), inner)

    assert got.result(LIMIT_S)[0] is values
    assert got.result(LIMIT_S)[1] == 5


def test_a_quote_inside_a_container_is_opened_too() -> None:
    future = done(1)

    assert put([jf.quote([future]), future]) == [[future], 1]


def test_a_quoted_future_is_not_waited_for(kernel: jf.DataFlowKernel) -> None:
    never: Future[int] = Future()

    got = kernel.submit(lambda future: future, jf.quote(never))

    assert got.result(LIMIT_S) is never


def test_a_task_with_nothing_but_a_quote_gets_its_value(
    kernel: jf.DataFlowKernel,
) -> None:
    assert kernel.submit(len, jf.quote([1, 2])).result(LIMIT_S) == 2


# -- what is kept


@pytest.mark.parametrize(
    "value",
    [
        [1, [2]],
        (1, (2,)),
        Pair(1, 2),
        {"a": [1]},
        {1, 2},
        frozenset({1}),
        Plain([1]),
        OrderedDict(a=1),
        defaultdict(list, a=[1]),
        Counter("aab"),
        Row("r", [1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_container_without_futures_stays_the_very_object(value: Any) -> None:
    beside = done(1)

    (kept, _), _ = substitute((value, beside), {}, result)

    assert kept is value


def test_the_part_without_futures_stays_the_very_object() -> None:
    kept = [1, {"a": 2}]

    new = put([kept, done(3)])

    assert new == [[1, {"a": 2}], 3]
    assert new[0] is kept


def test_the_callers_containers_are_not_changed() -> None:
    future = done(1)
    value: list[Any] = [{"k": future}, Plain(future)]
    before = copy.copy(value)

    put(value)

    assert value == before
    assert value[0]["k"] is future


def test_one_container_in_two_places_stays_one() -> None:
    shared = [done(1)]

    (first, second), kwargs = substitute((shared, [shared]), {"k": shared}, result)

    assert first == [1]
    assert second[0] is first
    assert kwargs["k"] is first


def test_shared_parts_cost_nothing() -> None:
    value: Any = [done(1)]
    for _ in range(200):  # 2**200 paths
        value = [value, value]

    new = put(value)

    for _ in range(200):
        assert new[0] is new[1]
        new = new[0]
    assert new == [1]


def test_a_default_dict_keeps_its_factory() -> None:
    new = put(defaultdict(list, a=done(1)))

    assert new == {"a": 1}
    assert new["b"] == []


def test_a_counter_keeps_its_counts() -> None:
    new = put(Counter({"a": done(3), done("b"): 2}))

    assert type(new) is Counter
    assert new == {"a": 3, "b": 2}


def test_an_ordered_dict_keeps_its_order() -> None:
    new = put(OrderedDict([("b", done(1)), ("a", 2), (done("c"), 3)]))

    assert list(new.items()) == [("b", 1), ("a", 2), ("c", 3)]


def test_a_list_of_another_class_keeps_what_its_class_adds() -> None:
    new = put(Row("name", [1, done(2)]))

    assert type(new) is Row
    assert new == [1, 2]
    assert new.name == "name"


def test_a_dataclass_is_not_initialised_again() -> None:
    value = Computed(done(1))
    value.doubled = done(2)

    new = put(value)

    assert (new.x, new.doubled, new.calls) == (1, 2, 1)


def test_a_dataclass_without_one_of_its_fields_passes() -> None:
    value = Plain(done(1))
    del value.y

    assert put(value).x == 1


def test_futures_that_become_equal_keys_leave_the_last_value() -> None:
    assert put({done("k"): 1, "k": 2}) == {"k": 2}


# -- depth, cycles, size


DEEP = 100_000


def test_a_very_deep_value_without_futures_passes() -> None:
    value: list[Any] = []
    for _ in range(DEEP):
        value = [value]
    beside = done(1)

    assert futures_in(value) == []
    (kept, one), _ = substitute((value, beside), {}, result)

    assert kept is value
    assert one == 1


def test_a_future_under_very_many_containers_is_found_and_replaced() -> None:
    future = done("new")
    value: Any = future
    for _ in range(DEEP):
        value = (value,)

    assert futures_in(value) == [future]
    new = put(value)

    for _ in range(DEEP):
        (new,) = new
    assert new == "new"


def test_a_cycle_without_futures_passes() -> None:
    loop: list[Any] = [1]
    loop.append({"loop": loop})

    assert find((loop,), {}) is None
    (kept, _), _ = substitute((loop, done(1)), {}, result)

    assert kept is loop


def test_a_cycle_beside_a_future_passes() -> None:
    loop: list[Any] = [jf.File("/local.txt")]
    loop.append(loop)

    new = put({"loop": loop, "future": done(1)})

    assert new["loop"] is loop


def test_a_cycle_with_a_future_in_it_fails_and_says_what_to_do(
    kernel: jf.DataFlowKernel,
) -> None:
    loop: list[Any] = [kernel.submit(int)]
    loop.append({"loop": loop})

    failed = kernel.submit(len, loop)

    with pytest.raises(ValueError, match="quote"):
        failed.result(LIMIT_S)


def test_a_very_long_list_is_looked_through() -> None:
    future = done(-1)
    values: list[Any] = [*range(300_000), future]

    assert futures_in(values) == [future]
    assert put(values)[-2:] == [299_999, -1]


# -- generated structures, against a plain recursive reference


def reference(value: Any) -> Any:
    if isinstance(value, Future):
        return value.result(0)
    if isinstance(value, Pair):
        return Pair(*map(reference, value))
    if isinstance(value, Plain | Frozen):
        return type(value)(reference(value.x), reference(value.y))
    if isinstance(value, dict):
        return {reference(k): reference(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(map(reference, value))
    return value


def futures_by_reference(value: Any) -> set[Future[Any]]:
    if isinstance(value, Future):
        return {value}
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, Plain | Frozen):
        parts = [value.x, value.y]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    return set().union(*map(futures_by_reference, parts))


plain_leaves = st.integers(0, 9) | st.text(max_size=2) | st.none()
futures = plain_leaves.map(done)
hashables: st.SearchStrategy[Hashable] = st.recursive(
    plain_leaves | futures,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(inner, max_size=3)
        | st.builds(Pair, inner, inner)
        | st.builds(Frozen, inner, inner)
    ),
    max_leaves=6,
)
structures: st.SearchStrategy[Any] = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
        | st.builds(Plain, inner, inner)
        | st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(args=st.lists(structures, max_size=3).map(tuple), named=structures)
def test_find_and_substitute_agree_with_the_reference(
    args: tuple[Any, ...], named: Any
) -> None:
    wanted = futures_by_reference((*args, named))

    found = find(args, {"named": named})
    new_args, new_kwargs = substitute(args, {"named": named}, result)

    assert set(found.futures if found else ()) == wanted
    assert new_args == reference(args)
    assert new_kwargs == {"named": reference(named)}
    for old, new in zip((*args, named), (*new_args, *new_kwargs.values()), strict=True):
        if not futures_by_reference(old):
            assert new is old


# -- containers of other sorts, and what only looks like one


@dataclass
class Table(dict[str, Any]):
    """A dataclass that is a dict as well."""

    title: Any = None


@dataclass
class TitledRow(list[Any]):
    title: Any = None


def test_a_dataclass_that_is_a_dict_has_items_and_fields_replaced() -> None:
    table = Table(title=done("t"))
    table["x"] = done(1)

    new = put(table)

    assert (type(new), dict(new), new.title) == (Table, {"x": 1}, "t")
    assert isinstance(table["x"], Future)


def test_a_dataclass_that_is_a_list_has_items_and_fields_replaced() -> None:
    row = TitledRow(title=done("t"))
    row += [1, done(2)]
    only_field = TitledRow(title=done("u"))
    only_field.append(3)

    new, other = put([row, only_field])

    assert (type(new), list(new), new.title) == (TitledRow, [1, 2], "t")
    assert (list(other), other.title) == ([3], "u")


def test_a_deque_has_its_items_replaced_and_keeps_its_length() -> None:
    queue = deque([done(1), 2], maxlen=5)

    new = put(queue)

    assert (new, new.maxlen) == (deque([1, 2]), 5)
    assert put(deque([1])) == deque([1])


def test_classes_of_attrs_have_their_fields_replaced() -> None:
    attrs = pytest.importorskip("attrs")
    plain = attrs.make_class("Plain", ["x", "y"])
    frozen = attrs.make_class("Frozen", ["x"], frozen=True, slots=True)

    new = put([plain(done(1), 2), frozen(done(3))])

    assert new == [plain(1, 2), frozen(3)]


def test_models_of_pydantic_have_their_fields_replaced() -> None:
    class Model:
        """Declares its fields as pydantic does, and allows no assignment."""

        __pydantic_fields__ = {"x": None, "y": None}

        def __init__(self, **fields: Any) -> None:
            vars(self).update(fields)

        def __setattr__(self, name: str, value: Any) -> None:
            raise TypeError("it is frozen")

    new = put(Model(x=done(1), y=[done(2)]))

    assert vars(new) == {"x": 1, "y": [2]}


class Lazy:
    """A proxy of what takes long to load: whoever asks for its class loads it."""

    @property
    def __class__(self) -> Any:
        raise AssertionError("it was loaded")

    @__class__.setter
    def __class__(self, value: Any) -> None: ...

    def __reduce__(self) -> Any:
        return Lazy, ()


def test_a_lazy_proxy_is_not_touched(kernel: jf.DataFlowKernel) -> None:
    proxy = Lazy()

    def is_proxy(*args: Any, **_: Any) -> bool:
        return all(type(one) is Lazy for one in args)

    first = kernel.submit(is_proxy, proxy, x=[proxy], label="x")
    give = kernel.submit(Lazy)
    second = kernel.submit(is_proxy, give, proxy)

    assert first.result(LIMIT_S) is True
    assert second.result(LIMIT_S) is True
    assert put({"x": [proxy, done(1)]})["x"] == [proxy, 1]


def test_a_lazy_proxy_is_not_touched_on_its_way_to_a_worker(tmp_path: Path) -> None:
    executor = {"plugin": "processes", "workers": 1}

    def is_proxy(one: Any) -> bool:
        return type(one).__name__ == "Lazy"

    with jf.load(executors={"one": executor}, run_dir=tmp_path) as kernel:
        assert kernel.submit(is_proxy, Lazy()).result(LIMIT_S) is True
