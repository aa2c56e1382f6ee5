"""The plugin ``ray``: our own pools as actors on the nodes of a Ray cluster."""

from __future__ import annotations

import functools
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jackfield_executors.ray import jackfield_create_executor
from jackfield_testing import ExecutorConformance
from jackfield_testing.engines import RayCluster, set_patience
from jackfield_testing.footprint import WAIT_S
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.abc import Executor

skip_without("ray", extra="ray")

# It takes minutes: most of its tests connect to the cluster anew.
pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.slow]

_started = ExitStack()
_losses = ExitStack()


@functools.cache
def cluster() -> RayCluster:
    """Start a cluster; it ends with the tests of this file, or with the process."""
    one = RayCluster()
    _started.enter_context(one.head(50))
    os.environ.update(one.environment)
    return one


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    before = dict(os.environ)
    with _started, _losses:
        cluster()
        yield
    cluster.cache_clear()
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def executor(workers: int, patience: float = WAIT_S, **needs: object) -> Executor:
    options = {
        "address": cluster().address,
        "agents": 1,
        "agent_options": {"num_cpus": workers, **needs},
        "patience": patience,
    }
    made = jackfield_create_executor("ray", "far", options)
    assert made is not None
    return made


class TestRay(ExecutorConformance):
    keeps_order = False  # it promises none
    short_cycles = 2
    cycles = 20

    patience = WAIT_S

    def make_executor(self, workers: int) -> Executor:
        return executor(workers, self.patience)

    def test_more_than_there_is_is_an_error_and_does_not_wait(
        self, tmp_path: Path
    ) -> None:
        self.patience = 20.0  # as long it waits for an agent that has so much
        super().test_more_than_there_is_is_an_error_and_does_not_wait(tmp_path)

    def make_losing_executor(self) -> Executor:
        self.restore_workers()
        self.losing = executor(2, resources={"losses": 1})
        return self.losing

    def lose_patience(self) -> None:
        set_patience(self.losing)

    def remove_workers(self) -> None:
        _losses.close()

    def restore_workers(self) -> None:
        _losses.enter_context(cluster().node(2, losses=1))
