"""What the kernel does for elastic executors: it asks, passes on, and follows them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import Executor, ExecutorContext, Health, Work
from jackfield.errors import ExecutorLostError, WorkerLostError
from jackfield.events import Load
from jackfield_system.works import run_work
from jackfield_testing.footprint import WAIT_S, settled


class Elastic(Executor):
    """Runs works in ``submit``, but not while it has no worker."""

    def __init__(self, *, elastic: bool = True, most: int = 4) -> None:
        self.elastic = elastic
        self.most = most
        self.scaled: list[int] = []
        self.kept: list[Work] = []
        self.state = Health()
        self.run: Callable[[Work], Any] = run_work
        self.lock = threading.Lock()

    @property
    def workers(self) -> int:
        return (self.scaled or [0])[-1] if self.elastic else 1

    @property
    def health(self) -> Health:
        return self.state

    def load(self) -> Load | None:
        if not self.elastic:
            return None
        waiting = len(self.kept)
        return Load("x", self.workers, waiting, waiting, self.workers, most=self.most,
                    unknown=waiting)  # fmt: skip

    def scale(self, workers: int) -> None:
        with self.lock:
            self.scaled.append(workers)
            works, self.kept = self.kept, []
        self.context.report([self.run(work) for work in works])

    def start(self, context: ExecutorContext) -> None:
        self.context = context

    def submit(self, batch: Sequence[Work]) -> None:
        if self.workers:
            self.context.report([self.run(work) for work in batch])
        else:
            self.kept += batch
            self.context.changed()

    def become(self, health: Health) -> None:
        self.state = health
        self.context.changed()

    def shutdown(self, *, grace: float | None = None) -> None:
        pass


class Ask:
    """A strategy that answers what it is given."""

    def __init__(self, answer: Callable[[Mapping[str, Load]], Any]) -> None:
        self.answer = answer
        self.asked: list[Mapping[str, Load]] = []

    @jf.hookimpl
    def jackfield_scale(self, loads: Mapping[str, Load]) -> Any:
        self.asked.append(loads)
        return self.answer(loads)


def kernel(tmp_path: Path, executors: Any, **options: Any) -> Any:
    return jf.load(run_dir=tmp_path / "runs", executors=executors, **options)


@jf.python_app
def double(x: int) -> int:
    return 2 * x


def test_an_executor_without_workers_gets_some_at_once(tmp_path: Path) -> None:
    executor = Elastic()
    with kernel(tmp_path, {"x": executor}, scale_period=1000):
        assert double(21).result(WAIT_S) == 42

    assert executor.scaled[-1] >= 1


def test_answers_are_brought_within_bounds_and_others_keep_theirs(
    tmp_path: Path,
) -> None:
    one, other = Elastic(most=3), Elastic()
    ask = Ask(lambda _: {"one": 1000})
    options = {"plugins": [ask], "scale_period": 0.02}
    with kernel(tmp_path, {"one": one, "other": other}, **options):
        assert settled(lambda: len(ask.asked) > 2, WAIT_S)

    assert set(one.scaled) == {3}
    assert other.scaled == []
    assert set(ask.asked[0]) == {"one", "other"}


@pytest.mark.parametrize("wrong", [7, {"y": 1}, {"x": "many"}])
def test_a_wrong_answer_is_logged_once_and_the_run_goes_on(
    tmp_path: Path, wrong: Any
) -> None:
    executor = Elastic()
    answers = [wrong, wrong, {"x": 1}]
    ask = Ask(lambda _: answers.pop(0) if len(answers) > 1 else answers[0])
    with kernel(tmp_path, {"x": executor}, plugins=[ask], scale_period=0.02) as dfk:
        assert double(1).result(WAIT_S) == 2
    log = (dfk.run_dir / "jackfield.log").read_text()
    assert log.count("Scaling executors has failed") == 1


def test_nobody_is_asked_without_an_elastic_executor(tmp_path: Path) -> None:
    ask = Ask(lambda _: None)
    fixed = Elastic(elastic=False)
    with kernel(tmp_path, {"x": fixed}, plugins=[ask], scale_period=0.01) as dfk:
        assert double(1).result(WAIT_S) == 2
        assert dfk._parts._scaling.made is None

    assert ask.asked == []


def test_what_a_lost_executor_would_get_goes_to_others(tmp_path: Path) -> None:
    lost, other = Elastic(elastic=False), Elastic(elastic=False)

    def fail(work: Work) -> Any:
        return work, ExecutorLostError("lost", "no worker for 60 s"), None

    lost.run = fail
    with kernel(tmp_path, {"lost": lost, "other": other}):
        lost.become(Health("lost", "no worker for 60 s"))
        assert [double(n).result(WAIT_S) for n in range(9)] == [*range(0, 18, 2)]
        alone = double.options(executors=["lost"])
        assert isinstance(alone(1).exception(WAIT_S), ExecutorLostError)

        lost.run = run_work
        lost.become(Health())
        assert alone(1).result(WAIT_S) == 2


@pytest.mark.parametrize("losses", [3, 4])
def test_an_expected_loss_costs_no_retry_three_times(
    tmp_path: Path, losses: int
) -> None:
    executor = Elastic(elastic=False)
    left = [losses]

    def lose(work: Work) -> Any:
        if left[0]:
            left[0] -= 1
            return work, WorkerLostError("x", "its walltime is over", True), None
        return run_work(work)

    executor.run = lose
    with kernel(tmp_path, {"x": executor}, retries=0):
        future = double(21)
        error = future.exception(WAIT_S)

    assert isinstance(error, WorkerLostError) == (losses > 3)
