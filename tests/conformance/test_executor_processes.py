"""The processes executor passes the kit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield_executors.processes import jackfield_create_executor
from jackfield_testing import ExecutorConformance

if TYPE_CHECKING:
    from jackfield.abc import Executor


class TestProcessExecutor(ExecutorConformance):
    short_cycles = 2

    def make_executor(self, workers: int) -> Executor:
        executor = jackfield_create_executor(
            "processes", "tested", {"workers": workers}
        )
        assert executor is not None
        return executor

    def make_elastic_executor(self) -> Executor:
        executor = jackfield_create_executor(
            "processes", "tested", {"least": 0, "most": 3}
        )
        assert executor is not None
        return executor
