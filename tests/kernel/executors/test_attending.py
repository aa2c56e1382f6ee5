"""Idle threads of executors that take new tasks in the dispatcher's place."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

import jackfield as jf
from jackfield.abc import Executor, ExecutorContext, Work
from jackfield_system.works import run_work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIMIT_S = 60.0

THREADS = {"plugin": "threads", "workers": 1}


def where() -> str:
    return threading.current_thread().name


class Choice:
    """Notes on which threads executors are chosen."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    @jf.hookimpl
    def jackfield_select_executor(
        self, task: jf.TaskView, executors: Sequence[Any]
    ) -> None:
        self.threads.append(where())


def test_a_call_that_comes_alone_goes_through_the_thread_that_runs_it(
    tmp_path: Path,
) -> None:
    choice = Choice()
    with jf.load(executors={"io": THREADS}, run_dir=tmp_path) as kernel:
        kernel.register(choice)
        end = time.monotonic() + LIMIT_S
        ran = kernel.submit(where).result(LIMIT_S)
        # The thread may still be on its way to the queue when the next call comes.
        while choice.threads[-1] != ran and time.monotonic() < end:
            ran = kernel.submit(where).result(LIMIT_S)

    assert ran == "jackfield-io-0"
    assert choice.threads[-1] == ran
    assert "dispatcher" in choice.threads[0]  # nobody was there yet


def test_a_thread_that_has_served_a_long_task_is_not_counted_on(tmp_path: Path) -> None:
    go_on = threading.Event()
    executors = {"a": THREADS, "b": THREADS}
    with jf.load(executors=executors, run_dir=tmp_path) as kernel:
        for label in "abab" * 20:
            kernel.submit(where, executors=[label]).result(LIMIT_S)
            begun = threading.Event()
            long = kernel.submit(_hold, begun, go_on, executors=[label])
            assert begun.wait(LIMIT_S)
            other = "b" if label == "a" else "a"

            assert kernel.submit(where, executors=[other]).result(LIMIT_S)

            go_on.set()
            assert long.result(LIMIT_S)
            go_on.clear()


def _hold(begun: threading.Event, go_on: threading.Event) -> bool:
    begun.set()
    return go_on.wait(LIMIT_S)


def test_no_call_is_lost_whoever_is_idle(tmp_path: Path) -> None:
    executors = {"a": {**THREADS, "workers": 2}, "b": THREADS}
    results: list[list[int]] = [[] for _ in range(4)]

    def use(number: int) -> None:
        chance = random.Random(number)
        for _ in range(300):
            values = range(chance.choice((1, 1, 1, 2, 30)))
            futures = [kernel.submit(_take, chance.random(), one) for one in values]
            results[number] += [
                one.result(LIMIT_S) - n for n, one in enumerate(futures)
            ]
            if chance.random() < 0.1:
                time.sleep(chance.random() / 1000)

    with jf.load(executors=executors, run_dir=tmp_path) as kernel:
        users = [threading.Thread(target=use, args=(n,)) for n in range(4)]
        for user in users:
            user.start()
        for user in users:
            user.join(LIMIT_S)

    assert all(len(some) >= 300 and not any(some) for some in results)


def _take(chance: float, value: int) -> int:
    if chance < 0.05:
        time.sleep(chance / 50)
    return value


class Offers(Executor):
    """Offers a thread that is asleep, and says when it has been woken.

    Works run where they are submitted. Those that are submitted on the thread that is
    within ``serve`` are kept; the dispatcher may submit others at the same time.
    """

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.kept: list[Work] = []
        self.serving = 0  # the thread that is within ``serve``

    @property
    def workers(self) -> int:
        return 1

    def start(self, context: ExecutorContext) -> None:
        self.context = context
        context.attend(self.woken.set)

    def submit(self, batch: Sequence[Work]) -> None:
        if self.serving == threading.get_ident():
            self.kept += batch
        else:
            self.context.report([run_work(work) for work in batch])

    def serve(self) -> list[Work]:
        """Serve on this thread; return what was submitted meanwhile."""
        self.kept, self.serving = [], threading.get_ident()
        self.context.serve()
        self.serving = 0
        return self.kept

    def shutdown(self, *, grace: float | None = None) -> None:
        pass


def test_one_work_at_most_is_submitted_to_who_serves(tmp_path: Path) -> None:
    offers = Offers()
    with jf.load(executors={"one": offers}, run_dir=tmp_path) as kernel:
        alone = kernel.submit(where)
        assert offers.woken.wait(LIMIT_S)

        (work,) = offers.serve()

        assert not alone.done()
        offers.context.report([run_work(work)])
        assert alone.result(LIMIT_S) == where()

        offers.woken.clear()
        offers.context.attend(offers.woken.set)
        several = [kernel.submit(where) for _ in range(5)]
        assert offers.woken.wait(LIMIT_S)
        assert offers.serve() == []  # they are the dispatcher's
        assert all("dispatcher" in one.result(LIMIT_S) for one in several)


def test_who_withdraws_leaves_what_has_come_to_the_dispatcher(tmp_path: Path) -> None:
    offers = Offers()
    with jf.load(executors={"one": offers}, run_dir=tmp_path) as kernel:
        future = kernel.submit(where)
        assert offers.woken.wait(LIMIT_S)

        offers.context.attend(None)

        assert "dispatcher" in future.result(LIMIT_S)


def test_a_wake_up_that_was_lost_with_its_executor_is_made_good(tmp_path: Path) -> None:
    """The run is cut short: its tasks end, though nobody has served."""
    offers = Offers()
    with jf.load(executors={"one": offers}, run_dir=tmp_path) as kernel:
        future = kernel.submit(where)
        assert offers.woken.wait(LIMIT_S)

        kernel.cleanup(wait=False)

        assert future.done()
        assert future.cancelled()


def test_a_cached_call_is_left_to_the_dispatcher(tmp_path: Path) -> None:
    offers = Offers()
    with jf.load(executors={"one": offers}, run_dir=tmp_path) as kernel:
        future = kernel.submit(where, cache=True)

        assert "dispatcher" in future.result(LIMIT_S)
        assert not offers.woken.is_set()
