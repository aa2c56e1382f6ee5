"""Races that random kills meet too rarely, made certain."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

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
    import threading

    class Closes:
        def __reduce__(self) -> Any:
            threading.Thread(target=pool.executor.shutdown).start()
            time.sleep(0.2)
            return int, (5,)

    pool.call(abs, -1)

    assert pool.call(abs, Closes()) == 5
