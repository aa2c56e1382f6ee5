"""From records of tasks and attempts to the spans of one trace.

The run is the root; a task is a child of it, or of the join app's task that submitted
it; an attempt is a child of its task. A span is made when it has ended. Its children
have been sent by then, and others link to it, so a task's span has an id that follows
from its number: nothing must be remembered of any task.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.semconv.attributes.code_attributes import CODE_FUNCTION_NAME
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.exception_attributes import (
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from jackfield import TaskState
from jackfield.version import installed_version
from jackfield_monitoring.cancelled import is_cancelled
from jackfield_monitoring.store import texts

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from jackfield import Summary
    from jackfield.events import AttemptRecord, Failure, Rerun, TaskRecord

LINKS_MOST: Final = 100
"""Tasks that a span links to, of all that its task depends on."""

_BAD: Final = frozenset({TaskState.FAILED, TaskState.DEPENDENCY_FAILED})


class Spans:
    """Makes the spans of one run. All but the constructor is called on one thread.

    Args:
        run: The run's id.
        wall: A moment, in seconds since the epoch, at which the run begins.
        monotonic: The same moment on the clock of all records.

    Attributes:
        recording: Whether spans are made at all: the environment may say that this
            trace is not sampled, or that there are none (``OTEL_SDK_DISABLED``).
    """

    def __init__(self, run: str, wall: float, monotonic: float) -> None:
        self._shift: float = wall - monotonic
        self._ids: _Ids = _Ids()
        self._ended: _Ended = _Ended()
        self._reasons: dict[tuple[int, int], str] = {}  # of reruns that run
        provider = TracerProvider(
            resource=_resource(), id_generator=self._ids, shutdown_on_exit=False
        )
        provider.add_span_processor(self._ended)
        self._tracer: Tracer = provider.get_tracer("jackfield", installed_version())
        # The id of a task's span is this number plus the task's own. A span's id has 64
        # bits, so no run has tasks enough to go beyond them.
        self._first: int = secrets.randbits(62) + 1
        self._root: Span = self._tracer.start_span(
            "run", Context(), start_time=self._ns(monotonic),
            attributes={"jackfield.run.id": run},
        )  # fmt: skip
        self.recording: bool = self._root.is_recording()

    def take(self) -> list[ReadableSpan]:
        """Return the spans that were made since the last time."""
        taken, self._ended.spans = self._ended.spans, []
        return taken

    def task(self, record: TaskRecord) -> None:
        """Make the span of a task that has ended."""
        assert record.ended is not None
        attributes: dict[str, AttributeValue] = {
            CODE_FUNCTION_NAME: texts.clean(record.app),
            "jackfield.task": record.task,
            "jackfield.kind": record.kind,
            "jackfield.state": record.state.value,
            "jackfield.attempts": record.attempts,
            "jackfield.memo": record.memo,
        }
        more = {
            "label": record.label,
            "call": record.call,
            "executor": record.executor,
            "refusal": record.refusal,
        }
        attributes |= {
            f"jackfield.{name}": texts.clean(text)
            for name, text in more.items()
            if text
        }
        dropped = len(record.depends_on) - LINKS_MOST
        if dropped > 0:
            attributes["jackfield.links_left_out"] = dropped
        self._ids.next = self._first + record.task
        span = self._tracer.start_span(
            texts.clean(record.app), self._within(record.parent),
            links=[Link(self._of(task)) for task in record.depends_on[:LINKS_MOST]],
            attributes=attributes, start_time=self._ns(record.submitted),
        )  # fmt: skip
        failure = record.failure
        if failure is not None and record.attempts:  # the attempt's span has it
            failure = failure._replace(traceback="")
        self._end(span, failure, record.ended, bad=record.state in _BAD)

    def rerun(self, record: Rerun) -> None:
        """Keep why an attempt is made; its span is made when it has ended."""
        self._reasons[record.task, record.attempt] = record.reason

    def attempt(self, record: AttemptRecord) -> None:
        """Make the span of an attempt: while its function ran, if that is known."""
        place = record.place
        attributes: dict[str, AttributeValue] = {
            "jackfield.task": record.task,
            "jackfield.attempt": record.attempt,
            "jackfield.executor": texts.clean(record.executor),
        }
        began, ended = record.launched, record.reported
        if place is not None:
            began, ended = place.began, place.ended
            attributes["jackfield.worker"] = texts.clean(place.worker)
            attributes["host.name"] = texts.clean(place.host)
            attributes["process.pid"] = place.pid
            attributes["jackfield.queued_seconds"] = began - record.launched
            if place.cpu is not None:
                attributes["jackfield.cpu_seconds"] = place.cpu
            if place.memory is not None:
                attributes["jackfield.memory_bytes"] = place.memory
        reason = self._reasons.pop((record.task, record.attempt), None)
        if reason is not None:
            attributes["jackfield.rerun_reason"] = texts.clean(reason)
        if record.retry_in is not None:
            attributes["jackfield.retry_in_seconds"] = record.retry_in
        span = self._tracer.start_span(
            "attempt", self._within(record.task),
            attributes=attributes, start_time=self._ns(began),
        )  # fmt: skip
        failure = record.failure
        bad = failure is not None and not is_cancelled(failure)
        self._end(span, failure, ended, bad=bad)

    def end(self, summary: Summary, monotonic: float) -> None:
        """Make the span of the run."""
        for state, number in summary.counts.items():
            if number:
                self._root.set_attribute(f"jackfield.tasks.{state.value}", number)
        if summary.failed:
            self._root.set_status(
                Status(StatusCode.ERROR, f"{summary.failed} tasks have failed")
            )
        self._root.end(self._ns(monotonic))

    def _end(
        self, span: Span, failure: Failure | None, ended: float, *, bad: bool
    ) -> None:
        when = self._ns(ended)
        if failure is not None:
            kind, said = texts.clean(failure.kind), texts.clean(failure.message)
            event = {EXCEPTION_TYPE: kind, EXCEPTION_MESSAGE: said}
            if failure.traceback:
                event[EXCEPTION_STACKTRACE] = texts.traceback(failure.traceback)
            span.set_attribute(ERROR_TYPE, kind)
            span.add_event("exception", event, when)
            if bad:
                span.set_status(Status(StatusCode.ERROR, said))
        elif bad:
            span.set_status(Status(StatusCode.ERROR))
        span.end(when)

    def _of(self, task: int) -> SpanContext:
        """Return what the span of a task is found by, whether it is made or not."""
        root = self._root.get_span_context()
        return SpanContext(
            root.trace_id, self._first + task, is_remote=False,
            trace_flags=root.trace_flags, trace_state=root.trace_state,
        )  # fmt: skip

    def _within(self, task: int | None) -> Context:
        """Return the context for children of a task, or of the run."""
        if task is None:
            return set_span_in_context(self._root, Context())
        return set_span_in_context(NonRecordingSpan(self._of(task)), Context())

    def _ns(self, monotonic: float) -> int:
        return int((monotonic + self._shift) * 1e9)


def _resource() -> Resource:
    """Return what the environment says of this program, with a name if it has none."""
    found = Resource.create()
    if os.environ.get("OTEL_SERVICE_NAME") or (
        not str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    ):
        return found
    return found.merge(Resource({SERVICE_NAME: "jackfield"}))


class _Ids(RandomIdGenerator):
    """Random ids, but for a span whose id is ``next``."""

    def __init__(self) -> None:
        self.next: int = 0

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        chosen, self.next = self.next, 0
        return chosen or super().generate_span_id()


class _Ended(SpanProcessor):
    """Keeps the spans that have ended until they are taken."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep a span."""
        self.spans.append(span)
