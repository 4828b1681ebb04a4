"""Events as OpenTelemetry logs and spans (OTLP 1.x), joined to the trace that the agent told of.

A decision is a span from the permit to its outcome (a denial has no length); a task is a span from its opening to its
end. A decision of which the agent told a `traceparent` is a child of the agent's own span, and linked to its task;
without one it is a child of its task. Ids follow from the record's, so that a span that is sent again is the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from remit.app.forwarding.events import Event

_SEVERITY: Final = {
    "info": SeverityNumber.SEVERITY_NUMBER_INFO,
    "warning": SeverityNumber.SEVERITY_NUMBER_WARN,
    "error": SeverityNumber.SEVERITY_NUMBER_ERROR,
}
_SCOPE: Final = InstrumentationScope(name="remit", version=version("remit"))
_NS: Final = 1_000_000  # of a millisecond


def logs_of(events: Iterable[Event], now: int) -> bytes:
    """The body of `POST /v1/logs`: every event; `now` (ms) is when they were seen."""
    groups: dict[str, list[LogRecord]] = {}
    for event in events:
        trace, span, _ = _place(event)
        groups.setdefault(event.td, []).append(
            LogRecord(
                time_unix_nano=event.at * _NS,
                observed_time_unix_nano=now * _NS,
                severity_number=_SEVERITY[event.level],
                severity_text=event.level.upper(),
                body=AnyValue(string_value=event.text),
                attributes=_attributes(event),
                trace_id=trace,
                span_id=span,
                event_name=f"remit.{event.kind}",
            )
        )
    return ExportLogsServiceRequest(
        resource_logs=[
            ResourceLogs(resource=_resource(td), scope_logs=[ScopeLogs(scope=_SCOPE, log_records=records)])
            for td, records in groups.items()
        ]
    ).SerializeToString()


def spans_of(events: Iterable[Event]) -> bytes:
    """The body of `POST /v1/traces`: what ends with these events; b"" for nothing."""
    groups: dict[str, list[Span]] = {}
    for event in events:
        if event.ends_task or event.ends_decision:
            groups.setdefault(event.td, []).append(_span(event))
    if not groups:
        return b""
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(resource=_resource(td), scope_spans=[ScopeSpans(scope=_SCOPE, spans=spans)])
            for td, spans in groups.items()
        ]
    ).SerializeToString()


def task_trace(root: str) -> bytes:
    """The trace of a task tree: 16 bytes."""
    return hashlib.sha256(f"remit trace\n{root}".encode()).digest()[:16]


def task_span(task: str) -> bytes:
    """The span of a task: 8 bytes."""
    return hashlib.sha256(f"remit task\n{task}".encode()).digest()[:8]


def decision_span(decision: str) -> bytes:
    """The span of a decision: 8 bytes."""
    return hashlib.sha256(f"remit decision\n{decision}".encode()).digest()[:8]


def _place(event: Event) -> tuple[bytes, bytes, bytes]:
    """Trace, span and parent of what an event is about; empty where it is about no task."""
    if event.kind == "task":
        parent = task_span(event.parent) if event.parent else b""
        return task_trace(event.root), task_span(event.task), parent
    if not event.decision:
        return b"", b"", b""
    if event.trace:
        _, trace, parent_id, _ = event.trace.split("-")
        return bytes.fromhex(trace), decision_span(event.decision), bytes.fromhex(parent_id)
    trace_id = task_trace(event.root or event.decision)
    return trace_id, decision_span(event.decision), task_span(event.task) if event.task else b""


def _span(event: Event) -> Span:
    trace, span, parent = _place(event)
    failed = event.result in ("error", "unknown") or (event.effect == "deny")
    made = Span(
        trace_id=trace,
        span_id=span,
        parent_span_id=parent,
        name=f"task {event.intent}" if event.kind == "task" else event.action,
        kind=Span.SpanKind.SPAN_KIND_INTERNAL,
        start_time_unix_nano=(event.began or event.at) * _NS,
        end_time_unix_nano=event.at * _NS,
        attributes=_attributes(event),
        status=Status(
            code=Status.StatusCode.STATUS_CODE_ERROR if failed else Status.StatusCode.STATUS_CODE_OK,
            message=(event.code if event.effect == "deny" else event.result) if failed else "",
        ),
    )
    if event.trace and event.task:
        made.links.add(trace_id=task_trace(event.root), span_id=task_span(event.task))
    return made


def _resource(td: str) -> Resource:
    return Resource(attributes=_pairs({"service.name": "remit", "service.namespace": td}))


def _attributes(event: Event) -> list[KeyValue]:
    given = {
        "uid": event.uid, "stream": event.stored.stream, "n": str(event.stored.n), "kind": event.kind,
        "decision": event.decision, "effect": event.effect, "code": event.code, "policies": " ".join(event.policies),
        "action": event.action, "server_effect": event.server_effect, "subject": event.subject, "pep": event.pep,
        "by": event.by, "task": event.task, "root_task": event.root, "intent": event.intent, "state": event.state,
        "result": event.result, "mode": event.mode, "count": str(event.count) if event.count > 1 else "", **event.extra,
    }  # fmt: skip
    return _pairs({f"remit.{name}": value for name, value in given.items() if value})


def _pairs(given: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in given.items()]
