"""The executors of a kernel: started, found by label, ended."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield import clock
from jackfield.abc import Executor, ExecutorContext, Outcome
from jackfield.errors import (
    ConfigurationError,
    ExecutorBrokenError,
    ExecutorError,
    JackfieldError,
    KernelClosedError,
    UnsupportedByExecutorError,
    WorkerDiedError,
    one_line,
    printable,
    suggest,
)
from jackfield.executors.selection import unfit
from jackfield.futures.locks import is_interrupt, join
from jackfield.graph.route import ExecutorEntry, Route

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

    from jackfield.events import News, Running
    from jackfield.graph.scheduler import Scheduler
    from jackfield.graph.task import AppSpec
    from jackfield.plugins.manager import PluginManager

END_S: Final = 10.0
"""Seconds that an executor gets to end, beyond the grace of its tasks.

Twice what ``adapter`` gives what it wraps, so that it can still report its hanging.
"""

MANY_DEATHS: Final = 3
"""So many deaths of workers, with no task that ends well in between, are warned of."""

ADAPTER: Final = "adapter"
"""Name of the plugin that wraps a ``concurrent.futures.Executor``."""


class ExecutorPool:
    """All executors of one kernel, by label.

    ``entries`` is never changed but replaced by a new dict, so that any thread may read
    it without the lock.

    Attributes:
        margin: Seconds that an executor gets to end, beyond the grace of its tasks.
        entries: Label to executor.
        version: Replaced by a new object whenever the users' executors change. A
            ``Route`` keeps the one that it was computed for.

    Args:
        manager: The plugins, which make executors.
        run_dir: The run's directory.
        report: Takes the outcomes that an executor reports.
        own: The executors for the kernel's own tasks: label to configuration table.
            Each is started when it is first needed.
        tell: Takes news of executors; see ``ExecutorContext``.
        scale: Called when an elastic executor was added, and whenever one has changed.
        scheduler: Takes the offers of idle threads.
        log: The run's log.
    """

    def __init__(
        self,
        manager: PluginManager,
        run_dir: Path,
        report: Callable[[ExecutorEntry, Sequence[Outcome]], None],
        own: Mapping[str, Mapping[str, Any]],
        tell: Callable[[News], None],
        scale: Callable[[], None],
        scheduler: Scheduler,
        log: Logger,
    ) -> None:
        self._manager: PluginManager = manager
        self._run_dir: Path = run_dir
        self._report: Callable[[ExecutorEntry, Sequence[Outcome]], None] = report
        self._own: Mapping[str, Mapping[str, Any]] = own
        self._tell: Callable[[News], None] = tell
        self._scale: Callable[[], None] = scale
        self._scheduler: Scheduler = scheduler
        self._log: Logger = log
        self._lock: threading.Lock = threading.Lock()
        self._starting_own: threading.RLock = threading.RLock()
        self._closed: bool = False
        self.margin: float = END_S
        self.entries: dict[str, ExecutorEntry] = {}
        self.version: object = object()

    # -- starting and ending

    def add(self, tables: Mapping[str, Any]) -> None:
        """Start executors; if one fails, stop those that this call has started.

        ``tables`` has, for each label, its configuration table or an executor.

        Raises:
            ConfigurationError: A label is taken, or a table is wrong.
            ExecutorError: An executor does not start.
            KernelClosedError: The kernel has ended meanwhile.
        """
        started: dict[str, ExecutorEntry] = {}
        try:
            # Without the lock, because this runs the code of plugins. Another thread
            # may add the same label, or close the pool, meanwhile; hence the second
            # look below.
            for label, table in tables.items():
                started[label] = self._start(label, table)
            with self._lock:
                for label in started:
                    self._check_free(label)
                self.entries = {**self.entries, **started}
                self.version = object()
            if any(entry.elastic for entry in started.values()):
                self._scale()
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
            # A lock for this alone: starting runs the code of plugins, which may add an
            # executor, and must not keep the pool from being shut down.
            with self._starting_own:
                if label not in self.entries:
                    self.add({label: self._own[label]})
        return self.entries[label]

    def _check_free(self, label: str) -> None:
        """Raise if the pool is closed or the label is taken."""
        if self._closed:
            raise KernelClosedError("the kernel has been closed meanwhile")
        if label in self.entries:
            raise ConfigurationError(f"There is an executor {label!r} already.")

    def _start(self, label: str, table: Any) -> ExecutorEntry:
        """Make an executor and start it; any failure is a ``JackfieldError``."""
        self._check_free(label)
        executor = self._create(label, table)
        entry = ExecutorEntry(label, executor)
        try:
            report = partial(self._report, entry)
            changed = partial(self._changed, entry)
            context = ExecutorContext(
                label, self._run_dir, report, self._tell, changed,
                self._scheduler.attend, self._scheduler.serve,
            )  # fmt: skip
            executor.start(context)
            entry.read_capabilities()
            return entry
        except BaseException as error:
            self._shut(entry, 0.0)
            if isinstance(error, JackfieldError) or is_interrupt(error):
                raise
            reason = f"cannot start: {one_line(error)}"
            raise ExecutorError(label, reason) from error

    def _changed(self, entry: ExecutorEntry) -> None:
        """Look at an executor's workers and health again; see ``ExecutorContext``."""
        try:
            if entry.read_workers():
                self.version = object()  # after the mark; see ``route``
            if entry.elastic:
                self._scale()
        except Exception:
            self._log.exception("Executor %r: its workers raised", entry.label)

    def running(self, entry: ExecutorEntry) -> Sequence[Running] | None:
        """Return what an executor says that it runs; ``None`` if it does not tell."""
        if not entry.load:
            return ()
        try:
            return entry.executor.running()
        except Exception:
            self._log.exception("Executor %r: running() raised", entry.label)
            return None

    def _create(self, label: str, table: Any) -> Executor:
        """Make the executor of a table, or wrap a ``concurrent.futures`` one."""
        made = table
        if isinstance(table, Mapping):
            options = {key: value for key, value in table.items() if key != "plugin"}
            made = self._manager.create_executor(str(table["plugin"]), label, options)
        if isinstance(made, Executor):
            return made
        if isinstance(made, concurrent.futures.Executor):
            made = self._manager.create_executor(ADAPTER, label, {"executor": made})
            if isinstance(made, Executor):
                return made
        raise ConfigurationError(
            f"Executor {label!r} is {made!r}; expected a jackfield.abc.Executor or a "
            f"concurrent.futures.Executor."
        )

    def shutdown(self, grace: float | None) -> None:
        """Shut all executors down; an error of one stops no other.

        ``grace`` is the seconds for the tasks that run; ``None`` waits for them, for
        one executor after the other. The kernel's own come last: others' tasks may need
        them.
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
                # ``start`` waits for the thread to come up, and a Ctrl-C in that wait
                # may come out as this RuntimeError. Then the thread was started.
                if thread.ident is not None:
                    raise KeyboardInterrupt from error
                # At the interpreter's exit no thread can be started any more.
                self._shut(entry, grace)
            else:
                threads.append((entry, thread))
        deadline = clock.monotonic() + grace + self.margin
        for entry, thread in threads:
            join(thread, deadline - clock.monotonic())
            if thread.is_alive():
                self._log.error("Executor %r does not end; it is left", entry.label)

    def _shut(self, entry: ExecutorEntry, grace: float | None) -> None:
        try:
            entry.executor.shutdown(grace=grace)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._log.exception("Executor %r raised in shutdown; going on", entry.label)
        finally:
            self._scheduler.attend(None)  # the thread that it offered may be gone

    # -- choosing

    def blame(self, entry: ExecutorEntry, error: ExecutorError) -> None:
        """Note that an executor, and not a task, has failed; warn of it once.

        One that is broken for good leaves the routes; any other rests for a while. So
        tasks go to other executors, if any can run them.
        """
        entry.note_fault()
        for_good = isinstance(error, ExecutorBrokenError)
        if for_good and not entry.broken:
            entry.broken = True
            self.version = object()  # after the mark; see ``route``
        elif isinstance(error, WorkerDiedError) and entry.faults < MANY_DEATHS:
            return  # it may well be the task that kills its worker
        if entry.told or entry.label in self._own:
            return
        entry.told = True
        self._log.warning(
            "Executor %r %s%s: %s",
            entry.label,
            "is broken for good" if for_good else "fails",
            ", and what others can run goes to them" if len(self.labels) > 1 else "",
            printable(error.reason),
            extra={"told": True},
        )

    def route(self, spec: AppSpec, walltime: float | None) -> Route:
        """Return the executors that may run an app's task and can do what it asks for.

        ``walltime``, in seconds, is the task's. If it is the app's own, the
        route is kept in ``spec.route``.

        Raises:
            ConfigurationError: The app names an unknown label.
            UnsupportedByExecutorError: None of them can do what is asked for.
        """
        # Whoever adds an executor, or marks one as broken or lost, replaces the version
        # afterwards. Here it is read first: a route that misses the change has the old
        # version, and is computed anew the next time. The other way round, an old route
        # would pass as current for ever.
        version = self.version
        if walltime is not None and walltime != spec.walltime:
            return Route(self._fitting(spec, walltime), version)
        route = spec.route
        if route is None or route.version is not version:
            route = spec.route = Route(self._fitting(spec, walltime), version)
        return route

    def _fitting(
        self, spec: AppSpec, walltime: float | None
    ) -> tuple[ExecutorEntry, ...]:
        labels = self.labels if spec.executors == "all" else spec.executors
        allowed = [self._labelled(spec.name, label) for label in labels]
        reasons = [unfit(entry, spec, walltime) for entry in allowed]
        fitting = [e for e, reason in zip(allowed, reasons, strict=True) if not reason]
        if not fitting:
            reasons = [r for r in reasons if r] or ["no executor is configured."]
            raise UnsupportedByExecutorError(spec.name, tuple(reasons))
        alive = [e for e in fitting if not e.broken and e.health.state != "lost"]
        return tuple(alive or fitting)

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
