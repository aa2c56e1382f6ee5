"""Run tasks on the workers of a Dask cluster. Plugin name: ``dask``.

Each worker of the cluster gets an *agent*: our own ``processes`` pool, inside the
worker, as an actor of Dask's. Tasks go to the agents and not through Dask's scheduler,
which takes a millisecond or two for each. ``docs/executors-dask.md`` has the options.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import multiprocessing
import os
import pickle
import secrets
import shlex
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from jackfield.clock import monotonic
from jackfield.errors import ConfigurationError, ExecutorError, one_line
from jackfield.hookspecs import hookimpl
from jackfield_executors.checking import (
    AGENTS,
    AGENTS_SHOWN,
    DISKS,
    FROM_1,
    TABLE,
    Option,
    checked_options,
    need_package,
    takes,
    text,
)
from jackfield_executors.elastic import Bounds, bounds_of, known_elsewhere
from jackfield_executors.job_guard import JobGuard
from jackfield_executors.jobqueue import JobQueue, dask_jobqueue, said
from jackfield_executors.remote.agent import Agent
from jackfield_executors.remote.driver import AgentsExecutor
from jackfield_system.dask_clusters import client_of, close_cluster

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield.abc import Executor
    from jackfield_executors.remote.agent import Answer
    from jackfield_executors.remote.link import Link
    from jackfield_executors.remote.places import Home

log: logging.Logger = logging.getLogger("jackfield.executors.remote")

HELLO_S: Final = 30.0
"""Seconds that an agent gets to start."""

LATE_S: Final = 10.0
"""Seconds that an answer of an agent may take, beyond those that the agent waits."""

START_S: Final = 120.0
"""Seconds that a worker of this machine may take to start, or to start again when it
has died: on a busy machine, or from a slow disk, it takes many."""

LOOK_S: Final = 1.0
"""Seconds between two looks whether Dask still has an agent that is waited for."""

_JOBQUEUE: Final = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}
"""What ``cluster`` may be beside ``local``, and its class in dask-jobqueue."""

_STARTING: Final = ("cluster", "cluster_options", "jobs", "least", "most", "init")
"""Options of clusters that are started here."""

_CLUSTERS: Final = ("local", *_JOBQUEUE)

_OPTIONS: Final[Mapping[str, Option]] = {
    "address": Option(None, text("a scheduler's address, 'tls://host:8786'")),
    "cluster": Option(
        "local", takes(_CLUSTERS.__contains__, f"one of {', '.join(_CLUSTERS)}")
    ),
    "cluster_options": Option({}, TABLE),
    "jobs": Option(1, FROM_1),
    **AGENTS,
}

JACKFIELD_SHOWN = (
    "address",
    "cluster",
    "jobs",
    *AGENTS_SHOWN,
    "cluster_options.cores",
    "cluster_options.memory",
    "cluster_options.processes",
    "cluster_options.n_workers",
    "cluster_options.threads_per_worker",
    "cluster_options.queue",
    "cluster_options.walltime",
)


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | None:
    """Make the executor for a configuration's table with ``plugin = "dask"``."""
    if kind != "dask":
        return None
    checked = _checked(label, options)
    bounds = _bounds(label, options)
    site = DaskSite(checked, elastic=bounds.elastic)
    return AgentsExecutor(
        label,
        site,
        patience=checked["patience"],
        jobs=site if site.has_jobs else None,
        bounds=bounds,
        resources=checked["resources"],
        keep=checked["keep"],
        **{name: checked[name] for name in DISKS},
    )


@hookimpl
def jackfield_check_options(name: str, options: Mapping[str, Any]) -> bool:
    """Check an executor's table, and whether the packages that it needs are there."""
    checked = _checked(name, options)
    kind = checked["cluster"]
    if kind != "local" and find_spec("dask_jobqueue") is None:
        raise _without_jobqueue(name, kind)
    return True


def _without_jobqueue(label: str, kind: str) -> ConfigurationError:
    return ConfigurationError(
        f"Executor {label!r}: cluster = {kind!r} needs the package dask-jobqueue: "
        f"pip install 'jackfield[jobqueue]'"
    )


