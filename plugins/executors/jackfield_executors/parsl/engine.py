"""Parsl's ``HighThroughputExecutor``, in the host.

What a DataFlowKernel does for it is done here: it gets a directory, it is started, and
blocks are asked for: as many as the provider has as ``init_blocks``, and one for each
that has ended since. Its own scaling is part of that kernel, and stays off.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jackfield.clock import monotonic
from jackfield_executors.remote.bundles import run_bundle
from jackfield_executors.remote.hosted import EngineGoneError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from jackfield_system.held_directories import HeldDirectory

LOOK_S: Final = 5.0
"""Seconds between two looks at the jobs; a provider may ask for more."""

END_S: Final = 2.0
"""Seconds that the interchange gets to end before it is killed."""

MOST_FAILED: Final = 3
"""When so many blocks in a row have ended without a worker, no more are asked for."""


class HtexEngine:
    """An executor of Parsl's, without its DataFlowKernel.

    Attributes:
        scratch: None: all its files are in the run's directory.
    """

    scratch: HeldDirectory | None = None
    quick: frozenset[str] = frozenset({"submit"})

    def __init__(self) -> None:
        self._htex: Any = None
        self._looked = 0.0
        self._over: set[str] = set()  # blocks that have ended
        self._failed = 0
        self._seen: set[str] = set()  # blocks that have had a worker

    def open(self, logs: str, executor: str, blocks: int | None) -> None:
        """Find the executor, start it, and ask for its first blocks.

        Raises:
            TypeError: What is named is no such executor.
        """
        htex = find(executor)
        _pass_on_path()
        htex.run_dir = logs
        provider = htex.provider
        if hasattr(provider, "script_dir"):
            scripts = Path(logs, "submit_scripts")
            scripts.mkdir(exist_ok=True)
            provider.script_dir = str(scripts)
        htex.start()
        self._htex = htex
        first = blocks or max(provider.init_blocks, provider.min_blocks, 1)
        htex.scale_out_facade(first)
        known = list(htex.status_facade.values())
        if all(status.terminal for status in known):  # none was taken
            raise RuntimeError(known[0].message)

    def submit(self, *bundle: Any) -> Future[Any]:
        """Send a bundle. Its queue is for one thread."""
        future: Future[Any] = self._htex.submit(run_bundle, {}, *bundle)
        return future

    def count(self) -> int:
        """Return how many workers there are, and see to the blocks.

        Raises:
            EngineGoneError: The interchange has ended, through which everything goes;
                or blocks have ended without a worker, so that no more are asked for.
        """
        code = self._htex.interchange_proc.poll()
        if code is not None:
            raise EngineGoneError(f"Parsl's interchange has ended with code {code}")
        # A manager that was killed is in this list until its heartbeat is missed; the
        # job that it was in may be known to have ended long before.
        managers = self._htex.connected_managers()
        self._seen.update(manager["block_id"] for manager in managers)
        blocks = self._replace()
        if self._failed >= MOST_FAILED and not managers and not blocks:
            raise EngineGoneError(
                f"{self._failed} blocks in a row have ended without a worker"
            )
        return sum(
            manager["worker_count"]
            for manager in managers
            if manager["active"] and manager["block_id"] not in self._over
        )

    def _replace(self) -> int:
        """Ask for a block for each that has ended; return how many there are."""
        provider = self._htex.provider
        wait = max(LOOK_S, provider.status_polling_interval or 0)
        if monotonic() - self._looked < wait:
            return len(self._htex.blocks_to_job_id.keys() - self._over)
        self._looked = monotonic()
        ended = {
            block
            for block, status in self._htex.status().items()
            if status.terminal and block not in self._over
        }
        self._over |= ended
        for block in ended:
            self._failed = 0 if block in self._seen else self._failed + 1
            if self._failed < MOST_FAILED:
                self._htex.scale_out_facade(1)
            else:
                print(f"Block {block} has had no worker: no more blocks", flush=True)  # noqa: T201  (into the log)
        return len(self._htex.blocks_to_job_id.keys() - self._over)

    def close(self) -> None:
        """End the jobs and the interchange."""
        if self._htex is not None:
            self.leave()
            self._htex.shutdown(timeout=END_S)

    def leave(self) -> None:
        """End the jobs: workers in them would wait for the interchange for minutes."""
        htex = self._htex
        if htex is not None:
            jobs = [
                job
                for block, job in list(htex.blocks_to_job_id.items())
                if block not in self._over
            ]
            htex.provider.cancel(jobs)


def _pass_on_path() -> None:
    """Have workers find the modules that the script finds, where its files are.

    A batch system gives jobs this environment, unless it was told not to.
    """
    installed = (sys.prefix, sys.base_prefix)
    own = [str(Path(entry).absolute()) for entry in sys.path]
    own = [entry for entry in own if not entry.startswith(installed)]
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([*own, *filter(None, [before])])


def find(named: str) -> Any:
    """Return the executor that is named as ``module:object``.

    The object may be a function that makes it, or a configuration that has one.

    Raises:
        TypeError: It is something else.
    """
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor

    module, _, name = named.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if callable(found) and not isinstance(found, type):
        found = found()
    if isinstance(found, Config):
        fit = [
            one for one in found.executors if isinstance(one, HighThroughputExecutor)
        ]
        if len(fit) != 1:
            raise TypeError(
                f"{named} has {len(fit)} executors of the kind HighThroughputExecutor: "
                f"name one of them, or a function that returns it"
            )
        found = fit[0]
    if not isinstance(found, HighThroughputExecutor) or found.enable_mpi_mode:
        raise TypeError(f"{named} is no HighThroughputExecutor: {found!r:.200}")
    return found
