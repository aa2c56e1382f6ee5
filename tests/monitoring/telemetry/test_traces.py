"""``[monitors.traces] plugin = "opentelemetry"``: what is sent is what has happened."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import jackfield as jf
from jackfield.events import AttemptRecord, Batch, Place, Rerun
from jackfield_monitoring.telemetry.spans import LINKS_MOST
from jackfield_monitoring.telemetry.traces import OpenTelemetryMonitor

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
    from opentelemetry.sdk.trace import ReadableSpan

LIMIT_S = 60.0


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)


@jf.python_app
def double(x: int) -> int:
    return 2 * x


@jf.python_app(retries=1)
def fail(words: str) -> int:
    raise ValueError(words)


@jf.python_app
def add(*numbers: int) -> int:
    return sum(numbers)


@jf.join_app
def twice(x: int) -> jf.AppFuture[int]:
    return double(x)


class Trace:
    """The spans of a run, found by what they are of."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self.spans = list(exporter.get_finished_spans())
        self.tasks = {
            self.told(span)["jackfield.task"]: span
            for span in self.spans
            if span.name not in {"run", "attempt"}
        }
        self.attempts = {
            (told["jackfield.task"], told["jackfield.attempt"]): span
            for span in self.spans
            if span.name == "attempt"
            for told in [self.told(span)]
        }
        (self.run,) = [span for span in self.spans if span.name == "run"]

    @staticmethod
    def told(span: ReadableSpan) -> dict[str, Any]:
        return dict(span.attributes or {})


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def own(span: ReadableSpan) -> int:
    assert span.context is not None
    number: int = span.context.span_id
    return number


