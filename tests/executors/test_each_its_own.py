"""Tasks that fail together, for one reason, have errors of their own."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest

import jackfield as jf
from jackfield.errors import (
    EnvironmentMismatchError,
    ExecutorBrokenError,
    ExecutorError,
    ExecutorLostError,
    WorkerLostError,
)
from jackfield_executors.each_its_own import own
from jackfield_testing.footprint import WAIT_S

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "error",
    [
        ExecutorError("cpu", "it is gone"),
        ExecutorLostError("cpu", "its jobs fail to start"),
        WorkerLostError("cpu", "its job is over", True),
        EnvironmentMismatchError("cpu", "upgrade", "Python 3.11", "Python 3.13"),
    ],
)
def test_a_copy_is_alike_and_has_the_cause(error: ExecutorError) -> None:
    error.__cause__ = OSError("no such queue")

    copy = own(error)

    assert copy is not error
    assert (type(copy), str(copy), copy.args) == (type(error), str(error), error.args)
    assert copy.__cause__ is error.__cause__
    assert vars(copy) == vars(error)
    assert vars(copy) is not vars(error)


def test_an_error_that_is_no_executors_is_left_as_it_is() -> None:
    error = KeyError("colour")

    assert own(error) is error


class TwiceNamed(ExecutorError):
    """An error of a plugin that is not made from its ``args``."""

    def __init__(self, host: str) -> None:
        super().__init__("far", f"{host} does not answer")


def test_an_error_that_cannot_be_made_again_is_left_as_it_is() -> None:
    error = TwiceNamed("node7")

    assert own(error) is error


@jf.python_app
def end(_: int) -> None:
    os._exit(3)


def test_each_error_of_a_pool_that_breaks_names_its_own_call(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
    with pool, jf.load(run_dir=tmp_path / "runs", executors={"pool": pool}):
        errors = [one.exception(WAIT_S) for one in [end(n) for n in range(6)]]

    assert {type(one) for one in errors} == {ExecutorBrokenError}
    for number, error in enumerate(errors):
        assert str(error).count(" [in ") == 1
        assert str(error).endswith(f"[in end({number})]")
        assert not getattr(error, "__notes__", ())
