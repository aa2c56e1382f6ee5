"""Large results that stay with the agents, over links that count what they carry."""

from __future__ import annotations

import gc
import math
import os
import pickle
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.abc import Kept
from jackfield.clock import monotonic
from jackfield.errors import ResultLostError
from jackfield.files import File
from jackfield_executors.remote import agent as agents
from jackfield_executors.remote import post, shelf, stays
from jackfield_executors.remote.agent import Agent
from jackfield_executors.remote.driver import AgentsExecutor
from jackfield_executors.remote.stays import Stayed
from jackfield_testing import Harness
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import until_entered
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jackfield.abc import Work
    from jackfield_executors.remote.agent import Answer
    from jackfield_executors.remote.link import Link
    from jackfield_executors.remote.places import Home

SIZE = 2_000_000
NEVER_S = 10_000.0


class CountingLink:
    """The way to an agent in this process: bytes, which are counted.

    While ``dead`` is set, nothing comes through.
    """

    def __init__(self, name: str, agent: Agent, workers: int) -> None:
        self.name: str = name
        self.workers: int = workers
        self.job: str = ""
        self.ends: float = math.inf
        self.agent = agent
        self.dead = threading.Event()
        self.sent = 0
        self.came = 0

    def hello(self) -> str:
        return self.agent.hello()

    def put(self, number: int, data: bytes) -> None:
        if not self.dead.is_set():
            self.sent += len(data)
            self.agent.put(number, data)

    def take(self, patience: float, seen: int) -> Answer:
        data = b"" if self.dead.is_set() else self._answer(patience, seen)
        if self.dead.is_set():
            raise TimeoutError("no answer")
        self.came += len(data)
        answer: Answer = pickle.loads(data)
        return answer

    def _answer(self, patience: float, seen: int) -> bytes:
        return pickle.dumps(self.agent.take(patience, seen), 5)

    def there(self) -> bool:
        return not self.dead.is_set()

    def stop(self) -> None:
        self.agent.stop()


class Site:
    """Starts agents in this process, at once; none in place of others."""

    why = ""

    def __init__(self, agents: int, workers: int) -> None:
        self.links: list[CountingLink] = []
        self._agents = agents
        self._workers = workers

    def open(self, label: str, expected: str, home: Home, logs: Path) -> None:
        del logs
        for number in range(self._agents):
            agent = Agent(label, expected, self._workers, home)
            self.links.append(CountingLink(f"place {number}", agent, self._workers))
        self._new: list[Link] = list(self.links)

    def look(self) -> list[Link]:
        new, self._new = self._new, []
        return new

    def forget(self, link: Link) -> None:
        del link

    def close(self) -> None:
        for link in self.links:
            link.stop()


