"""Jobs of a real Slurm, of one node, which is started for these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.slurm import needs_slurm, output, started

import jackfield as jf
from jackfield.errors import WorkerLostError
from jackfield_testing.footprint import WAIT_S, alive, descendants, settled
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from collections.abc import Iterator

skip_without("dask_jobqueue", extra="jobqueue")

pytestmark = [
    pytest.mark.xdist_group("engines"),
    needs_slurm,
    # Dask's sockets and loops end when they are collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    with started() as here:
        yield here


def nodes(slurm: Path, **options: Any) -> dict[str, Any]:
    return {
        "plugin": "dask",
        "cluster": "slurm",
        "patience": WAIT_S,
        "cluster_options": {
            "cores": 2,
            "processes": 1,
            "memory": "500 MB",
            "walltime": "00:05:00",
            "interface": "lo",
            "python": sys.executable,
        },
        **options,
    }


@jf.python_app
def job(_: int) -> tuple[str | None, int]:
    return os.environ.get("SLURM_JOB_ID"), os.getpid()


@jf.python_app
def hold(path: Path) -> None:
    import time

    path.write_text(str(os.getpid()))
    time.sleep(600)


def test_tasks_run_in_a_job_and_the_job_ends(slurm: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "runs"
    with jf.load(run_dir=run_dir, executors={"nodes": nodes(slurm)}):
        ran = [job(n) for n in range(50)]

        jobs = {one.result(2 * WAIT_S)[0] for one in ran}
        assert len(jobs) == 1
        assert None not in jobs

    assert list(run_dir.glob("*/nodes/*.out"))
    assert settled(lambda: not output("squeue", "-h"), WAIT_S)
    assert settled(lambda: not any(alive(one.result()[1]) for one in ran), WAIT_S)


def test_the_doctor_asks_for_a_job_and_runs_a_task_in_it(
    slurm: Path, tmp_path: Path
) -> None:
    """On a thread of its own, where dask-jobqueue alone cannot even be imported."""
    table = nodes(slurm)
    asked = table.pop("cluster_options")
    lines = ["[executors.nodes]"]
    lines += [f"{name} = {value!r}" for name, value in table.items()]
    lines += ["[executors.nodes.cluster_options]"]
    lines += [f"{name} = {value!r}" for name, value in asked.items()]
    (tmp_path / "jackfield.toml").write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "jackfield", "doctor", "--limit", str(2 * WAIT_S)],
        cwd=tmp_path, check=False, capture_output=True, text=True,
        timeout=4 * WAIT_S,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert "ok       nodes (dask)" in done.stdout
    assert settled(lambda: not output("squeue", "-h"), WAIT_S)


def test_what_slurm_refuses_is_said_of_each_task_by_its_own_name(
    slurm: Path, tmp_path: Path
) -> None:
    refused = {**nodes(slurm)["cluster_options"], "queue": "no-such-partition"}
    table = nodes(slurm, cluster_options=refused, patience=1)
    with jf.load(run_dir=tmp_path / "runs", executors={"nodes": table}):
        tasks = [job(n) for n in range(3)]
        errors = [str(one.exception(2 * WAIT_S)) for one in tasks]

    for number, error in enumerate(errors):
        assert "invalid partition specified: no-such-partition" in error
        assert error.count(" [in ") == 1
        assert error.endswith(f"[in job({number})]")


def test_a_job_that_is_cancelled_fails_what_it_had(slurm: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    with jf.load(run_dir=tmp_path / "runs", executors={"nodes": nodes(slurm)}):
        held = hold(started)
        assert settled(lambda: started.exists() and started.read_text() != "", WAIT_S)

        output("scancel", "--user=root")

        assert isinstance(held.exception(WAIT_S), WorkerLostError)
    pid = int(started.read_text())
    assert settled(lambda: not alive(pid), WAIT_S)


DRIVER = """\
import jackfield as jf

if __name__ == "__main__":
    with jf.load(run_dir={run_dir!r}, executors={{"nodes": {table!r}}}) as kernel:
        kernel.submit(len, "").result()
