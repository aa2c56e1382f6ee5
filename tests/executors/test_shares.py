"""Who gets what of cores, GPUs and the like, and when."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.errors import ExecutorError
from jackfield_executors.shares import Shares, fits, parse_size

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 60.0

EIGHT: dict[str, Any] = {"workers": 2, "resources": {"cores": 2, "gpus": 2}}


def visible(_: object = None) -> tuple[int, str]:
    """Return the process and its GPUs."""
    time.sleep(0.02)
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", "")


def test_each_task_has_gpus_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    cpu = {"plugin": "processes", **EIGHT}
    app = jf.python_app(visible)
    with jf.load(executors={"cpu": cpu}, run_dir=tmp_path):
        ones = [app(n, resources={"gpus": 1}) for n in range(10)]
        both = [app(n, resources={"gpus": 2}) for n in range(3)]
        seen = [future.result(LIMIT_S) for future in ones]
        assert {gpus for _, gpus in seen} <= {"3", "5"}
        assert {future.result(LIMIT_S)[1] for future in both} == {"3,5"}
    # No process has had one GPU, and then another.
    assert len({pid for pid, _ in seen}) == len(set(seen))


def test_parts_of_a_gpu_are_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    shares = Shares({"gpus": 2.0}, 2)
    part, one, both = ((("gpus", amount),) for amount in (0.5, 1.0, 2.0))

    assert shares.devices(part, [], "") == "0"
    assert shares.devices(part, [("0", part)], "") == "0"
    assert shares.devices(part, [("0", part), ("0", part)], "") == "1"
    assert shares.devices(one, [("0", part)], "") == "1"
    assert shares.devices(one, [], "1") == "1"
    assert shares.devices(both, [("0", part)], "") is None
    assert shares.devices((("cores", 1.0),), [], "") == ""


def test_a_task_without_a_word_takes_a_workers_part_of_the_cores() -> None:
    shares = Shares({"cores": 2.0}, 3)

    free = shares.free([shares.plain] * 2)

    assert fits(shares.plain, free)
    assert not fits(shares.demand({"cores": 1}), free)
    assert not fits(shares.plain, shares.free([shares.plain] * 3))


@pytest.mark.parametrize("plugin", ["processes", "threads"])
def test_a_cancelled_task_gives_back_what_it_had_or_waited_for(
    plugin: str, tmp_path: Path
) -> None:
    app = jf.python_app(visible)
    table = {"plugin": plugin, **EIGHT}
    with jf.load(executors={"here": table}, run_dir=tmp_path):
        for _ in range(20):
            futures = [app(n, resources={"cores": 2, "gpus": 1}) for n in range(4)]
            for future in futures[::2]:
                future.cancel()
        assert app(resources={"cores": 2, "gpus": 2}).result(LIMIT_S)
        assert app().result(LIMIT_S)


@pytest.mark.parametrize("plugin", ["processes", "threads"])
@pytest.mark.parametrize(
    "value",
    [
        *(4, {"gpus": -1}, {"gpus": 1.5}, {"cores": 0}, {"memory": "much"}),
        *({"memory": 10**400}, {"memory": "9" * 400}, {"gpus": float("nan")}),
    ],
)
def test_amounts_that_cannot_be_are_errors(
    plugin: str, value: object, tmp_path: Path
) -> None:
    table = {"plugin": plugin, "resources": value}
    with (
        pytest.raises(jf.ConfigurationError, match="'here': option 'resources' must"),
        jf.load(executors={"here": table}, run_dir=tmp_path),
    ):
        pass


def test_one_and_a_half_gpus_are_refused() -> None:
    shares = Shares({"gpus": 2.0}, 2)

    assert isinstance(shares.refusal("cpu", {"gpus": 1.5}), ExecutorError)
    assert shares.refusal("cpu", {"gpus": 0.5}) is None
    assert parse_size("64 GB") == 64 * 10**9
