"""Ray's client, in the host: it starts agents as actors, and carries bytes to them."""

from __future__ import annotations

import os
import pickle
import secrets
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jackfield_executors.remote.agent import ALIVE, LEASE_S, Agent
from jackfield_executors.remote.hosted import EngineGoneError
from jackfield_system.held_directories import HeldDirectory, sweep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from jackfield_executors.remote.places import Home

PLACE: Final = Path("/tmp")  # noqa: S108  (what is made there, is closed to others)
"""Where the directory of a cluster is that was started here."""

STOP_S: Final = 3.0
"""Seconds that an agent gets to end before its process is killed."""

CALLS: Final = 8
"""Threads of an agent: for a question, for some that were given up, to put, to stop."""


class RayAgent(Agent):
    """An agent as an actor of Ray's."""

    def wait(self, patience: float, seen: int) -> bytes:
        """Return what ``take`` does, pickled: so the host need not look into it."""
        return pickle.dumps(self.take(patience, seen), 5)


class RayEngine:
    """A cluster of Ray's: one that is there, or one that is started here.

    Attributes:
        scratch: The directory of a cluster that was started here.
    """

    quick: frozenset[str] = frozenset({"hello", "put", "take"})

    def __init__(self) -> None:
        self.scratch: HeldDirectory | None = None
        self._ray: Any = None  # its module: to import it takes a second
        # By name; only ``look`` adds to these. An agent begins as a starting one.
        self._starting: dict[str, Any] = {}  # what ``hello`` will answer
        self._agents: dict[str, Any] = {}
        self._workers: dict[str, int] = {}
        self._count = 0
        # Names of agents that are wanted, if their number is elastic. ``begin`` adds a
        # name, and the thread that finds an agent gone removes it. Each does so by one
        # operation of a dictionary, which no other thread can interrupt.
        self._wanted: dict[str, None] = {}

    def open(
        self, label: str, expected: str, home: Home, logs: str,
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Start the cluster, if it is ours, and connect to it."""
        self._arguments = label, expected, home
        self._logs = Path(logs)
        self._options = options
        # Read when Ray is imported. It reports its usage only where the user says so.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        address = options["address"]
        if address is None:
            # A path of a socket is short, so this is not within the run's directory.
            # What a host has left there that was killed is removed before.
            sweep(PLACE)
            self.scratch = HeldDirectory("ray", PLACE)
            # Nobody else has this token, so nobody else can connect.
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
            where = {
                "include_dashboard": False,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": str(self.scratch.path),
            }
        else:
            where = {"address": address}
        import ray

        self._ray = ray
        threading.Thread(target=self._show_alive, daemon=True).start()
        ray.init(**{**quiet, **where, **options["cluster_options"]})

    def _show_alive(self) -> None:
        """Show agents that the driver lives: this process ends with it.

        It does not say so itself while one of its threads keeps its interpreter.
        """
        while True:
            time.sleep(LEASE_S / 4)
            for name, actor in list(self._agents.items()):
                if name not in self._starting:
                    with suppress(Exception):  # it is gone, which others find
                        actor.put.remote(ALIVE, b"")

    def look(self, patience: float) -> list[tuple[str, int]]:
        """Start the agents that are missing; return those that have come up since.

        An actor waits in silence for the CPUs that it asks for. So do not wait for it:
        it is returned by the look that finds it there.

        Raises:
            Exception: An agent could not be started.
        """
        for name, workers, options in self._missing():
            actor = self._ray.remote(
                **options, max_concurrency=CALLS, max_restarts=0, max_task_retries=0
            )(RayAgent).remote(
                *self._arguments[:2], workers, self._arguments[2],
                self._options["resources"],
            )  # fmt: skip
            self._agents[name] = actor
            self._workers[name] = workers
            self._starting[name] = actor.hello.remote()
        if not self._starting:
            return []
        answers = list(self._starting.values())
        self._ray.wait(answers, timeout=patience)
        there, _ = self._ray.wait(answers, num_returns=len(answers), timeout=0)
        names = [name for name, one in self._starting.items() if one in there]
        for name in names:
            try:
                self._ray.get(self._starting.pop(name))
            except BaseException:
                self.forget(name)
                raise
        return [(name, self._workers[name]) for name in names]

    def _missing(self) -> list[tuple[str, int, dict[str, Any]]]:
        """Return name, workers and options of each agent that is to be started."""
        options = dict(self._options["agent_options"])
        if self._options["elastic"]:
            options.setdefault("num_cpus", 1)
            cpus = max(1, int(options["num_cpus"]))
            wanted = [name for name in list(self._wanted) if name not in self._agents]
            return [(name, cpus, options) for name in wanted]
        if self._options["agents"] is not None:
            options.setdefault("num_cpus", 1)
            missing = self._options["agents"] - len(self._agents)
            return [self._new("agent", options) for _ in range(missing)]
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        missing = []
        for node in self._ray.nodes():
            key = node["NodeID"]
            have = any(name.startswith(key) for name in self._agents)
            cores = int(node["Resources"].get("CPU", 0))
            if node["Alive"] and cores and not have:
                there = NodeAffinitySchedulingStrategy(key, soft=False)
                mine = {"num_cpus": cores, **options, "scheduling_strategy": there}
                missing.append(self._new(key, mine))
        return missing

    def _new(
        self, where: str, options: dict[str, Any]
    ) -> tuple[str, int, dict[str, Any]]:
        self._count += 1
        return f"{where}-{self._count}", max(1, int(options["num_cpus"])), options

    def begin(self, names: list[str]) -> None:
        """Want some more agents."""
        self._wanted.update(dict.fromkeys(names))

    def states(self) -> dict[str, str]:
        """Return the agents that are wanted, with what those wait for that do."""
        starting = list(self._starting)
        why = self.waiting() if starting else ""
        return {name: why * (name in starting) for name in list(self._wanted)}

    def waiting(self) -> str:
        """Say what agents wait for, if any does."""
        if not self._starting:
            return ""
        waiting = list(self._starting)
        asked = {"CPU": float(sum(self._workers[name] for name in waiting))}
        own = self._options["agent_options"]
        others = {"GPU": own.get("num_gpus"), **(own.get("resources") or {})}
        asked |= {name: len(waiting) * one for name, one in others.items() if one}
        free = self._ray.available_resources()
        total = self._ray.cluster_resources()
        wanted = ", ".join(f"{amount:g} {name}s" for name, amount in asked.items())
        has = ", ".join(
            f"{free.get(name, 0):g} of {total.get(name, 0):g}" for name in asked
        )
        return f"its agents wait for {wanted}; Ray has {has} free"

    # -- one agent

    def hello(self, name: str) -> Future[str]:
        """Ask for its fingerprint."""
        return self._asked(self._agents[name].hello.remote())

    def put(self, name: str, number: int, data: bytes) -> None:
        """Send a message."""
        self._agents[name].put.remote(number, data)

    def take(self, name: str, patience: float, seen: int) -> Future[bytes]:
        """Ask for results."""
        return self._asked(self._agents[name].wait.remote(patience, seen))

    def _asked(self, reference: Any) -> Future[Any]:
        """Return a future that says by its error whether the actor is gone."""
        from ray.exceptions import ActorUnavailableError, RayActorError

        future: Future[Any] = reference.future()
        set_exception = future.set_exception

        def translated(error: BaseException | None) -> None:
            gone = isinstance(error, RayActorError)
            if gone and not isinstance(error, ActorUnavailableError):
                error = EngineGoneError(str(error))
            set_exception(error)

        vars(future)["set_exception"] = translated
        return future

    def forget(self, name: str) -> None:
        """Kill an agent; the next look starts another one."""
        self._wanted.pop(name, None)
        self._starting.pop(name, None)
        actor = self._agents.pop(name, None)
        if actor is not None:
            self._ray.kill(actor)

    def stop(self, name: str) -> None:
        """End an agent."""
        actor = self._agents.get(name)
        if actor is not None:
            self._ray.wait([actor.stop.remote()], timeout=STOP_S)
            self.forget(name)

    # -- the end

    def close(self) -> None:
        """Disconnect, and end the cluster if it is ours."""
        self._ray.shutdown()
        if self.scratch is not None:
            logs = self.scratch.path / "session_latest" / "logs"
            shutil.copytree(logs, self._logs / "ray", dirs_exist_ok=True)

    def leave(self) -> None:
        """Do nothing: a cluster that was there ends actors whose driver is gone."""
