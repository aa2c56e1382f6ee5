"""Which servers and browser this machine has, and which ones must not be missing.

``TEST_SERVERS`` names what must be there, in a list with commas: servers
(``seaweedfs``, ``nginx``), ``tier1`` for those that pip installs, or ``all``. A missing
one of these fails the tests that ask for it; any other skips them.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from importlib.util import find_spec

import pytest

TIER1 = frozenset({"ftp_server", "http_files", "seaweedfs", "webdav_server"})
TIER2 = frozenset({"chromium", "nginx", "sshd", "vsftpd"})

PIP = "pip install 'jackfield[dev]'"
APT = (
    "apt-get install --no-install-recommends nginx-light openssh-server vsftpd"
    " chromium chromium-driver"
)

PATH = os.pathsep.join(
    [sysconfig.get_path("scripts"), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
)
"""Where programs are: also those that pip installed beside a Python off the path."""


def _required() -> frozenset[str]:
    """Read the variable once, so that a bad name ends the run before its first test."""
    names: set[str] = set()
    for word in os.environ.get("TEST_SERVERS", "").replace(",", " ").split():
        groups = {"tier1": TIER1, "all": TIER1 | TIER2}
        names |= groups.get(word, frozenset({word}))
    if unknown := names - TIER1 - TIER2:
        raise pytest.UsageError(
            f"TEST_SERVERS names no server: {sorted(unknown)};"
            f" there are {sorted(TIER1 | TIER2)}, 'tier1' and 'all'"
        )
    return frozenset(names)


REQUIRED = _required()


def modules(server: str, *names: str) -> None:
    """Skip or fail the test unless these modules are installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        _give_up(server, f"no module {missing}: {PIP}")
    _linux(server)


def program(server: str, name: str) -> str:
    """Return the path of a program; skip or fail the test if there is none."""
    _linux(server)
    path = shutil.which(name, path=PATH)
    if path is None:
        install = PIP if server in TIER1 else APT
        _give_up(server, f"no program {name!r}: {install}")
    return path or ""


def root(server: str) -> None:
    """Skip or fail the test unless it is root's."""
    if os.geteuid() != 0:
        _give_up(server, "only root can start it with users of its own")


def _linux(server: str) -> None:
    if sys.platform != "linux":
        _give_up(server, "servers are guarded by means that only Linux has")


def _give_up(server: str, why: str) -> None:
    if server in REQUIRED:
        pytest.fail(f"{server} is in TEST_SERVERS, but: {why}", pytrace=False)
    pytest.skip(f"{server}: {why}")
