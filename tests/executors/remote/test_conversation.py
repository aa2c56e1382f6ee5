"""A driver and its agents, with a link that loses, repeats, reorders and delays."""

from __future__ import annotations

import ctypes
import itertools
import math
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.abc import Kept
from jackfield.errors import WorkerDiedError, WorkerLostError
from jackfield_executors.remote import agent as agents
from jackfield_executors.remote import driver, post, stays
from jackfield_executors.remote.agent import Agent
from jackfield_executors.remote.driver import AgentsExecutor
from jackfield_testing import Harness
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import until_entered
from jackfield_testing.footprint import WAIT_S, alive, settled

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield_executors.remote.agent import Answer
    from jackfield_executors.remote.link import Link
    from jackfield_executors.remote.places import Home


LARGE = 2_000_000


class BadLink:
    """The way to an agent in this process, which is bad as long as ``bad`` is set.

    Each fourth message is lost, and so is each fourth answer; the others may come
    twice, or after the next one. While ``dead`` is set, nothing comes through. Once
    ``gone`` is set, the engine has lost the agent.
    """

    def __init__(self, name: str, agent: Agent, workers: int) -> None:
        self.name: str = name
        self.workers: int = workers
        self.job: str = ""
        self.ends: float = math.inf
        self.agent = agent
        self.bad = threading.Event()
        self.dead = threading.Event()
        self.gone = threading.Event()
        self.lost = 0
        self._random = random.Random(11)
        self._kept: list[tuple[int, bytes]] = []

    def hello(self) -> str:
        return self.agent.hello()

    def put(self, number: int, data: bytes) -> None:
        if self.dead.is_set():
            return
        chance = self._random.random() if self.bad.is_set() else 1.0
        if chance < 0.25:
            self.lost += 1
            return
        if chance < 0.5:
            self._kept.append((number, data))
            return
        self.agent.put(number, data)
        if chance < 0.75:
            self.agent.put(number, data)
        for late in self._kept:
            self.agent.put(*late)
        self._kept.clear()

    def take(self, patience: float, seen: int) -> Answer:
        if self.dead.is_set():
            raise TimeoutError("no answer")
        answer = self.agent.take(patience, seen)
        if self.bad.is_set() and self._random.random() < 0.25:
            self.lost += 1
            raise TimeoutError("the answer is lost")
        return answer

    def there(self) -> bool:
        return not self.gone.is_set()

    def stop(self) -> None:
        self.agent.stop()


class BadSite:
    """Starts an agent of one worker in this process, and another if it is lost."""

    why = ""

    def __init__(self) -> None:
        self.links: list[BadLink] = []
        self._names = itertools.count()
        self._wanted = threading.Event()
        self._wanted.set()

    def open(self, label: str, expected: str, home: Home, logs: Path) -> None:
        del logs
        self._arguments = label, expected, home

    def look(self) -> list[Link]:
        if not self._wanted.is_set():
            return []
        self._wanted.clear()
        label, expected, home = self._arguments
        agent = Agent(label, expected, 1, home)
        link = BadLink(f"place {next(self._names)}", agent, 1)
        self.links.append(link)
        return [link]

    def forget(self, link: Link) -> None:
        del link
        self._wanted.set()

    def close(self) -> None:
        for link in self.links:
            link.stop()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> BadSite:
    monkeypatch.setattr(post, "POLL_S", 0.1)
    monkeypatch.setattr(post, "RESEND_S", 0.1)
    monkeypatch.setattr(post, "RETRY_S", 0.01)
    return BadSite()


def note(line: tuple[Path, int]) -> None:
    """Add a number to a file, in one write."""
    path, number = line
    with path.open("a") as file:
        file.write(f"{number}\n")


def driven_by(site: BadSite, tmp_path: Path) -> Harness:
    executor = AgentsExecutor(
        "far", site, patience=60.0, keep=True, shared_filesystem=True
    )
    return Harness(executor, tmp_path, "far").start()


