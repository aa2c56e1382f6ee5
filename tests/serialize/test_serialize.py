"""Serialization, tested across real processes wherever a process matters."""

from __future__ import annotations

import functools
import importlib.util
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any

import pytest

import jackfield_serialize as serialize
from jackfield.errors import RemoteError, SerializationError, TaskExitError

WORKER = """
import pickle, sys
sys.path[:], call = pickle.load(sys.stdin.buffer)
import jackfield_serialize as serialize
packed = serialize.run_packed(*call)
sys.stdout.buffer.write(pickle.dumps(packed))
"""


def in_a_worker(function: Any, *args: Any, **kwargs: Any) -> serialize.Packed:
    """Run a call in a fresh interpreter."""
    data = serialize.dump_function("task", function)
    call = serialize.dump_call("task", function, args, kwargs)
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        input=pickle.dumps((sys.path, (data, call))),
        stdout=subprocess.PIPE,
        check=True,
        cwd="/",
        timeout=120,
    )
    packed: serialize.Packed = pickle.loads(done.stdout)
    return packed


def outcome(function: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return serialize.load_outcome("task", in_a_worker(function, *args, **kwargs))


def here(function: Any, *args: Any) -> tuple[Any, Any]:
    """Run a call in this process."""
    data = serialize.dump_function("task", function)
    call = serialize.dump_call("task", function, args, {})
    return serialize.load_outcome("task", serialize.run_packed(data, call))


class Point:
    def __init__(self, x: Any) -> None:
        self.x = x


class Slotted:
    __slots__ = ("good", "lock")

    def __init__(self) -> None:
        self.good = 1
        self.lock = threading.Lock()


class OwnError(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.detail = [text]


class RefusingError(Exception):
    def __init__(self) -> None:
        super().__init__("two")

    def __reduce__(self) -> Any:
        return refuse, ()


def refuse() -> None:
    raise ValueError("it does not unpickle")


class LockedError(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Bad:
    def __reduce__(self) -> Any:
        return int, ("x",)


class Exits:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


def fail(error: type[BaseException], *args: Any) -> None:
    raise error(*args)


def fail_with_cause() -> None:
    try:
        raise KeyError("first")
    except KeyError as error:
        raise OwnError("second") from error


def add(x: Any, *rest: Any, y: int = 0, **options: Any) -> Any:
    return x


# -- Functions ---------------------------------------------------------------------


def test_an_importable_function_goes_by_reference() -> None:
    data = serialize.dump_function("task", traceback.format_exc)

    assert serialize.load_function(data) is traceback.format_exc
    assert len(data) < 150


def test_a_module_that_no_path_leads_to_goes_by_value(tmp_path: Path) -> None:
    file = tmp_path / "jackfield_hidden.py"
    file.write_text(
        "class Thing:\n    x = 5\ndef get(thing):\n    return [thing.x, Thing()]\n"
    )
    spec = importlib.util.spec_from_file_location("jackfield_hidden", file)
    assert spec is not None
    assert spec.loader is not None
    hidden = sys.modules["jackfield_hidden"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hidden)
    try:
        error, value = outcome(hidden.get, hidden.Thing())
    finally:
        del sys.modules["jackfield_hidden"]

    assert error is None
    assert value[0] == 5
    assert type(value[1]) is hidden.Thing


def test_lambdas_and_closures_go_by_value() -> None:
    factor = 2

    assert outcome(lambda x: x * factor, 4) == (None, 8)


def test_callables_of_all_kinds_travel() -> None:
    assert outcome(functools.partial(add, 1)) == (None, 1)
    assert outcome("abc".upper) == (None, "ABC")
    assert outcome(Point, 3)[1].x == 3


def test_a_decorated_function_is_found_behind_its_decorator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jackfield_decorated.py").write_text(
        "class App:\n"
        "    def __init__(self, function):\n"
        "        self.__wrapped__ = function\n"
        "calls = []\n"
        "@App\n"
        "def app(x):\n"
        "    calls.append(x)\n"
        "    return calls\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import jackfield_decorated  # type: ignore[import-not-found]  # made just above

    data = serialize.dump_function("app", jackfield_decorated.app.__wrapped__)

    loaded = serialize.load_function(data)
    assert loaded is jackfield_decorated.app.__wrapped__


def test_a_named_function_is_imported() -> None:
    data = serialize.dump_reference("os.path", "join")

    assert serialize.load_function(data)("a", "b") == "a/b"


def test_an_unpicklable_function_is_told_with_the_place() -> None:
    lock = threading.Lock()

    with pytest.raises(SerializationError) as caught:
        serialize.dump_function("task", lambda: lock)

    assert "task: its function, at function.<closure lock>" in str(caught.value)


def test_what_is_not_callable_is_refused() -> None:
    with pytest.raises(TypeError, match="int"):
        serialize.load_function(serialize.dumps(1))


def test_a_function_that_does_not_load_is_a_serialization_error() -> None:
    packed = serialize.run_packed(b"garbage", serialize.dump_call("t", None, (), {}))

    error, _ = serialize.load_outcome("task", packed)
    assert isinstance(error, SerializationError)
    assert "its function" in str(error)


# -- Calls -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "place"),
    [
        ((Point([Point(threading.Lock())]),), {}, "argument 'x', at x.x[0].x"),
        ((1, 2, Slotted()), {}, "argument 'rest[1]', at rest[1].lock"),
        ((1,), {"y": {"k": threading.Lock()}}, "argument 'y', at y['k']"),
        ((1,), {"other": threading.Lock()}, "argument 'other' cannot"),
        ((deque([threading.Lock()]),), {}, "argument 'x', at x[0]"),
        ((functools.partial(add, threading.Lock()),), {}, "x.args[0]"),
        ((Point(Slotted()).x.lock.acquire,), {}, "argument 'x'"),
    ],
)
def test_an_unpicklable_argument_is_named_with_the_way_to_it(
    args: Any, kwargs: Any, place: str
) -> None:
    with pytest.raises(SerializationError) as caught:
        serialize.dump_call("task", add, args, kwargs)

    assert place in str(caught.value)
    assert "lock" in caught.value.reason


def test_arguments_of_a_callable_without_a_signature_go_by_number() -> None:
    with pytest.raises(SerializationError, match="argument '#2'"):
        serialize.dump_call("task", None, (1, threading.Lock()), {})


def test_a_deeply_nested_argument_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]

    with pytest.raises(SerializationError, match=r"argument 'x' cannot .* recursion"):
        serialize.dump_call("task", add, (nested,), {})


def test_objects_of_local_classes_go_by_value() -> None:
    class Local:
        value = 7

    assert outcome(lambda thing: thing.value, Local()) == (None, 7)


def test_a_class_that_went_by_value_comes_back_as_itself() -> None:
    _, point = outcome(lambda p: p, Point(1))

    assert type(point) is Point


def test_large_buffers_are_not_copied() -> None:
    buffers: serialize.Buffers = []
    large, small = bytearray(100_000), bytearray(10)

    data = serialize.dump_call(
        "task",
        add,
        ([pickle.PickleBuffer(large), pickle.PickleBuffer(small)],),
        {},
        buffers,
    )

    assert len(data) < 1_000
    assert [memoryview(buffer).obj for buffer in buffers] == [large]
    (loaded,), _ = serialize.load_call(data, buffers)
    assert bytes(loaded[0]) == large
    assert bytes(loaded[1]) == small


def test_large_bytes_are_a_piece_of_their_own() -> None:
    large = b"x" * 1_000_000

    parts = serialize.dump_parts({"key": large})

    assert any(part is large for part in parts)
    assert serialize.loads(b"".join(parts)) == {"key": large}


def test_an_argument_that_does_not_unpickle_is_a_serialization_error() -> None:
    error, _ = outcome(add, Bad())

    assert isinstance(error, SerializationError)
    assert "its arguments" in str(error)


# -- Outcomes ----------------------------------------------------------------------


def test_an_exception_comes_back_itself_with_its_traceback() -> None:
    error, _ = outcome(fail, OwnError, "why")

    assert type(error) is OwnError
    assert error.detail == ["why"]
    assert isinstance(error.__cause__, serialize.RemoteTraceback)
    shown = "".join(traceback.format_exception(error))
    assert "in fail" in shown
    assert "run_packed" not in shown


def test_the_chain_of_causes_is_kept_as_text() -> None:
    error, _ = outcome(fail_with_cause)

    assert type(error.__cause__) is KeyError
    assert isinstance(error.__cause__.__cause__, serialize.RemoteTraceback)
    assert "KeyError: 'first'" in str(error.__cause__.__cause__)


def test_notes_are_kept() -> None:
    def noted() -> None:
        error = ValueError("x")
        error.add_note("a note")
        raise error

    error, _ = outcome(noted)

    assert error.__notes__ == ["a note"]


def test_an_exception_that_cannot_travel_has_a_stand_in() -> None:
    error, _ = outcome(fail, RefusingError)

    assert isinstance(error, RemoteError)
    assert error.type_name.endswith("RefusingError")
    assert error.message == "two"
    assert "in fail" in error.traceback


def test_an_exception_leaves_behind_what_cannot_travel() -> None:
    def raises() -> None:
        locked = LockedError()
        locked.more = [1]  # type: ignore[attr-defined]  # as users do
        locked.args = ("locked", threading.Lock())
        locked.add_note("a note")
        raise ExceptionGroup("both", [ValueError(1), RefusingError(), locked])

    error, _ = outcome(raises)

    assert isinstance(error, ExceptionGroup)
    assert error.message == "both"
    value, refusing, locked = error.exceptions
    assert repr(value) == "ValueError(1)"
    assert isinstance(refusing, RemoteError)
    assert isinstance(locked, LockedError)
    assert vars(locked).keys() == {"more", "__notes__"}
    assert locked.args[0] == "locked"
    assert "lock object" in locked.args[1]
    assert locked.__notes__ == [
        "a note",
        "Left behind, as it cannot be pickled: argument 2, 'lock'",
    ]


def test_a_cause_leaves_behind_what_cannot_travel() -> None:
    def raises() -> None:
        error = ValueError("because")
        error.__cause__ = LockedError()
        raise error

    error, _ = outcome(raises)

    assert repr(error) == "ValueError('because')"
    assert isinstance(error.__cause__, LockedError)
    assert isinstance(error.__cause__.__cause__, serialize.RemoteTraceback)


def test_an_exception_that_cannot_be_shown_has_a_stand_in() -> None:
    error, _ = here(fail, SilentError)

    assert isinstance(error, SilentError | RemoteError)


def test_a_cyclic_chain_of_causes_travels() -> None:
    def cyclic() -> None:
        error = ValueError("a")
        error.__cause__ = KeyError("b")
        error.__cause__.__cause__ = error
        raise error

    error, _ = outcome(cyclic)

    assert isinstance(error, ValueError)


def test_a_huge_message_is_cut() -> None:
    error, _ = here(fail, RefusingError)
    assert isinstance(error, RemoteError)

    error, _ = here(fail, SystemExit, "x" * 10**6)

    assert len(str(error)) < 200_000


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_would_end_a_program_is_a_task_exit(kind: type[BaseException]) -> None:
    error, _ = here(fail, kind)

    assert isinstance(error, TaskExitError)
    assert kind.__name__ in str(error)
    assert "in fail" in str(error.__cause__)


def test_an_unpicklable_result_is_told_with_the_place() -> None:
    error, _ = outcome(lambda: Slotted())  # noqa: PLW0108  (the class itself would not be a function)

    assert isinstance(error, SerializationError)
    assert "its result, at result.lock" in str(error)
    assert "Slotted" in str(error)


@pytest.mark.parametrize("kind", [Bad, Exits])
def test_a_result_that_does_not_unpickle_is_an_error(kind: type) -> None:
    error, _ = outcome(kind)

    assert isinstance(error, SerializationError)
    assert "its result" in str(error)


def test_an_exception_that_holds_itself_comes_as_far_as_it_can() -> None:
    def raises() -> None:
        error = ValueError("first")
        error.args = ("first", error)
        error.own = error  # type: ignore[attr-defined]  # it may have any
        raise error

    began = time.process_time()
    error, _ = outcome(raises)

    assert isinstance(error, ValueError)
    assert error.args[0] == "first"
    assert isinstance(error.args[1], RemoteError)
    assert time.process_time() - began < 3  # it was pickled at each depth for each


def test_an_exception_with_a_cause_behind_each_cause_comes_with_the_nearest() -> None:
    def raises() -> None:
        error = ValueError(0)
        for number in range(1, 3000):
            error, cause = ValueError(number), error
            error.__cause__ = cause
        raise error

    began = time.process_time()
    error, _ = outcome(raises)

    assert isinstance(error, ValueError)
    assert error.args == (2999,)
    assert isinstance(error.__cause__, ValueError)
    assert error.__cause__.args == (2998,)
    assert time.process_time() - began < 10


def test_an_exception_that_only_the_worker_can_load_has_a_stand_in() -> None:
    packed = ("error", b"garbage", "module.Error", "why", "Traceback ...\n")

    error, _ = serialize.load_outcome("task", packed)

    assert isinstance(error, RemoteError)
    assert str(error) == "module.Error: why\n\nTraceback ..."


def test_an_outcome_is_made_of_built_in_types() -> None:
    for packed in (
        in_a_worker(Point, 1),
        in_a_worker(fail, OwnError, "x"),
        in_a_worker(fail, SystemExit),
        in_a_worker(threading.Lock),
    ):
        assert all(type(part) in (str, bytes, type(None)) for part in packed)


# -- Explaining --------------------------------------------------------------------


def test_the_shortest_way_is_explained() -> None:
    lock = threading.Lock()
    value = {"long": [[[lock]]], "short": lock}

    assert serialize.explain_unpicklable(value, "v") == "v['short']"


def test_explaining_never_raises_and_ends() -> None:
    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise SystemError(name)

        def __reduce__(self) -> Any:
            raise SystemError

    endless: list[Any] = [threading.Lock()]
    endless.append(endless)
    many = [Point(n) for n in range(100_000)] + [Hostile()]

    assert serialize.explain_unpicklable(Hostile(), "h").startswith("h")
    assert serialize.explain_unpicklable(endless, "e") == "e[0]"
    assert serialize.explain_unpicklable(many, "m").startswith("m")
    assert serialize.explain_unpicklable(1, "fine") == "fine"


def test_importing_serialize_is_light() -> None:
    code = (
        "import sys, jackfield_serialize; "
        "print([m for m in ('cloudpickle', 'multiprocessing') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


@pytest.mark.parametrize("value", [0, 2**80, -1.5, True, None], ids=repr)
def test_plain_values_travel_as_they_are(value: object) -> None:
    data = serialize.dump_function("task", identity)

    packed = serialize.run_packed(data, (value,), pack=serialize.pack_plainly)

    assert packed == ("plain", value)
    assert serialize.load_outcome("task", packed) == (None, value)


def test_a_value_of_a_class_below_a_plain_one_is_pickled() -> None:
    class Number(int):
        pass

    packed = serialize.pack_plainly(Number(3))

    assert packed[0] == "ok"
    error, value = serialize.load_outcome("task", packed)
    assert error is None
    assert (type(value).__name__, value) == ("Number", 3)


def identity(value: object) -> object:
    return value
