"""``[plugins.scaling]``: how many workers each strategy wants."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield.errors import ConfigurationError
from jackfield.events import Load
from jackfield_policies import scaling
from jackfield_policies.scaling import Scaling


def load(**facts: Any) -> Load:
    given = {"workers": 0, "unfinished": 0, "most": 100, **facts}
    return Load("x", **given)


def answer(policy: Scaling, **facts: Any) -> int:
    return policy.jackfield_scale({"x": load(**facts)})["x"]


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({}, 0),
        ({"unfinished": 7, "unknown": 7}, 7),
        ({"unfinished": 100, "seconds": 20.0}, 2),
        ({"unfinished": 100, "seconds": 21.0, "unknown": 5}, 8),
        ({"unfinished": 3, "seconds": 900.0}, 3),
        ({"unfinished": 100, "seconds": 20.0, "start_s": 40.0}, 1),
    ],
)
def test_expected_wants_what_is_done_within_the_horizon(
    facts: Any, wanted: int
) -> None:
    assert answer(Scaling(horizon=10), **facts) == wanted


def test_simple_wants_one_for_each_task_and_the_least_for_none() -> None:
    policy = Scaling(strategy="simple", idle=0)
    assert answer(policy, unfinished=7) == 7
    assert answer(policy, unfinished=2, wanted=7) == 7
    assert answer(policy, wanted=7, least=1) == 1


def test_none_wants_what_there_was() -> None:
    assert answer(Scaling(strategy="none"), unfinished=7, wanted=3) == 3


def test_workers_go_after_a_while_and_as_many_stay_as_were_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(scaling, "monotonic", lambda: now)
    policy = Scaling(idle=60)
    assert answer(policy, unfinished=8, unknown=8) == 8
    assert answer(policy, unfinished=2, unknown=2, wanted=8) == 8
    now = 130.0
    assert answer(policy, unfinished=4, unknown=4, wanted=8) == 8
    now = 159.0
    assert answer(policy, wanted=8) == 8
    now = 160.0
    assert answer(policy, wanted=8) == 4
    now = 219.0
    assert answer(policy, wanted=4) == 4
    assert answer(policy, unfinished=4, unknown=4, wanted=4) == 4  # begins anew
    now = 270.0
    assert answer(policy, wanted=4) == 4


def test_an_executor_may_have_settings_of_its_own() -> None:
    policy = Scaling(horizon=10, executors={"y": {"horizon": 1}})
    loads = {label: load(unfinished=99, seconds=20.0) for label in ("x", "y")}
    assert policy.jackfield_scale(loads) == {"x": 2, "y": 20}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"strategy": "simpel"}, "did you mean 'simple'"),
        ({"idle": -1}, "plugins.scaling.idle must be a number of seconds from 0 on"),
        ({"horizon": 0}, "plugins.scaling.horizon must be .* above 0"),
        ({"horizons": 1}, "no option 'horizons'; did you mean 'horizon'"),
        ({"max_idletime": 1}, "no option 'max_idletime': write idle"),
        ({"executors": {"x": {"idle": "1 s"}}}, r"executors\.x\.idle must be"),
        ({"executors": {"x": 3}}, r"plugins\.scaling\.executors\.x must be a table"),
    ],
)
def test_a_wrong_setting_is_named(options: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Scaling(**options)
