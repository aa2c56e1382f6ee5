"""What another try cannot help is not tried again, and what is refused is no task."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import SerializationError

LIMIT_S = 60.0


class Asked:
    """A policy that is asked about each failure that another try may help."""

    def __init__(self) -> None:
        self.attempts: list[int] = []

    @jf.hookimpl
    def jackfield_retry(
        self, task: jf.TaskView, error: BaseException, attempt: int
    ) -> None:
        self.attempts.append(attempt)


def loaded(tmp_path: Path, plugin: str = "threads", **options: Any) -> Any:
    table = {"plugin": plugin, "workers": 1}
    config = {"run_dir": str(tmp_path / "runs"), "executors": {"x": table}}
    return jf.load({**config, "retries": 3, **options})


@pytest.mark.parametrize("plugin", ["threads", "processes"])
@pytest.mark.parametrize("kwargs", [{}, {"y": 1}], ids=["too many", "unknown"])
def test_wrong_arguments_are_not_tried_again(
    plugin: str, kwargs: dict[str, int], tmp_path: Path
) -> None:
    @jf.python_app
    def one(x: int) -> int:
        return x

    wrong: Any = one
    asked = Asked()
    with loaded(tmp_path, plugin, plugins=[asked]):
        future = wrong(1, **kwargs) if kwargs else wrong(1, 2)
        with pytest.raises(TypeError, match="argument"):
            future.result(LIMIT_S)

    assert asked.attempts == []


def test_a_type_error_of_the_function_itself_is_tried_again(tmp_path: Path) -> None:
    calls = []

    @jf.python_app
    def one(x: int) -> int:
        calls.append(x)
        raise TypeError("takes 1 positional argument but 2 were given")

    with loaded(tmp_path), pytest.raises(TypeError):
        one(1).result(LIMIT_S)

    assert calls == [1] * 4


@pytest.mark.parametrize("what", ["argument", "result"])
def test_what_cannot_be_pickled_is_not_tried_again(what: str, tmp_path: Path) -> None:
    @jf.python_app
    def one(x: Any) -> Any:
        import threading

        return threading.Lock() if x is None else x

    asked = Asked()
    with loaded(tmp_path, "processes", plugins=[asked]):
        future = one(threading.Lock() if what == "argument" else None)
        with pytest.raises(SerializationError):
            future.result(LIMIT_S)

    assert asked.attempts == []


def test_refused_calls_use_up_no_number(tmp_path: Path) -> None:
    @jf.python_app
    def one(x: Any, walltime: float = 0) -> Any:
        return x

    other = jf.python_app(executors=["none"])(one.__wrapped__)
    with loaded(tmp_path):
        first = one(1)
        for _ in range(3):
            with pytest.raises(jf.ConfigurationError):
                other(1)
        second = one(2)

        assert (first.result(LIMIT_S), second.result(LIMIT_S)) == (1, 2)
        assert second.tid == first.tid + 1


def test_a_walltime_on_threads_says_how_long_the_task_really_ran(
    tmp_path: Path,
) -> None:
    @jf.python_app(walltime=0.05)
    def one() -> None:
        time.sleep(0.4)  # a call into C, which nothing can stop

    with loaded(tmp_path, retries=0), pytest.raises(jf.AppTimeout) as caught:
        one().result(LIMIT_S)

    assert caught.value.ran >= 0.4
    assert f"stopped after {caught.value.ran:.3g} s only" in str(caught.value)
