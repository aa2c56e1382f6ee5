"""Equal calls share one execution; what is not equal never does."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import CheckpointRecord, CheckpointStore
from jackfield.errors import CheckpointWarning, MemoKeyError

LIMIT_S = 60.0

Load = Callable[..., jf.DataFlowKernel]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a kernel that keeps results in memory, if it is not told otherwise."""

    def load(*plugins: object, **options: Any) -> jf.DataFlowKernel:
        options.setdefault(
            "executors", {"threads": {"plugin": "threads", "workers": 4}}
        )
        options.setdefault("checkpoint", {"store": "memory"})
        options.setdefault("exit_grace", 0.2)
        return jf.load(jf.Config(run_dir=tmp_path / "runs", plugins=plugins, **options))

    return load


class Calls:
    """Counts calls; holds them until it is opened."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)

    def __call__(self, value: Any) -> Any:
        self.values.append(value)
        self.begun.release()
        assert self.gate.wait(LIMIT_S)
        return value

    def wait_begun(self) -> None:
        assert self.begun.acquire(timeout=LIMIT_S)


CALLS: dict[int, Calls] = {}


@pytest.fixture
def calls() -> Iterator[Calls]:
    """What the apps below count with; their ``version`` keeps it out of their keys."""
    CALLS[0] = Calls()
    yield CALLS[0]
    CALLS.clear()


@jf.python_app(cache=True, version="1")
def record(value: Any, *_: Any, **__: Any) -> Any:
    return CALLS[0](value)


@jf.python_app(cache=True, version="1")
def fail(value: Any) -> None:
    CALLS[0](value)
    raise ValueError(f"failed for {value}")


# -- Sharing --------------------------------------------------------------------------


def test_calls_in_flight_share_one_execution(load: Load, calls: Calls) -> None:
    calls.gate.clear()
    with load() as kernel:
        futures = [record(1) for _ in range(20)]
        calls.wait_begun()
        futures += [record(1) for _ in range(20)]
        calls.gate.set()

    assert [future.result(0) for future in futures] == [1] * 40
    assert calls.values == [1]
    assert kernel.task_state_counts[jf.TaskState.MEMOIZED] == 39


def test_a_later_call_gets_the_earlier_result(load: Load, calls: Calls) -> None:
    with load():
        assert record([1, {"a": 2}]).result(LIMIT_S) == [1, {"a": 2}]
        future = record([1, {"a": 2}])

        assert future.result(LIMIT_S) == [1, {"a": 2}]
        assert future.task_status() == "memoized"
    assert len(calls.values) == 1


def test_results_of_tasks_count_as_their_values(load: Load, calls: Calls) -> None:
    with load():
        assert record(record(5)).result(LIMIT_S) == 5
    assert calls.values == [5]


def test_a_failure_is_shared_by_those_who_wait_and_not_kept(
    load: Load, calls: Calls
) -> None:
    calls.gate.clear()
    with load():
        futures = [fail(1) for _ in range(5)]
        calls.wait_begun()
        calls.gate.set()
        assert all(future.exception(LIMIT_S) for future in futures)
        later = fail(1)

    assert isinstance(later.exception(0), ValueError)
    assert len(calls.values) == 2
    assert len({id(future.exception(0)) for future in futures}) == 1


def test_who_comes_after_a_failure_may_succeed(load: Load, calls: Calls) -> None:
    @jf.python_app(cache=True, version="1")
    def second_time() -> str:
        CALLS[0](1)
        if len(CALLS[0].values) == 1:
            raise ValueError("first")
        return "second"

    calls.gate.clear()
    with load():
        futures = [second_time() for _ in range(4)]
        calls.wait_begun()
        calls.gate.set()
        assert all(future.exception(LIMIT_S) for future in futures)
        futures += [second_time() for _ in range(4)]

    outcomes = [future.exception(0) or future.result(0) for future in futures]
    assert [str(outcome) for outcome in outcomes] == ["first"] * 4 + ["second"] * 4
    assert len(calls.values) == 2


def test_a_retry_counts_as_the_same_execution(load: Load, calls: Calls) -> None:
    @jf.python_app(cache=True, version="1", retries=1)
    def second_time() -> str:
        CALLS[0](1)
        if len(CALLS[0].values) == 1:
            raise ValueError("first")
        return "second"

    calls.gate.clear()
    with load():
        futures = [second_time() for _ in range(4)]
        calls.wait_begun()
        calls.gate.set()

    assert [future.result(0) for future in futures] == ["second"] * 4
    assert len(calls.values) == 2


def test_cancelling_the_first_lets_the_others_run(load: Load, calls: Calls) -> None:
    gate = threading.Event()
    one = {"threads": {"plugin": "threads", "workers": 1}}
    with load(executors=one) as kernel:
        kernel.submit(gate.wait, LIMIT_S)
        first = record(1)
        others = [record(1) for _ in range(3)]
        deadline = time.monotonic() + LIMIT_S
        while not first.cancel():  # it may be on its way to the executor
            assert time.monotonic() < deadline
        gate.set()

    assert first.cancelled()
    assert [future.result(0) for future in others] == [1, 1, 1]
    assert calls.values == [1]


def test_cancelling_one_that_waits_cancels_it_alone(load: Load, calls: Calls) -> None:
    calls.gate.clear()
    with load():
        first = record(1)
        calls.wait_begun()
        second, third = record(1), record(1)
        assert second.cancel()
        calls.gate.set()

    assert second.cancelled()
    assert (first.result(0), third.result(0)) == (1, 1)
    assert calls.values == [1]


def test_the_end_of_the_kernel_ends_those_that_wait_for_another(
    load: Load, calls: Calls
) -> None:
    calls.gate.clear()
    kernel = load()
    futures = [record(1) for _ in range(3)]
    calls.wait_begun()

    kernel.cleanup(wait=False)

    assert all(future.cancelled() for future in futures)
    calls.gate.set()


def test_a_kernel_can_be_told_to_cache_nothing(load: Load, calls: Calls) -> None:
    with load(app_cache=False):
        assert [record(1).result(LIMIT_S) for _ in range(3)] == [1] * 3
    assert calls.values == [1] * 3


# -- What is equal --------------------------------------------------------------------


def test_two_lambdas_never_share(load: Load) -> None:
    with load() as kernel:
        plus = kernel.submit(lambda x: x + 1, 5, cache=True)
        times = kernel.submit(lambda x: x * 100, 5, cache=True)

    assert (plus.result(0), times.result(0)) == (6, 500)


def test_two_closures_of_one_factory_never_share(load: Load) -> None:
    def adder(number: int) -> Callable[[int], int]:
        def add(x: int) -> int:
            return x + number

        return add

    with load() as kernel:
        futures = [kernel.submit(adder(n), 5, cache=True) for n in range(3)]

    assert [future.result(0) for future in futures] == [5, 6, 7]


def test_functions_of_one_name_as_arguments_never_share(load: Load) -> None:
    def make(body: str) -> Callable[[int], int]:
        space: dict[str, Any] = {"__name__": __name__}
        exec(f"def f(x): return {body}", space)
        return space["f"]  # type: ignore[no-any-return]  # it is one

    @jf.python_app(cache=True)
    def call(function: Callable[[int], int], value: int) -> int:
        return function(value)

    with load():
        plus = call(lambda x: x + 1, 5)
        times = call(lambda x: x * 100, 5)
        made = [call(make(body), 5) for body in ("x + 1", "x * 100")]

    for future, right in zip([plus, times, *made], [6, 500, 6, 500], strict=True):
        error = future.exception(0)
        assert isinstance(error, MemoKeyError) or future.result(0) == right


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("1", b"1"),
        ([1, 2], (1, 2)),
        ({1, 2}, frozenset({1, 2})),
        ([[1], 2], [[1, 2]]),
        (["ab", "c"], ["a", "bc"]),
        ({"a": 1}, [("a", 1)]),
        (None, "None"),
    ],
    ids=repr,
)
def test_values_that_only_look_alike_are_told_apart(
    load: Load, calls: Calls, one: object, other: object
) -> None:
    with load():
        assert record(one).result(LIMIT_S) == one
        second = record(other).result(LIMIT_S)

    assert repr(second) == repr(other)
    assert len(calls.values) == 2


def test_the_order_in_a_set_does_not_count(load: Load, calls: Calls) -> None:
    words = [f"word {number}" for number in range(100)]
    with load():
        record(set(words)).result(LIMIT_S)
        record({*words[50:], *words[:50]}).result(LIMIT_S)
        record([frozenset(words[:5])]).result(LIMIT_S)
        record([frozenset(reversed(words[:5]))]).result(LIMIT_S)

    assert len(calls.values) == 2


def test_the_order_of_keywords_does_not_count(load: Load, calls: Calls) -> None:
    with load():
        record(1, a=1, b=2).result(LIMIT_S)
        record(1, b=2, a=1).result(LIMIT_S)
        record(1, a=2, b=1).result(LIMIT_S)

    assert len(calls.values) == 2


def test_an_argument_that_is_to_be_ignored_is(load: Load, calls: Calls) -> None:
    @jf.python_app(cache=True, version="1", ignore_for_cache=["verbose"])
    def quiet(value: int, verbose: object = None) -> Any:
        return CALLS[0](value)

    with load():
        for verbose in (1, 2, threading.Lock()):
            assert quiet(1, verbose=verbose).result(LIMIT_S) == 1
        assert quiet(2, verbose=1).result(LIMIT_S) == 2

    assert calls.values == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "keywords", "named"),
    [
        ((threading.Lock(),), {}, "value"),
        ((1, [threading.Lock()]), {}, ""),
        ((1,), {"extra": {"deep": threading.Lock()}}, "extra"),
    ],
    ids=["first", "second", "keyword"],
)
def test_an_argument_without_an_identity_is_named(
    load: Load, arguments: tuple[Any, ...], keywords: dict[str, Any], named: str
) -> None:
    with load():
        error = record(*arguments, **keywords).exception(LIMIT_S)

    assert isinstance(error, MemoKeyError)
    assert error.task == "record"
    assert "argument" in error.what
    assert named in error.what
    assert "ignore_for_cache" in str(error)


def test_a_file_counts_by_what_is_in_it(
    load: Load, calls: Calls, tmp_path: Path
) -> None:
    path = tmp_path / "data"
    file = jf.File(path)
    with load():
        path.write_text("one")
        record(file).result(LIMIT_S)
        record(jf.File(path)).result(LIMIT_S)
        assert len(calls.values) == 1

        path.write_text("two, longer")
        record(file).result(LIMIT_S)
        assert len(calls.values) == 2

        path.write_text("two, LONGER")  # the same size, and a later time
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 10_000_000))
        record(file).result(LIMIT_S)

    assert len(calls.values) == 3


class Opaque:
    """Equal by name, and of no use to a pickler."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