class Driven(Harness):
    """A harness that knows the agents."""

    links: list[CountingLink]

    def kept(self, work: Work) -> Stayed:
        """Wait for a work, and return what stands for its result."""
        kept = self.outcome(work)
        assert isinstance(kept, Stayed), kept
        return kept

    def link_of(self, kept: Stayed) -> CountingLink:
        assert isinstance(kept.post, post.Post)
        link = kept.post.link
        assert isinstance(link, CountingLink)
        return link

    def take(self, function: Any, *args: Any) -> Work:
        """Submit a work that gets kept results, as the kernel does."""
        work = self.work(function, *args)
        work.kept = tuple(one for one in args if isinstance(one, Kept))
        self.submit_batch([work])
        return work


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have agents answer soon, and no result come home by itself."""
    monkeypatch.setattr(post, "POLL_S", 0.1)
    monkeypatch.setattr(stays, "HOME_S", NEVER_S)


@contextmanager
def driving(
    agents: int, tmp_path: Path, *, keep: bool = True, workers: int = 1
) -> Iterator[Driven]:
    site = Site(agents, workers)
    executor = AgentsExecutor(
        "far", site, patience=1.0, keep=keep, shared_filesystem=True
    )
    with Driven(executor, tmp_path, "far") as driven:
        driven.start()
        driven.links = site.links
        yield driven


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Driven]:
    """One agent, of one worker."""
    with driving(1, tmp_path) as driven:
        yield driven


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Driven]:
    """Two agents, of one worker each."""
    with driving(2, tmp_path) as driven:
        yield driven


def more(data: bytes) -> bytes:
    return data + b"!"


def file_of(size: int) -> tuple[File, bytes]:
    return File("far.txt"), bytes(size)


def array(size: int) -> Any:
    import numpy as np

    return np.arange(size // 8)


def total(array: Any) -> int:
    return int(array.sum())


def may_write(array: Any) -> bool:
    return bool(array.flags.writeable)


def shelf_of(link: CountingLink) -> dict[int, Any]:
    return link.agent._shelf._kept


# -- where a result is


def test_a_chain_on_one_agent_does_not_pass_through_the_driver(alone: Driven) -> None:
    kept = alone.kept(alone.submit(tasks.payload, SIZE))
    for _ in range(5):
        kept = alone.kept(alone.take(more, kept))

    (link,) = alone.links
    assert link.came < SIZE / 10
    assert link.sent < SIZE / 10
    assert kept.executor == "far"
    assert kept.size > SIZE

    assert kept.fetch() == tasks.payload(SIZE) + b"!" * 5
    assert kept.fetch() is kept.fetch()
    assert SIZE < link.came < 2 * SIZE


def test_a_small_result_is_no_kept_one(alone: Driven) -> None:
    assert alone.outcome(alone.submit(tasks.payload, 200_000)) == tasks.payload(200_000)


def test_an_array_is_shared_read_only_and_the_scripts_own_when_it_is_read(
    alone: Driven,
) -> None:
    pytest.importorskip("numpy")
    kept = alone.kept(alone.submit(array, SIZE))

    assert alone.value(alone.take(total, kept)) == sum(range(SIZE // 8))
    assert alone.value(alone.take(may_write, kept)) is False
    value = kept.fetch()
    value[0] = 1
    assert alone.value(alone.take(total, kept)) == sum(range(SIZE // 8))


def test_the_agent_that_has_the_argument_gets_the_work(two: Driven) -> None:
    first = two.kept(two.submit(tasks.payload, SIZE))
    for _ in range(10):
        following = two.kept(two.take(more, first))
        assert following.post is first.post

    assert sum(link.came + link.sent for link in two.links) < SIZE / 10


def test_a_busy_agent_leaves_the_work_to_another_one(
    two: Driven, tmp_path: Path
) -> None:
    kept = two.kept(two.submit(tasks.payload, SIZE))
    gate = tasks.Gate(tmp_path / "gate")
    two.cleanups.append(gate.open)
    held = two.take(hold_with, gate, kept)  # goes to the agent that has it
    until_entered(gate, "held")

    other = two.kept(two.take(more, kept))

    assert other.post is not kept.post
    gate.open()
    assert two.value(held) == SIZE
    assert other.fetch() == tasks.payload(SIZE) + b"!"


def hold_with(gate: tasks.Gate, data: bytes) -> int:
    gate.hold("held")
    return len(data)


def test_results_of_two_agents_come_together(two: Driven, tmp_path: Path) -> None:
    gate = tasks.Gate(tmp_path / "gate")
    two.cleanups.append(gate.open)
    works = [two.submit(large_behind, gate, name) for name in ("a", "b")]
    until_entered(gate, "a", "b")
    gate.open()
    one, other = map(two.kept, works)
    assert one.post is not other.post

    assert two.value(two.take(lengths, one, other)) == [SIZE, SIZE]


def large_behind(gate: tasks.Gate, name: str) -> bytes:
    gate.hold(name)
    return tasks.payload(SIZE)


def lengths(*data: bytes) -> list[int]:
    return [len(one) for one in data]


def test_a_result_with_a_file_is_looked_at_in_the_driver(alone: Driven) -> None:
    value = alone.outcome(alone.submit(file_of, SIZE))

    assert value == (File("far.txt"), bytes(SIZE))


def test_what_is_too_much_for_an_agent_goes_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "available_memory", lambda: int(2.5 * SIZE) * shelf.PART)
    with driving(1, tmp_path) as alone:
        outcomes = [alone.outcome(alone.submit(tasks.payload, SIZE)) for _ in range(3)]

        assert [isinstance(one, Stayed) for one in outcomes] == [True, True, False]
        assert outcomes[2] == tasks.payload(SIZE)


def test_an_array_is_read_only_on_another_agent_too(
    two: Driven, tmp_path: Path
) -> None:
    pytest.importorskip("numpy")
    kept = two.kept(two.submit(array, SIZE))
    gate = tasks.Gate(tmp_path / "gate")
    two.cleanups.append(gate.open)
    held = two.take(hold_with, gate, kept)
    until_entered(gate, "held")

    assert two.value(two.take(may_write, kept)) is False

    assert not kept.away  # so it was not the same agent
    gate.open()
    two.wait([held])


def test_nothing_stays_where_that_is_not_wanted(tmp_path: Path) -> None:
    with driving(1, tmp_path, keep=False) as alone:
        work = alone.submit(tasks.payload, SIZE)

        assert alone.outcome(work) == tasks.payload(SIZE)
        assert not shelf_of(alone.links[0])


# -- it is let go


def test_an_agent_forgets_what_nobody_refers_to(alone: Driven) -> None:
    kept = alone.kept(alone.submit(tasks.payload, SIZE))
    (link,) = alone.links
    assert len(shelf_of(link)) == 1

    alone.forget()
    del kept
    gc.collect()

    assert settled(lambda: not shelf_of(link), WAIT_S)


def test_a_chain_holds_only_its_end(alone: Driven) -> None:
    kept = alone.kept(alone.submit(tasks.payload, SIZE))
    for _ in range(10):
        kept = alone.kept(alone.take(more, kept))
        alone.forget()

    (link,) = alone.links
    assert settled(lambda: len(shelf_of(link)) == 1, WAIT_S)
    assert kept.fetch() == tasks.payload(SIZE) + b"!" * 10


def test_the_result_of_a_cancelled_call_is_forgotten(
    alone: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (link,) = alone.links
    there = Shelves()
    monkeypatch.setattr(link.agent._shelf, "_kept", there)
    monkeypatch.setattr(link.agent, "_pool", Deaf(link.agent._pool))
    gate = tasks.Gate(tmp_path / "gate")
    alone.cleanups.append(gate.open)
    work = alone.submit(large_behind, gate, "late")
    until_entered(gate, "late")

    assert alone.executor.cancel(work)
    gate.open()

    assert there.used.wait(WAIT_S)
    assert settled(lambda: not shelf_of(link), WAIT_S)


class Shelves(dict[int, Any]):
    """Notes that something was put here, for however short a time."""

    def __init__(self) -> None:
        super().__init__()
        self.used = threading.Event()

    def __setitem__(self, number: int, result: Any) -> None:
        super().__setitem__(number, result)
        self.used.set()


class Deaf:
    """A pool whose cancel always comes too late."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def cancel(self, work: Work) -> bool:
        del work
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


