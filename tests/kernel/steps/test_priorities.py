"""The priority of a call: who has which, and which task begins first."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.errors import ConfigurationError
from jackfield_testing.executors.tasks import Gate
from jackfield_testing.footprint import WAIT_S, settled
from jackfield_testing.kernels import handed_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jackfield.states import TaskView

RANKS = [0, 2, -1, 2, None, 7, 0, -1, 3, 2]


@jf.python_app
def hold(gate: Gate, name: str = "held") -> str:
    return gate.hold(name)


@jf.python_app
def begun(number: int) -> float:
    del number
    return time.monotonic()


@jf.python_app(retries=1)
def second_try(path: str, number: int) -> float:
    """Fail at the first try."""
    mark = Path(path) / str(number)
    if not mark.exists():
        mark.touch()
        raise OSError(number)
    return time.monotonic()


def one_worker(plugin: str) -> jf.Config:
    return jf.Config(executors={"one": {"plugin": plugin, "workers": 1}})


def order_of(futures: Sequence[Any]) -> list[int]:
    times = [future.result() for future in futures]
    return sorted(range(len(times)), key=lambda n: times[n])


def by_rank(ranks: Sequence[int | None]) -> list[int]:
    return sorted(range(len(ranks)), key=lambda n: -(ranks[n] or 0))


@pytest.fixture(params=["threads", "processes"])
def config(request: pytest.FixtureRequest) -> jf.Config:
    return one_worker(request.param)


def held_up(gate: Gate) -> None:
    """Occupy the only worker until the gate is open."""
    hold(gate)
    assert settled(lambda: gate.entered() == {"held"}, WAIT_S)


def test_the_highest_begins_first_and_equal_ones_in_order(
    config: jf.Config, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    with jf.load(config):
        held_up(gate)
        futures = [begun(n, priority=rank) for n, rank in enumerate(RANKS)]
        handed_over(futures)
        gate.open()

        assert order_of(futures) == by_rank(RANKS)


def test_tasks_that_wait_for_others_take_their_place_when_these_have_ended(
    config: jf.Config, tmp_path: Path
) -> None:
    gate, other = Gate(tmp_path / "gate"), Gate(tmp_path / "other")
    late = Gate(tmp_path / "late")
    other.open()
    with jf.load(config):
        held_up(gate)
        before = hold(other, "other", priority=9)
        after = [begun(before, priority=rank) for rank in RANKS]
        held = hold(late, "late")  # meanwhile the others get ready
        plain = [begun(n) for n in range(5)]
        handed_over([held, *plain])
        gate.open()
        before.result()
        handed_over(after)
        late.open()

        order = order_of([*after, *plain])
        assert held.result() == "late"

    ranks = [*RANKS, *[0] * 5]
    # The plain ones were ready first.
    wanted = sorted(range(15), key=lambda n: (-(ranks[n] or 0), n < 10, n))
    assert order == wanted


def test_a_retry_keeps_its_priority(config: jf.Config, tmp_path: Path) -> None:
    gate, late, marks = Gate(tmp_path / "gate"), Gate(tmp_path / "late"), tmp_path / "m"
    marks.mkdir()
    views = Views()
    with jf.load(replace(config, plugins=[views])):
        held_up(gate)
        ranks = [1, 3, 2]
        tried = [second_try(str(marks), n, priority=n) for n in ranks]
        held = hold(late, "late")  # meanwhile these fail, and are tried again
        plain = [begun(n) for n in range(5)]
        handed_over([held, *plain])
        gate.open()
        again = {(2, rank) for rank in ranks}
        assert settled(lambda: again <= set(views.attempts), WAIT_S)
        handed_over(tried)
        late.open()

        assert order_of([*tried, *plain]) == by_rank([*ranks, *[0] * 5])
        assert held.result() == "late"


@jf.python_app
def named(name: str) -> str:
    return name


@jf.join_app
def children(name: str) -> Any:
    return [named(f"{name} 1"), named(f"{name} 2", priority=0), named("x", priority=-1)]


class Views:
    """Notes the priority of each task that an executor is chosen for."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = {}
        self.attempts: list[tuple[int, int]] = []

    @jf.hookimpl
    def jackfield_select_executor(self, task: TaskView) -> None:
        self.seen.setdefault(task.app, []).append(task.priority)
        self.attempts.append((task.attempt, task.priority))


