"""However users load a kernel: it works, or the error says what to do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import jackfield as jf
from jackfield_testing.footprint import WAIT_S

RIGHT: dict[str, Callable[[], Any]] = {
    "nothing": jf.load,
    "a Config": lambda: jf.load(jf.Config(retries=1)),
    "a Config by name": lambda: jf.load(config=jf.Config(retries=1)),
    "a table": lambda: jf.load({"retries": 1}),
    "options": lambda: jf.load(retries=1),
    "a Config and options": lambda: jf.load(jf.Config(), retries=1),
    "executors of others": lambda: jf.load(executors={"x": ThreadPoolExecutor(1)}),
}

WRONG: dict[str, tuple[Any, str]] = {
    "a class": (jf.Config, r"not its class: write Config\(\)"),
    "a list": ([jf.Config()], "a Config, a table, .*, not list"),
    "a number": (4, "not int"),
    "bytes": (b"jackfield.toml", "not bytes"),
    "an executor": (ThreadPoolExecutor, "not type"),
}


@jf.python_app
def add_one(number: int) -> int:
    return number + 1


@pytest.mark.parametrize("load", RIGHT.values(), ids=RIGHT)
def test_what_works(load: Callable[[], jf.DataFlowKernel]) -> None:
    with load() as kernel:
        assert jf.dfk() is kernel
        assert add_one(1).result(WAIT_S) == 2

    with pytest.raises(jf.NoDataFlowKernelError):
        jf.dfk()


def test_a_call_without_with_gives_the_kernel_too() -> None:
    kernel = jf.load()
    try:
        assert add_one(1).result(WAIT_S) == 2
        with jf.dfk() as same:
            assert same is kernel
    finally:
        kernel.cleanup()


def test_one_config_serves_one_kernel_after_another() -> None:
    config = jf.Config()
    for _ in range(2):
        with jf.load(config):
            assert add_one(1).result(WAIT_S) == 2


@pytest.mark.parametrize(("config", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_configuration_is_refused(config: Any, message: str) -> None:
    with pytest.raises(jf.ConfigurationError, match=message):
        jf.load(config)

    with pytest.raises(jf.NoDataFlowKernelError):
        jf.dfk()


def test_a_kernel_is_no_configuration() -> None:
    with jf.DataFlowKernel() as kernel:
        with pytest.raises(jf.ConfigurationError, match=r"call its submit\(app"):
            jf.load(kernel)  # type: ignore[arg-type]  # the very mistake

        assert kernel.submit(add_one, 1).result(WAIT_S) == 2


def test_another_one_inside_is_refused_and_harms_nothing() -> None:
    with jf.load() as kernel:
        with pytest.raises(jf.ConfigurationError, match=r"cleanup\(\) before"):
            jf.load()

        assert jf.dfk() is kernel
        assert add_one(1).result(WAIT_S) == 2


def test_a_kernel_that_has_ended_is_not_entered_again() -> None:
    kernel = jf.load()
    with kernel:
        add_one(1)

    with pytest.raises(jf.KernelClosedError, match=r"jackfield\.load\(\)"), kernel:
        pass


def test_within_one_that_was_entered_twice_apps_say_that_it_has_ended() -> None:
    with jf.load() as kernel:
        with kernel:
            add_one(1)

        with pytest.raises(jf.NoDataFlowKernelError, match="has ended"):
            add_one(1)


def test_one_that_a_with_does_not_end_may_be_entered_again() -> None:
    kernel = jf.load(exit_mode="skip")
    for _ in range(2):
        with kernel:
            assert add_one(1).result(WAIT_S) == 2

    kernel.cleanup()


def test_after_clear_another_may_be_loaded_and_the_first_goes_on() -> None:
    first = jf.load()
    jf.clear()
    with first, jf.load() as second:
        assert first.submit(add_one, 1).result(WAIT_S) == 2
        assert add_one(2).result(WAIT_S) == 3
        assert second.task_state_counts[jf.TaskState.SUCCEEDED] == 1


def test_one_that_is_not_loaded_is_named_by_the_error() -> None:
    with (
        jf.DataFlowKernel(),
        pytest.raises(jf.NoDataFlowKernelError, match=r"kernel\.submit\(app"),
    ):
        add_one(1)
