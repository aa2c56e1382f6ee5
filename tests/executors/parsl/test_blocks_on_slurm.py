"""Blocks of Parsl's on a real Slurm, of one node, which is started for these tests."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.executors import engines
from tests.executors.slurm import needs_slurm, output, started

import jackfield as jf
from jackfield_executors.parsl import jackfield_create_executor
from jackfield_testing.footprint import WAIT_S, settled
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from collections.abc import Iterator

skip_without("parsl", extra="parsl")

pytestmark = [pytest.mark.xdist_group("engines"), needs_slurm]

made = partial(engines.made, jackfield_create_executor, "parsl")

PROGRAMS = Path(sys.executable).parent

SITE = f"""\
from parsl.executors import HighThroughputExecutor
from parsl.launchers import SimpleLauncher
from parsl.providers import SlurmProvider


def htex():
    return HighThroughputExecutor(
        label="site",
        address="127.0.0.1",
        max_workers_per_node=1,
        heartbeat_period=1,
        heartbeat_threshold=10,
        provider=SlurmProvider(
            "debug",
            exclusive=False,
            cores_per_node=1,
            mem_per_node=None,
            walltime="00:05:00",
            worker_init="export PATH={PROGRAMS}:$PATH",
            launcher=SimpleLauncher(),
        ),
    )
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    with started() as here:
        yield here


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "site_on_slurm.py").write_text(SITE)
    monkeypatch.syspath_prepend(tmp_path)
    return "site_on_slurm:htex"


@jf.python_app
def job(number: int) -> tuple[int, str | None]:
    return number, os.environ.get("SLURM_JOB_ID")


def jobs() -> list[str]:
    return output("squeue", "-h", "-o", "%i").split()


def test_jobs_come_when_there_is_something_to_do_and_go_afterwards(
    slurm: Path, site: str, tmp_path: Path
) -> None:
    executor = made({"executor": site, "most": 2, "patience": WAIT_S})
    config = jf.Config(
        executors={"nodes": executor},
        run_dir=tmp_path / "runs",
        use_plugins={"scaling": {"idle": 0.5}},
        scale_period=0.5,
    )
    with jf.load(config):
        assert not jobs()

        ran = [job(number).result(2 * WAIT_S) for number in range(5)]

        assert [number for number, _ in ran] == [0, 1, 2, 3, 4]
        assert None not in {one for _, one in ran}
        assert settled(lambda: not jobs(), WAIT_S)
        assert job(7).result(2 * WAIT_S)[0] == 7
    assert settled(lambda: not jobs(), WAIT_S)


def test_why_a_block_pends_is_told_and_it_is_waited_for(
    slurm: Path, site: str, tmp_path: Path
) -> None:
    cores = os.cpu_count() or 1
    other = output(
        "sbatch", "--parsable", f"--ntasks={cores}", "--wrap", "sleep 600"
    ).strip()  # fmt: skip
    assert settled(lambda: "R" in output("squeue", "-h", "-o", "%t"), WAIT_S)
    executor = made({"executor": site, "most": 1, "patience": 0.5})
    executors = {"nodes": executor}
    with jf.load(run_dir=tmp_path / "runs", executors=executors):
        waiting = job(1)

        def told() -> bool:
            return "is pending (" in executor.health.reason

        assert settled(told, WAIT_S), executor.health
        assert "one block is on the way: job" in executor.health.reason
        assert executor.health.state == "starting"
        assert not waiting.done()
        output("scancel", other)

        assert waiting.result(2 * WAIT_S)[0] == 1