def test_what_a_join_app_calls_has_its_priority_unless_the_call_says_another() -> None:
    views = Views()
    with jf.load(jf.Config(plugins=[views])):
        children("a", priority=4).result()
        assert sorted(views.seen["named"]) == [-1, 0, 4]

        views.seen.clear()
        children("b").result()
        assert sorted(views.seen["named"]) == [-1, 0, 0]


@jf.python_app(priority=3)
def urgent(x: int) -> int:
    return x


@jf.python_app(retries=1, priority=2)
def fails(tries: list[int]) -> None:
    tries.append(1)
    if len(tries) < 2:
        raise OSError


@jf.bash_app
def shell() -> str:
    return "true"


def test_the_app_may_say_it_and_hooks_see_it() -> None:
    views = Views()
    with jf.load(jf.Config(plugins=[views])) as kernel:
        urgent(1).result()
        urgent(1, priority=5).result()
        urgent(1, priority=None).result()
        urgent.options(priority=-5)(1).result()
        assert views.seen["urgent"] == [3, 5, 3, -5]

        shell(priority=6).result()
        assert views.seen["shell"] == [6]

        kernel.submit(abs, -1, priority=8).result()
        assert views.seen["abs"] == [8]

        views.attempts.clear()
        fails(jf.quote([])).result()
        assert views.attempts == [(1, 2), (2, 2)]


@pytest.mark.parametrize("wrong", ["high", 1.5, True, [1]])
def test_what_is_no_whole_number_is_an_error_at_the_call(wrong: Any) -> None:
    expected = "priority= of 'begun' is .*; expected a whole number, higher for sooner"
    with jf.load():
        with pytest.raises(ConfigurationError, match=expected):
            begun(1, priority=wrong)
        assert begun(2).tid == 0
    with pytest.raises(ConfigurationError, match="priority= of"):
        jf.python_app(priority=wrong)(abs)


@jf.python_app(cache=True)
def own(x: int, priority: Any = "its default") -> Any:
    return x, priority


@jf.python_app(cache=True)
def takes_all(**rest: Any) -> Any:
    return rest


@jf.bash_app
def own_in_bash(priority: str, out: str) -> str:
    return f"echo {priority} > {out}"


def test_a_parameter_of_that_name_is_the_functions_own(tmp_path: Path) -> None:
    views = Views()
    with jf.load(jf.Config(plugins=[views])):
        assert own(1, priority="mine").result() == (1, "mine")
        assert own(1, priority=5).result() == (1, 5)
        assert own(1, priority=6).result() == (1, 6)
        assert own(1).result() == (1, "its default")
        assert takes_all(x=1, priority=3).result() == {"x": 1}
        own_in_bash(priority="7", out=str(tmp_path / "out")).result()

    assert (tmp_path / "out").read_text() == "7\n"
    assert views.seen["own"] == [0, 0, 0, 0]
    assert views.seen["takes_all"] == [3]
    assert views.seen["own_in_bash"] == [0]


@jf.python_app(cache=True)
def cached(x: int) -> object:
    return threading.get_ident(), x, object()


def test_equal_calls_share_a_result_whatever_their_priority() -> None:
    with jf.load(one_worker("threads")):
        first = cached(1, priority=5)
        first.result()
        second, third = cached(1), cached(1, priority=-5)
        second.result()
        third.result()

        assert (second.memo.status, third.memo.status) == ("hit", "hit")
        assert first.memo.key == second.memo.key == third.memo.key
