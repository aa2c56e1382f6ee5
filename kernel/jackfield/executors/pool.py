"""The executors of a kernel, and which of them a task may use."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Capabilities, Executor, ExecutorContext, Outcome, Work
from jackfield.errors import (
    ConfigurationError,
    ExecutorError,
    JackfieldError,
    KernelClosedError,
    UnsupportedByExecutorError,
    one_line,
    suggest,
)
from jackfield.futures.locks import join
from jackfield.graph.scheduler import is_interrupt
from jackfield.plugins.asking import ask

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

    from jackfield.graph.task import AppSpec, Task
    from jackfield.plugins.manager import PluginManager

END_S: Final = 10.0
"""Twice what the kernel itself gives a foreign executor."""

INTERNAL: Final = "_internal"
"""Label of the executor for join bodies and ``future[key]``."""

TRANSFERS: Final = "_transfers"
"""Label of the executor for remote files."""


class ExecutorEntry:
    """A started executor and its load.

    Attributes:
        label: Its name in the configuration.
        executor: The executor.
        capabilities: What it can do.
        workers: How many works it runs at once.
        given: Works handed to it. Written under ``lock``.
        returned: Works that came back. Written by the scheduler's role.
    """

    __slots__ = (
        "capabilities",
        "executor",
        "given",
        "label",
        "lock",
        "returned",
        "workers",
    )

    def __init__(self, label: str, executor: Executor) -> None:
        self.label: str = label
        self.executor: Executor = executor
        self.capabilities: Capabilities = Capabilities()
        self.workers: int = 1
        self.given: int = 0
        self.returned: int = 0
        self.lock: threading.Lock = threading.Lock()

    def look(self) -> None:
        """Take over what a started executor says of itself.

        Raises:
            ExecutorError: Its capabilities are none.
        """
        capabilities: object = self.executor.capabilities
        if not isinstance(capabilities, Capabilities):
            kind = type(capabilities).__name__
            reason = f"its capabilities are a {kind}, not jackfield.Capabilities"
            raise ExecutorError(self.label, reason)
        self.capabilities = capabilities
        self.workers = max(1, int(self.executor.workers))

    @property
    def load(self) -> int:
        """How many works have not come back."""
        return self.given - self.returned

    def submit(self, works: Sequence[Work]) -> None:
        """Hand works over, counting them."""
        with self.lock:
            self.given += len(works)
        self.executor.submit(works)


class Route:
    """The executors that an app may use and that can do what it asks for.

    Attributes:
        entries: In the order of configuration, at least one.
        labels: Their labels.
        version: Of the pool that this was computed for.
    """

    __slots__ = ("entries", "labels", "version")

    def __init__(self, entries: tuple[ExecutorEntry, ...], version: object) -> None:
        self.entries: tuple[ExecutorEntry, ...] = entries
        self.labels: tuple[str, ...] = tuple([entry.label for entry in entries])
        self.version: object = version


class ExecutorPool:
    """All executors of one kernel, by label.

    Attributes:
        margin: Seconds that an executor gets to end, beyond the grace of its tasks.
        entries: Label to executor.
        version: Another object after each change of ``entries``.

    Args:
        manager: Who makes executors.
        run_dir: The run's directory.
        report: Where outcomes go.
        own: Labels of the executors for the kernel's own tasks, to what makes the
            executor or its configuration table.
        log: The run's log.
    """

    def __init__(
        self,
        manager: PluginManager,
        run_dir: Path,
        report: Callable[[ExecutorEntry, Sequence[Outcome]], None],
        own: Mapping[str, Callable[[], Any]],
        log: Logger,
    ) -> None:
        self._manager: PluginManager = manager
        self._run_dir: Path = run_dir
        self._report: Callable[[ExecutorEntry, Sequence[Outcome]], None] = report
        self._own: Mapping[str, Callable[[], Any]] = own
        self._log: Logger = log
        self._lock: threading.Lock = threading.Lock()
        self._closed: bool = False
        self.margin: float = END_S
        self.entries: dict[str, ExecutorEntry] = {}
        self.version: object = object()

    # -- starting and ending

    def add(self, tables: Mapping[str, Any]) -> None:
        """Start executors; if one fails, stop those that this call has started.

        Args:
            tables: Label to configuration table, or to an executor.
        """
        started: dict[str, ExecutorEntry] = {}
        try:
            for label, table in tables.items():  # without the lock: plugins' code
                started[label] = self._start(label, table)
            with self._lock:
                for label in started:
                    self._check_free(label)
                self.entries = {**self.entries, **started}
                self.version = object()
        except BaseException:
            for entry in started.values():
                self._shut(entry, 0.0)
            raise

    @property
    def labels(self) -> list[str]:
        """The labels of the users' executors, in the order of configuration."""
        return [label for label in self.entries if label not in self._own]

    def own(self, label: str) -> ExecutorEntry:
        """Return an executor for the kernel's own tasks, started on first use."""
        if label not in self.entries:
            with self._lock:
                if label not in self.entries:
                    entry = self._start(label, self._own[label]())
                    self.entries = {**self.entries, label: entry}
        return self.entries[label]

    def _check_free(self, label: str) -> None:
        if self._closed:
            raise KernelClosedError("the kernel has been closed meanwhile")
        if label in self.entries:
            raise ConfigurationError(f"There is an executor {label!r} already.")

    def _start(self, label: str, table: Any) -> ExecutorEntry:
        self._check_free(label)
        executor = self._create(label, table)
        entry = ExecutorEntry(label, executor)
        try:
            report = partial(self._report, entry)
            executor.start(ExecutorContext(label, self._run_dir, report))
            entry.look()
            return entry
        except BaseException as error:
            self._shut(entry, 0.0)
            if isinstance(error, JackfieldError) or is_interrupt(error):
                raise
            reason = f"cannot start: {one_line(error)}"
            raise ExecutorError(label, reason) from error

    def _create(self, label: str, table: Any) -> Executor:
        made = table
        if isinstance(table, Mapping):
            options = {key: value for key, value in table.items() if key != "plugin"}
            made = self._manager.create_executor(str(table["plugin"]), label, options)
        if isinstance(made, Executor):
            return made
        if isinstance(made, concurrent.futures.Executor):
            from jackfield.executors.adapter import adapt

            return adapt(made, label)
        raise ConfigurationError(
            f"Executor {label!r} is {made!r}; expected a jackfield.abc.Executor or a "
            f"concurrent.futures.Executor."
        )

    def shutdown(self, grace: float | None) -> None:
        """Shut all executors down; an error of one stops no other.

        Args:
            grace: Seconds for the tasks that run. ``None`` waits for them, one
                executor after the other, the kernel's own last.
        """
        with self._lock:
            self._closed = True
            entries = sorted(
                self.entries.values(), key=lambda entry: entry.label in self._own
            )
        if grace is not None:
            self._shut_together(entries, grace)
            return
        for entry in entries:
            self._shut(entry, None)

    def _shut_together(self, entries: Sequence[ExecutorEntry], grace: float) -> None:
        """Shut executors down side by side; leave those that do not end in time."""
        threads: list[tuple[ExecutorEntry, threading.Thread]] = []
        for entry in entries:
            name = f"jackfield-{entry.label}-end"
            thread = threading.Thread(
                target=self._shut, args=(entry, grace), name=name, daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                if thread.ident is not None:  # started: a Ctrl-C that Event.wait masked
                    raise KeyboardInterrupt from error
                self._shut(entry, grace)  # no thread is to be had at the very end
            else:
                threads.append((entry, thread))
        deadline = time.monotonic() + grace + self.margin
        for entry, thread in threads:
            join(thread, deadline - time.monotonic())
            if thread.is_alive():
                self._log.error("Executor %r does not end; it is left", entry.label)

    def _shut(self, entry: ExecutorEntry, grace: float | None) -> None:
        try:
            entry.executor.shutdown(grace=grace)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._log.exception("Executor %r raised in shutdown; going on", entry.label)

    # -- choosing

    def route(self, spec: AppSpec, walltime: float | None) -> Route:
        """Return the executors for an app's task.

        Raises:
            ConfigurationError: The app names an unknown label.
            UnsupportedByExecutorError: None of them can do what is asked for.
        """
        version = (
            self.version
        )  # read first: a pool that grows meanwhile is seen next time
        if walltime is not None and walltime != spec.walltime:
            return Route(self._fitting(spec, walltime), version)
        route = spec.route
        if route is None or route.version is not version:
            route = spec.route = Route(self._fitting(spec, walltime), version)
        return route

    def _fitting(
        self, spec: AppSpec, walltime: float | None
    ) -> tuple[ExecutorEntry, ...]:
        allowed = [self._labelled(spec.name, label) for label in self._labels(spec)]
        reasons = [unfit(entry, spec, walltime) for entry in allowed]
        fitting = [e for e, reason in zip(allowed, reasons, strict=True) if not reason]
        if not fitting:
            reasons = [r for r in reasons if r] or ["no executor is configured."]
            raise UnsupportedByExecutorError(spec.name, reasons)
        return tuple(fitting)

    def _labels(self, spec: AppSpec) -> Sequence[str]:
        if spec.executors == "all":
            return self.labels
        return spec.executors

    def _labelled(self, app: str, label: str) -> ExecutorEntry:
        if label in self._own:
            return self.own(label)
        try:
            return self.entries[label]
        except KeyError:
            valid = self.labels
            raise ConfigurationError(
                f"App {app!r} asks for an executor {label!r}"
                f"{suggest(label, valid)} Configured: {', '.join(sorted(valid))}."
            ) from None


def unfit(entry: ExecutorEntry, spec: AppSpec, walltime: float | None) -> str:
    """Say why an executor cannot run an app's tasks; empty if it can."""
    can = entry.capabilities
    if walltime is not None and can.walltime == "none":
        return f"{entry.label!r} cannot enforce a walltime."
    unknown = sorted(set(spec.resources) - can.resources)
    if unknown:
        known = ", ".join(sorted(can.resources)) or "none"
        return (
            f"{entry.label!r} does not know the resource {unknown[0]!r} "
            f"(it knows: {known})."
        )
    return ""


def least_loaded(loads: Mapping[ExecutorEntry, int]) -> ExecutorEntry:
    """Return the executor with the least unfinished work for each worker.

    Args:
        loads: Candidates with their load; of equals, the first wins.
    """
    return min(loads, key=lambda entry: loads[entry] / entry.workers)


def select(
    task: Task,
    route: Route,
    manager: PluginManager,
    coming: Mapping[ExecutorEntry, Sequence[Task]],
) -> ExecutorEntry:
    """Choose the executor of one attempt: a hook's answer, or the least loaded.

    Args:
        task: What it is for.
        route: The candidates.
        manager: Whose hooks are asked.
        coming: Tasks that are on their way to an executor.

    Raises:
        ConfigurationError: A hook named a label that was not offered.
    """
    loads = {entry: entry.load + len(coming.get(entry, ())) for entry in route.entries}
    if manager.hooks.select_executor:
        view = task.view(route.labels)
        by_label = {entry.label: load for entry, load in loads.items()}
        offered = partial(_offered, route)
        chosen = ask(manager, manager.hooks.select_executor, offered, view, by_label)
        if chosen is not None:
            return chosen
    return least_loaded(loads)


def _offered(route: Route, label: object) -> ExecutorEntry:
    for entry in route.entries:
        if entry.label == label:
            return entry
    raise ConfigurationError(
        f"A plugin's jackfield_select_executor answered {label!r}, which is none of "
        f"the executors offered: {', '.join(route.labels)}."
    )
