"""A real Slurm of one node, for the tests of what runs in its jobs."""

from __future__ import annotations

import gc
import grp
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jackfield_testing.footprint import WAIT_S, settled

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "munged")

needs_slurm = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, PROGRAMS)),
    reason="needs root, and apt-get install slurmctld slurmd slurm-client munge "
    "slurm-wlm-basic-plugins",
)

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={here}/munge/socket
CredType=cred/munge
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/slurmd.pid
SlurmctldLogFile={here}/slurmctld.log
SlurmdLogFile={here}/slurmd.log
SlurmctldPort={port}
SlurmdPort={other_port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=1000
PartitionName=debug Nodes={host} Default=YES State=UP
"""


def free_ports() -> tuple[int, int]:
    """Return two ports that nobody has."""
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


@contextmanager
def started() -> Iterator[Path]:
    """Start munge and Slurm; give their directory. They end with the block."""
    # The path of munge's socket has to be short.
    here = Path("/tmp", f"jackfield-slurm-{secrets.token_hex(4)}")
    for name in ("state", "spool", "munge"):
        (here / name).mkdir(parents=True)
    key = here / "munge" / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    owner = pwd.getpwnam("munge").pw_uid, grp.getgrnam("munge").gr_gid
    for path in (here / "munge", key):
        os.chown(path, *owner)
    port, other_port = free_ports()
    host = socket.gethostname().partition(".")[0]
    configuration = here / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host, here=here, port=port, other_port=other_port, cores=os.cpu_count()
        )
    )
    daemons = [
        ["runuser", "-u", "munge", "--", "munged", "--foreground", "--force",
         f"--socket={here}/munge/socket", f"--key-file={key}",
         f"--pid-file={here}/munge/pid", f"--log-file={here}/munge/log",
         f"--seed-file={here}/munge/seed"],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration), "-N", host],
    ]  # fmt: skip
    started = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(configuration))
        try:
            for command in daemons:
                started.append(
                    subprocess.Popen(
                        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                    )
                )
                if len(started) == 1:
                    assert settled((here / "munge" / "socket").exists, WAIT_S)
            assert settled(lambda: "idle" in output("sinfo", "-h", "-o", "%T"), WAIT_S)
            yield here
        finally:
            for daemon in reversed(started):
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(WAIT_S)
            gc.collect()  # files in there that dask-jobqueue has not closed
            shutil.rmtree(here)


def output(*command: str) -> str:
    """Run a command, and return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout
