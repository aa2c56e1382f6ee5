"""The atlas on a Slurm that the example starts itself, and on workers of Dask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jackfield_testing.footprint import WAIT_S, settled
from jackfield_testing.installed import skip_without

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "munged")

skip_without("dask_jobqueue", extra="jobqueue")

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("engines")]

HAS_SLURM = os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


@pytest.mark.parametrize(
    "cluster",
    [
        "local",
        pytest.param(
            "slurm",
            marks=pytest.mark.skipif(
                not HAS_SLURM,
                reason="needs root, and apt-get install slurmctld slurmd slurm-client "
                "munge slurm-wlm-basic-plugins",
            ),
        ),
    ],
)
def test_it_maps_its_own_sources(cluster: str, tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("slurm-*"))
    sources = tmp_path / "sources"
    sources.mkdir()
    for path in EXAMPLES.glob("atlas_*.py"):
        shutil.copy(path, sources)
    command = [sys.executable, str(EXAMPLES / "cluster_atlas.py"), str(sources)]
    command += ["--cluster", cluster, "--output", str(tmp_path / "atlas")]

    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=500
    )

    assert ran.returncode == 0, ran.stderr
    assert f"Mapping 4 files on {cluster}" in ran.stdout
    assert "processes of the cluster" in ran.stdout
    report = (tmp_path / "atlas" / "report.md").read_text()
    assert "atlas_graph" in report
    assert "<svg" in (tmp_path / "atlas" / "imports.svg").read_text()

    def nothing_is_left() -> bool:
        """Wait for others too, who may try the example on this machine at this time."""
        return set(Path("/tmp").glob("slurm-*")) <= before

    assert settled(nothing_is_left, 2 * WAIT_S)