def _checked(label: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with their defaults.

    Raises:
        ConfigurationError: Names the executor, the option and what it takes.
    """
    checked = checked_options(
        "dask", label, options, _OPTIONS, elsewhere=known_elsewhere
    )
    starting = [name for name in _STARTING if name in options]
    if "address" in options and starting:
        raise ConfigurationError(
            f"Executor {label!r}: 'address' is of a cluster that is there; it does not "
            f"go with {starting[0]!r}, which is of one that is started."
        )
    _bounds(label, options)
    need_package("dask", label, "distributed")
    # Nothing makes the keys of a cluster that is started here: Dask comes without.
    closed = checked["cluster_options"].get("security", True) is True
    if checked["address"] is None and closed:
        need_package("dask", label, "cryptography")
    return checked


def _bounds(label: str, options: Mapping[str, Any]) -> Bounds:
    """Return how many jobs there may be."""
    return bounds_of(label, options, fixed="jobs", most=1)


_UNGUARDED: Final = (
    "jackfield: a worker of Dask's has begun the script again, which each imports. Put "
    "what starts the run below `if __name__ == '__main__':`."
)
"""What a worker says whose import of the script would start another cluster."""


class DaskAgent(Agent):
    """An agent as an actor of Dask's.

    Dask calls the plain methods of all actors of a worker on one thread. A method that
    waits has to be a coroutine, or nothing else would be called meanwhile. It waits on
    a thread of this agent's own, because those of ``asyncio.to_thread`` are few, and
    for all agents of the worker.
    """

    def __init__(
        self,
        label: str,
        expected: str,
        workers: int,
        home: Home,
        resources: Mapping[str, float],
    ) -> None:
        from distributed import get_worker

        super().__init__(label, expected, workers, home, resources)
        # One for a question, one for a question that the driver has given up, one to
        # stop.
        self._waiters = ThreadPoolExecutor(3, f"jackfield-{label}-waits")
        self._worker = get_worker()

    async def wait(self, patience: float, seen: int) -> bytes:
        """Return what ``take`` does, pickled: Dask looks into each item of a list."""
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._waiters, self.take, patience, seen)
        return pickle.dumps(answer, 5)

    def held(self) -> bool:
        """Whether Dask still has this actor for the driver.

        It forgets it when the driver's connection is closed: at once if the driver has
        died, and after half a minute if its machine is gone, since the system there
        answers for a process that stands still.
        """
        return any(one is self for one in list(self._worker.state.actors.values()))

    def left(self, walltime: float) -> float:
        """Return the seconds that are left of a job that lasts so many.

        It began with the session that this process is in, which is that of its script.
        """
        import psutil

        try:
            began = psutil.Process(os.getsid(0)).create_time()
        except psutil.Error:  # its leader is gone; this process began later
            began = psutil.Process().create_time()
        return float(walltime - (time.time() - began))

    async def end(self) -> None:
        """Do what ``stop`` does."""
        await asyncio.get_running_loop().run_in_executor(self._waiters, self.stop)


class DaskLink:
    """The way to the agent on one worker of a cluster.

    An ``ActorFuture`` of Dask's never gets a result if its worker is lost at a bad
    moment, or if the client is closed meanwhile. So nothing here waits for one alone:
    ``_result`` looks again and again whether Dask still has the actor.
    """

    def __init__(
        self,
        client: Any,
        address: str,
        future: Any,
        workers: int,
        *,
        job: str = "",
        walltime: float = math.inf,
    ) -> None:
        self.name: str = address
        self.workers: int = workers
        self.job: str = job
        self.ends: float = math.inf
        self._walltime = walltime
        self._client = client
        self._future = future  # of the actor; it is "finished" as long as it is there

    def hello(self) -> str:
        """Wait until the agent is there."""
        with self._client.as_current():
            self._agent = self._future.result(HELLO_S)
            theirs = str(self._result(self._agent.hello(), HELLO_S))
            if self._walltime < math.inf:
                left = self._result(self._agent.left(self._walltime), HELLO_S)
                self.ends = monotonic() + left
            return theirs

    def put(self, number: int, data: bytes) -> None:
        """Send a message."""
        self._agent.put(number, data)

    def take(self, patience: float, seen: int) -> Answer:
        """Wait for results."""
        question = self._agent.wait(patience, seen)
        answer: Answer = pickle.loads(self._result(question, patience + LATE_S))
        return answer

    def there(self) -> bool:
        """Whether Dask still has the actor.

        It has not if the worker is lost, nor if this client has lost the scheduler:
        then the scheduler has dropped what it kept for the client.
        """
        return bool(self._future.status == "finished")

    def stop(self) -> None:
        """End the agent, and let Dask forget it."""
        self._result(self._agent.end(), HELLO_S)
        self.release()

    def release(self) -> None:
        """Let Dask forget the agent, which ends if it still lives; see ``held``."""
        self._future.release()

    def _result(self, answer: Any, limit: float) -> Any:
        """Wait for an answer, as long as the actor is there.

        Raises:
            TimeoutError: There was none within so many seconds.
            ConnectionError: The actor is gone.
        """
        deadline = monotonic() + limit
        while True:
            try:
                return answer.result(LOOK_S)
            except TimeoutError:
                if not self.there():
                    raise ConnectionError("Dask has lost its actor") from None
                if monotonic() > deadline:
                    raise


class DaskSite:
    """A Dask cluster: one that is there, or one that is started here.

    Attributes:
        has_jobs: Whether jobs are begun and ended here. They are workers of Dask's
            where the cluster is one of this machine.
    """

    why: str = ""

    def __init__(self, options: Mapping[str, Any], *, elastic: bool = False) -> None:
        self._options = options
        self._elastic = elastic
        kind = "" if options["address"] else options["cluster"]
        self.has_jobs: bool = kind in _JOBQUEUE or (kind == "local" and elastic)
        self._queue = JobQueue(kind)
        self._numbers = itertools.count(1)
        # Those that are not ended, with their ids. Dask's own objects are not kept:
        # a cluster cannot be closed while there is one of a job that runs.
        self._jobs: dict[str, str | None] = {}
        self._guard = JobGuard()
        self._cancels: dict[str, str] = {}  # how the guard would end them
        self._by_name = ""  # how it would end all, also those that it was not told of
        self._client: Any = None
        self._cluster: Any = None
        # Threads that lose agents change it too; each change is one call of a set's.
        self._seen: set[str] = set()

    def open(self, label: str, expected: str, home: Home, logs: Path) -> None:
        """Start the cluster, if it is ours, and connect to it."""
        self._arguments = label, expected, home
        where = self._options["address"]
        if where is None:
            self._cluster = self._start(logs)
            self._client = client_of(self._cluster)
        else:
            from distributed import Client

            self._client = Client(where, set_as_default=False)  # type: ignore[no-untyped-call]  # it has no annotations
        if self._cluster is not None and not self.has_jobs:
            self._client.wait_for_workers(1, timeout=START_S)

    def _start(self, logs: Path) -> Any:
        """Start a cluster, which only those with its own keys may connect to."""
        kind = self._options["cluster"]
        options: dict[str, Any] = {"security": True, **self._options["cluster_options"]}
        if kind == "local":
            if getattr(multiprocessing.current_process(), "_inheriting", False):
                sys.exit(_UNGUARDED)  # one line, where an error would be pages
            from dask import config
            from distributed import LocalCluster

            elastic = {"n_workers": 0, "threads_per_worker": 1}
            first = elastic if self._elastic else {"n_workers": 1}
            local = {"dashboard_address": ":0", **first, **options}
            # By default a cluster gives a worker up for ever that has died and takes
            # longer than 15 seconds to start again, as on a busy machine or from a slow
            # disk. What somebody has set is left as it is.
            again = {
                "distributed": {"deploy": {"lost-worker-timeout": f"{START_S:g}s"}}
            }
            config.update_defaults(again)
            # Dask limits the threads of numerical libraries in its workers by variables
            # that it sets in this process, too, and leaves there. Agents set their own.
            with config.set({"distributed.nanny.pre-spawn-environ": {}}):
                try:
                    return LocalCluster(**local)  # type: ignore[no-untyped-call]  # as above
                except RuntimeError as error:
                    raise _without_workers(self._arguments[0], error) from None
        try:
            jobqueue = dask_jobqueue()
        except ImportError:
            raise _without_jobqueue(self._arguments[0], kind) from None
        options.setdefault("log_directory", str(logs))
        # Any free port, as two scripts on one machine would both have Dask's.
        options["scheduler_options"] = {
            "dashboard_address": ":0",
            **options.get("scheduler_options", {}),
        }
        if self._queue.default("shared-temp-directory") is None:
            # Of the keys, which only their owner may read; Dask's choice is the
            # directory of the script, with a warning.
            logs.mkdir(parents=True, exist_ok=True)
            options.setdefault("shared_temp_directory", str(logs))
        if kind == "slurm":  # others cancel by numbers, or their names may be cut
            name = options.get("job_name") or self._queue.default("name")
            options["job_name"] = f"{name}-{secrets.token_hex(4)}"
            self._by_name = shlex.join(["scancel", f"--name={options['job_name']}"])
        return getattr(jobqueue, _JOBQUEUE[kind])(**options)

    # -- jobs, which ``remote.crew`` asks for

    @property
    def size(self) -> int:
        """How many threads the workers of one job have."""
        return self._queue.threads(self._options["cluster_options"])

    def begin(self, count: int) -> list[str]:
        """Have jobs submitted, and wait for that.

        Dask's own ``scale`` would ask again for those that are over by itself, under
        their old names, and tell nobody what is wrong with them.
        """
        cluster, label = self._cluster, self._arguments[0]
        if self._by_name:  # before there is a job of that name
            self._guard.add(self._by_name, again=True)
        names = [f"{label}-{next(self._numbers)}" for _ in range(count)]
        cluster.worker_spec.update(dict.fromkeys(names, cluster.new_spec))
        try:
            cluster.sync(cluster._correct_state_internal)
        except Exception as error:
            from distributed import Status

            for name in names:
                job = cluster.workers.get(name)
                if job is not None and job.status is Status.created:
                    job.status = Status.failed  # or the cluster could not be closed
                self.end(name)
            raise ConnectionError(said(str(error)) or one_line(error)) from error
        jobs = {name: cluster.workers.get(name) for name in names}
        ids = {name: getattr(job, "job_id", None) for name, job in jobs.items()}
        for name, job in ids.items():
            command = getattr(jobs[name], "cancel_command", None)
            if job is not None and command:
                self._cancels[name] = f"{command} {job}"
                self._guard.add(self._cancels[name])
        self._jobs.update(ids)
        return names

    def states(self) -> Mapping[str, str]:
        """Tell which jobs there are."""
        return self._queue.states(self._jobs)

    def end(self, name: str) -> None:
        """Have a job cancelled."""
        self._jobs.pop(name, None)
        self._cluster.worker_spec.pop(name, None)
        self._cluster.scale(len(self._cluster.worker_spec))  # to what is left
        command = self._cancels.pop(name, None)
        if command is not None:
            self._guard.remove(command)

    def _job_of(self, name: str) -> str:
        """Return the job of a worker: one of several has a number behind its name."""
        if not self.has_jobs:
            return ""
        jobs = self._cluster.worker_spec
        head = name.rpartition("-")[0]
        return name if name in jobs or head not in jobs else head

    def look(self) -> list[Link]:
        """Start an agent on each worker that has none."""
        from jackfield_executors.foreign.engine import ANSWER_S

        identity = self._client.scheduler.identity
        info = self._client.sync(identity, n_workers=-1, callback_timeout=ANSWER_S)
        workers = info["workers"]
        self._seen &= workers.keys()
        links: list[Link] = []
        label, expected, home = self._arguments
        for address in workers.keys() - self._seen:
            threads = int(workers[address]["nthreads"])
            future = self._client.submit(
                DaskAgent, label, expected, threads, home, self._options["resources"],
                actor=True, pure=False, workers=[address],
            )  # fmt: skip
            self._seen.add(address)
            job = self._job_of(str(workers[address]["name"]))
            limit = self._queue.walltime(self._options["cluster_options"])
            links.append(
                DaskLink(
                    self._client, address, future, threads, job=job, walltime=limit
                )
            )
        return links

    def forget(self, link: Link) -> None:
        """Have the worker get another agent, if it is still there."""
        self._seen.discard(link.name)
        if isinstance(link, DaskLink):
            link.release()

    def close(self) -> None:
        """Disconnect, and end the cluster if it is ours, whatever has become of it."""
        try:
            if self._client is not None:
                self._client.close()
        except Exception as error:
            log.debug("Executor %r: not disconnected: %r", self._arguments[0], error)
        if self._cluster is not None:
            close_cluster(self._cluster)
            for name, file in vars(self._cluster).items():
                if name.startswith("_job_") and hasattr(file, "close"):
                    file.close()  # one of the keys, which is then gone from the disk
        self._guard.close()


def _without_workers(label: str, error: RuntimeError) -> ExecutorError:
    return ExecutorError(
        label,
        f"no worker of its cluster has started ({error}). A script that starts one has "
        f"to do so below `if __name__ == '__main__':`",
    )
