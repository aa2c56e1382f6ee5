"""After a kernel has ended, nothing of it is left."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from pathlib import Path
from typing import Any

import psutil
import pytest

import jackfield as jf

LIMIT_S = 10.0


class Big:
    """A value whose life can be watched."""


def use(tmp_path: Path) -> None:
    @jf.join_app
    def fan() -> Any:
        return [kernel.submit(len, "a") for _ in range(3)]

    with jf.load(run_dir=tmp_path) as kernel:
        assert fan().result(LIMIT_S) == [1, 1, 1]
        done = threading.Event()
        kernel.submit(len, "a").add_done_callback(lambda _: done.set())
        assert done.wait(LIMIT_S)


@pytest.mark.parametrize("rounds", [50, pytest.param(2000, marks=pytest.mark.slow)])
def test_kernels_leave_nothing(tmp_path: Path, rounds: int) -> None:
    for _ in range(5):
        use(tmp_path)
    me = psutil.Process()
    gc.collect()
    before = (
        me.num_fds(),
        threading.active_count(),
        len(logging.root.manager.loggerDict),
    )
    objects = len(gc.get_objects())

    for _ in range(rounds):
        use(tmp_path)
    gc.collect()

    after = me.num_fds(), threading.active_count(), len(logging.root.manager.loggerDict)
    assert after == before
    assert len(gc.get_objects()) - objects < 100 + rounds


def test_arguments_and_results_go_without_the_garbage_collector(
    kernel: jf.DataFlowKernel,
) -> None:
    gc.disable()
    try:
        argument = Big()
        future = kernel.submit(lambda x: Big(), argument)
        result = weakref.ref(future.result(LIMIT_S))
        gone = weakref.ref(argument)
        del argument
        kernel.wait_for_current_tasks(LIMIT_S)
        kernel.submit(len, "a").result(LIMIT_S)  # the worker holds this one now
        assert gone() is None
        assert result() is not None
        del future
        assert result() is None
    finally:
        gc.enable()


def test_the_last_of_a_chain_does_not_hold_the_chain(kernel: jf.DataFlowKernel) -> None:
    seen: list[weakref.ref[Big]] = []

    def step(_: Big | None) -> Big:
        made = Big()
        seen.append(weakref.ref(made))
        return made

    future = kernel.submit(step, None)
    for _ in range(500):
        future = kernel.submit(step, future)
    future.result(LIMIT_S)
    kernel.wait_for_current_tasks(LIMIT_S)
    kernel.submit(len, "a").result(LIMIT_S)
    gc.collect()

    assert sum(ref() is not None for ref in seen) <= 1 + 4  # the last; workers' locals
