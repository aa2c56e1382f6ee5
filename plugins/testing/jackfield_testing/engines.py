"""Clusters of engines that tests start as programs, and kill parts of.

Each program has a session of its own, by which all that it has started is found and
killed at the end, whatever has become of the program itself.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jackfield_system.programs import pids
from jackfield_testing.footprint import WAIT_S, alive, settled

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_STARTS: Final = 3
"""So often a first node is started that does not come up."""


def in_session(leader: int) -> list[int]:
    """Return the processes of a session, its leader too."""
    found = []
    for pid in pids():
        try:
            if os.getsid(pid) == leader and alive(pid):
                found.append(pid)
        except ProcessLookupError:
            continue
    return found


@contextmanager
def program(
    command: list[str], environment: dict[str, str], output: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a session of its own; kill all of that at the end."""
    with output.open("ab") as stream:
        started = subprocess.Popen(
            command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL,
            env={**os.environ, **environment}, start_new_session=True,
        )  # fmt: skip
    try:
        yield started
    finally:
        end_session(started)


def end_session(started: subprocess.Popen[bytes]) -> None:
    """Kill a program, and all that is in its session."""

    def none_left() -> bool:
        left = [pid for pid in in_session(started.pid) if pid != started.pid]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return not left

    started.send_signal(signal.SIGKILL)
    started.wait()
    assert settled(none_left, WAIT_S)


class RayCluster:
    """A Ray cluster of several nodes on this machine, of as many CPUs as are wanted.

    Attributes:
        address: Where to connect to, with ``environment``.
        environment: Variables of all that takes part: the cluster's token.
    """

    def __init__(self) -> None:
        # A path of a socket is short.
        self._here = Path(tempfile.mkdtemp(prefix="jackfield-ray-", dir="/tmp"))
        self.environment: dict[str, str] = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            # A node that is killed is lost after two seconds, not after fifteen.
            "RAY_health_check_initial_delay_ms": "500",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_timeout_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
        }
        self.address: str = ""

    @contextmanager
    def head(self, cpus: int = 0) -> Iterator[subprocess.Popen[bytes]]:
        """Start the first node.

        Ray gives a node 30 seconds to start, and no way to give it more. On a busy
        machine that may be too little, so it is tried again.
        """
        options = ["--head", "--port=0", "--include-dashboard=false"]
        options += [f"--temp-dir={self._here}", f"--num-cpus={cpus}"]
        try:
            with ExitStack() as tries:
                for _ in range(MOST_STARTS):
                    (self._here / "ray_current_cluster").unlink(missing_ok=True)
                    started = tries.enter_context(self._node(*options))
                    if self._is_up(started):
                        break
                    tries.close()
                else:
                    raise AssertionError(self.said())
                yield started
        finally:
            shutil.rmtree(self._here, ignore_errors=True)

    def _is_up(self, head: subprocess.Popen[bytes]) -> bool:
        """Wait until the first node has noted its address, or has ended."""
        noted = self._here / "ray_current_cluster"

        def is_decided() -> bool:
            self.address = noted.read_text() if noted.exists() else ""
            return bool(self.address) or head.poll() is not None

        assert settled(is_decided, WAIT_S), self.said()
        return bool(self.address) and head.poll() is None

    @contextmanager
    def node(self, cpus: int, **resources: int) -> Iterator[subprocess.Popen[bytes]]:
        """Start another node, and do not wait for it."""
        import json

        options = [f"--address={self.address}", f"--num-cpus={cpus}"]
        with self._node(*options, f"--resources={json.dumps(resources)}") as started:
            yield started

    def said(self) -> str:
        """What the nodes have printed."""
        return (self._here / "output").read_text()

    def _node(self, *options: str) -> Any:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += ["--object-store-memory=80000000", "--disable-usage-stats", *options]
        return program(command, self.environment, self._here / "output")


def part(node: subprocess.Popen[bytes], name: str) -> int:
    """Return the id of the process of a node whose command has this name in it."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [
            pid for pid in in_session(node.pid) if name in command_of(pid).split(" ")[0]
        ]
        return bool(found)

    assert settled(look, WAIT_S), f"no {name} was started"
    return found[0]


def command_of(pid: int) -> str:
    """Return a process's command line; empty if it is gone."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return text.replace(b"\0", b" ").decode(errors="replace")


def htex(workers: int = 2) -> Any:
    """Return an executor of Parsl's as a site may have configured it.

    It misses a manager's heartbeat soon.
    """
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    return HighThroughputExecutor(
        label="site",
        address="127.0.0.1",
        cores_per_worker=0.01,
        max_workers_per_node=workers,
        heartbeat_period=1,
        heartbeat_threshold=4,
        provider=LocalProvider(init_blocks=1, max_blocks=1),  # type: ignore[no-untyped-call]  # it has no annotations
    )


def single_htex() -> Any:
    """Return one of a single worker."""
    return htex(1)
