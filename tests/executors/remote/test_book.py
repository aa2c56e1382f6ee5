"""Where works are, and who takes them out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from jackfield.abc import Work
from jackfield.clock import monotonic
from jackfield_executors.remote.book import AHEAD_S, FEW, Book
from jackfield_executors.remote.post import Post
from jackfield_executors.shares import Shares

if TYPE_CHECKING:
    from jackfield_executors.remote.agent import Answer


class Nowhere:
    """A link that is never used."""

    name: str = "nowhere"
    workers: int = 2
    job: str = ""

    def __init__(self, left: float = math.inf) -> None:
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


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def post(book: Book) -> Post:
    post = Post(Nowhere())
    assert book.join(post)
    return post


def works(number: int) -> list[Work]:
    return [Work(n, 1, "add", max, (1, 2), {}, None) for n in range(number)]


def test_an_agent_gets_one_work_a_worker_and_more_when_they_are_short(
    book: Book, post: Post
) -> None:
    book.add(works(100))

    first = book.assign(post)
    assert len(first) == 2
    for token, _ in first:
        assert book.settle(post, token, AHEAD_S * 0.3) is not None
    assert len(book.assign(post)) == 6
    assert book.assign(post) == []


def test_of_many_agents_only_those_with_an_idle_worker_are_looked_at(
    book: Book,
) -> None:
    posts = [Post(Nowhere()) for _ in range(FEW + 2)]
    assert all(map(book.join, posts))
    busy, leaving, last = posts[:3]
    book.add(works(2 * len(posts)))
    for post in posts:
        while len(post.flying) < post.link.workers:
            assert book.assign(post)
    assert list(book.hungry()) == []

    book.add(works(10))
    assert list(book.hungry()) == []
    book.settle(last, next(iter(last.flying)))
    book.settle(leaving, next(iter(leaving.flying)))
    book.leave(leaving)
    assert list(book.hungry()) == [last]
    assert book.assign(busy) == []
    assert len(book.assign(last)) == 1


def asking(number: int, **resources: float) -> Work:
    return Work(number, 1, "add", max, (1, 2), {}, None, resources)


def test_a_large_work_goes_to_one_agent_that_is_kept_free_for_it(book: Book) -> None:
    shares = Shares({"cores": 2.0}, 2)
    one, other = (Post(Nowhere(), shares=shares) for _ in range(2))
    assert book.join(one)
    assert book.join(other)
    small = works(4)
    book.add(small)
    book.assign(one)
    book.assign(other)
    large = asking(4, cores=2.0)
    book.add([large, *(asking(n, cores=1.0) for n in range(5, 9))])

    # Each agent ends one of its two works. One of them gets nothing instead.
    for post in (one, other):
        book.settle(post, next(iter(post.flying)), 1.0)
    assert book.assign(one) == []
    ((_, passed),) = book.assign(other)
    assert passed.id == 5

    book.settle(one, next(iter(one.flying)), 1.0)
    ((_, begun),) = book.assign(one)
    assert begun is large
    assert book.assign(one) == []


def test_a_work_that_no_agent_can_hold_is_known(book: Book) -> None:
    large = asking(0, cores=8.0)
    book.add([large, asking(1, cores=1.0)])
    assert book.too_large() == []

    assert book.join(Post(Nowhere(), shares=Shares({"cores": 2.0}, 2)))
    assert book.too_large() == [large]
    assert book.take_out([large]) == [large]
    assert book.take_out([large]) == []


def test_a_work_is_taken_out_once(book: Book, post: Post) -> None:
    book.add(works(3))
    (token, settled), (other, cancelled) = book.assign(post)

    assert book.settle(post, token) is settled
    assert book.settle(post, token) is None
    assert book.cancel(settled) is False  # it is about to be reported
    assert book.cancel(cancelled) == (post, other)
    assert book.cancel(cancelled) is False
    assert book.settle(post, other) is None
    assert book.leave(post) == []
    assert book.leave(post) is None
    assert len(book.give_up()) == 1
    assert book.give_up() == []
    assert post.load == pytest.approx(0)


@pytest.mark.parametrize("way", ["settled", "lost", "given up"])
def test_the_end_waits_until_an_outcome_is_reported(
    way: str, book: Book, post: Post
) -> None:
    (work,) = works(1)
    if way == "given up":
        book.leave(post)
    book.add([work])
    for token, _ in book.assign(post):
        if way == "settled":
            book.settle(post, token)
        else:
            assert book.leave(post) == [work]
    if way == "given up":
        assert book.give_up() == [work]

    book.close(drop=False)
    assert not book.idle.is_set()
    book.note_reported([work])
    assert book.idle.is_set()


def test_an_end_drops_what_waits_and_takes_no_more(book: Book, post: Post) -> None:
    given = works(5)
    book.add(given)
    running = [work for _, work in book.assign(post)]

    book.close(drop=True)
    assert not book.add(works(1))
    assert not book.idle.is_set()
    book.note_reported(running)
    assert book.idle.is_set()
    assert book.end() == [post]
    assert book.end() is None
    assert not book.join(post)


def of(name: str, number: int, walltime: float | None = None) -> Work:
    return Work(number, 1, name, abs, (1,), {}, walltime)


def test_what_takes_longer_than_is_left_is_kept_for_others(book: Book) -> None:
    post = Post(Nowhere(left=30.0), lasts=600.0)
    assert book.join(post)
    book.add([of("known", 0)])
    [(token, _)] = book.assign(post)
    assert book.settle(post, token, 40.0) is not None  # so it is learned

    late = [of("known", 1), of("limited", 2, walltime=40.0), of("any", 3)]
    short = of("known", 4, walltime=5.0)
    book.add([*late, short])

    assert [work for _, work in book.assign(post)] == [late[2], short]
    assert book.is_spent(post) is False  # it has something to do


def test_what_takes_longer_than_a_job_begins_with_it(book: Book) -> None:
    post = Post(Nowhere(left=59.0), lasts=60.0)
    assert book.join(post)
    book.add([of("long", 1, walltime=3600.0)])

    assert len(book.assign(post)) == 1


def test_what_is_to_do_is_told(book: Book, post: Post) -> None:
    book.add([of("a", 0)])
    [(token, work)] = book.assign(post)
    assert book.to_do() == (0, 1, 1, 0.0)
    assert book.settle(post, token, 2.0) is work
    book.note_reported([work])

    book.add([of("a", 1), of("a", 2), of("b", 3)])
    book.assign(post)
    assert book.to_do() == (1, 3, 1, 4.0)