# -- it comes home


def test_what_is_kept_for_long_comes_home_and_survives_its_agent(
    two: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stays, "HOME_S", 0.0)
    kept = two.kept(two.submit(tasks.payload, SIZE))
    assert settled(lambda: not kept.away, WAIT_S)

    two.link_of(kept).dead.set()

    assert settled(lambda: two.executor.workers == 1, WAIT_S)
    assert two.kept(two.take(more, kept)).fetch() == tasks.payload(SIZE) + b"!"
    assert kept.fetch() == tasks.payload(SIZE)


def test_what_is_kept_comes_home_at_once_before_the_end_of_a_job(
    alone: Driven,
) -> None:
    kept = alone.kept(alone.submit(tasks.payload, SIZE))

    alone.links[0].ends = monotonic() + stays.SOON_S / 2

    assert settled(lambda: not kept.away, WAIT_S)
    assert kept.loss is None
    assert alone.outcome(alone.submit(tasks.payload, SIZE)) == tasks.payload(SIZE)


def test_an_agent_that_is_to_go_is_not_done_before_its_results_are_home(
    alone: Driven,
) -> None:
    kept = alone.kept(alone.submit(tasks.payload, SIZE))
    book = alone.executor._book  # type: ignore[attr-defined]  # no user needs it

    assert not book.drain(kept.post)

    assert settled(lambda: book.drain(kept.post), WAIT_S)
    assert kept.fetch() == tasks.payload(SIZE)


