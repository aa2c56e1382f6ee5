"""Functions that call apps: what an app knows of its run is no part of what it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jackfield as jf
from jackfield.abc import Executor, ExecutorContext, Work
from jackfield_memo.key_maker import PythonKeyMaker
from jackfield_system.works import run_work

LIMIT_S = 60.0


class Inline(Executor):
    """Runs what it gets at once, and has parts that have no order and no identity."""

    def __init__(self) -> None:
        self.within: dict[Any, Any] = {(self,): 1, frozenset([self]): [self]}
        self.ran = 0

    @property
    def workers(self) -> int:
        return 1

    def start(self, context: ExecutorContext) -> None:
        self._report = context.report

    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            self.ran += 1
            self._report([run_work(work)])

    def shutdown(self, *, grace: float | None = None) -> None:
        pass


@jf.python_app
def double(x: int) -> int:
    return 2 * x


def calls_an_app(x: int) -> Any:
    return double(x)


def test_what_an_app_knows_of_its_run_does_not_count(
    tmp_path: Path, identity: PythonKeyMaker
) -> None:
    before = identity.function(calls_an_app)

    with jf.load(executors={"one": Inline()}, run_dir=tmp_path):
        assert double(1).result(LIMIT_S) == 2
        fresh = PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ())
        within = fresh.function(calls_an_app)
        assert double(2).result(LIMIT_S) == 4

        assert within.digest == before.digest
        assert fresh.function(calls_an_app) is within
