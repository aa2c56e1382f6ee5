"""The graph's transitions: the whole state after each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.graph import transitions as graph
from jackfield.graph.task import AppSpec, Task
from jackfield.states import FINAL, TaskState

NO_KERNEL: Any = None
SPEC = AppSpec("f")


class Graph:
    """Tasks by name, registered in the order given: ``Graph(a="", c="ab")``."""

    def __init__(self, **dependencies: str) -> None:
        self.live: dict[int, Task] = {}
        self.tasks: dict[str, Task] = {}
        for name, needs in dependencies.items():
            self.add(name, needs)

    def add(self, name: str, needs: str = "") -> str | None:
        """Register a task; return the name of the failed dependency, if any."""
        task = self.tasks[name] = Task(len(self.tasks), SPEC, NO_KERNEL, None)
        failed = graph.add(self.live, task, [self.tasks[other] for other in needs])
        return None if failed is None else self.name(failed)

    def end(self, name: str, state: TaskState = TaskState.SUCCEEDED) -> Sequence[Task]:
        return graph.end(self.live, self.tasks[name], state)

    def succeed(self, name: str) -> str:
        """End a task well; return the names of those that are ready by it."""
        return self.names(graph.release(self.end(name)))

    def fail(self, name: str, state: TaskState = TaskState.FAILED) -> list[str]:
        """End a task badly; return ``doomed<-blamed`` of each that falls with it."""
        ended = graph.doom(self.live, self.tasks[name], self.end(name, state))
        return [f"{self.name(doomed)}<-{self.name(blamed)}" for doomed, blamed in ended]

    def name(self, task: Task) -> str:
        return next(name for name, other in self.tasks.items() if other is task)

    def names(self, tasks: list[Task]) -> str:
        return "".join(self.name(task) for task in tasks)

    def state(self) -> dict[str, tuple[str, int, str]]:
        """Everything: name to state, number of dependencies left, dependents."""
        live = {self.name(task) for task in self.live.values()}
        assert live == {n for n, t in self.tasks.items() if t.state not in FINAL}
        return {
            name: (task.state.value, task.waiting, self.names(task.dependents or []))
            for name, task in self.tasks.items()
        }


def test_a_new_task_waits_for_each_unfinished_dependency() -> None:
    g = Graph(a="", b="", c="ab")

    assert g.state() == {
        "a": ("waiting", 0, "c"),
        "b": ("waiting", 0, "c"),
        "c": ("waiting", 2, ""),
    }


def test_a_dependency_that_succeeded_is_not_waited_for() -> None:
    g = Graph(a="", b="")
    g.succeed("a")

    g.add("c", "ab")

    assert g.state() == {
        "a": ("succeeded", 0, ""),
        "b": ("waiting", 0, "c"),
        "c": ("waiting", 1, ""),
    }


def test_a_memoized_dependency_is_not_waited_for() -> None:
    g = Graph(a="")
    g.end("a", TaskState.MEMOIZED)

    assert g.add("b", "a") is None

    assert g.state() == {"a": ("memoized", 0, ""), "b": ("waiting", 0, "")}


def test_a_dependency_that_failed_is_told_when_the_task_is_added() -> None:
    for state in (TaskState.FAILED, TaskState.DEPENDENCY_FAILED, TaskState.CANCELLED):
        g = Graph(a="")
        g.end("a", state)

        assert g.add("b", "a") == "a"


def test_a_success_releases_those_that_wait_for_nothing_else() -> None:
    g = Graph(a="", b="", c="ab", d="a")

    assert g.succeed("a") == "d"

    assert g.state() == {
        "a": ("succeeded", 0, ""),
        "b": ("waiting", 0, "c"),
        "c": ("waiting", 1, ""),
        "d": ("ready", 0, ""),
    }
    assert g.succeed("b") == "c"
    assert g.state()["c"] == ("ready", 0, "")


def test_those_released_come_in_the_order_they_were_added() -> None:
    g = Graph(a="", d="a", c="a", b="a")

    assert g.succeed("a") == "dcb"


def test_a_join_that_is_released_keeps_its_state() -> None:
    g = Graph(a="", j="")
    g.tasks["j"].state = TaskState.JOINING
    graph.add(g.live, g.tasks["j"], [g.tasks["a"]])

    assert g.succeed("a") == "j"

    assert g.state() == {"a": ("succeeded", 0, ""), "j": ("joining", 0, "")}


def test_a_success_does_not_touch_dependents_that_have_ended() -> None:
    g = Graph(a="", b="a")
    g.end("b", TaskState.CANCELLED)

    assert g.succeed("a") == ""

    assert g.state() == {"a": ("succeeded", 0, ""), "b": ("cancelled", 1, "")}


def test_a_failure_ends_all_that_hangs_on_it() -> None:
    g = Graph(a="", b="a", c="b", d="", e="d")

    assert g.fail("a") == ["b<-a", "c<-b"]

    assert g.state() == {
        "a": ("failed", 0, ""),
        "b": ("dependency-failed", 1, ""),
        "c": ("dependency-failed", 1, ""),
        "d": ("waiting", 0, "e"),
        "e": ("waiting", 1, ""),
    }


def test_what_hangs_on_a_failure_twice_ends_once() -> None:
    g = Graph(a="", b="a", c="a", d="bc")

    assert g.fail("a") == ["b<-a", "c<-a", "d<-b"]


def test_a_second_failure_does_not_fire_again() -> None:
    g = Graph(a="", b="", c="ab")

    assert g.fail("a") == ["c<-a"]
    assert g.fail("b") == []

    assert g.state()["c"] == ("dependency-failed", 2, "")


def test_a_success_after_a_failure_does_not_release() -> None:
    g = Graph(a="", b="", c="ab")
    g.fail("a")

    assert g.succeed("b") == ""
    assert g.state()["c"][0] == "dependency-failed"


def test_a_failure_spreads_through_a_very_long_chain() -> None:
    g = Graph(t0="")
    tasks = [g.tasks["t0"]]
    for number in range(1, 50_000):
        task = Task(number, SPEC, NO_KERNEL, None)
        graph.add(g.live, task, tasks[-1:])
        tasks.append(task)

    ended = graph.doom(g.live, tasks[0], g.end("t0", TaskState.FAILED))

    assert [task for task, _ in ended] == tasks[1:]
    assert [blamed for _, blamed in ended] == tasks[:-1]
    assert g.live == {}


# -- waits_for


def waits_for(g: Graph, task: str, targets: str) -> str | None:
    found = graph.waits_for(g.tasks[task], [g.tasks[name] for name in targets])
    return None if found is None else g.name(found)


def test_a_task_waits_for_itself() -> None:
    assert waits_for(Graph(a=""), "a", "a") == "a"


def test_dependents_wait_for_a_task_at_any_distance() -> None:
    g = Graph(a="", b="a", c="b", d="", e="d")

    assert waits_for(g, "a", "c") == "c"
    assert waits_for(g, "a", "dce") == "c"


def test_dependencies_and_strangers_do_not_wait_for_a_task() -> None:
    g = Graph(a="", b="a", c="b", d="", e="d")

    assert waits_for(g, "b", "a") is None
    assert waits_for(g, "a", "de") is None
    assert waits_for(g, "a", "") is None


def test_what_has_ended_waits_for_nothing() -> None:
    g = Graph(a="", b="a")
    g.fail("a")

    assert waits_for(g, "a", "ab") is None


def test_a_wait_is_found_in_a_cycle_of_joins() -> None:
    g = Graph(a="", b="a")
    graph.add(g.live, g.tasks["a"], [g.tasks["b"]])  # as a join does

    assert waits_for(g, "a", "b") == "b"
    assert waits_for(g, "b", "a") == "a"


def test_a_diamond_of_many_levels_is_walked_once() -> None:
    g = Graph(a="")
    level = [g.tasks["a"]]
    for _ in range(200):  # 2**200 paths
        pair = [Task(len(g.live) + n, SPEC, NO_KERNEL, None) for n in range(2)]
        for task in pair:
            graph.add(g.live, task, level)
        level = pair
    stranger = Task(-1, SPEC, NO_KERNEL, None)

    assert graph.waits_for(g.tasks["a"], [stranger]) is None
    assert graph.waits_for(g.tasks["a"], level[:1]) is level[0]


def test_from_both_ends_little_is_looked_at_where_little_is_above() -> None:
    g = Graph(a="", t="")
    last = g.tasks["a"]
    for number in range(1000):
        task = Task(2 + number, SPEC, NO_KERNEL, None)
        graph.add(g.live, task, [last])
        last = task
    looked: list[Task] = []

    def followers(task: Task) -> list[Task]:
        looked.append(task)
        return []

    target = g.tasks["t"]
    found = graph.waits_for(g.tasks["a"], [target], followers, lambda task: ())

    assert found is None
    assert len(looked) < 5


# -- generated graphs


@st.composite
def dags(draw: st.DrawFn) -> list[list[int]]:
    """For each task the earlier ones that it depends on."""
    size = draw(st.integers(1, 14))
    return [
        sorted(draw(st.sets(st.integers(0, number - 1), max_size=3))) if number else []
        for number in range(size)
    ]


@settings(max_examples=200)
@given(dag=dags(), data=st.data())
def test_any_order_of_ends_leaves_a_consistent_graph(
    dag: list[list[int]], data: st.DataObject
) -> None:
    live: dict[int, Task] = {}
    tasks: list[Task] = []
    for number, needs in enumerate(dag):
        tasks.append(Task(number, SPEC, NO_KERNEL, None))
        graph.add(live, tasks[-1], [tasks[other] for other in needs])
    ready = [task for task in tasks if task.waiting == 0]
    failed: set[int] = set()
    while ready:
        task = ready.pop(data.draw(st.integers(0, len(ready) - 1)))
        if data.draw(st.booleans()):
            ready += graph.release(graph.end(live, task, TaskState.SUCCEEDED))
        else:
            failed.add(task.id)
            doomed = graph.doom(live, task, graph.end(live, task, TaskState.FAILED))
            assert all(blamed.id in dag[ended.id] for ended, blamed in doomed)
        for other in live.values():
            missing = [n for n in dag[other.id] if tasks[n].state not in FINAL]
            assert other.waiting == len(missing)

    assert live == {}
    falls: set[int] = set()
    for number, needs in enumerate(dag):
        if falls.union(failed).intersection(needs):
            falls.add(number)
    for task in tasks:
        assert task.dependents is None
        if task.id in falls:
            assert task.state is TaskState.DEPENDENCY_FAILED
        elif task.id not in failed:
            assert task.state is TaskState.SUCCEEDED


@given(dags(), st.data())
def test_from_both_ends_the_same_is_found(
    needs: list[list[int]], data: st.DataObject
) -> None:
    live: dict[int, Task] = {}
    tasks = [Task(number, SPEC, NO_KERNEL, None) for number in range(len(needs))]
    for task, others in zip(tasks, needs, strict=True):
        graph.add(live, task, [tasks[number] for number in others])
    for joins, on in data.draw(
        st.lists(st.tuples(st.sampled_from(tasks), st.sampled_from(tasks)), max_size=3)
    ):
        graph.add(live, joins, [on])  # as a join does, which may make circles
        needs[joins.id] = [*needs[joins.id], on.id]
    task = data.draw(st.sampled_from(tasks))
    targets = data.draw(st.lists(st.sampled_from(tasks), max_size=3))

    def dependencies(one: Task) -> list[Task]:
        return [tasks[number] for number in needs[one.id]]

    one_way = graph.waits_for(task, targets)
    both = graph.waits_for(task, targets, dependencies=dependencies)
    assert both is one_way
