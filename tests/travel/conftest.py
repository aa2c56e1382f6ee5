"""Kernels with one executor of each sort, for what must be the same on all."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import jackfield as jf

Load: TypeAlias = Callable[..., AbstractContextManager[jf.DataFlowKernel]]


def loader(sort: str, run_dir: Path) -> Load:
    """Return a function that loads a kernel whose one executor is of a sort."""

    @contextmanager
    def load(**options: Any) -> Iterator[jf.DataFlowKernel]:
        executor: Any = {"plugin": sort, "workers": options.pop("workers", 1)}
        if sort == "adapted":
            context = multiprocessing.get_context("spawn")
            executor = concurrent.futures.ProcessPoolExecutor(1, context)
        with jf.load(executors={"one": executor}, run_dir=run_dir, **options) as kernel:
            yield kernel

    return load


@pytest.fixture(params=["threads", "processes", "adapted"])
def load(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Load:
    """Loads a kernel; the test runs for each sort of executor."""
    return loader(request.param, tmp_path_factory.mktemp("runs"))


@pytest.fixture(params=["processes", "adapted"])
def isolated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Load:
    """Loads a kernel whose tasks run in other processes."""
    return loader(request.param, tmp_path_factory.mktemp("runs"))