"""


def test_a_driver_that_is_killed_leaves_no_job_in_the_queue(
    slurm: Path, tmp_path: Path
) -> None:
    far_too_large = {**nodes(slurm)["cluster_options"], "cores": 1000}
    table = nodes(slurm, cluster_options=far_too_large, jobs=2, patience=2)
    script = tmp_path / "script.py"
    script.write_text(DRIVER.format(run_dir=str(tmp_path / "runs"), table=table))
    before, says = descendants(), tmp_path / "says"
    with (
        says.open("wb") as file,
        subprocess.Popen([sys.executable, str(script)], stderr=file) as driver,
    ):
        try:
            told = "2 jobs are on the way"
            assert settled(lambda: told in says.read_text(), WAIT_S), says.read_text()
            assert len(output("squeue", "-h").splitlines()) == 2
        finally:
            driver.kill()

    assert settled(lambda: not output("squeue", "-h"), WAIT_S)
    assert settled(lambda: descendants() <= before, WAIT_S)


SBATCH = """\
#!/bin/sh
touch {here}/begun
while [ ! -e {here}/gate ]; do sleep 0.01; done
{sbatch} "$@" > {here}/says && mv {here}/says {here}/submitted
"""


def test_a_job_that_is_submitted_when_the_driver_is_killed_is_cancelled(
    slurm: Path, tmp_path: Path
) -> None:
    far_too_large = {**nodes(slurm)["cluster_options"], "cores": 1000}
    table = nodes(slurm, cluster_options=far_too_large)
    script, slow = tmp_path / "script.py", tmp_path / "sbatch"
    script.write_text(DRIVER.format(run_dir=str(tmp_path / "runs"), table=table))
    slow.write_text(SBATCH.format(here=tmp_path, sbatch=shutil.which("sbatch")))
    slow.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PATH": path},
        stderr=subprocess.DEVNULL,
    ) as driver:
        try:
            assert settled((tmp_path / "begun").exists, WAIT_S)
        finally:
            driver.kill()
    (tmp_path / "gate").touch()

    assert settled((tmp_path / "submitted").exists, WAIT_S)
    assert settled(lambda: not output("squeue", "-h"), WAIT_S)


def test_a_refused_job_is_told_in_a_line_and_each_task_by_its_own_call(
    slurm: Path, tmp_path: Path
) -> None:
    table = nodes(slurm)
    table["cluster_options"]["queue"] = "nowhere"
    with jf.load(run_dir=tmp_path / "runs", executors={"nodes": table}):
        errors = [one.exception(WAIT_S) for one in [job(0), job(1)]]

    for number, error in enumerate(errors):
        text = str(error)
        assert "invalid partition specified: nowhere" in text
        assert text.endswith(f"[in job({number})]")
        assert text.count("[in ") == 1
        assert "sbatch /" not in text
        assert "\n" not in text


@jf.python_app(retries=2)
def gated(gate: Path, number: int) -> tuple[str | None, int]:
    """Tell in which job this runs, when the gate is open."""
    import time

    job = os.environ.get("SLURM_JOB_ID")
    with (gate.parent / f"{number}.tries").open("a") as file:
        file.write(f"{job}\n")
    while not gate.exists():
        time.sleep(0.01)
    return job, number


def tries(directory: Path, number: int) -> list[str]:
    path = directory / f"{number}.tries"
    return path.read_text().split() if path.exists() else []


def one_core(slurm: Path, jobs: int) -> dict[str, Any]:
    table = nodes(slurm, jobs=jobs)
    table["cluster_options"]["cores"] = 1
    return table


def test_tasks_of_a_cancelled_job_are_run_again_in_another(
    slurm: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with jf.load(run_dir=tmp_path / "runs", executors={"nodes": one_core(slurm, 2)}):
        both = [gated(gate, n) for n in range(2)]
        assert settled(lambda: all(tries(tmp_path, n) for n in range(2)), 2 * WAIT_S)
        (cancelled,), (other,) = (tries(tmp_path, n) for n in range(2))
        assert cancelled != other

        output("scancel", cancelled)
        assert settled(lambda: cancelled not in output("squeue", "-h"), WAIT_S)
        gate.touch()

        again, _ = both[0].result(2 * WAIT_S)  # where, the one that is first free says
        assert both[1].result(WAIT_S) == (other, 1)
    assert again != cancelled
    assert [tries(tmp_path, n) for n in range(2)] == [[cancelled, again], [other]]


@pytest.mark.slow
def test_a_job_that_is_queued_again_is_lost_in_time(
    slurm: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    table = one_core(slurm, 1)
    table["cluster_options"]["job_extra_directives"] = ["--requeue"]
    with jf.load(run_dir=tmp_path / "runs", executors={"nodes": table}):
        held = [gated(gate, n) for n in range(3)]
        assert settled(lambda: bool(tries(tmp_path, 0)), 2 * WAIT_S)
        (job_id,) = tries(tmp_path, 0)

        output("scontrol", "requeue", job_id)
        gate.touch()

        # dask-jobqueue cancels a job whose worker is gone, also one that will be back.
        for task in held:
            error = task.exception(2 * WAIT_S)
            assert error is None or isinstance(error, WorkerLostError)
    assert settled(lambda: not output("squeue", "-h"), WAIT_S)


def test_jobs_come_and_go_as_they_are_needed(slurm: Path, tmp_path: Path) -> None:
    options = {"least": 0, "most": 1}
    executors = {"nodes": nodes(slurm, **options)}
    quick = {"scaling": {"idle": 0.5}}
    with jf.load(run_dir=tmp_path / "r", executors=executors, use_plugins=quick):
        before = output("squeue", "-h", "-o", "%i").split()  # of other tests, ending

        first = {one.result(2 * WAIT_S)[0] for one in [job(n) for n in range(20)]}
        assert settled(lambda: not output("squeue", "-h"), WAIT_S)
        second = job(20).result(2 * WAIT_S)[0]

        assert first.isdisjoint({None, second, *before})


def test_a_job_that_is_cancelled_is_asked_for_again(
    slurm: Path, tmp_path: Path
) -> None:
    with jf.load(run_dir=tmp_path / "runs", executors={"nodes": nodes(slurm)}):
        first = job(0).result(2 * WAIT_S)[0]
        output("scancel", str(first))

        second = job.options(retries=3)(1).result(2 * WAIT_S)[0]
        while second == first:  # it was not gone yet
            second = job.options(retries=3)(1).result(2 * WAIT_S)[0]
        assert second is not None
