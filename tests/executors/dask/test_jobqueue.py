"""What batch systems write, read."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jackfield.errors import ConfigurationError
from jackfield_executors.dask import jackfield_check_options
from jackfield_executors.jobqueue import JobQueue, seconds_of
from jackfield_testing.footprint import WAIT_S
from jackfield_testing.installed import skip_without

skip_without("dask", extra="dask")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("02:00:00", 7200),
        ("1-12:00:00", 129_600),
        ("1-12", 129_600),
        ("01:30", 90),
        ("90", 5400),
        (90, 5400),
        ("0", math.inf),
        ("UNLIMITED", math.inf),
        (None, math.inf),
    ],
)
def test_walltimes_are_read(text: Any, seconds: float) -> None:
    assert seconds_of(text, "slurm") == seconds


def test_of_two_numbers_lsf_means_hours_and_minutes() -> None:
    assert seconds_of("01:30", "lsf") == 5400


def test_what_slurm_says_of_jobs_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text(
        "#!/bin/sh\necho '7|PENDING|Resources'; echo '8|RUNNING|None'; "
        "echo '9|COMPLETING|None'; echo '70|RUNNING|None'\n"
    )
    squeue.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ids = {"a": "7", "b": "8", "c": "9", "d": "10", "e": None}

    assert JobQueue("slurm").states(ids) == {
        "a": "job 7 is pending (Resources)",
        "b": "",
        "e": "it is being submitted",
    }


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_blocks": 3}, "no option 'max_blocks'; here that is most"),
        ({"walltime": "01:00"}, "that is walltime in cluster_options"),
        ({"jobs": 2, "most": 3}, "'jobs' fixes it"),
        ({"least": 3, "most": 2}, "least <= init <= most"),
        ({"most": 0}, "'most' must be a whole number from 1 on"),
        ({"address": "tls://x:1", "most": 2}, "does not go with 'most'"),
    ],
)
def test_wrong_bounds_and_names_of_parsls_are_told(options: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        jackfield_check_options("far", options)


HANDLERS = """\
import signal, sys, threading
from jackfield_executors.jobqueue import dask_jobqueue

def load():
    modules.append(dask_jobqueue())

modules, before, real = [], signal.getsignal(signal.SIGINT), signal.signal
if sys.argv[1] == "main":
    load()
else:
    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
load()
assert modules[0] is modules[1]
assert hasattr(modules[0], "SLURMCluster")
assert signal.getsignal(signal.SIGINT) is before is signal.default_int_handler
assert signal.signal is real
"""


@pytest.mark.parametrize("thread", ["main", "another"])
def test_ctrl_c_stays_what_it_is_for_a_script_with_jobs(thread: str) -> None:
    skip_without("dask_jobqueue", extra="jobqueue")
    command = [sys.executable, "-c", HANDLERS, thread]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=2 * WAIT_S
    )

    assert (done.returncode, done.stderr) == (0, "")