def test_many_come_home_in_several_answers(
    alone: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "ANSWER", SIZE)
    monkeypatch.setattr(stays, "AT_ONCE", SIZE)
    works = alone.submit_each(tasks.payload, range(SIZE, SIZE + 8))
    kept = [alone.kept(work) for work in works]

    monkeypatch.setattr(stays, "HOME_S", 0.0)

    assert settled(lambda: not any(one.away for one in kept), WAIT_S)
    assert [len(one.fetch()) for one in kept] == [*range(SIZE, SIZE + 8)]


@pytest.mark.parametrize("grace", [None, 0.0])
def test_what_is_kept_can_be_read_after_the_end(
    alone: Driven, grace: float | None
) -> None:
    kept = alone.kept(alone.submit(tasks.payload, SIZE))

    alone.executor.shutdown(grace=grace)

    assert kept.fetch() == tasks.payload(SIZE)


def test_a_report_may_read_what_the_same_thread_receives(alone: Driven) -> None:
    read: list[Any] = []

    def on_report(outcomes: Any) -> None:
        read.extend(one.fetch() for _, _, one in outcomes)

    alone.on_report = on_report
    works = [alone.submit(tasks.payload, SIZE) for _ in range(3)]
    alone.wait(works)

    assert settled(lambda: len(read) == 3, WAIT_S)
    assert read == [tasks.payload(SIZE)] * 3


def test_two_reports_may_read_what_the_other_ones_thread_receives(
    two: Driven, tmp_path: Path
) -> None:
    gate = tasks.Gate(tmp_path / "gate")
    two.cleanups.append(gate.open)
    both, read = threading.Barrier(2), []

    def on_report(outcomes: Any) -> None:
        (outcome,) = outcomes
        mine.append(outcome[2])
        both.wait(WAIT_S)
        (other,) = [one for one in mine if one is not outcome[2]]
        read.append(other.fetch())

    mine: list[Any] = []
    two.on_report = on_report
    works = [two.submit(large_behind, gate, name) for name in ("a", "b")]
    until_entered(gate, "a", "b")
    gate.open()
    two.wait(works)

    assert settled(lambda: len(read) == 2, WAIT_S)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_what_it_never_gets(alone: Driven) -> None:
    kept = alone.kept(alone.submit(tasks.payload, SIZE))

    child = os.fork()
    if not child:
        try:
            kept.fetch()
        except ResultLostError:
            os._exit(7)
        finally:
            os._exit(1)

    ended: list[int] = []

    def over() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        ended.extend([status] if pid else [])
        return bool(pid)

    assert settled(over, WAIT_S)
    assert os.waitstatus_to_exitcode(ended[0]) == 7
    assert kept.fetch() == tasks.payload(SIZE)


# -- it is waited for in vain; see ``test_again`` for the rest


def test_a_work_that_waits_for_a_result_can_be_cancelled(
    two: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = two.kept(two.submit(tasks.payload, SIZE))
    gate = tasks.Gate(tmp_path / "gate")
    two.cleanups.append(gate.open)
    held = two.take(hold_with, gate, kept)
    until_entered(gate, "held")
    link = two.link_of(kept)
    monkeypatch.setattr(link, "put", lambda *_: None)
    waiting = two.take(more, kept)

    assert two.executor.cancel(waiting)
    assert not two.executor.cancel(waiting)

    monkeypatch.undo()
    gate.open()
    assert two.value(held) == SIZE


def test_the_end_without_grace_loses_what_an_agent_does_not_send(
    alone: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jackfield_executors.remote import driver

    monkeypatch.setattr(driver, "END_S", 0.2)
    kept = alone.kept(alone.submit(tasks.payload, SIZE))
    monkeypatch.setattr(alone.links[0], "put", lambda *_: None)

    alone.executor.shutdown(grace=0)

    with pytest.raises(ResultLostError, match="the executor has been shut down"):
        kept.fetch()
