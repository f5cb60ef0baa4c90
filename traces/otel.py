"""
Finished traces as OpenTelemetry spans, by the conventions for generative AI: a mirror of what
is kept here, for those who have their own tracing. Needs the extra `otel`.

Spans are made when a trace has been written, in the writer's thread; callers never wait. They
go to the tracer provider that the process has set up, if it has, else by OTLP over HTTP to
where `OTEL_EXPORTER_OTLP_ENDPOINT` and its like say. What was sent and answered stays here
unless LANGSERVE["OTEL_CONTENT"] is on, and is redacted as the trace is.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from runnables.conf import conf
from traces.models import Recorded, State, Step, Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger(__name__)

SCOPE = "langserve.traces"
NANOSECONDS = 1_000_000
# What a step does, in the words of the conventions; others are chains, which have none.
OPERATIONS: dict[str, str] = {
    "llm": "chat",
    "tool": "execute_tool",
    "retriever": "retrieval",
}
Attributes = dict[str, str | int | float | bool]

_provider: TracerProvider | None = None
_making = threading.Lock()


def wanted() -> bool:
    """
    Whether spans are made at all.
    """
    return conf.otel


def export(trace: Trace, steps: Sequence[Step]) -> None:
    """
    Make the spans of a finished trace. Whatever is wrong with that is no matter of the trace's.
    """
    try:
        _export(_tracer(), trace, steps)
    except Exception:
        logger.exception("no spans were made of run %s", trace.pk)


def stop() -> None:
    """
    Send what waits, before the process ends.
    """
    if _provider is not None:
        _provider.shutdown()


def _export(tracer: Tracer, trace: Trace, steps: Sequence[Step]) -> None:
    # Here, for the package is an extra.
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415

    began = _nanoseconds(trace.started_at)
    root = tracer.start_span(
        trace.deployment_name,
        context=Context(),  # a trace of its own, whatever goes on in this thread
        kind=SpanKind.SERVER,
        attributes=_of_trace(trace),
        start_time=began,
    )
    spans: dict[UUID, Span] = {trace.pk: root}
    ends: list[tuple[Span, int]] = []
    for step in sorted(steps, key=lambda one: one.position):
        start = began + round(step.offset_ms * NANOSECONDS)
        span = tracer.start_span(
            _name(step),
            context=set_span_in_context(spans.get(step.parent, root), Context()),
            kind=SpanKind.CLIENT if step.kind == Step.Kind.MODEL else SpanKind.INTERNAL,
            attributes=_of_step(step),
            start_time=start,
        )
        if step.first_token_ms is not None:
            at = start + round(step.first_token_ms * NANOSECONDS)
            span.add_event("gen_ai.first_token", timestamp=at)
        _set_status(span, step)
        spans[step.pk] = span
        ends.append((span, start + round((step.duration_ms or 0) * NANOSECONDS)))
    _set_status(root, trace)
    # Children first, as they end in life; those that look at a trace's root look at it last.
    for span, end in reversed(ends):
        span.end(end)
    root.end(began + round((trace.duration_ms or 0) * NANOSECONDS))


def _of_trace(trace: Trace) -> Attributes:
    found: Attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": trace.deployment_name,
        "langserve.run_id": str(trace.pk),
        "langserve.deployment": trace.deployment_name,
        "langserve.version": trace.version,
        "langserve.endpoint": trace.endpoint,
        "langserve.transport": trace.transport,
        "langserve.arm": trace.arm,
        "langserve.steps_dropped": trace.steps_dropped,
    }
    if trace.thread:
        found["gen_ai.conversation.id"] = trace.thread
    if trace.first_chunk_ms is not None:
        found["langserve.first_chunk_ms"] = trace.first_chunk_ms
    return found | _of_both(trace)


def _of_step(step: Step) -> Attributes:
    found: Attributes = {"langserve.step_id": str(step.pk), "langserve.step_kind": step.kind}
    if operation := OPERATIONS.get(step.kind):
        found["gen_ai.operation.name"] = operation
    if step.model:
        found["gen_ai.request.model"] = step.model
    # Of models alone: backends add them up over all spans.
    if step.kind == Step.Kind.MODEL and step.input_tokens is not None:
        found["gen_ai.usage.input_tokens"] = step.input_tokens
    if step.kind == Step.Kind.MODEL and step.output_tokens is not None:
        found["gen_ai.usage.output_tokens"] = step.output_tokens
    if step.kind == Step.Kind.TOOL:
        found["gen_ai.tool.name"] = step.name
    return found | _of_both(step)


def _of_both(row: Recorded) -> Attributes:
    found: Attributes = {"langserve.state": str(row.state)}
    if row.cost is not None:
        found["langserve.cost"] = float(row.cost)
    if row.state != State.DONE:
        found["error.type"] = row.error_class or str(row.state)
    if conf.otel_content:
        found |= {"langserve.input": row.input, "langserve.output": row.output}
        found["langserve.metadata"] = row.metadata
    return found


def _name(step: Step) -> str:
    operation = OPERATIONS.get(step.kind)
    if operation is None:
        return step.name
    return f"{operation} {step.model or step.name}"


def _set_status(span: Span, row: Recorded) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an extra

    if row.state != State.DONE:
        # An exception's text is content like any other.
        text = row.error if conf.otel_content and row.error else str(row.state)
        span.set_status(Status(StatusCode.ERROR, text))


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1000


def _tracer() -> Tracer:
    from opentelemetry import trace  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    own = trace.get_tracer_provider()
    # Only where the process has set one up is it more than a stand-in.
    provider: Any = own if isinstance(own, TracerProvider) else _provider_of_ours()
    tracer: Tracer = provider.get_tracer(SCOPE)
    return tracer


def _provider_of_ours() -> TracerProvider:
    """
    Made once: it has a thread and a connection.
    """
    global _provider
    with _making:
        if _provider is None:
            _provider = _made()
        return _provider


def _made() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    # What is given here wins over the environment, which should win.
    environment = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    is_named = "OTEL_SERVICE_NAME" in os.environ or "service.name" in environment
    resource = Resource.create({} if is_named else {"service.name": "langserve"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
