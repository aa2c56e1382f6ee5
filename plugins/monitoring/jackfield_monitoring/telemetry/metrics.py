"""The monitor ``prometheus``: the numbers of a run, for Prometheus to scrape.

Switched on by ``[monitors.metrics] plugin = "prometheus"``. Tasks never wait for it: it
counts what observers are told, and answers on threads of its own.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import prometheus_client

from jackfield import ConfigurationError, hookimpl
from jackfield.states import FINAL
from jackfield.version import installed_version
from jackfield_monitoring import facts
from jackfield_monitoring.cancelled import is_cancelled
from jackfield_monitoring.options import check_names
from jackfield_monitoring.store.texts import clean
from jackfield_monitoring.telemetry.scrapes import Scrapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jackfield import DataFlowKernel, TransferEvent
    from jackfield.events import AttemptRecord, Batch, TaskChange

JACKFIELD_API = ">=1,<2"
JACKFIELD_SHOWN = ("address", "port")

APPS_MOST: Final = 100
"""Apps with numbers of their own; all others are one, called ``other``."""

ERRORS_MOST: Final = 30
"""Classes of errors that are told apart."""

LABEL_MOST: Final = 80
"""Characters of a name."""

OTHER: Final = "other"

BUCKETS: Final = (
    0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0
)  # fmt: skip
"""Upper bounds, in seconds, of the histogram in which durations are counted."""

_OWN: Final = frozenset({"transfer", "internal"})
"""Kinds of tasks that the kernel makes for itself."""

_ENDS: Final = frozenset({"done", "failed", "cancelled"})
"""Stages in which a transfer has ended."""

log: Final = logging.getLogger("jackfield.monitoring.metrics")
log.setLevel(logging.INFO)  # whoever switches this on wants the address, at any level


@hookimpl
def jackfield_create_monitor(
    kind: str, label: str, options: Mapping[str, Any]
) -> PrometheusMonitor | None:
    """Make the monitor of a table ``[monitors.LABEL]`` with this plugin.

    Raises:
        ConfigurationError: An option is unknown, or its value is wrong.
    """
    if kind != "prometheus":
        return None
    return PrometheusMonitor(*_checked(label, options))


@hookimpl
def jackfield_check_options(kind: str, name: str, options: Mapping[str, Any]) -> bool:
    """Check the options of a table ``[monitors.LABEL]``; ``name`` is the label.

    Raises:
        ConfigurationError: One is unknown, or its value is wrong.
    """
    del kind
    _checked(name, options)
    return True


def _checked(label: str, options: Mapping[str, Any]) -> tuple[str, int]:
    """Return the options ``address`` and ``port``, with their defaults.

    Raises:
        ConfigurationError: One is unknown, or its value is wrong.
    """
    check_names("prometheus", label, options, "address", "port")
    address, port = options.get("address", "127.0.0.1"), options.get("port", 0)
    if not isinstance(address, str) or not address:
        raise ConfigurationError(
            f"monitors.{label}: 'address' must be an address of this machine, such as "
            f"'127.0.0.1', not {address!r}."
        )
    number = isinstance(port, int) and not isinstance(port, bool)
    if not number or not 0 <= port <= 65_535:
        raise ConfigurationError(
            f"monitors.{label}: 'port' must be a number from 0, which means any that "
            f"is free, to 65535, not {port!r}."
        )
    return address, port


class PrometheusMonitor:
    """Counts, and has a server that tells the numbers while the kernel lives.

    Batches come on the thread of the kernel's events; the start and the end come on
    whatever thread loads and ends the kernel. The end may come before the start, or
    while the start is told. One of the two takes ``_lock`` first: if it is the end, no
    server is made; if it is the start, the end finds the server and stops it.

    Args:
        address: Where to listen.
        port: 0 for any that is free.
    """

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self._address: tuple[str, int] = (address, port)
        self._numbers: Numbers = Numbers()
        self._lock: threading.Lock = threading.Lock()
        self._server: Scrapes | None = None
        self._ended: bool = False

    @hookimpl
    def jackfield_kernel_started(self, kernel: DataFlowKernel) -> None:
        """Begin to answer; if the port is taken, warn and go on without metrics."""
        self._numbers.name(facts.id_of(kernel.run_dir))
        address, port = self._address
        with self._lock:
            if self._ended:
                return
            try:
                server = Scrapes(self._numbers.registry, address, port)
            except OSError as error:
                log.warning(
                    "There are no metrics of this run, because nothing can listen at "
                    "port %s of %s: %s. The option 'port' names another; 0 takes any "
                    "that is free.", port, address, error.strerror or error,
                )  # fmt: skip
                return
            server.start()
            self._server = server
        # Not by ``self._server``, which the end may have taken meanwhile.
        log.info("Metrics are at %s", server.url)

    @hookimpl
    def jackfield_run_events(self, batch: Batch) -> None:
        """Count what a batch tells."""
        self._numbers.take(batch)

    @hookimpl
    def jackfield_kernel_closing(self, kernel: DataFlowKernel) -> None:
        """Answer no more."""
        del kernel
        with self._lock:
            self._ended = True
            server, self._server = self._server, None
        if server is not None:
            server.stop()


class Names:
    """Gives the value of a label for a name; it is the name, made harmless.

    After ``most`` names it gives ``other`` for every new one, because Prometheus keeps
    numbers for each value.
    """

    def __init__(self, most: int) -> None:
        self._most: int = most
        self._known: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        known = self._known.get(name)
        if known is not None:
            return known
        if len(self._known) >= self._most:
            return OTHER
        found = self._known[name] = clean(name, LABEL_MOST)
        return found


class Numbers:
    """The metrics of one run, in a registry of their own.

    ``take`` is called on one thread; others may read the registry meanwhile.

    Attributes:
        registry: Has them all.
    """

    def __init__(self) -> None:
        self.registry: prometheus_client.CollectorRegistry = (
            prometheus_client.CollectorRegistry()
        )
        # Tasks that have not ended, with their app and state.
        self._live: dict[int, tuple[str, str]] = {}
        self._moved: dict[int, int] = {}  # bytes, of transfers that have not ended
        self._again: set[tuple[int, int]] = set()  # tasks and attempts: reruns that run
        self._apps: Names = Names(APPS_MOST)
        self._errors: Names = Names(ERRORS_MOST)
        counter, gauge = self._counter, self._gauge
        self._tasks: prometheus_client.Gauge = gauge(
            "tasks", "Tasks that have not ended, by where they are.", "app", "state"
        )
        self._submitted: prometheus_client.Counter = counter(
            "tasks_submitted", "Tasks that were submitted.", "app"
        )
        self._ended: prometheus_client.Counter = counter(
            "tasks_ended", "Tasks that have ended, by how.", "app", "state"
        )
        self._attempts: prometheus_client.Counter = counter(
            "attempts", "Attempts at tasks that have ended.",
            "app", "executor", "outcome",
        )  # fmt: skip
        self._failures: prometheus_client.Counter = counter(
            "attempt_failures", "Attempts that failed, by the error's class.",
            "app", "error",
        )  # fmt: skip
        self._seconds: prometheus_client.Histogram = prometheus_client.Histogram(
            "jackfield_attempt_duration_seconds", "How long attempts ran.",
            ["app"], registry=self.registry, buckets=BUCKETS,
        )  # fmt: skip
        self._reruns: prometheus_client.Counter = counter(
            "reruns", "Runs of tasks that had ended, because their result got lost.",
            "executor",
        )  # fmt: skip
        self._reruns_ended: prometheus_client.Counter = counter(
            "reruns_ended", "Such runs that have ended, by how.", "executor", "outcome"
        )
        self._workers: prometheus_client.Gauge = gauge(
            "executor_workers", "Works that an executor can run at once.", "executor"
        )
        self._unfinished: prometheus_client.Gauge = gauge(
            "executor_unfinished", "Works that an executor has not reported.",
            "executor",
        )  # fmt: skip
        self._gone: prometheus_client.Counter = counter(
            "workers_lost", "Workers that have gone though they were not to.",
            "executor",
        )  # fmt: skip
        self._transfers: prometheus_client.Counter = counter(
            "transfers", "Transfers of files that have ended, by how.",
            "direction", "state",
        )  # fmt: skip
        self._bytes: prometheus_client.Counter = counter(
            "transfer_bytes", "Bytes of files that were moved.", "direction"
        )
        self._lost: prometheus_client.Counter = counter(
            "records_lost", "Records that these metrics lack."
        )
        self._run: prometheus_client.Info = prometheus_client.Info(
            "jackfield_run", "The run.", registry=self.registry
        )

    def _counter(self, name: str, told: str, *labels: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(
            f"jackfield_{name}", told, labels, registry=self.registry
        )

    def _gauge(self, name: str, told: str, *labels: str) -> prometheus_client.Gauge:
        return prometheus_client.Gauge(
            f"jackfield_{name}", told, labels, registry=self.registry
        )

    def name(self, uuid: str) -> None:
        """Tell which run this is."""
        self._run.info({"id": uuid, "version": installed_version()})

    def take(self, batch: Batch) -> None:
        """Take in what has happened since the last batch."""
        apps = self._take_changes(batch.changes)
        for rerun in batch.reruns:
            self._again.add((rerun.task, rerun.attempt))
            self._reruns.labels(rerun.executor).inc()
        self._take_attempts(batch.attempts, apps)
        self._take_transfers(batch.transfers)
        for load in batch.loads:
            self._workers.labels(load.executor).set(load.workers)
            self._unfinished.labels(load.executor).set(load.unfinished)
        for event in batch.workers:
            if not event.alive and event.reason:
                self._gone.labels(event.executor).inc()
        self._lost.inc(batch.lost)

    def _take_changes(self, changes: Iterable[TaskChange]) -> dict[int, str]:
        """Count where tasks are now; return the apps of those that have ended."""
        live, names = self._live, self._apps
        came: Counter[str] = Counter()
        now: Counter[tuple[str, str]] = Counter()
        ended: Counter[tuple[str, str]] = Counter()
        apps: dict[int, str] = {}
        for task, app, kind, state, _, _ in changes:
            if kind in _OWN:
                continue
            name = names[app]
            before = live.pop(task, None)
            if before is None:
                came[name] += 1
            else:
                now[before] -= 1
            labels = name, state.value
            if state in FINAL:
                ended[labels] += 1
                apps[task] = name
            else:
                now[labels] += 1
                live[task] = labels
        for name, number in came.items():
            self._submitted.labels(name).inc(number)
        for pair, number in now.items():
            self._tasks.labels(*pair).inc(number)
        for pair, number in ended.items():
            self._ended.labels(*pair).inc(number)
        return apps

    def _take_attempts(
        self, attempts: Sequence[AttemptRecord], ended: Mapping[int, str]
    ) -> None:
        """Count attempts, by the apps of their tasks.

        A task is in ``ended``, if it has ended in this batch, or in ``_live``. The
        kernel's own tasks are in neither, so their attempts are left out. Nor is a task
        that runs again, whose app is forgotten by then: that is counted by itself.
        """
        outcomes: Counter[tuple[str, str, str]] = Counter()
        failures: Counter[tuple[str, str]] = Counter()
        for one in attempts:
            if self._again and (one.task, one.attempt) in self._again:
                self._again.discard((one.task, one.attempt))
                self._reruns_ended.labels(one.executor, _outcome(one)).inc()
                continue
            app = ended.get(one.task)
            if app is None:
                if one.task not in self._live:
                    continue
                app = self._live[one.task][0]
            place, failure = one.place, one.failure
            outcome = _outcome(one)
            outcomes[app, one.executor, outcome] += 1
            if failure is not None and outcome != "cancelled":
                failures[app, self._errors[failure.kind]] += 1
            if place is not None:
                self._seconds.labels(app).observe(place.ended - place.began)
            elif outcome != "cancelled":  # else it may never have run
                self._seconds.labels(app).observe(one.reported - one.launched)
        for labels, number in outcomes.items():
            self._attempts.labels(*labels).inc(number)
        for pair, number in failures.items():
            self._failures.labels(*pair).inc(number)

    def _take_transfers(self, events: Sequence[TransferEvent]) -> None:
        for event in events:
            way, ended = event.direction, event.stage in _ENDS
            if event.attempt:  # else the file came from the cache, and none was moved
                before = self._moved.pop(event.transfer, 0)
                # If the count has fallen, another attempt has begun at the first byte.
                # Then all that it has moved is new.
                more = event.moved - (before if event.moved >= before else 0)
                self._bytes.labels(way).inc(more)
                if not ended:
                    self._moved[event.transfer] = event.moved
            if ended:
                self._transfers.labels(way, event.stage).inc()


def _outcome(attempt: AttemptRecord) -> str:
    """Return how an attempt has ended, in a word."""
    failure = attempt.failure
    if failure is None:
        return "succeeded"
    if is_cancelled(failure):
        return "cancelled"
    return "failed" if attempt.retry_in is None else "retried"
