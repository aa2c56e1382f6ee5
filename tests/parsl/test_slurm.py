"""Configurations of Parsl's that submit jobs, on a real Slurm of one node."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.executors.slurm import needs_slurm, output, started

import jackfield_parsl as parsl
from jackfield_parsl.launchers import SrunLauncher
from jackfield_parsl.providers import SlurmProvider
from jackfield_testing.footprint import WAIT_S, alive, settled
from jackfield_testing.installed import skip_without

skip_without("dask_jobqueue", extra="jobqueue")

pytestmark = [
    pytest.mark.xdist_group("engines"),
    needs_slurm,
    # Dask's sockets and loops end when they are collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SHARED = {"exclusive": False}


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    with started() as here:
        yield here


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@parsl.python_app
def where(number: int) -> tuple[int, str | None, str | None, int]:
    seen = os.environ.get("SLURM_JOB_ID"), os.environ.get("FROM_WORKER_INIT")
    return (number, *seen, os.getpid())


@parsl.bash_app
def tell_job(stdout: str = "") -> str:
    return "echo job $SLURM_JOB_ID"


def config(workers: int | None = 2, **options: Any) -> parsl.Config:
    """Return what a site's page on Parsl says, which names neither cores nor memory."""
    provider = SlurmProvider(
        "debug",
        nodes_per_block=1,
        init_blocks=1,
        max_blocks=1,
        walltime="00:05:00",
        scheduler_options="#SBATCH --comment=from-parsl",
        worker_init="export FROM_WORKER_INIT=yes",
        launcher=SrunLauncher(),
        **options,
    )
    executor = parsl.HighThroughputExecutor(
        label="nodes", max_workers_per_node=workers, provider=provider
    )
    return parsl.Config(executors=[executor], exit_mode="wait", retries=1)


@pytest.mark.usefixtures("slurm")
def test_a_sites_configuration_runs_its_apps_in_jobs() -> None:
    with parsl.load(config()):
        ran = [where(number).result(2 * WAIT_S) for number in range(20)]
        (job,) = output("squeue", "-h", "-o", "%i").split()
        tell_job(stdout="told.txt").result(WAIT_S)

    assert [one[:3] for one in ran] == [(number, job, "yes") for number in range(20)]
    assert Path("told.txt").read_text() == f"job {job}\n"
    assert settled(lambda: not output("squeue", "-h"), WAIT_S)
    assert settled(lambda: not any(alive(one[3]) for one in ran), WAIT_S)
    assert list(Path("runinfo").glob("*/nodes/*.out"))
    assert not list(Path().rglob(".dask-jobqueue*"))  # the keys of the cluster


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    ("workers", "options", "asked"),
    [
        (1, {}, {"NumCPUs": str(os.cpu_count()), "MinMemoryNode": "0"}),
        (None, {}, {"NumCPUs": str(os.cpu_count())}),
        (1, SHARED, {"NumCPUs": "1", "MinMemoryNode": "0"}),
        (1, SHARED | {"cores_per_node": 2}, {"NumCPUs": "2"}),
        (1, SHARED | {"mem_per_node": 0.5}, {"MinMemoryNode": "512M"}),
    ],
    ids=["alone", "alone, all cores", "shared", "cores", "memory"],
)
def test_jobs_ask_for_what_the_provider_says(
    workers: int | None, options: dict[str, Any], asked: dict[str, str]
) -> None:
    with parsl.load(config(workers, **options)):
        job = where(0).result(2 * WAIT_S)[1]
        told = dict(
            re.findall(r"(\w+)=(\S*)", output("scontrol", "show", f"job={job}"))
        )

    assert {name: told[name] for name in asked} == asked
    assert told["Comment"] == "from-parsl"
    assert settled(lambda: not output("squeue", "-h"), WAIT_S)
