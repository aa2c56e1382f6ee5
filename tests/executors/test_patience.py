"""How long an executor without workers waits, and what the user is told meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jackfield.abc import READY
from jackfield_executors import patience
from jackfield_executors.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

HOURS = 5 * 3600.0
WHY = "one job is on the way: job 7 is pending (Priority)"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give what sets the clock."""

    def set_clock(seconds: float) -> None:
        monkeypatch.setattr(patience, "monotonic", lambda: 1000.0 + seconds)

    set_clock(0.0)
    return set_clock


@pytest.mark.parametrize("had", [False, True])
def test_a_job_that_is_queued_is_waited_for_for_hours_and_told_once(
    had: bool, at: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    one = Patience("far", 60.0)
    if had:
        one.came()
        assert one.look(1) == READY
    for seconds in (0.0, 29.0):
        at(seconds)
        assert one.look(0, waits=True, why=WHY).state == (
            "short" if had else "starting"
        )
    assert not caplog.messages

    for seconds in (31.0, 61.0, HOURS):
        at(seconds)
        health = one.look(0, waits=True, why=WHY)
        assert health.state == ("short" if had else "starting")
        assert health.reason.endswith(WHY)

    (told,) = caplog.messages
    assert WHY in told
    assert "however long that takes" in told
    one.came()
    assert one.look(1) == READY


def test_when_none_is_on_its_way_it_is_lost_and_no_endless_wait_is_told(
    at: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    one = Patience("far", 60.0)
    one.came()
    one.look(0, why="its nodes are down")
    at(31.0)
    assert one.look(0, why="its nodes are down").state == "short"
    assert "however long" not in caplog.text
    at(61.0)
    health = one.look(0, why="its nodes are down")
    assert health.state == "lost"
    assert health.reason == "it has had no worker for 60 s: its nodes are down"
    assert len(caplog.messages) == 1
