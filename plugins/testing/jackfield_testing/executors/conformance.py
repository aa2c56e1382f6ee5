"""Conformance tests for executors. Needs pytest."""

from __future__ import annotations

from jackfield_testing.executors.attend import Attend
from jackfield_testing.executors.cancel import Cancel
from jackfield_testing.executors.elastic import Elastic
from jackfield_testing.executors.end import End
from jackfield_testing.executors.faults import Faults
from jackfield_testing.executors.lost import Lost
from jackfield_testing.executors.places import Places
from jackfield_testing.executors.results import Results


class ExecutorConformance(Results, Attend, Faults, Lost, Elastic, Cancel, Places, End):
    """What the kernel relies on in an executor.

    Name a subclass ``Test...`` and give it ``make_executor``; any
    ``concurrent.futures.Executor`` will do, it is adapted as the kernel does it::

        class TestMyExecutor(ExecutorConformance):
            def make_executor(self, workers: int) -> MyExecutor:
                return MyExecutor(workers)

    The capabilities that the executor declares decide which tests apply, and are
    tested to be true. What they do not tell is said in class attributes. Whoever can
    take the workers away, overrides ``remove_workers``, ``restore_workers`` and
    ``lose_patience``, and if executors share workers, ``make_losing_executor``. If
    executors may be elastic, ``make_elastic_executor`` makes one that is.

    Attributes:
        cancels_queued: Whether a work that waits for a worker can be cancelled.
        keeps_order: Whether one worker runs works in the order of submission.
        waits_at_exit: Whether Python cannot end while a task runs that cannot be
            stopped.
        owns_processes: Whether the processes of its tasks end with it.
        spare_descriptors: How many descriptors somebody else's pool may keep.
        cycles: Starts and stops in the long form of the leak test (``-m slow``).
        short_cycles: Starts and stops in its short form.
    """
