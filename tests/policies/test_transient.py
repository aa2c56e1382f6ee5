"""``[plugins.transient]``: what is tried again, where and when, and what is not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 40.0

Load = Callable[..., AbstractContextManager[jf.DataFlowKernel]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a kernel that uses the policy with some options."""

    def load(executors: Any = None, **options: Any) -> Any:
        return jf.load(
            {
                "run_dir": str(tmp_path / "runs"),
                "executors": executors or {"a": {"plugin": "threads", "workers": 1}},
                "retries": 2,
                "plugins": {"transient": options},
                "exit_grace": 1.0,
            }
        )

    return load


def attempts(error: BaseException) -> int:
    """Run a task that always raises; return how often it was tried."""
    tries: list[int] = []

    @jf.python_app
    def fail() -> None:
        tries.append(1)
        raise error

    assert fail().exception(LIMIT_S) is error
    return len(tries)


class Refused(ValueError):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ImportError("no module"),
        ModuleNotFoundError("no module"),
        SyntaxError("bad"),
        NameError("x"),
        UnboundLocalError("x"),
        NotImplementedError(),
        jf.ConfigurationError("bad"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_get_better_is_tried_once(load: Load, error: Exception) -> None:
    with load():
        assert attempts(error) == 1


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), TimeoutError()])
def test_anything_else_is_left_to_the_kernel(load: Load, error: Exception) -> None:
    with load():
        assert attempts(error) == 3


def test_without_the_table_nothing_changes(tmp_path: Path) -> None:
    with jf.load({"run_dir": str(tmp_path / "runs"), "retries": 2}):
        assert attempts(ImportError("no module")) == 3


@pytest.mark.parametrize(
    ("name", "tries"),
    [
        ("Refused", 1),
        ("ValueError", 1),
        ("builtins.ValueError", 1),
        (f"{Refused.__module__}.Refused", 1),
        ("elsewhere.Refused", 3),
        ("KeyError", 3),
    ],
)
def test_names_of_exceptions_are_given_up(load: Load, name: str, tries: int) -> None:
    with load(give_up=[name]):
        assert attempts(Refused("never")) == tries


@pytest.mark.parametrize(("code", "tries"), [(127, 1), (126, 1), (1, 3)])
def test_a_command_that_is_not_there_is_tried_once(
    load: Load, tmp_path: Path, code: int, tries: int
) -> None:
    @jf.bash_app
    def command() -> str:
        return f"echo >> {tmp_path / 'tries'}; exit {code}"

    with load():
        error = command().exception(LIMIT_S)

    assert isinstance(error, jf.BashExitFailure)
    assert (tmp_path / "tries").read_text() == "\n" * tries


# -- Where it is tried again


@jf.python_app
def die_on_a(how: str) -> str:
    place = os.environ["PLACE"]
    if place == "a" and how == "exit":
        os._exit(3)
    if place == "a":
        os.kill(os.getpid(), signal.SIGKILL)
    return place


def places(*labels: str) -> dict[str, Any]:
    options = {"plugin": "processes", "workers": 1}
    return {label: {**options, "env": {"PLACE": label}} for label in labels}


class FirstOnA:
    """Sends each first attempt to the executor whose workers die."""

    @jf.hookimpl
    def jackfield_select_executor(self, task: jf.TaskView) -> str | None:
        return "a" if task.attempt == 1 else None


def test_after_a_workers_death_another_executor_is_used(load: Load) -> None:
    with load(places("a", "b"), delay=0) as kernel:
        kernel.register(FirstOnA())

        assert die_on_a("exit").result(LIMIT_S) == "b"


def test_an_executor_that_the_app_does_not_allow_is_not_used(load: Load) -> None:
    with load(places("a", "b"), delay=0):
        error = die_on_a.options(executors=["a"])("exit").exception(LIMIT_S)

    assert isinstance(error, jf.WorkerDiedError)


def test_a_killed_worker_is_taken_for_a_lack_of_memory(load: Load) -> None:
    options = {"memory_executor": "big", "memory_delay": 0, "delay": 500}
    with load(places("a", "small", "big"), **options) as kernel:
        kernel.register(FirstOnA())

        assert die_on_a("kill").result(LIMIT_S) == "big"


def test_a_memory_error_goes_where_memory_is(load: Load) -> None:
    executors = {label: {"plugin": "threads"} for label in ("a", "big")}
    labels: list[str | None] = []

    class Watch:
        @jf.hookimpl(tryfirst=True)
        def jackfield_retry(self, task: jf.TaskView) -> None:
            labels.append(task.executor)

    @jf.python_app
    def greedy() -> None:
        raise MemoryError

    with load(executors, memory_executor="big", memory_delay=0) as kernel:
        kernel.register(FirstOnA())
        kernel.register(Watch())
        assert isinstance(greedy().exception(LIMIT_S), MemoryError)

    assert labels == ["a", "big", "big"]


def test_it_waits_before_it_tries_again(load: Load) -> None:
    begun: list[float] = []

    @jf.python_app(retries=1)
    def greedy() -> None:
        begun.append(time.monotonic())
        raise MemoryError

    with load(memory_delay=0.25):
        greedy().exception(LIMIT_S)

    assert begun[1] - begun[0] >= 0.25


# -- Options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"give_up": "ValueError"}, "give_up must be a list of names"),
        ({"give_up": [3]}, "give_up must be a list of names"),
        ({"delay": -1}, "delay must be a number of seconds, not -1"),
        ({"delay": "1"}, "delay must be a number of seconds, not '1'"),
        ({"memory_delay": True}, "memory_delay must be a number of seconds"),
        ({"memory_executor": 3}, "memory_executor must be a label"),
        ({"giveup": []}, r"no option 'giveup'; did you mean 'give_up'\?"),
    ],
    ids=str,
)
def test_a_bad_option_ends_the_start(
    load: Load, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(jf.ConfigurationError, match=words), load(**options):
        pass
