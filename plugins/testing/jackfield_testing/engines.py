"""Clusters of engines that tests start, and kill parts of.

Each program has a session of its own, by which all that it has started is found and
killed at the end, whatever has become of the program itself.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Self

from jackfield_system.dask_clusters import client_of, close_cluster, has_lost_track
from jackfield_system.programs import pids
from jackfield_testing.footprint import WAIT_S, alive, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jackfield.abc import Executor

PATIENCE_S: Final = 2.0
"""Seconds that an executor waits for workers that a test has taken away."""

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


def set_patience(executor: Executor, seconds: float = PATIENCE_S) -> None:
    """Have an executor wait so long for workers; to be called just before they go.

    Until then it is to wait as long as a test may last. On a busy machine, an engine
    that does not answer for seconds has not lost its workers.
    """
    vars(executor)["_patience"].seconds = seconds


def address_in_log(scheduler: subprocess.Popen[str], host: str = "127.0.0.1") -> str:
    """Return the address that a scheduler of Dask's logs, and read on behind it.

    A scheduler stops if nobody reads what it logs.
    """
    assert scheduler.stderr is not None
    for line in scheduler.stderr:
        if found := re.search(rf"tcp://{re.escape(host)}:\d+", line):
            threading.Thread(target=scheduler.stderr.read, daemon=True).start()
            return found[0]
    raise AssertionError("the scheduler has ended")


class BrokenClusterWarning(UserWarning):
    """A cluster that tests share did not answer any more, and was replaced."""


class DaskClusters:
    """Clusters of Dask's that all tests of a file share. They end with this context.

    One of which a worker does not answer is replaced, or all those tests would fail;
    and so is one that does not know its workers any more.

    Args:
        options: Gives the options of a ``LocalCluster`` for a number of tasks that are
            to run at once; ``n_workers`` is among them.
    """

    def __init__(self, options: Callable[[int], Mapping[str, Any]]) -> None:
        self._options = options
        self._stack = ExitStack()
        self._clusters: dict[tuple[int, str], tuple[Any, Any]] = {}

    def __enter__(self) -> Self:
        from dask import config
        from distributed import utils

        # Or they would set variables of this process, for all tests that come later.
        spawn: dict[str, Any] = {"distributed.nanny.pre-spawn-environ": {}}
        # A worker that has died comes again, however long a busy machine takes: by
        # default the cluster gives it up for ever after 15 seconds.
        again = {"distributed.deploy.lost-worker-timeout": "600s"}
        # A task that kills its worker is given up with it. By default Dask has it kill
        # four of them, and each takes its time to come again.
        once = {"distributed.scheduler.allowed-failures": 0}
        self._stack.enter_context(config.set({**spawn, **again, **once}))

        async def start_thread() -> None:
            await utils.offload(int)

        # A thread that it keeps, once it has one, is not to be a test's.
        asyncio.run(start_thread())
        return self

    def __exit__(self, *_: object) -> None:
        self._clusters.clear()
        self._stack.close()

    def client(self, tasks: int, use: str = "all tests") -> Any:
        """Return a client of the cluster for a use, which is started if need be.

        Without the context, it ends with the process.
        """
        return self._known(tasks, use)[1]

    def client_that_works(
        self, tasks: int, use: str = "all tests", limit: float = WAIT_S
    ) -> Any:
        """Return one all of whose workers answer, within so many seconds."""
        try:
            self._ask(tasks, use, limit)
        except Exception as error:
            told = f"A cluster is broken, and is replaced: {error!r}"
            warnings.warn(told, BrokenClusterWarning, stacklevel=2)
            del self._clusters[tasks, use]
            self._ask(tasks, use, WAIT_S)
        return self.client(tasks, use)

    def scale(self, workers: int, tasks: int, use: str) -> None:
        """Have a cluster take workers away, or start some; return when it has."""
        cluster, client = self._known(tasks, use)
        cluster.scale(workers)

        def done() -> bool:
            states = [one["status"] for one in _workers(client).values()]
            return states == ["running"] * workers

        assert settled(done, WAIT_S), _workers(client)

    def _known(self, tasks: int, use: str) -> tuple[Any, Any]:
        """Return a cluster and its client."""
        known = self._clusters.get((tasks, use))
        if known is None:
            known = self._clusters[tasks, use] = self._start(tasks)
        return known

    def _start(self, tasks: int) -> tuple[Any, Any]:
        from distributed import LocalCluster

        options: dict[str, Any] = {
            "host": "127.0.0.1",
            "dashboard_address": ":0",
            "silence_logs": "CRITICAL",
            **self._options(tasks),
        }
        cluster = LocalCluster(**options)  # type: ignore[no-untyped-call]  # it has no annotations
        self._stack.callback(close_cluster, cluster)
        return cluster, self._stack.enter_context(client_of(cluster))

    def _ask(self, tasks: int, use: str, limit: float) -> None:
        """Have each worker answer.

        Raises:
            Exception: One does not, or it is not there, or the cluster does not know.
        """
        cluster, client = self._known(tasks, use)
        if has_lost_track(cluster):
            raise RuntimeError("it does not know its workers any more")
        client.wait_for_workers(self._options(tasks)["n_workers"], timeout=limit)
        answers = [
            client.submit(abs, -1, pure=False, workers=[one])
            for one in _workers(client, limit)
        ]
        for answer in answers:
            answer.result(limit)


def _workers(client: Any, limit: float = WAIT_S) -> Mapping[str, Any]:
    """Ask a scheduler for its workers; ``scheduler_info`` would wait without limit."""
    identity = client.scheduler.identity
    told: Mapping[str, Any] = client.sync(
        identity, n_workers=-1, callback_timeout=limit
    )["workers"]
    return told


def have_lose_track(cluster: Any) -> None:
    """Kill a cluster's only worker, and have it hear so after it has asked for a list.

    That its ``wait_for_workers`` asks while the news is on its way is a matter of
    milliseconds; here the scheduler holds the news back.
    """
    news = cluster.scheduler.plugins["worker-status"].bcomm
    held: list[Any] = []
    cluster.scheduler.plugins["worker-status"].bcomm = SimpleNamespace(send=held.append)
    (worker,) = cluster.scheduler.workers.values()
    os.kill(worker.pid, signal.SIGKILL)
    assert settled(lambda: ["remove", worker.address] in held, WAIT_S)
    cluster.wait_for_workers(1, timeout=WAIT_S)

    async def tell() -> None:
        cluster.scheduler.plugins["worker-status"].bcomm = news
        for one in held:
            news.send(one)

    cluster.sync(tell)
    assert settled(lambda: has_lost_track(cluster), WAIT_S)


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
            # A node that is killed, and refuses the connection, is lost after two
            # seconds, not after fifteen. One that a busy machine does not let answer
            # has more time than that.
            "RAY_health_check_initial_delay_ms": "500",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_timeout_ms": "10000",
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

    It misses a manager's heartbeat soon, but not because a machine is busy.
    """
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    return HighThroughputExecutor(
        label="site",
        address="127.0.0.1",
        cores_per_worker=0.01,
        max_workers_per_node=workers,
        heartbeat_period=1,
        heartbeat_threshold=10,
        provider=LocalProvider(init_blocks=1, max_blocks=1),  # type: ignore[no-untyped-call]  # it has no annotations
    )


def single_htex() -> Any:
    """Return one of a single worker."""
    return htex(1)