class Knows:
    """Gives ``Opaque`` an identity."""

    @jf.hookimpl
    def jackfield_hash_value(self, value: object) -> bytes | None:
        return value.name.encode() if isinstance(value, Opaque) else None


def test_an_identity_of_a_plugin_counts(load: Load, calls: Calls) -> None:
    @jf.python_app(cache=True, version="1")
    def note(value: object) -> None:
        CALLS[0](value)

    with load(Knows()):
        for name in ("a", "a", "b"):
            note(Opaque(name)).result(LIMIT_S)
            note([{"deep": Opaque(name)}]).result(LIMIT_S)

    assert len(calls.values) == 4


def test_an_identity_of_a_function_of_a_plugin_counts(load: Load, calls: Calls) -> None:
    class Same:
        @jf.hookimpl
        def jackfield_hash_function(self, function: object) -> bytes:
            return b"all the same"

    with load(Same()) as kernel:
        first = kernel.submit(lambda x: x + 1, 5, cache=True)
        assert first.result(LIMIT_S) == 6
        named = kernel.submit(lambda x: x * 100, 5, cache=True)

    assert named.result(0) == 6


# -- Stores ---------------------------------------------------------------------------


class Store(CheckpointStore):
    """In memory; raises what it is told to."""

    def __init__(self, **errors: BaseException) -> None:
        self.errors = errors
        self.records: dict[bytes, CheckpointRecord] = {}
        self.asked = 0
        self.closed = False

    def _raise(self, name: str) -> None:
        if name in self.errors:
            raise self.errors[name]

    def get(self, key: bytes) -> CheckpointRecord | None:
        self.asked += 1
        self._raise("get")
        return self.records.get(key)

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        self._raise("put_many")
        self.records.update({record.key: record for record in records})

    def keys(self) -> Iterator[bytes]:
        return iter(list(self.records))

    def delete(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self.records.pop(key, None)

    def close(self) -> None:
        self.closed = True
        self._raise("close")


class Opens:
    """Opens a store for ``here:``."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @jf.hookimpl
    def jackfield_open_checkpoint(self, url: str) -> Store | None:
        return self.store if url.startswith("here:") else None


@pytest.fixture
def load_store(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Store], jf.DataFlowKernel]:
    """Load a kernel with a store; its signing key goes with the test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def load_store(store: Store) -> jf.DataFlowKernel:
        return load(Opens(store), checkpoint={"store": "here:x"})

    return load_store


LoadStore = Callable[[Store], jf.DataFlowKernel]


def test_a_store_is_written_and_read_by_the_next_run(
    load_store: LoadStore, calls: Calls
) -> None:
    store = Store()
    with load_store(store):
        assert record([1]).result(LIMIT_S) == [1]
    assert store.closed
    assert len(store.records) == 1

    with load_store(store):
        future = record([1])
        assert future.result(LIMIT_S) == [1]
        assert record([2]).result(LIMIT_S) == [2]

    assert future.task_status() == "memoized"
    assert calls.values == [[1], [2]]


def test_a_result_is_in_the_store_before_its_future_is_done(
    load_store: LoadStore, calls: Calls
) -> None:
    gate, entered = threading.Event(), threading.Event()

    class Slow(Store):
        def put_many(self, records: Sequence[CheckpointRecord]) -> None:
            entered.set()
            assert gate.wait(LIMIT_S)
            super().put_many(records)

    store = Slow()
    with load_store(store):
        first, second = record(1), record(1)
        assert entered.wait(LIMIT_S)
        assert not first.done()
        assert not second.done()
        gate.set()
        assert (first.result(LIMIT_S), second.result(LIMIT_S)) == (1, 1)
        assert len(store.records) == 1


@pytest.mark.parametrize("method", ["get", "put_many", "close"])
@pytest.mark.parametrize(
    "error",
    [RuntimeError("broken"), SystemExit("broken")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("strict", [False, True], ids=["warned", "warnings-are-errors"])
def test_a_store_that_raises_costs_no_result(
    load_store: LoadStore,
    calls: Calls,
    method: str,
    error: BaseException,
    strict: bool,
) -> None:
    store = Store(**{method: error})
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore", CheckpointWarning)
        with load_store(store) as kernel:
            futures = [record(number) for number in (1, 2, 1)]
            assert [future.result(LIMIT_S) for future in futures] == [1, 2, 1]

    assert sorted(calls.values) == [1, 2]
    assert "broken" in (kernel.run_dir / "jackfield.log").read_text()
    assert store.closed


def test_a_result_that_cannot_be_stored_is_still_a_result(
    load_store: LoadStore, calls: Calls
) -> None:
    class Exits:
        def __reduce__(self) -> Any:
            raise SystemExit("not to be pickled")

    @jf.python_app(cache=True, version="1")
    def make(number: int) -> Exits:
        CALLS[0](number)
        return Exits()

    store = Store()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        with load_store(store):
            futures = [make(1), make(1), make(2)]
            kinds = {type(future.result(LIMIT_S)) for future in futures}

    assert kinds == {Exits}
    # Nor can it be copied for an equal call, so each call has a result of its own.
    assert sorted(calls.values) == [1, 1, 2]
    assert store.records == {}


def test_a_record_that_cannot_be_read_is_a_miss(
    load_store: LoadStore, calls: Calls
) -> None:
    store = Store()
    with load_store(store):
        record(1).result(LIMIT_S)
    (key,) = store.keys()
    store.records[key] = CheckpointRecord(key, b"not what was written")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        with load_store(store):
            assert record(1).result(LIMIT_S) == 1

    assert calls.values == [1, 1]
