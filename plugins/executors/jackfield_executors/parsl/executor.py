"""The driver's side: the adapter, with an engine that is in the host."""

from __future__ import annotations

import concurrent.futures
import math
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Capabilities
from jackfield.errors import ExecutorError, one_line
from jackfield.events import Load
from jackfield_executors.adapter import AdaptedExecutor
from jackfield_executors.checking import DISKS
from jackfield_executors.elastic import Bounds, Idle
from jackfield_executors.foreign.options import Options
from jackfield_executors.parsl.blocks import START_S, Told
from jackfield_executors.remote.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from jackfield.abc import ExecutorContext, Health, Work

OPEN_S: Final = 150.0
"""Seconds to start: Parsl itself gives its interchange 120."""

ANSWER_S: Final = 5.0
"""Seconds that a question for workers may take."""

CLOSE_S: Final = 30.0
"""Seconds to end the jobs: a batch system may take its time."""


class HostedEngine(concurrent.futures.Executor):
    """What the adapter gives its bundles to.

    Attributes:
        told: The last answer to ``count``.
    """

    def __init__(self, *, shared_filesystem: bool) -> None:
        self.jackfield_capabilities: Capabilities = Capabilities(
            isolated=True, shared_filesystem=shared_filesystem
        )
        self._host: Host | None = None
        self.told: Told = Told(0, 1, 0, "", START_S)

    def open(self, label: str, logs: Path, executor: str, blocks: int | None) -> None:
        """Start the host, and the engine in it."""
        self._host = Host(label, "jackfield_executors.parsl.engine:HtexEngine", logs)
        self._host.ask("open", str(logs), executor, blocks).result(OPEN_S)

    def submit(
        self, function: Callable[..., Any], /, *args: Any, **_: Any
    ) -> Future[Any]:
        """Send a bundle; the function is ``run_bundle``, which the host knows."""
        del function
        assert self._host is not None
        return self._host.ask("submit", *args)

    def count(self) -> int:
        """Return how many workers there are; asked again and again on one thread."""
        assert self._host is not None
        self.told = Told(*self._host.ask_again("count", ANSWER_S))
        return self.told.workers

    def want(self, blocks: int) -> None:
        """Have so many blocks some time. Does not wait."""
        assert self._host is not None
        self._host.ask("want", blocks)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the jobs, the engine and the host."""
        del wait, cancel_futures
        if self._host is not None:
            self._host.end(CLOSE_S)


class ParslExecutor(AdaptedExecutor):
    """Runs works on a ``HighThroughputExecutor``, in bundles.

    Args:
        label: Its label.
        options: Those of the plugin, checked.
        bounds: Between how many blocks there may be.
    """

    def __init__(self, label: str, options: Mapping[str, Any], bounds: Bounds) -> None:
        self._own = options
        self._bounds = bounds
        self._resting = Idle()
        self._wanted = bounds.init  # blocks
        shared = options["shared_filesystem"] is not False  # ``None``: it is found out
        self._hosted = HostedEngine(shared_filesystem=shared)
        super().__init__(
            Options(
                label,
                self._hosted,
                workers=self._hosted.count,
                bundle=options["bundle"],
                patience=options["patience"],
                **{name: options[name] for name in DISKS},
            )
        )

    def start(self, context: ExecutorContext) -> None:
        """Start the engine and its first blocks.

        Raises:
            ExecutorError: It cannot be started.
        """
        logs = context.run_dir / context.label
        first = self._bounds.init if self._bounds.elastic else self._own["blocks"]
        try:
            self._hosted.open(context.label, logs, self._own["executor"], first)
        except BaseException as error:
            self._hosted.shutdown()
            if not isinstance(error, Exception):
                raise
            reason = f"its engine cannot be started: {one_line(error)}"
            raise ExecutorError(context.label, reason) from error
        super().start(context)

    def load(self) -> Load | None:
        """Tell what there is to do, if blocks come and go by need.

        They are counted by the workers that they have.
        """
        if not self._bounds.elastic:
            return None
        size, bounds, told = self._hosted.told.size, self._bounds, self._hosted.told
        queued, unfinished, unknown, seconds = self._to_do()
        return Load(
            self._label, told.workers, unfinished, queued, self._wanted * size,
            bounds.least * size, bounds.most * size, unknown, seconds,
            told.start_s, self._resting.seconds(unfinished),
        )  # fmt: skip

    def scale(self, workers: int) -> None:
        """Have as many blocks as it takes for so many workers."""
        if self._bounds.elastic:
            self._wanted = math.ceil(workers / self._hosted.told.size)
            self._hosted.want(self._wanted)
            if not workers and self._to_do()[1]:
                self._changed()  # a work has come meanwhile; see ``submit``

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue works, and ask for a block if there is none.

        Raises:
            ExecutorError: After ``shutdown``.
        """
        super().submit(batch)
        self._resting.end()
        # The works are queued before this is read, and ``scale`` writes it before it
        # looks at them: one of the two sees both.
        if self._bounds.elastic and not self._wanted:
            self._changed()

    def _look(self, workers: int, why: str) -> Health:
        told, patience, wanted = self._hosted.told, self._patience, self._wanted
        if self._bounds.elastic and not wanted and not workers and not why:
            patience.rest()
            return patience.health
        short = bool(told.pending)
        waits = short and not why
        return patience.look(workers, short=short, waits=waits, why=why or told.why)
