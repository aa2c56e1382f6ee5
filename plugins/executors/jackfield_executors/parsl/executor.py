"""The driver's side: the adapter, with an engine that is in the host."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Capabilities
from jackfield.errors import ExecutorError, one_line
from jackfield_executors.adapter import AdaptedExecutor
from jackfield_executors.checking import DISKS
from jackfield_executors.foreign.options import Options
from jackfield_executors.remote.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from jackfield.abc import ExecutorContext

OPEN_S: Final = 150.0
"""Seconds to start: Parsl itself gives its interchange 120."""

ANSWER_S: Final = 5.0
"""Seconds that a question for workers may take."""

CLOSE_S: Final = 30.0
"""Seconds to end the jobs: a batch system may take its time."""


class HostedEngine(concurrent.futures.Executor):
    """What the adapter gives its bundles to."""

    def __init__(self, shared_filesystem: bool | None) -> None:
        self.jackfield_capabilities: Capabilities = Capabilities(
            isolated=True,
            shared_filesystem=shared_filesystem is not False,
        )
        self._host: Host | None = None

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
        return int(self._host.ask_again("count", ANSWER_S))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the jobs, the engine and the host."""
        del wait, cancel_futures
        if self._host is not None:
            self._host.end(CLOSE_S)


class ParslExecutor(AdaptedExecutor):
    """Runs works on a ``HighThroughputExecutor``, in bundles."""

    def __init__(self, label: str, options: Mapping[str, Any]) -> None:
        self._own = options
        self._hosted = HostedEngine(options["shared_filesystem"] is not False)
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
        try:
            self._hosted.open(
                context.label, logs, self._own["executor"], self._own["blocks"]
            )
        except BaseException as error:
            self._hosted.shutdown()
            if not isinstance(error, Exception):
                raise
            reason = f"its engine cannot be started: {one_line(error)}"
            raise ExecutorError(context.label, reason) from error
        super().start(context)
