"""The plugin ``parsl``: a HighThroughputExecutor as a site may have configured it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jackfield_executors.parsl import jackfield_create_executor
from jackfield_testing import ExecutorConformance
from jackfield_testing.footprint import WAIT_S
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from jackfield.abc import Executor

skip_without("parsl", extra="parsl")

# It takes minutes: each block starts some programs in Python.
pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.slow]


class TestParsl(ExecutorConformance):
    # Its workers are not taken away here: a block that ends is replaced.
    keeps_order = False  # it promises none
    short_cycles = 2
    cycles = 10

    def make_executor(self, workers: int) -> Executor:
        name = "single_htex" if workers == 1 else "htex"
        executor = f"jackfield_testing.engines:{name}"
        options = {"executor": executor, "patience": WAIT_S}
        made = jackfield_create_executor("parsl", "far", options)
        assert made is not None
        return made

    def make_elastic_executor(self) -> Executor:
        executor = "jackfield_testing.engines:single_htex"
        options = {"executor": executor, "least": 0, "most": 3, "patience": WAIT_S}
        made = jackfield_create_executor("parsl", "elastic", options)
        assert made is not None
        return made