def test_each_work_runs_and_counts_once_over_a_bad_link(
    site: BadSite, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    with driven_by(site, tmp_path) as driven:
        (link,) = site.links
        link.bad.set()
        for begin in range(0, 80, 4):
            works = driven.submit_each(
                note, [(ran, n) for n in range(begin, begin + 4)]
            )
            driven.values(works)

        assert link.lost > 10
        link.bad.clear()
    assert sorted(map(int, ran.read_text().split())) == list(range(80))


def test_large_results_stay_and_come_home_over_a_bad_link(
    site: BadSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stays, "HOME_S", 0.2)
    with driven_by(site, tmp_path) as driven:
        (link,) = site.links
        link.bad.set()
        work = driven.submit(tasks.payload, LARGE)
        kept = None
        for _ in range(20):
            kept = driven.outcome(work)
            assert isinstance(kept, Kept)
            if link.lost % 2:
                assert len(kept.fetch()) == LARGE
            work = driven.work(tasks.identity, kept)
            work.kept = (kept,)
            driven.submit_batch([work])

        assert driven.value(work) == tasks.payload(LARGE)
        assert link.lost > 10
        del kept, work
        driven.forget()
        assert settled(lambda: not link.agent._shelf._kept, WAIT_S)
        link.bad.clear()


def test_what_runs_is_told_over_a_bad_link(site: BadSite, tmp_path: Path) -> None:
    with driven_by(site, tmp_path) as driven:
        (link,) = site.links
        link.bad.set()
        gate = tasks.Gate(tmp_path / "gate")
        driven.cleanups.append(gate.open)
        held = [driven.submit(gate.hold, name) for name in ("runs", "waits")]
        until_entered(gate, "runs")

        def told() -> list[tuple[int, str, int]]:
            runs = driven.executor.running() or ()
            return [(one.task, one.worker, one.pid) for one in runs]

        assert settled(lambda: bool(told()), WAIT_S)
        pid = gate.process_of("runs")
        assert told() == [(held[0].id, "far-1@place 0", pid)]
        link.bad.clear()
        gate.open()
        driven.values(held)
        assert not told()


def test_a_cancel_over_a_bad_link_kills(site: BadSite, tmp_path: Path) -> None:
    with driven_by(site, tmp_path) as driven:
        (link,) = site.links
        gate = tasks.Gate(tmp_path / "gate")
        driven.cleanups.append(gate.open)
        (held,) = driven.submit_each(gate.hold, ["a"])
        until_entered(gate, "a")
        pid = gate.process_of("a")
        link.bad.set()

        assert driven.executor.cancel(held)

        assert settled(lambda: not alive(pid), WAIT_S)
        link.bad.clear()


def test_results_of_an_agent_that_was_given_up_are_dropped(
    site: BadSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "SILENCE_S", 0.5)
    with driven_by(site, tmp_path) as driven:
        (first,) = site.links
        gate = tasks.Gate(tmp_path / "gate")
        driven.cleanups.append(gate.open)
        (held,) = driven.submit_each(gate.hold, ["a"])
        until_entered(gate, "a")

        first.dead.set()
        error = driven.error(held)
        assert isinstance(error, WorkerLostError)
        assert "place 0 is lost: TimeoutError: no answer" in str(error)
        gate.open()
        first.dead.clear()

        # The result is there, and waits for a question.
        assert settled(lambda: bool(first.agent.take(0.1, 0)[2]), WAIT_S)
        assert driven.value(driven.submit(tasks.add, 40, 2)) == 42
        assert len(site.links) == 2
        assert driven.executor.workers == 1


@pytest.mark.parametrize("answers", [True, False])
def test_a_work_waits_for_another_agent_if_the_engine_has_lost_one(
    site: BadSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    """The driver's question is still on its way then, and may even be answered."""
    with driven_by(site, tmp_path) as driven:
        (lost,) = site.links
        asked, over = threading.Event(), threading.Event()

        def taking(patience: float, seen: int) -> Answer:
            asked.set()
            over.wait(WAIT_S)
            if answers:
                return lost.agent.take(patience, seen)
            raise TimeoutError("no answer")

        monkeypatch.setattr(lost, "take", taking)
        assert asked.wait(WAIT_S)
        lost.gone.set()

        work = driven.submit(tasks.add, 40, 2)
        over.set()

        assert driven.value(work) == 42
        assert driven.executor.workers == 1
        assert len(site.links) == 2


def test_an_agent_that_gives_its_driver_up_says_so(
    site: BadSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "LEASE_S", 5.0)  # an agent looks at it each tenth of it
    with driven_by(site, tmp_path) as driven:
        (link,) = site.links
        gate = tasks.Gate(tmp_path / "gate")
        driven.cleanups.append(gate.open)
        (held,) = driven.submit_each(gate.hold, ["a"])
        until_entered(gate, "a")
        pid = gate.process_of("a")

        link.dead.set()
        monkeypatch.setattr(agents, "LEASE_S", 0.5)
        assert settled(lambda: not alive(pid), WAIT_S)
        monkeypatch.setattr(agents, "LEASE_S", WAIT_S)
        link.dead.clear()

        error = driven.error(held)
        assert isinstance(error, WorkerLostError | WorkerDiedError)
        assert driven.value(driven.submit(tasks.add, 40, 2)) == 42


def test_while_a_process_stands_still_there_is_no_silence(
    site: BadSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Driver and agent are one process here, and a function in C keeps it from both."""
    limit = 4.0
    monkeypatch.setattr(post, "SILENCE_S", limit)
    monkeypatch.setattr(agents, "LEASE_S", limit)
    monkeypatch.setattr(driver, "WATCH_S", 0.1)
    asked = threading.Event()
    with driven_by(site, tmp_path) as driven:
        (link,) = site.links
        gate = tasks.Gate(tmp_path / "gate")
        driven.cleanups.append(gate.open)
        (held,) = driven.submit_each(gate.hold, ["a"])
        until_entered(gate, "a")

        def silent(patience: float, seen: int) -> Answer:
            del patience, seen
            asked.set()
            raise TimeoutError("no answer")

        with monkeypatch.context() as patch:
            patch.setattr(link, "take", silent)
            patch.setattr(link, "put", lambda *_: None)
            assert asked.wait(WAIT_S)  # so the silence has begun
            ctypes.PyDLL(None).sleep(int(1.5 * limit))
            asked.clear()
            assert asked.wait(WAIT_S)  # it was looked at after that, too

        gate.open()
        assert driven.value(held) == "a"
        assert site.links == [link]


def test_an_agent_waits_for_a_driver_that_its_engine_holds(
    site: BadSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_at = threading.Event()
    there = threading.Event()
    there.set()

    def held(_: Agent) -> bool:
        held_at.set()
        return there.is_set()

    monkeypatch.setattr(agents.Agent, "held", held)
    with driven_by(site, tmp_path) as driven:
        (link,) = site.links
        gate = tasks.Gate(tmp_path / "gate")
        driven.cleanups.append(gate.open)
        (work,) = driven.submit_each(gate.hold, ["a"])
        until_entered(gate, "a")
        pid = gate.process_of("a")

        link.dead.set()
        monkeypatch.setattr(agents, "LEASE_S", 0.2)
        for _ in range(3):
            held_at.clear()
            assert held_at.wait(WAIT_S)
        assert alive(pid)
        there.clear()

        assert settled(lambda: not alive(pid), WAIT_S)
        link.dead.clear()
        assert isinstance(driven.error(work), WorkerLostError | WorkerDiedError)
        monkeypatch.setattr(agents, "LEASE_S", WAIT_S)


class SlowToLoad:
    """What only becomes an object in the driver when a gate is opened."""

    def __init__(self, gate: tasks.Gate) -> None:
        self._gate = gate

    def __reduce__(self) -> tuple[Any, ...]:
        return self._gate.hold, ("landed",)


def test_a_work_whose_result_is_being_loaded_is_not_cancelled(
    site: BadSite, tmp_path: Path
) -> None:
    with driven_by(site, tmp_path) as driven:
        gate = tasks.Gate(tmp_path / "gate")
        driven.cleanups.append(gate.open)
        work = driven.submit(SlowToLoad, gate)
        until_entered(gate, "landed")

        assert not driven.executor.cancel(work)

        gate.open()
        assert driven.value(work) == "landed"


def test_a_driver_that_reports_for_long_is_not_taken_for_dead(
    site: BadSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "QUIET_S", 0.1)
    monkeypatch.setattr(driver, "WATCH_S", 0.05)
    heard: set[float] = set()  # when the agent has heard the driver meanwhile
    with driven_by(site, tmp_path) as driven:
        (link,) = site.links

        def hears() -> bool:
            heard.add(link.agent._asked)
            return len(heard) > 5

        def observe(_: object) -> None:
            driven.on_report = None
            settled(hears, WAIT_S)

        driven.on_report = observe
        gate = tasks.Gate(tmp_path / "gate")
        driven.cleanups.append(gate.open)
        first, held = driven.submit_each(gate.hold, ["a", "b"])
        until_entered(gate, "a")
        gate.open()

        assert driven.values([first, held]) == ["a", "b"]
        assert len(heard) > 5
        assert driven.value(driven.submit(tasks.add, 40, 2)) == 42
        assert site.links == [link]


def test_an_agent_is_not_silent_while_nobody_asks(
    site: BadSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long report, one answer that is lost is nothing more than that."""
    silence = 1.0
    monkeypatch.setattr(post, "SILENCE_S", silence)
    with driven_by(site, tmp_path) as driven:
        (link,) = site.links
        take = link.take
        lost = threading.Event()

        def losing(patience: float, seen: int) -> Answer:
            if not lost.is_set():
                lost.set()
                raise TimeoutError("the answer is lost")
            return take(patience, seen)

        def observe(_: object) -> None:
            driven.on_report = None
            assert not lost.wait(2 * silence)
            monkeypatch.setattr(link, "take", losing)

        driven.on_report = observe
        assert driven.value(driven.submit(tasks.add, 40, 2)) == 42
        assert lost.wait(WAIT_S)
        assert driven.value(driven.submit(tasks.add, 1, 2)) == 3
        assert site.links == [link]
