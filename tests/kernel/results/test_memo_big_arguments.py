"""Arguments that take long to identify hold nobody else up."""

from __future__ import annotations

import dataclasses
import os
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import MemoKeyError
from jackfield.memo_keys import with_parts
from jackfield_memo.key_maker import PythonKeyMaker

LIMIT_S = 60.0
MB = 1 << 20


class Slow:
    """Takes as long to identify as the test wants, as a huge value would."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.gate = threading.Event()

    def __jackfield_hash__(self) -> str:
        self.asked.set()
        assert self.gate.wait(LIMIT_S)
        return "slow"


@jf.python_app(cache=True)
def use(value: Any) -> str:
    return type(value).__name__


def test_other_tasks_run_while_a_value_is_identified(kernel: jf.DataFlowKernel) -> None:
    slow = Slow()
    future = use(slow)
    assert slow.asked.wait(LIMIT_S)

    assert kernel.submit(pow, 2, 3).result(LIMIT_S) == 8
    assert use("x").result(LIMIT_S) == "str"
    assert future.memo == jf.MemoInfo("pending", None)
    slow.gate.set()

    assert future.result(LIMIT_S) == "Slow"
    assert future.memo.status == "miss"


def test_other_tasks_run_while_a_plugin_is_asked(tmp_path: Path) -> None:
    asked, gate = threading.Event(), threading.Event()

    class Plugin:
        @jf.hookimpl
        def jackfield_hash_value(self, value: object) -> bytes | None:
            asked.set()
            assert gate.wait(LIMIT_S)
            return b"its own"

    with jf.load({"run_dir": str(tmp_path)}, plugins=[Plugin()]) as kernel:
        future = use(tmp_path)
        assert asked.wait(LIMIT_S)
        assert kernel.submit(pow, 2, 3).result(LIMIT_S) == 8
        gate.set()

        assert future.result(LIMIT_S) == type(tmp_path).__name__


def test_equal_calls_with_such_a_value_are_executed_once(
    kernel: jf.DataFlowKernel,
) -> None:
    slow = Slow()
    futures = [use(slow) for _ in range(5)]
    assert slow.asked.wait(LIMIT_S)
    slow.gate.set()

    assert [one.result(LIMIT_S) for one in futures] == ["Slow"] * 5
    assert [one.memo.status for one in futures].count("miss") == 1
    again = use(slow)
    assert again.result(LIMIT_S) == "Slow"
    assert again.memo.status == "hit"


def test_a_task_that_is_cancelled_meanwhile_leads_nobody(
    kernel: jf.DataFlowKernel,
) -> None:
    slow = Slow()
    future = use(slow)
    assert slow.asked.wait(LIMIT_S)
    assert future.cancel()
    following = use(slow)
    slow.gate.set()

    assert following.result(LIMIT_S) == "Slow"
    assert future.cancelled()
    assert future.memo.status in {"off", "miss"}
    assert use(slow).result(LIMIT_S) == "Slow"


def test_an_identity_that_raises_fails_the_task(kernel: jf.DataFlowKernel) -> None:
    class Bad:
        def __jackfield_hash__(self) -> str:
            raise ValueError("no luck")

    with pytest.raises(MemoKeyError, match="no luck"):
        use(Bad()).result(LIMIT_S)


def test_closing_does_not_wait_for_ever(tmp_path: Path) -> None:
    slow = Slow()
    with jf.load({"run_dir": str(tmp_path), "exit_grace": 0.1}) as kernel:
        future = use(slow)
        assert slow.asked.wait(LIMIT_S)
        future.add_done_callback(lambda _: slow.gate.set())
        kernel.cleanup(wait=False)

    assert future.cancelled()


def test_a_big_file_is_read_elsewhere_and_big_values_count(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(3 * MB))
    values = [jf.File(path), bytes(3 * MB), "x" * 3 * MB, [bytes(MB), bytes(MB)]]

    for value in values:
        first, second = use(value), use(value)
        assert {first.result(LIMIT_S), second.result(LIMIT_S)} == {type(value).__name__}
        statuses = sorted([first.memo.status, second.memo.status])
        assert statuses == ["hit", "miss"]


# -- What is costly

IDENTITY = PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ())


@dataclasses.dataclass(slots=True)
class Slotted:
    data: Any


class Plain:
    def __init__(self, data: Any) -> None:
        self.data = data


class Pickled(Plain):
    def __reduce__(self) -> Any:
        return Pickled, (self.data,)


class Odd:
    @property
    def nbytes(self) -> int:
        raise OSError("gone")


def costly(*args: Any, **kwargs: Any) -> bool:
    return IDENTITY.is_costly(args, kwargs)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytes(2 * MB),
        lambda: bytearray(2 * MB),
        lambda: "x" * 2 * MB,
        lambda: array("d", [0.0]) * MB,
        lambda: memoryview(bytes(2 * MB)),
        lambda: [bytes(2 * MB)],
        lambda: {"a": ({"b": [bytes(2 * MB)]},)},
        lambda: {bytes(2 * MB)},
        lambda: list(range(50_000)),
        lambda: dict.fromkeys(range(50_000)),
        lambda: [{"a": n} for n in range(1_000)],
        lambda: [bytes(MB - 1), bytes(MB - 1)],
        lambda: Plain(bytes(2 * MB)),
        lambda: Slotted([Plain(bytes(2 * MB))]),
        lambda: Pickled(1),
        Slow,
        Odd,
    ],
)
def test_what_is_big_or_runs_code_of_users_is_costly(make: Callable[[], Any]) -> None:
    assert costly(make())
    assert costly(1, x=make())


def test_what_contains_itself_is_costly() -> None:
    ring: list[Any] = []
    ring.append(ring)

    assert costly(ring)


def test_a_call_with_small_arguments_is_not() -> None:
    assert not costly()
    assert not costly(1, 2.5, None, "text", b"bytes", x=True)
    assert not costly(list(range(1_000)), {"a": [1, 2], "b": ("c",)}, Path("x"))
    assert not costly(Plain(1), Slotted("x"), len, Plain, jf.File("none"))
    assert not costly(outputs=[jf.File(".")], stdout=jf.File("."))


def test_a_file_is_costly_until_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(2 * MB))
    os.utime(path, (1e9, 1e9))
    file = jf.File(path)
    by_time = PythonKeyMaker(
        value_hooks=lambda kind: (), function_hooks=lambda: (), files="stat"
    )

    assert costly(file)
    assert costly(jf.File(tmp_path))
    assert not by_time.is_costly((file,), {})
    assert not costly(jf.File("https://example.org/x", sha256="00" * 32))


def test_arrays_are_costly_by_their_bytes() -> None:
    np = pytest.importorskip("numpy")
    from jackfield_memo.numpy import jackfield_hash_value

    identity = PythonKeyMaker(
        value_hooks=lambda kind: (with_parts(jackfield_hash_value),),
        function_hooks=lambda: (),
    )

    assert identity.is_costly((np.zeros(MB),), {})
    assert not identity.is_costly((np.zeros(100), np.float64(1)), {})
