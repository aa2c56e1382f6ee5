"""An argument that is changed after the key was made: nothing wrong is kept."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import jackfield as jf
from jackfield.results.flights import Flights
from jackfield_testing.executors.tasks import Gate
from jackfield_testing.footprint import WAIT_S, settled
from jackfield_testing.kernels import handed_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@jf.python_app
def hold(gate: Gate, name: str) -> str:
    return gate.hold(name)


@jf.python_app(cache=True)
def total(values: Any) -> Any:
    return sum(values)


@jf.python_app(cache=True)
def first_of(values: dict[str, Any]) -> Any:
    return values["first"]


@jf.python_app(cache=True)
def text_of(file: Any) -> str:
    return Path(file).read_text(encoding="utf-8")


@jf.python_app(cache=True)
def last_off(values: list[int], log: str) -> int:
    with Path(log).open("a", encoding="utf-8") as file:
        file.write("ran\n")
    return values.pop()


@jf.python_app(cache=True, retries=1)
def counted(values: list[int]) -> int:
    values.append(0)
    if len(values) == 2:
        raise OSError("the first try")
    return len(values)


@pytest.fixture(params=["threads", "processes"])
def busy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Busy]:
    config = jf.Config(
        executors={"one": {"plugin": request.param, "workers": 1}},
        run_dir=tmp_path / "runs",
    )
    with jf.load(config):
        yield Busy(tmp_path)


class Busy:
    """A loaded kernel with one worker, which can be kept at work."""

    def __init__(self, directory: Path) -> None:
        self.directory: Path = directory
        self.turns: int = 0

    def meanwhile(
        self, call: Callable[[], jf.AppFuture[Any]], change: Callable[[], object]
    ) -> jf.AppFuture[Any]:
        """Change something when a task is at the executor and has not begun."""
        self.turns += 1
        gate = Gate(self.directory / f"gate{self.turns}")
        # The second waits behind the first, so the call is not sent ahead with that.
        held = [hold(gate, name) for name in "ab"]
        assert settled(lambda: "a" in gate.entered(), WAIT_S)
        future = call()
        handed_over([future])
        change()
        gate.open()
        for one in held:
            one.result(WAIT_S)
        return future


@pytest.mark.parametrize(
    ("values", "change", "right"),
    [
        (lambda: [1], lambda values: values.append(10), 1),
        (lambda: {1}, lambda values: values.add(10), 1),
        (lambda: [[1], [2]][:1][0], lambda values: values.clear(), 1),
        (lambda: np.arange(3), lambda values: values.fill(7), 3),
        (lambda: np.zeros(3_000_000), lambda values: values.fill(1), 0),
    ],
    ids=["list", "set", "emptied", "array", "large array"],
)
def test_a_later_call_with_the_arguments_of_the_key_is_right(
    busy: Busy, values: Callable[[], Any], change: Callable[[Any], object], right: int
) -> None:
    given = values()

    busy.meanwhile(lambda: total(given), lambda: change(given)).result(WAIT_S)
    later = total(values())

    assert later.result(WAIT_S) == right
    assert later.memo.status == "miss"
    assert total(values()).result(WAIT_S) == right


def test_an_equal_call_in_flight_gets_a_result_of_its_own(
    busy: Busy, caplog: pytest.LogCaptureFixture
) -> None:
    given = [1]
    followers = []

    def change() -> None:
        followers.extend([total([1]), total([1])])
        assert settled(lambda: all(one.memo.key for one in followers), WAIT_S)
        given.append(10)

    changed = busy.meanwhile(lambda: total(given), change)

    assert [one.result(WAIT_S) for one in followers] == [1, 1]
    assert changed.result(WAIT_S) in (1, 11)  # as it was when a worker took it
    reason = "an argument was changed between the call and its execution"
    assert reason in str(jf.explain(changed))
    assert f"A result of 'total' is not kept: {reason}. Pass a copy" in caplog.text


def test_a_failure_that_comes_of_a_change_is_not_shared(busy: Busy) -> None:
    given = {"first": 1}
    followers = []

    def change() -> None:
        followers.append(first_of({"first": 1}))
        assert settled(lambda: all(one.memo.key for one in followers), WAIT_S)
        given.clear()

    changed = busy.meanwhile(lambda: first_of(given), change)

    assert followers[0].result(WAIT_S) == 1
    assert changed.exception(WAIT_S) is None or isinstance(
        changed.exception(WAIT_S), KeyError
    )


def test_a_file_that_is_written_anew_meanwhile_is_read_again(busy: Busy) -> None:
    path = busy.directory / "input"
    path.write_text("old")

    busy.meanwhile(
        lambda: text_of(jf.File(path)), lambda: path.write_text("new and longer")
    ).result(WAIT_S)
    path.write_text("old")

    assert text_of(jf.File(path)).result(WAIT_S) == "old"


def test_what_is_not_changed_is_kept(busy: Busy) -> None:
    for values in ([1, 2], {3}, np.arange(4), np.ones(3_000_000)):
        wanted = sum(values)
        assert busy.meanwhile(lambda v=values: total(v), int).result(WAIT_S) == wanted  # type: ignore[misc]  # the value of now
        again = total(values)
        assert again.result(WAIT_S) == wanted
        assert again.memo.status == "hit"


def test_a_function_that_changes_its_argument_is_cached(busy: Busy) -> None:
    log = busy.directory / "log"

    results = [last_off([1, 2], str(log)).result(WAIT_S) for _ in range(3)]

    assert results == [2, 2, 2]
    assert log.read_text() == "ran\n"


def test_what_a_failed_attempt_has_changed_counts_as_changed(tmp_path: Path) -> None:
    config = jf.Config(
        executors={"one": {"plugin": "threads", "workers": 1}}, run_dir=tmp_path
    )
    with jf.load(config):
        given: list[int] = [9]

        assert counted(given).result(WAIT_S) == 3  # the second try, with the zero
        # Tried once for its own arguments, and never answered by that result.
        assert counted([9, 5]).result(WAIT_S) == 3
        again = counted([9])
        assert again.result(WAIT_S) == 3
        assert again.memo.status == "miss"


def test_a_task_that_is_ended_before_it_is_compared_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember = Flights.remember

    def late(self: Flights, task: Any, value: Any) -> None:
        # As if the end of the run had come between the call's end and this step.
        monkeypatch.undo()
        task.work = None
        remember(self, task, value)

    config = jf.Config(
        executors={"one": {"plugin": "processes", "workers": 1}}, run_dir=tmp_path
    )
    monkeypatch.setattr(Flights, "remember", late)
    with jf.load(config):
        assert total([1]).result(WAIT_S) == 1
        again = total([1])
        assert again.result(WAIT_S) == 1
        assert again.memo.status == "miss"


def test_a_thread_that_goes_on_changing_an_argument_leaves_nothing_wrong(
    tmp_path: Path,
) -> None:
    shared: list[int] = [0]
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            shared[0] += 1
            stop.wait(0.0003)

    config = jf.Config(
        executors={"few": {"plugin": "processes", "workers": 2}}, run_dir=tmp_path
    )
    with jf.load(config):
        changer = threading.Thread(target=change)
        changer.start()
        try:
            futures = [total(shared) for _ in range(200)]
            for one in futures:
                one.result(WAIT_S)
        finally:
            stop.set()
            changer.join(WAIT_S)
        seen = {number for number in range(shared[0] + 1) if number < 500}
        assert {n: total([n]).result(WAIT_S) for n in seen} == {n: n for n in seen}
