"""Races that random kills meet too rarely, made certain."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from jackfield_executors.processes.progress import FINISHED
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_worker_may_die_while_a_task_is_pickled_for_it(
    pool: Any, is_alive: Callable[[int], bool]
) -> None:
    pids: list[int] = [pool.call(os.getpid)]
    pickled: list[int] = []

    class Slow:
        """Kills the worker that is to get it, and gives the news time to arrive."""

        def __reduce__(self) -> Any:
            pickled.append(1)
            if pids:
                pid = pids.pop()
                os.kill(pid, signal.SIGKILL)
                while is_alive(pid):
                    time.sleep(0.005)
                time.sleep(0.1)
            return int, (5,)

    assert pool.call(abs, Slow()) == 5
    assert len(pickled) == 2  # for the dead one, and for another


class KillsItsWorker:
    """As an argument: kills the worker that is to get it, and waits for the news."""

    def __init__(self, pool: Any, pid: int, then: Callable[[], None]) -> None:
        self.pool = pool
        self.pid = pid
        self.then = then

    def __reduce__(self) -> Any:
        if self.pid:
            pid, self.pid = self.pid, 0
            os.kill(pid, signal.SIGKILL)
            workers = self.pool.executor._pool.workers
            assert settled(
                lambda: all(one.pid != pid for one in list(workers.values())), WAIT_S
            )
            self.then()
        return int, (60,)


def test_a_task_may_be_cancelled_while_it_is_pickled_for_a_dead_worker(
    open_executor: Callable[..., Any],
) -> None:
    pool = open_executor(workers=1)
    answers: list[bool] = []

    def cancel() -> None:
        answers.append(pool.executor.cancel(work))

    work = pool.work(time.sleep, KillsItsWorker(pool, pool.call(os.getpid), cancel))
    pool.executor.submit([work])
    pool.call(abs, -1)
    pool.executor.shutdown()

    assert answers == [True]
    assert work not in pool.outcomes


def test_a_shutdown_drops_a_task_that_is_pickled_for_a_dead_worker(
    open_executor: Callable[..., Any],
) -> None:
    """It must not start another worker for it, and wait until the task has ended."""
    pool = open_executor(workers=1)
    closing = threading.Thread(
        target=pool.executor.shutdown, kwargs={"grace": 0}, daemon=True
    )

    def shut_down() -> None:
        closing.start()
        assert settled(
            lambda: pool.executor._pool.closing and not pool.executor._dropping, WAIT_S
        )

    argument = KillsItsWorker(pool, pool.call(os.getpid), shut_down)
    work = pool.work(time.sleep, argument)
    pool.executor.submit([work])
    closing.join(WAIT_S)

    assert not closing.is_alive()
    assert work not in pool.outcomes


def test_a_shutdown_reports_what_has_ended_before_it(
    open_executor: Callable[..., Any],
) -> None:
    """What ended while the loop was kept by a report is not dropped with the rest."""
    pool = open_executor(workers=1)
    held, go_on = threading.Event(), threading.Event()

    def hold_the_loop(_: object) -> None:
        pool.on_report = None
        held.set()
        go_on.wait(WAIT_S)

    pool.on_report = hold_the_loop
    assert pool.call(abs, -1) == 1
    assert held.wait(WAIT_S)
    ended = pool.submit(abs, -2)
    (worker,) = pool.executor._pool.workers.values()
    assert settled(lambda: worker.page.words[FINISHED] == 2, WAIT_S)

    ending = threading.Thread(
        target=pool.executor.shutdown, kwargs={"grace": WAIT_S}, daemon=True
    )
    ending.start()
    assert settled(lambda: pool.executor._dropping, WAIT_S)
    go_on.set()
    ending.join(WAIT_S)

    assert not ending.is_alive()
    assert pool.outcomes[ended] == (None, 2)


def test_a_task_may_be_cancelled_while_it_is_pickled(pool: Any) -> None:
    answers: list[bool] = []

    class Cancelled:
        def __reduce__(self) -> Any:
            answers.append(pool.executor.cancel(work))
            return int, (5,)

    work = pool.work(abs, Cancelled())
    pool.call(abs, -1)
    pool.executor.submit([work])
    pool.call(abs, -1)
    pool.executor.shutdown()

    assert answers == [True]
    assert work not in pool.outcomes


def test_pickling_an_argument_may_submit_another_task(pool: Any) -> None:
    more: list[Any] = []

    class Submits:
        def __reduce__(self) -> Any:
            if not more:
                more.append(pool.submit(abs, -2))
            return int, (5,)

    pool.call(abs, -1)

    assert pool.call(abs, Submits()) == 5
    assert pool.value(more[0]) == 2


def test_an_executor_may_be_shut_down_while_a_task_is_pickled(pool: Any) -> None:
    class Closes:
        def __reduce__(self) -> Any:
            threading.Thread(target=pool.executor.shutdown).start()
            time.sleep(0.2)
            return int, (5,)

    pool.call(abs, -1)

    assert pool.call(abs, Closes()) == 5
