"""Parsl's ``HighThroughputExecutor``, in the host.

What a DataFlowKernel does for it is done here: it gets a directory, it is started, and
there are blocks (``blocks``). Its own scaling is part of that kernel, and stays off.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jackfield_executors.parsl.blocks import MOST_FAILED, Blocks
from jackfield_executors.remote.bundles import run_bundle
from jackfield_executors.remote.hosted import EngineGoneError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from jackfield_executors.parsl.blocks import Told
    from jackfield_system.held_directories import HeldDirectory

END_S: Final = 2.0
"""Seconds that the interchange gets to end before it is killed."""


class HtexEngine:
    """An executor of Parsl's, without its DataFlowKernel.

    Attributes:
        scratch: None: all its files are in the run's directory.
    """

    scratch: HeldDirectory | None = None
    quick: frozenset[str] = frozenset({"submit", "want"})

    def __init__(self) -> None:
        self._htex: Any = None
        self._blocks: Blocks | None = None

    def open(self, logs: str, executor: str, blocks: int | None) -> None:
        """Find the executor, start it, and ask for its first blocks.

        Args:
            logs: The directory for its files.
            executor: What to find, as ``find`` takes it.
            blocks: How many; ``None`` for as many as the provider has at first.

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
        own = max(provider.init_blocks, provider.min_blocks, 1)
        first = own if blocks is None else blocks
        self._blocks = Blocks(htex, first)
        if not first:
            return
        self._blocks.begin(first)
        known = list(htex.status_facade.values())
        if all(status.terminal for status in known):  # none was taken
            raise RuntimeError(known[0].message)

    def submit(self, *bundle: Any) -> Future[Any]:
        """Send a bundle. Its queue is for one thread."""
        future: Future[Any] = self._htex.submit(run_bundle, {}, *bundle)
        return future

    def want(self, blocks: int) -> None:
        """Have so many blocks, as soon as it can be. Does not wait."""
        assert self._blocks is not None
        self._blocks.wanted = blocks

    def count(self) -> Told:
        """Return how many workers there are, and see to the blocks.

        Raises:
            EngineGoneError: The interchange has ended, through which everything goes;
                or blocks have ended without a worker, so that no more are asked for.
        """
        code = self._htex.interchange_proc.poll()
        if code is not None:
            raise EngineGoneError(f"Parsl's interchange has ended with code {code}")
        managers, blocks = self._htex.connected_managers(), self._blocks
        assert blocks is not None
        told = blocks.step(managers)
        if blocks.failed >= MOST_FAILED and not managers and not blocks.living:
            raise EngineGoneError(
                f"{blocks.failed} blocks in a row have ended without a worker"
            )
        return told

    def close(self) -> None:
        """End the jobs and the interchange."""
        if self._htex is not None:
            self.leave()
            self._htex.shutdown(timeout=END_S)

    def leave(self) -> None:
        """End the jobs: workers in them would wait for the interchange for minutes."""
        if self._blocks is not None:
            self._htex.provider.cancel(self._blocks.jobs())


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
