"""A real Slurm of one node, for as long as a ``with`` block lasts.

Plain Python that knows nothing of Jackfield: ``cluster_atlas.py`` uses it. It needs
root and the programs of Slurm and munge. It has ports, keys and files of its own, and
so minds no other Slurm of the machine.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo", "munged")
START_S = 60.0
END_S = 30.0

CONFIGURATION = """\
ClusterName=example
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


def missing() -> str:
    """Say what keeps a Slurm from being started here; empty if nothing does."""
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if programs:
        return f"there is no {programs[0]}"
    return "" if os.geteuid() == 0 else "it takes root"


@contextmanager
def started() -> Iterator[Path]:
    """Start munge and Slurm, and end them at the end; give their directory.

    Raises:
        TimeoutError: One of them does not come up.
    """
    with ExitStack() as ending:
        # The path of munge's socket has to be short.
        here = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        ending.callback(shutil.rmtree, here, ignore_errors=True)
        here.chmod(0o755)
        _write_configuration(here)
        for command in _daemons(here):
            daemon = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            ending.callback(_end, daemon)
            if "munged" in command:
                _wait((here / "munge" / "socket").exists, "munged")
        before = os.environ.get("SLURM_CONF")
        ending.callback(_set_variable, before)
        _set_variable(str(here / "slurm.conf"))
        _wait(_is_idle, "Slurm")
        yield here


def _write_configuration(here: Path) -> None:
    for name in ("state", "spool", "munge"):
        (here / name).mkdir()
    key = here / "munge" / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    munge = pwd.getpwnam("munge")
    for path in (here / "munge", key):
        os.chown(path, munge.pw_uid, munge.pw_gid)
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
    (here / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=_host(), here=here, port=ports[0], other_port=ports[1],
            cores=os.cpu_count(),
        )
    )  # fmt: skip


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _daemons(here: Path) -> list[list[str]]:
    files = here / "munge"
    configuration = str(here / "slurm.conf")
    return [
        ["runuser", "-u", "munge", "--", "munged", "--foreground", "--force",
         f"--socket={files}/socket", f"--key-file={files}/key",
         f"--pid-file={files}/pid", f"--log-file={files}/log",
         f"--seed-file={files}/seed"],
        ["slurmctld", "-D", "-f", configuration],
        ["slurmd", "-D", "-f", configuration, "-N", _host()],
    ]  # fmt: skip


def _set_variable(value: str | None) -> None:
    if value is None:
        os.environ.pop("SLURM_CONF", None)
    else:
        os.environ["SLURM_CONF"] = value


def _is_idle() -> bool:
    state = subprocess.run(
        ["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False
    )
    return "idle" in state.stdout


def _wait(there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} has not come up within {START_S:g} s")
        time.sleep(0.1)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(END_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
