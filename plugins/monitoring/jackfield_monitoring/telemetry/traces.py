"""The monitor ``opentelemetry``: sends a run as a trace to a collector.

Switched on by ``[monitors.traces] plugin = "opentelemetry"``. Where to send to is said
by the environment, as OpenTelemetry has it, or by an option. A thread of its own makes
the spans and sends them; what waits for it is bounded, and what is lost is counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from jackfield import ConfigurationError, hookimpl
from jackfield.events import AttemptRecord, Rerun, TaskRecord
from jackfield.states import FINAL
from jackfield_monitoring import facts
from jackfield_monitoring.options import check_names
from jackfield_monitoring.store.texts import clean
from jackfield_monitoring.telemetry.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackfield import DataFlowKernel, Summary
    from jackfield.events import Batch

JACKFIELD_API = ">=1,<2"
JACKFIELD_SHOWN = ("endpoint",)

RECORDS_KEPT: Final = 100_000
"""Records that wait for a collector that is slow; beyond it new ones are dropped."""

SENT_MOST: Final = 500
"""Spans that are sent at a time."""

END_S: Final = 10.0
"""Seconds that the end of the kernel waits until all is sent."""

Records: TypeAlias = list[TaskRecord | AttemptRecord | Rerun]

log: Final = logging.getLogger("jackfield.monitoring.traces")


@hookimpl
def jackfield_create_monitor(
    kind: str, label: str, options: Mapping[str, Any]
) -> OpenTelemetryMonitor | None:
    """Make the monitor of a table ``[monitors.LABEL]`` with this plugin.

    Raises:
        ConfigurationError: An option is unknown, or the value of an option or of a
            variable of the environment is wrong.
    """
    if kind != "opentelemetry":
        return None
    endpoint = _endpoint(label, options)
    try:
        return OpenTelemetryMonitor(OTLPSpanExporter(endpoint))
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"monitors.{label}: {error}") from error


@hookimpl
def jackfield_check_options(kind: str, name: str, options: Mapping[str, Any]) -> bool:
    """Look at the options of a table.

    Raises:
        ConfigurationError: One is unknown, or its value is wrong.
    """
    del kind
    _endpoint(name, options)
    return True


def _endpoint(label: str, options: Mapping[str, Any]) -> str | None:
    """Return the address that is asked for; ``None``: that of the environment."""
    check_names("opentelemetry", label, options, "endpoint")
    endpoint: object = options.get("endpoint")
    if endpoint is None:
        return None
    if isinstance(endpoint, str):
        parts = urlsplit(endpoint)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return endpoint
    raise ConfigurationError(
        f"monitors.{label}: 'endpoint' must be a URL to which traces are sent, such as "
        f"'http://127.0.0.1:4318/v1/traces'."
    )


class OpenTelemetryMonitor:
    """Sends the spans of one kernel.

    What it is told comes on the thread of the kernel's events, which is never held up:
    records go into a queue. The start and the end come on whatever thread loads and
    ends the kernel.

    Args:
        exporter: Sends the spans.
        patience: Seconds that the end waits until all is sent.
    """

    def __init__(self, exporter: SpanExporter, patience: float = END_S) -> None:
        self._exporter: SpanExporter = exporter
        self._patience: float = patience
        self._spans: Spans | None = None
        self._news: threading.Condition = threading.Condition()
        self._waiting: deque[Records] = deque()
        self._count: int = 0  # records in the queue
        self._summary: Summary | None = None  # there is one when the run has ended
        self._given_up: bool = False
        self._lost: int = 0  # records and spans that nobody will get
        self._heard: _Heard = _Heard()
        self._thread: threading.Thread = threading.Thread(
            target=self._run, name="jackfield-traces", daemon=True
        )

    @hookimpl
    def jackfield_kernel_started(self, kernel: DataFlowKernel) -> None:
        """Begin the trace."""
        with self._news:
            if self._summary is not None:  # the end has been told before the start
                return
        uuid = facts.id_of(kernel.run_dir)
        self._spans = Spans(uuid, time.time(), time.monotonic())
        if self._spans.recording:
            self._thread.start()

    @hookimpl
    def jackfield_run_events(self, batch: Batch) -> None:
        """Take what has ended."""
        if self._spans is not None and not self._spans.recording:
            return
        records: Records = [one for one in batch.tasks if one.state in FINAL]
        records += batch.reruns  # before their attempts
        records += batch.attempts
        with self._news:
            self._lost += batch.lost
            if self._count + len(records) > RECORDS_KEPT:
                self._lost += len(records)
            elif records:
                self._waiting.append(records)
                self._count += len(records)
                self._news.notify()

    @hookimpl
    def jackfield_kernel_closing(self, kernel: DataFlowKernel) -> None:
        """Send what is left, as long as there is patience for it."""
        with self._news:
            self._summary = kernel.summary()
            self._news.notify()
        try:
            if self._thread.ident is not None:
                self._thread.join(self._patience)
        finally:  # after a Ctrl-C, too
            self._given_up = True
            self._exporter.shutdown()  # it ends a pause before another attempt, too
        with self._news:
            lost = self._lost + self._count
        if lost:
            log.warning(
                "The trace of the run lacks %d records: %s", lost,
                self._heard.last or "they came faster than they could be sent.",
            )  # fmt: skip

    # -- The thread

    def _run(self) -> None:
        spans = self._spans
        assert spans is not None
        exporters = logging.getLogger(OTLPSpanExporter.__module__)
        self._heard.thread = threading.get_ident()
        exporters.addFilter(self._heard)
        try:
            while not self._given_up:
                records = self._next()
                if records is None:
                    break
                self._send(spans, records)
            if self._summary is not None and not self._given_up:
                spans.end(self._summary, time.monotonic())
                self._lost += not self._export(spans)
        finally:
            exporters.removeFilter(self._heard)

    def _next(self) -> Records | None:
        """Wait for records; ``None``: there will be no more."""
        with self._news:
            while not self._waiting:
                if self._summary is not None:
                    return None
                self._news.wait()
            return self._waiting.popleft()

    def _send(self, spans: Spans, records: Records) -> None:
        for start in range(0, len(records), SENT_MOST):
            if self._given_up:
                return
            some = records[start : start + SENT_MOST]
            for one in some:
                if isinstance(one, TaskRecord):
                    spans.task(one)
                elif isinstance(one, Rerun):
                    spans.rerun(one)
                else:
                    spans.attempt(one)
            sent = self._export(spans)
            with self._news:
                self._count -= len(some)
                if not sent:
                    self._lost += len(some)

    def _export(self, spans: Spans) -> bool:
        """Send what was made; tell whether that went well."""
        try:
            result = self._exporter.export(spans.take())
        except Exception as error:
            self._heard.hear(f"{type(error).__name__}: {error}")
            return False
        return result is SpanExportResult.SUCCESS


class _Heard(logging.Filter):
    """Keeps what an exporter logs on one thread, to be told once and not often.

    Attributes:
        thread: That thread.
        last: The last of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thread: int | None = None
        self.last: str = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let through what other threads log."""
        if record.thread != self.thread:
            return True
        self.hear(record.getMessage())
        return False

    def hear(self, text: str) -> None:
        """Keep a text, and tell the first one."""
        if not self.last:
            log.warning(
                "The trace of the run cannot be sent now: %s. The tasks go on.",
                clean(text).rstrip("."),
            )
        self.last = clean(text)
