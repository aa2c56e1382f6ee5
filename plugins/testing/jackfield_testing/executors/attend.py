"""Executor conformance: idle threads that are offered to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import ExecutorCase, hold_all, open_gate
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield.abc import Wake, Work
    from jackfield_testing.executors.harness import Harness

OFFERS_S = 0.3
"""Seconds within which an executor that makes offers has made one."""

AT_ONCE_S = WAIT_S / 2
"""Seconds that something may take which has nothing to wait for."""


class Attend(ExecutorCase):
    """What holds for executors that use ``ExecutorContext.attend``."""

    def test_an_idle_thread_that_is_woken_serves_and_runs_what_it_finds(
        self, tmp_path: Path
    ) -> None:
        with self.running(tmp_path) as harness:
            found: list[Work] = []
            harness.on_serve = lambda: found.append(harness.submit(tasks.add, 1))
            for number in range(1, 20):
                wake = _offered(harness)
                wake()

                assert settled(lambda n=number: harness.served >= n, AT_ONCE_S)  # type: ignore[misc]  # bound now
                assert harness.value(found[-1]) == 1

    def test_a_wake_up_too_many_does_no_harm(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            wake = _offered(harness)
            for _ in range(5):
                wake()

            assert settled(lambda: harness.served > 0, AT_ONCE_S)
            assert harness.values(harness.submit_each(tasks.add, range(20))) == [
                *range(20)
            ]

    def test_no_offer_stands_while_all_workers_are_busy(self, tmp_path: Path) -> None:
        with self.running(tmp_path) as harness:
            gate = open_gate(harness, tmp_path)
            _offered(harness)

            hold_all(harness, gate)

            assert harness.offer is None

    def test_no_offer_stands_at_the_end(self, tmp_path: Path) -> None:
        for _ in range(20):
            with self.running(tmp_path) as harness:
                wake = _offered(harness)
                wake()

                harness.executor.shutdown(grace=0)

                assert harness.offer is None


def _offered(harness: Harness) -> Wake:
    """Return the offer of a thread that has nothing to do; skip if none is made."""
    harness.value(harness.submit(tasks.identity, 0))
    limit = AT_ONCE_S if harness.served else OFFERS_S
    if not settled(lambda: harness.offer is not None, limit) or harness.offer is None:
        pytest.skip("this executor offers no idle threads")
    return harness.offer
