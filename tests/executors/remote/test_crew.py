"""How many jobs there are: asked for, asked for again, and let go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from jackfield.abc import Work
from jackfield.clock import monotonic
from jackfield_executors.remote import crew
from jackfield_executors.remote.book import Book
from jackfield_executors.remote.crew import MOST_FAILED, Crew
from jackfield_executors.remote.post import Post

if TYPE_CHECKING:
    from jackfield_executors.remote.agent import Answer


class Place:
    """A link that is never used."""

    name: str = "there"
    workers: int = 2

    def __init__(self, job: str, left: float = math.inf) -> None:
        self.job: str = job
        self.ends: float = monotonic() + left

    def hello(self) -> str:
        raise NotImplementedError

    def put(self, number: int, data: bytes) -> None:
        raise NotImplementedError

    def take(self, patience: float, seen: int) -> Answer:
        raise NotImplementedError

    def there(self) -> bool:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError


class Queue:
    """A cluster's queue, of which the test says what becomes of jobs."""

    size: int = 2

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        self.begun: list[str] = []
        self.refuses = ""

    def begin(self, count: int) -> list[str]:
        if self.refuses:
            raise OSError(self.refuses)
        names = [f"job-{len(self.begun) + n}" for n in range(count)]
        self.begun += names
        self.jobs.update(dict.fromkeys(names, "pending (Resources)"))
        return names

    def states(self) -> dict[str, str]:
        return dict(self.jobs)

    def end(self, name: str) -> None:
        self.jobs.pop(name, None)


class Room:
    """A crew with its queue and book."""

    def __init__(self, wanted: int) -> None:
        self.queue = Queue()
        self.book = Book()
        self.gone: list[Post] = []
        self.crew = Crew(self.queue, wanted, self.book, self._dismiss)
        self.crew.step()

    def _dismiss(self, post: Post) -> None:
        assert self.book.leave(post) == []
        self.gone.append(post)

    def run(self, job: str, left: float = math.inf) -> Post:
        """Have a job's agent come in."""
        self.queue.jobs[job] = ""
        post = Post(Place(job, left), lasts=left)
        assert self.book.join(post)
        self.crew.step()
        return post

    def give(self, *works: Work) -> None:
        assert self.book.add(works)


def work(number: int, walltime: float | None = None) -> Work:
    return Work(number, 1, "work", abs, (1,), {}, walltime)


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "FIRST_DELAY_S", 0.0)


def test_jobs_are_begun_and_what_they_wait_for_is_known() -> None:
    room = Room(2)
    room.crew.step()

    assert room.queue.begun == ["job-0", "job-1"]
    assert room.crew.pending == 2
    assert room.crew.why == "2 jobs are on the way: pending (Resources)"
    room.run("job-0")
    assert room.crew.pending == 1


def test_a_job_that_is_lost_is_asked_for_again() -> None:
    room = Room(1)
    post = room.run("job-0")
    room.book.leave(post)

    room.crew.step()

    assert list(room.queue.jobs) == ["job-1"]
    assert room.crew.failed == 0


def test_jobs_that_fail_to_start_are_hopeless_in_the_end_and_say_why() -> None:
    room = Room(3)
    for failed in range(MOST_FAILED):
        assert not room.crew.hopeless
        for name in list(room.queue.jobs)[: 1 if failed else 3]:
            room.queue.end(name)
        room.crew.step()
    assert room.crew.hopeless
    assert "was over before it ran a worker" in room.crew.why

    room.queue.jobs.clear()
    room.queue.refuses = "sbatch: invalid partition"
    room.crew.step()
    assert "invalid partition" in room.crew.why
    room.queue.refuses = ""
    room.crew.step()
    room.run(room.queue.begun[-1])
    assert not room.crew.hopeless


def test_what_waits_in_the_queue_goes_first_then_who_has_the_least_to_do() -> None:
    room = Room(3)
    busy = room.run("job-0")
    room.give(work(1))
    [(token, _)] = room.book.assign(busy)
    idle = room.run("job-1")

    room.crew.wanted = 2
    room.crew.step()
    assert set(room.queue.jobs) == {"job-0", "job-1"}
    room.crew.wanted = 1
    room.crew.step()
    assert set(room.queue.jobs) == {"job-0"}
    assert room.gone == [idle]

    room.crew.wanted = 0
    room.crew.step()
    room.give(work(2))
    assert room.book.assign(busy) == []
    assert set(room.queue.jobs) == {"job-0"}  # until its work has ended
    done = room.book.settle(busy, token, 1.0)
    assert done is not None
    room.crew.step()
    assert room.queue.jobs == {}
    assert room.gone == [idle, busy]


def test_who_has_too_little_time_left_makes_room_for_another() -> None:
    room = Room(1)
    post = room.run("job-0", left=60.0)
    post.lasts = 600.0
    room.give(work(1, walltime=100.0))
    assert room.book.assign(post) == []

    room.crew.step()

    assert room.gone == [post]
    assert list(room.queue.jobs) == ["job-1"]


def test_an_agent_that_comes_when_its_job_is_to_go_is_not_wanted() -> None:
    room = Room(1)
    room.crew.wanted = 0
    room.crew.step()
    assert not room.crew.wants(Place("job-0"))
    late = room.run("job-0")
    assert room.gone == [late]


def test_jobs_that_wait_long_are_told_with_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room(1)
    now = monotonic()
    monkeypatch.setattr(crew, "monotonic", lambda: now + 90 * 60)
    room.crew.step()
    assert room.crew.why == "one job is on the way for 90 min: pending (Resources)"

    room.queue.jobs["job-0"] = ""  # as of a batch system that says nothing
    room.crew.step()
    assert room.crew.why == "one job is on the way for 90 min"

    room.run("job-0")
    assert room.crew.why == ""
