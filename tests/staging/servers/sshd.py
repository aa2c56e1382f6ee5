"""OpenSSH's server, for SFTP alone, with keys of its own."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.staging.servers import needs
from tests.staging.servers.endpoint import Endpoint, Tree

from jackfield_testing.servers._listening import HOST
from jackfield_testing.servers._process import (
    Server,
    connect,
    free_ports,
    running,
)

RUN = Path("/run/sshd")
"""Where root's sshd locks up its unprivileged part; compiled in.

It stays, empty as it is: another run of the tests may have a server there.
"""

CONFIG = """
ListenAddress {host}:{port}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
DisableForwarding yes
Subsystem sftp internal-sftp
ForceCommand internal-sftp
LogLevel VERBOSE
"""


@contextmanager
def start(directory: Path) -> Iterator[Endpoint]:
    """Run it for the user who runs the tests; the URL has the path of the files."""
    sshd = needs.program("sshd", "sshd")
    [port] = free_ports()
    for name in ("host_key", "user_key"):
        _make_key(directory / name)
    known_hosts = directory / "known_hosts"
    host_key = (directory / "host_key.pub").read_text()
    known_hosts.write_text(f"[{HOST}]:{port} {host_key}")
    config = directory / "sshd_config"
    config.write_text(CONFIG.format(host=HOST, port=port, directory=directory))
    content = Tree(directory / "files")
    if os.geteuid() == 0:
        RUN.mkdir(mode=0o755, exist_ok=True)
    command: list[str | Path] = [sshd, "-D", "-e", "-f", config]
    server = Server("sshd", command, directory, partial(connect, port))
    options = {
        "username": getpass.getuser(),
        "key": directory / "user_key",
        "known_hosts": known_hosts,
    }
    with running(server):
        yield Endpoint(f"sftp://{HOST}:{port}{content.root}", server, content, options)


def _make_key(path: Path) -> None:
    options = ["-q", "-t", "ed25519", "-C", "jackfield-tests"]
    command = ["ssh-keygen", *options, "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, timeout=120)
