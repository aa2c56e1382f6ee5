"""The scheduler goes on, whatever its steps and timers do."""

from __future__ import annotations

import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jackfield.futures.locks import Condition, Latch
from jackfield.graph.scheduler import Scheduler

LIMIT_S = 60.0


class Bench:
    """A scheduler whose items are calls: ``(while holding the role, afterwards)``."""

    def __init__(self) -> None:
        self.faults: list[BaseException] = []
        self.scheduler = Scheduler("tested", self.faults.append)
        self.scheduler.work_with(self.step, self.perform)
        self.scheduler.start()

    def step(self, inbox: deque[Any], limit: int) -> Callable[[], None]:
        now, afterwards = inbox.popleft()
        now()
        return afterwards  # type: ignore[no-any-return]  # it was put there so

    def perform(self, afterwards: Callable[[], object]) -> None:
        afterwards()

    def post(
        self,
        now: Callable[[], object] = lambda: None,
        afterwards: Callable[[], object] = lambda: None,
    ) -> None:
        self.scheduler.post((now, afterwards))

    def settle(self) -> None:
        """Wait until all that was posted before is worked off."""
        done = threading.Event()
        self.post(afterwards=done.set)
        assert done.wait(LIMIT_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.scheduler.stop(LIMIT_S)
    assert not bench.scheduler.thread.is_alive()


def raises(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


ERRORS = [ValueError(), SystemExit(), KeyboardInterrupt(), GeneratorExit()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("when", ["now", "afterwards"])
def test_an_error_is_told_and_the_next_item_has_its_turn(
    bench: Bench, when: str, error: BaseException
) -> None:
    bench.post(**{when: raises(error)})
    bench.settle()

    assert bench.faults == [error]
    assert bench.scheduler.thread.is_alive()


def test_a_timer_that_raises_stops_no_other(bench: Bench) -> None:
    fired = threading.Event()
    bench.scheduler.call_later(0.0, raises(ValueError()))
    bench.scheduler.call_later(0.01, fired.set)

    assert fired.wait(LIMIT_S)
    bench.settle()


def test_a_timer_may_be_set_for_any_time(bench: Bench) -> None:
    fired = threading.Event()
    for delay in (float("inf"), 1e300, 1e10, -1.0):
        bench.scheduler.call_later(delay, fired.set)
    bench.settle()

    assert fired.wait(LIMIT_S)


def test_what_is_posted_by_what_follows_a_step_is_no_call_within_a_call(
    bench: Bench,
) -> None:
    depth, deepest = 0, 0
    left = 5_000
    done = threading.Event()

    def follow() -> None:
        nonlocal depth, deepest, left
        depth += 1
        deepest = max(deepest, depth)
        if left:
            left -= 1
            bench.scheduler.inbox.append((lambda: None, follow))
            bench.scheduler.pump()
        else:
            done.set()
        depth -= 1

    bench.post(afterwards=follow)

    assert done.wait(LIMIT_S)
    assert deepest == 1


def test_threads_that_post_at_once_lose_nothing(bench: Bench) -> None:
    seen: list[int] = []
    together = threading.Barrier(4)

    def post(first: int) -> None:
        together.wait(LIMIT_S)
        for number in range(first, first + 2_000):
            bench.post(lambda number=number: seen.append(number))  # type: ignore[misc]  # bound now
            if number % 3 == 0:
                bench.scheduler.pump()
            elif number % 3 == 1:
                bench.scheduler.nudge()

    threads = [threading.Thread(target=post, args=(n * 2_000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    bench.settle()

    assert sorted(seen) == list(range(8_000))


def test_what_is_posted_after_the_end_is_worked_off_at_once() -> None:
    bench = Bench()
    bench.scheduler.stop(LIMIT_S)
    done = threading.Event()

    bench.post(done.set)

    assert done.is_set()


def test_a_dispatcher_that_is_stuck_does_not_keep_the_inbox_from_being_worked_off() -> (
    None
):
    bench, gate, stuck = Bench(), threading.Event(), threading.Event()

    def block() -> None:
        stuck.set()
        gate.wait(LIMIT_S)

    bench.post(afterwards=block)
    assert stuck.wait(LIMIT_S)
    done = threading.Event()
    bench.post(done.set)

    bench.scheduler.stop(0.05)

    assert done.is_set()
    gate.set()
    bench.scheduler.thread.join(LIMIT_S)


def test_who_reports_works_the_inbox_off_where_the_dispatcher_is_stuck(
    bench: Bench,
) -> None:
    gate, stuck = threading.Event(), threading.Event()
    ran: list[threading.Thread] = []

    def block() -> None:
        bench.scheduler.away()
        stuck.set()
        gate.wait(LIMIT_S)

    bench.post(afterwards=block)
    assert stuck.wait(LIMIT_S)
    bench.scheduler.inbox.append(
        (lambda: ran.append(threading.current_thread()), lambda: None)
    )
    bench.scheduler.nudge()

    assert ran == [threading.current_thread()]
    gate.set()


def test_who_reports_works_the_inbox_off_where_a_timer_holds_the_dispatcher_up(
    bench: Bench,
) -> None:
    gate, stuck, done = threading.Event(), threading.Event(), threading.Event()

    def block() -> None:
        stuck.set()
        gate.wait(LIMIT_S)

    bench.scheduler.call_later(0.0, block)
    assert stuck.wait(LIMIT_S)
    bench.scheduler.inbox.append((done.set, lambda: None))
    bench.scheduler.nudge()

    assert done.is_set()
    gate.set()


def test_who_reports_leaves_the_inbox_to_a_dispatcher_at_its_own_work(
    bench: Bench,
) -> None:
    gate, at_work, done = threading.Event(), threading.Event(), threading.Event()
    ran: list[threading.Thread] = []

    def work() -> None:
        at_work.set()
        gate.wait(LIMIT_S)

    bench.post(afterwards=work)
    assert at_work.wait(LIMIT_S)
    bench.scheduler.inbox.append(
        (lambda: ran.append(threading.current_thread()), done.set)
    )
    bench.scheduler.nudge()

    assert not ran
    gate.set()
    assert done.wait(LIMIT_S)
    assert ran == [bench.scheduler.thread]


def test_nobody_but_the_dispatcher_is_away(bench: Bench) -> None:
    done = threading.Event()
    bench.settle()
    bench.scheduler.away()  # would make it look awake
    bench.scheduler.inbox.append((lambda: None, done.set))
    bench.scheduler.nudge()

    assert done.wait(LIMIT_S)


def test_the_dispatcher_sleeps_while_another_thread_has_the_role(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.graph.scheduler.NAP_S", LIMIT_S)
    gate, held, done = threading.Event(), threading.Event(), threading.Event()
    tries = 0
    pump = bench.scheduler.pump

    def counted(**how: bool) -> None:
        nonlocal tries
        tries += 1
        pump(**how)

    def hold() -> None:
        held.set()
        gate.wait(LIMIT_S)

    bench.settle()
    bench.scheduler.inbox.append((hold, lambda: None))
    holder = threading.Thread(target=bench.scheduler.pump)
    holder.start()
    assert held.wait(LIMIT_S)
    monkeypatch.setattr(bench.scheduler, "pump", counted)
    bench.post(afterwards=done.set)

    assert not done.wait(0.2)
    assert tries < 20
    gate.set()
    assert done.wait(LIMIT_S)
    holder.join(LIMIT_S)


def test_no_item_is_left_lying_however_threads_meet(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A lost wake-up would be mended by the next item, or by a nap that ends. So naps
    # are long here, and each round waits for its own last items.
    monkeypatch.setattr("jackfield.graph.scheduler.NAP_S", LIMIT_S)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    scheduler = bench.scheduler
    left = threading.Semaphore(0)
    rounds, users = 150, 4
    together = threading.Barrier(users)
    late: list[int] = []

    def use(number: int) -> None:
        chance = random.Random(number)
        ways: list[Callable[[], object]]
        ways = [scheduler.nudge, scheduler.pump, scheduler.serve, lambda: None]
        for _ in range(rounds):
            together.wait(LIMIT_S)
            for _ in range(chance.randrange(1, 6)):
                away = chance.random() < 0.3
                work = (lambda: None, scheduler.away if away else lambda: None)
                scheduler.inbox.append(work)
                chance.choice(ways[:2])()
            last = (lambda: None, left.release)
            if chance.random() < 0.5:
                scheduler.post(last)
                chance.choice(ways)()
            else:
                scheduler.inbox.append(last)
                scheduler.nudge()
            if not left.acquire(timeout=LIMIT_S):
                late.append(number)
                together.abort()
                return

    threads = [threading.Thread(target=use, args=(n,)) for n in range(users)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S * 2)
    finally:
        sys.setswitchinterval(interval)

    assert not late
    assert not any(thread.is_alive() for thread in threads)


def test_who_reports_leaves_the_inbox_to_a_dispatcher_that_sleeps(
    bench: Bench,
) -> None:
    ran: list[threading.Thread] = []
    done = threading.Event()
    for _ in range(100):
        bench.settle()
        done.clear()
        bench.scheduler.inbox.append(
            (lambda: ran.append(threading.current_thread()), done.set)
        )
        bench.scheduler.nudge()
        assert done.wait(LIMIT_S)

    assert bench.scheduler.thread in ran


# -- Locks ----------------------------------------------------------------------------


def test_a_latch_that_is_open_keeps_nobody() -> None:
    latch = Latch()
    latch.open()

    assert latch.wait(None)


@pytest.mark.parametrize("timeout", [-1.0, 0.0, 0.01])
def test_a_latch_that_stays_closed_is_waited_for_no_longer(timeout: float) -> None:
    assert not Latch().wait(timeout)


def test_a_latch_may_be_waited_for_any_time() -> None:
    latch = Latch()
    opener = threading.Timer(0.05, latch.open)
    opener.start()

    assert latch.wait(1e300)
    opener.join()


def test_a_condition_is_entered_and_left_without_a_call_in_python() -> None:
    """So Ctrl-C has no moment at which the lock is held and the block not begun."""
    condition = Condition()

    enter, leave = condition.__enter__, condition.__exit__

    assert type(enter).__name__ == type(leave).__name__ == "builtin_function_or_method"
    with condition:
        assert not _free(condition)
    assert _free(condition)


def _free(condition: Condition) -> bool:
    free: list[bool] = []

    def look() -> None:
        free.append(condition.acquire(blocking=False))
        if free[0]:
            condition.release()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(LIMIT_S)
    return free[0]
