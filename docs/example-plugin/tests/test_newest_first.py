"""The executor, under the kit that Jackfield's own executors have to pass."""

from __future__ import annotations

from jackfield_example.executor import NewestFirst

from jackfield_testing import ExecutorConformance


class TestNewestFirst(ExecutorConformance):
    """One thread, whatever number of workers is asked for."""

    keeps_order = False

    def make_executor(self, workers: int) -> NewestFirst:
        """Make the executor under test."""
        del workers
        return NewestFirst()
