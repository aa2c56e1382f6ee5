"""HTTP sessions beside forks, at the end of a process, and without aiohttp."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jackfield_testing.servers import HostileHTTPServer

LIMIT_S = 60.0


def run(code: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


FORK = """
import os, sys, warnings
from pathlib import Path
from jackfield_transfers.transfer import Transfer
from jackfield_staging import http
from jackfield.staging.remote import Timeouts

def fetch(name):
    path = Path(name)
    transfer = Transfer(url=sys.argv[1], path=path, timeouts=Timeouts(60.0, 60.0))
    http.provider.jackfield_stage_in(transfer)
    return path.read_bytes().decode()

print(fetch("parent"), flush=True)
# Newer Pythons warn of fork beside threads.
warnings.filterwarnings("ignore", "This process", DeprecationWarning)
if (child := os.fork()) == 0:
    if sys.argv[2] == "used":
        print(fetch("child"), flush=True)
    sys.exit()  # with all that runs at the end of a process
assert os.waitpid(child, 0)[1] == 0
print(fetch("parent"))
"""


@pytest.mark.parametrize("use", ["used", "unused"])
def test_a_forked_child_has_connections_of_its_own(tmp_path: Path, use: str) -> None:
    with HostileHTTPServer({"/x": b"content"}) as server:
        shown = run(FORK, server.url("/x"), use, cwd=tmp_path)

        assert shown.split() == ["content"] * (3 if use == "used" else 2)
        # The parent's was kept, so what the child did at its end has not hurt it.
        assert server.accepted == (2 if use == "used" else 1)


def test_a_process_ends_without_a_word_about_its_connections(tmp_path: Path) -> None:
    code = FORK.partition("if (child")[0]

    with HostileHTTPServer({"/x": b"content"}) as server:
        assert run(code, server.url("/x"), cwd=tmp_path) == "content\n"


def test_without_aiohttp_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["aiohttp"] = None
from jackfield import ConfigurationError, Remote
from jackfield_staging import http
http.provider.jackfield_kernel_closing()
try:
    http.provider.jackfield_stat_file(Remote(url="http://127.0.0.1:1/x"))
except ConfigurationError as error:
    print(error)
"""

    assert "pip install 'jackfield[http]'" in run(code, cwd=tmp_path)
