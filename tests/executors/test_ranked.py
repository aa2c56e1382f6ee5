"""Queues of works with priorities: the order, and what it costs."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jackfield.abc import ExecutorContext, Work
from jackfield_executors.processes.pool import Pool
from jackfield_executors.ranked import Line, Ranked, merged
from jackfield_executors.remote.book import Book
from jackfield_executors.shares import Shares
from jackfield_executors.threads import ThreadsExecutor
from jackfield_testing import Harness
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import hold_all, open_gate, until_entered
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackfield.abc import Outcome

FEW = 5_000
MANY = 100_000


def ranked_works(count: int, most: int = 10**6) -> list[Work]:
    chance = random.Random(7)
    return [
        Work(n, 1, "abs", abs, (n,), {}, priority=chance.randint(-most, most))
        for n in range(count)
    ]


def in_order(works: Sequence[Work]) -> list[Work]:
    return sorted(works, key=lambda work: -work.priority)


@pytest.mark.parametrize("most", [0, 2, 1_000])
def test_a_line_gives_the_highest_first_and_equal_ones_in_order(most: int) -> None:
    line, works = Line(), ranked_works(500, most)
    for work in works:
        line.append(work)

    assert list(line) == in_order(works)
    taken = [line.popleft() for _ in range(200)]
    for work in reversed(taken[100:]):
        line.appendleft(work)
    taken[100:] = [line.popleft() for _ in range(len(line))]

    assert taken == in_order(works)
    assert not line
    assert len(line) == 0


def test_works_go_in_and_out_anywhere_and_the_rest_stays_in_order() -> None:
    chance = random.Random(3)
    queue, model, works = Ranked(), list[Work](), ranked_works(2_000, 5)
    for work in works:
        queue.extend([work])
        model.append(work)
        if chance.random() < 0.4:
            gone = chance.choice(model)
            model.remove(gone)
            assert gone in queue
            assert queue.discard(gone)
            assert not queue.discard(gone)
            if chance.random() < 0.3:  # it comes back to the front
                queue.put_first(gone)
                model.insert(0, gone)
        assert len(queue) == len(model)

    assert list(queue) == in_order(model)
    assert list(merged(queue, ())) == in_order(model)
    queue.clear()
    assert not queue
    assert list(queue) == []


def test_an_agent_gets_the_highest_first_also_of_what_only_it_can_run() -> None:
    queue, own = Ranked(), Ranked()
    works = ranked_works(100, 3)
    queue.extend(works[::2])
    own.extend(works[1::2])

    assert list(merged(own, queue)) == in_order(works)


# -- What it costs


def through_a_line(works: Sequence[Work]) -> None:
    line = Line()
    for work in works:
        line.append(work)
    while line:
        line.popleft()


def through_a_queue(works: Sequence[Work]) -> None:
    queue = Ranked()
    for work in works:
        queue.extend([work])
    while queue:
        assert queue.discard(next(iter(queue)))


def through_a_pool(works: Sequence[Work]) -> None:
    pool = Pool("cpu", None, Shares({}, 1))
    for work in works:
        pool.submit([work])
    for work in works[::2]:
        pool.waiting.remove(work)  # as a cancel does
    while pool.queue:
        pool.queue.popleft()


def through_a_book(works: Sequence[Work]) -> None:
    book = Book()
    for work in works:
        assert book.add([work])
    for work in works:
        assert book.cancel(work)


def through_threads(works: Sequence[Work], directory: Path) -> None:
    begun: list[int] = []
    with Harness(ThreadsExecutor(1), directory) as harness:
        executor, left = harness.executor, len(works)

        def report(outcomes: Sequence[Outcome]) -> None:
            begun.extend(work.priority for work, _, _ in outcomes)

        executor.start(ExecutorContext("io", directory, report))
        gate = tasks.Gate(Path(tempfile.mkdtemp(dir=directory)))
        executor.submit([Work(-1, 1, "hold", gate.hold, ("one",), {})])
        until_entered(gate, "one")
        for work in works:
            executor.submit([work])
        gate.open()
        assert settled(lambda: len(begun) > left, WAIT_S)
    assert begun[1:] == [work.priority for work in in_order(works)]


@pytest.mark.parametrize(
    "way", [through_a_line, through_a_queue, through_a_pool, through_a_book]
)
def test_a_work_of_many_costs_hardly_more_than_one_of_few(
    way: Callable[[Sequence[Work]], None],
) -> None:
    assert growth(way) < 5.0


def test_a_work_of_many_costs_threads_hardly_more_than_one_of_few(
    tmp_path: Path,
) -> None:
    assert growth(lambda works: through_threads(works, tmp_path)) < 5.0


def growth(way: Callable[[Sequence[Work]], object]) -> float:
    """Return how much more a work costs if there are twenty times as many.

    That is in processor time. The logarithm alone is 1.4, and caches add to that; a
    price that grows with their number would be 20.
    """
    return cost(way, MANY) / min(cost(way, FEW) for _ in range(3))


def cost(way: Callable[[Sequence[Work]], object], count: int) -> float:
    works = ranked_works(count)
    before = time.process_time()
    way(works)
    return (time.process_time() - before) / count


# -- On threads, with works that take several of them


def test_a_higher_priority_tears_no_large_work_that_has_begun_to_gather_threads(
    tmp_path: Path,
) -> None:
    """Each would hold threads that the other one waits for."""
    with Harness(ThreadsExecutor(4, {"cores": 4.0}), tmp_path).start() as io:
        first, second = tasks.Gate(tmp_path / "1"), tasks.Gate(tmp_path / "2")
        io.cleanups += [first.open, second.open]
        held = [io.submit(first.hold, str(n)) for n in range(3)]
        until_entered(first, "0", "1", "2")
        middle = io.submit(tasks.now, resources={"cores": 3.0})
        large = io.submit(tasks.now, resources={"cores": 4.0}, priority=9)
        small = [io.submit(tasks.now, priority=n % 3) for n in range(20)]

        first.open()

        assert len(io.values([*held, middle, large, *small])) == 25


def test_threads_that_have_gathered_for_a_cancelled_work_are_let_go(
    tmp_path: Path,
) -> None:
    with Harness(ThreadsExecutor(3, {"cores": 3.0}), tmp_path).start() as io:
        gate = tasks.Gate(tmp_path / "gate")
        io.cleanups.append(gate.open)
        held = [io.submit(gate.hold, str(n)) for n in range(2)]
        until_entered(gate, "0", "1")
        large = io.submit(tasks.now, resources={"cores": 3.0}, priority=9)
        small = [io.submit(tasks.now, priority=n) for n in range(5)]

        assert io.executor.cancel(large)

        assert len(io.values(small)) == 5
        gate.open()
        assert io.values(held) == ["0", "1"]
        after = [io.submit(tasks.now, resources={"cores": 2.0}) for _ in range(5)]
        assert len(io.values(after)) == 5


def test_works_in_the_queue_are_passed_by_a_higher_and_pass_a_lower_one(
    tmp_path: Path,
) -> None:
    """Plain works are in a queue that is not sorted, until the first of these comes."""
    with Harness(ThreadsExecutor(1, {"cores": 1.0}), tmp_path).start() as io:
        order: list[str] = []
        for turn in range(3):
            gate = tasks.Gate(tmp_path / f"gate-{turn}")
            io.cleanups.append(gate.open)
            held = io.submit(gate.hold, "one")
            until_entered(gate, "one")
            works = [io.submit(order.append, "a"), io.submit(order.append, "b")]
            works.append(io.submit(order.append, "low", priority=-1))
            works.append(io.submit(order.append, "c"))
            works.append(io.submit(order.append, "high", priority=1))
            works.append(io.submit(order.append, "d"))

            gate.open()
            io.values([held, *works])

            assert order == ["high", "a", "b", "c", "d", "low"]
            order.clear()


def test_priorities_and_amounts_go_together(tmp_path: Path) -> None:
    with Harness(ThreadsExecutor(1, {"cores": 1.0, "gpus": 1.0}), tmp_path) as io:
        io.start()
        gate = open_gate(io, tmp_path)
        hold_all(io, gate)
        asks = [{}, {"gpus": 1.0}, {"cores": 1.0}]
        works = [
            io.work(tasks.now, resources=asks[n % 3], priority=n * 7 % 5 - 2)
            for n in range(60)
        ]
        io.submit_batch(works[:30])
        for work in works[30:]:
            io.submit_batch([work])
        dropped = works[::7]
        assert all(io.executor.cancel(work) for work in dropped)
        kept = [work for work in works if work not in dropped]

        gate.open()
        times = dict(zip(kept, io.values(kept), strict=True))

    # Those of the gpu wait for each other; so only the order of each sort is certain.
    for amounts in asks:
        alike = [work for work in kept if work.resources == amounts]
        assert sorted(alike, key=lambda work: times[work]) == in_order(alike)
    without = [work for work in kept if work.resources != asks[1]]
    assert sorted(without, key=lambda work: times[work]) == in_order(without)


@pytest.mark.parametrize("grace", [None, 0.0])
def test_the_end_leaves_nothing_of_what_has_a_priority(
    tmp_path: Path, grace: float | None
) -> None:
    for _ in range(20):
        with Harness(ThreadsExecutor(2), tmp_path) as io:
            io.start()
            works = [io.work(tasks.add, n, priority=n % 3) for n in range(50)]
            io.submit_batch(works)
            io.executor.shutdown(grace=grace)

            if grace is None:
                assert io.values(works) == list(range(50))
            assert io.executor.running() == []