def length(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


def traced(tmp_path: Path, **options: Any) -> tuple[InMemorySpanExporter, jf.Config]:
    exporter = InMemorySpanExporter()
    plugins = [OpenTelemetryMonitor(exporter)]
    return exporter, jf.Config(
        run_dir=str(tmp_path / "runs"), plugins=plugins, **options
    )


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_a_run_is_a_trace_of_its_tasks_and_their_attempts(
    tmp_path: Path, plugin: str
) -> None:
    exporter, config = traced(
        tmp_path, executors={"cpu": {"plugin": plugin, "workers": 2}}
    )
    before = time.time_ns()
    with jf.load(config) as kernel:
        one, other = double(1, label="first"), double(2)
        total, bad = add(one, other), fail("no such thing")
        after, joined = add(bad), twice(4)
        for future in (total, bad, after, joined):
            future.exception(LIMIT_S)
        ids = {name: future.tid for name, future in
               [("one", one), ("other", other), ("total", total), ("bad", bad),
                ("after", after), ("joined", joined)]}  # fmt: skip
    ended = time.time_ns()
    trace = Trace(exporter)

    assert len({span.context.trace_id for span in trace.spans if span.context}) == 1
    assert parent(trace.run) is None
    told = trace.told(trace.run)
    assert (
        told["jackfield.tasks.succeeded"]
        == kernel.summary().counts[jf.TaskState.SUCCEEDED]
    )
    assert trace.run.status.status_code is StatusCode.ERROR
    # The task that the join app has submitted is within the join app's.
    (inner,) = [
        span
        for span in trace.tasks.values()
        if parent(span) == own(trace.tasks[ids["joined"]]) and span.name == "double"
    ]
    for number in ids.values():
        assert parent(trace.tasks[number]) == own(trace.run)
    for (number, _), span in trace.attempts.items():
        task = trace.tasks[number]
        assert parent(span) == own(task)
        assert before <= length(task)[0] <= length(span)[0] <= length(span)[1]
        assert length(span)[1] <= length(task)[1] + 1_000_000
        assert length(task)[1] <= length(trace.run)[1] <= ended + 1_000_000
    assert {link.context.span_id for link in trace.tasks[ids["total"]].links} == {
        own(trace.tasks[ids["one"]]), own(trace.tasks[ids["other"]])
    }  # fmt: skip
    first = trace.told(trace.tasks[ids["one"]])
    assert first["code.function.name"] == "double"
    assert first["jackfield.state"] == "succeeded"
    assert first["jackfield.executor"] == "cpu"
    assert trace.told(trace.attempts[ids["one"], 1])["process.pid"] > 0
    assert inner.status.status_code is StatusCode.UNSET


def test_failures_have_a_status_and_an_event(tmp_path: Path) -> None:
    exporter, config = traced(tmp_path)
    with jf.load(config):
        bad = fail("no such thing")
        after = add(bad)
        after.exception(LIMIT_S)
    trace = Trace(exporter)

    attempts = [trace.attempts[bad.tid, number] for number in (1, 2)]
    for span in [trace.tasks[bad.tid], *attempts]:
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "no such thing"
        assert trace.told(span)["error.type"] == "ValueError"
        (event,) = span.events
        told = dict(event.attributes or {})
        assert event.name == "exception"
        assert told["exception.type"] == "ValueError"
        assert told["exception.message"] == "no such thing"
        if span in attempts:
            assert "raise ValueError(words)" in str(told["exception.stacktrace"])
    assert "jackfield.retry_in_seconds" in trace.told(attempts[0])
    skipped = trace.tasks[after.tid]
    assert trace.told(skipped)["jackfield.state"] == "dependency-failed"
    assert skipped.status.status_code is StatusCode.ERROR


def test_a_run_for_the_sake_of_a_lost_result_says_so(tmp_path: Path) -> None:
    exporter, config = traced(tmp_path)
    (monitor,) = config.plugins
    assert isinstance(monitor, OpenTelemetryMonitor)
    with jf.load(config):
        assert double(1).result(LIMIT_S) == 2
        now = time.monotonic()
        why = "worker w-1 has gone with it"
        place = Place("w-2", "h", 1, now, now)
        again = AttemptRecord(0, 2, "far", now, now, place, None, None)
        reruns = [Rerun(0, 2, "far", why, now)]
        monitor.jackfield_run_events(Batch(0.0, now, reruns=reruns))
        monitor.jackfield_run_events(Batch(0.0, now, attempts=[again]))

    trace = Trace(exporter)
    first, second = trace.attempts[0, 1], trace.attempts[0, 2]
    assert trace.told(second)["jackfield.rerun_reason"] == why
    assert "jackfield.rerun_reason" not in trace.told(first)
    assert parent(second) == own(trace.tasks[0])


def test_links_are_bounded(tmp_path: Path) -> None:
    exporter, config = traced(tmp_path)
    with jf.load(config):
        many = add(*[double(n) for n in range(LINKS_MOST + 30)])
        many.result(LIMIT_S)
    span = Trace(exporter).tasks[many.tid]

    assert len(span.links) == LINKS_MOST
    assert Trace.told(span)["jackfield.links_left_out"] == 30


def test_the_environment_may_switch_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    exporter, config = traced(tmp_path)
    with jf.load(config):
        assert double(1).result(LIMIT_S) == 2
    assert not exporter.get_finished_spans()


# -- A collector


class Collector(ThreadingHTTPServer):
    """Takes traces as OTLP has it, over HTTP, on a free port of this machine.

    Attributes:
        spans: What was received.
        services: The names that the senders gave themselves.
        headers: Of each request.
        refuse: How many requests are refused first, as by a collector that is busy.
        gate: Requests wait for it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[ProtoSpan] = []
        self.services: set[str] = set()
        self.headers: list[dict[str, str]] = []
        self.paths: set[str] = set()
        self.refuse = 0
        self.gate = threading.Event()
        self.gate.set()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert server.gate.wait(LIMIT_S)
        if server.refuse:
            server.refuse -= 1
            self._answer(503, b"")
            return
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        server.headers.append(dict(self.headers))
        server.paths.add(self.path)
        for resource in request.resource_spans:
            server.services |= {
                one.value.string_value
                for one in resource.resource.attributes
                if one.key == "service.name"
            }
            for scope in resource.scope_spans:
                server.spans += scope.spans
        self._answer(200, ExportTraceServiceResponse().SerializeToString())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join(LIMIT_S)


def table(tmp_path: Path, **options: Any) -> dict[str, Any]:
    return {
        "run_dir": str(tmp_path / "runs"),
        "monitors": {"traces": {"plugin": "opentelemetry", **options}},
    }


def test_a_collector_gets_every_span(tmp_path: Path, collector: Collector) -> None:
    with jf.load(table(tmp_path, endpoint=f"{collector.base}/v1/traces")):
        for future in [double(n) for n in range(2_000)]:
            future.result(LIMIT_S)

    names = [span.name for span in collector.spans]
    assert (names.count("double"), names.count("attempt")) == (2_000, 2_000)
    assert names.count("run") == 1
    assert collector.services == {"jackfield"}
    by_id = {span.span_id: span for span in collector.spans}
    assert len(by_id) == 4_001
    for span in collector.spans:
        above = by_id[span.parent_span_id].name if span.parent_span_id else None
        assert above == {"attempt": "double", "double": "run", "run": None}[span.name]


def test_the_variables_of_opentelemetry_count(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.base)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-lab=mine")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "beamline")
    with jf.load(table(tmp_path)):
        assert double(1).result(LIMIT_S) == 2

    assert collector.paths == {"/v1/traces"}
    assert collector.services == {"beamline"}
    assert {one["x-lab"] for one in collector.headers} == {"mine"}
    assert sorted(one.name for one in collector.spans) == ["attempt", "double", "run"]


def test_a_collector_that_is_busy_is_tried_again(
    tmp_path: Path, collector: Collector
) -> None:
    collector.refuse = 1
    with jf.load(table(tmp_path, endpoint=f"{collector.base}/v1/traces")):
        assert double(1).result(LIMIT_S) == 2

    assert sorted(one.name for one in collector.spans) == ["attempt", "double", "run"]


def test_nobody_listens_and_the_run_goes_on(
    tmp_path: Path,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    collector.shutdown()
    collector.server_close()
    with jf.load(table(tmp_path, endpoint=f"{collector.base}/v1/traces")) as kernel:
        for future in [double(n) for n in range(100)]:
            future.result(LIMIT_S)

    log = (kernel.run_dir / "jackfield.log").read_text()
    assert log.count("The trace of the run cannot be sent now") == 1
    assert "The trace of the run lacks 201 records" in log
    names = {record.name for record in caplog.records}
    assert not [name for name in names if name.startswith("opentelemetry")]


def test_a_collector_that_hangs_holds_up_the_end_for_a_limited_time(
    tmp_path: Path, collector: Collector
) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    collector.gate.clear()
    monitor = OpenTelemetryMonitor(
        OTLPSpanExporter(f"{collector.base}/v1/traces"), patience=0.5
    )
    config = jf.Config(run_dir=str(tmp_path / "runs"), plugins=[monitor])
    with jf.load(config) as kernel:
        for future in [double(n) for n in range(1_000)]:
            future.result(LIMIT_S)

    assert not collector.gate.is_set()  # it hangs still, and the end has come
    collector.gate.set()
    assert (
        "The trace of the run lacks" in (kernel.run_dir / "jackfield.log").read_text()
    )


CANARY = "hunter2canary"


@pytest.mark.parametrize(
    "words",
    [
        f"GET https://host/x?signature={CANARY} failed",
        f"login with password='correct {CANARY}' refused",
        f"ftp://me:{CANARY}@host/x",
    ],
)
def test_no_secret_is_sent(tmp_path: Path, collector: Collector, words: str) -> None:
    @jf.python_app
    def login(password: str, url: str) -> None:
        raise ValueError(words)

    with jf.load(table(tmp_path, endpoint=f"{collector.base}/v1/traces")):
        login(password=CANARY, url=f"https://me:{CANARY}@host/").exception(LIMIT_S)

    assert len(collector.spans) == 3
    assert all(
        CANARY.encode() not in one.SerializeToString() for one in collector.spans
    )


@pytest.mark.parametrize(
    "name", ["\ud800", "\x00\x1b[31m", "<script>", "x" * 100_000, "\u202eabc"]
)
def test_any_name_and_text_can_be_sent(
    tmp_path: Path, collector: Collector, name: str
) -> None:
    def raises() -> None:
        raise ValueError(name)

    raises.__name__ = name
    app = jf.python_app(raises)
    with jf.load(table(tmp_path, endpoint=f"{collector.base}/v1/traces")):
        app(label=name).exception(LIMIT_S)

    assert len(collector.spans) == 3
    assert all("\x1b" not in span.name for span in collector.spans)
