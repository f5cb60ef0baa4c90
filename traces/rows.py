"""
Recorded runs as rows of Trace and Step, plain dicts by column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from runnables.config import SERVER_OWNED
from runnables.hooks import Outcome
from traces import encoding, rules
from traces.models import Trace
from traces.recorder import Recorder, StepRecord, state_of
from traces.rules import Rules

Row = dict[str, Any]
# What a caller may send again, and the server does not add.
_OF_CALLERS = ("tags", "recursion_limit", "max_concurrency")
NAME = 200


def trace_row(recorder: Recorder, boot_id: UUID, *, id: UUID | None = None) -> Row:
    """
    The run itself. With `id`, its own is taken.
    """
    outcome, how = recorder.outcome, recorder.rules
    root = recorder.steps.get(recorder.run_id)
    is_timed = recorder.handler is None
    own = out = encoding.NOTHING
    if not is_timed:
        own = encoding.kept(_input(recorder, root), how)
    if root:
        out = encoding.kept(root.output, how)
    canary = recorder.deployment.canary
    row: Row = {
        "id": id or recorder.run_id,
        "reused_id": recorder.run_id if id else None,
        "deployment_id": recorder.deployment_pk,
        "deployment_name": recorder.deployment.name[:NAME],
        "version": recorder.version.number,
        "version_pk": recorder.version.pk or 0,
        "canary_id": canary.pk if canary else 0,
        "arm": recorder.arm,
        "endpoint": recorder.endpoint,
        "transport": recorder.transport,
        "user_id": recorder.user_pk,
        "principal": recorder.principal,
        "thread": _thread(recorder),
        "kept": Trace.Kept.TIMING.value if is_timed else how.payloads,
        "started_at": datetime.fromtimestamp(recorder.started_at, UTC),
        "ended_at": datetime.fromtimestamp(outcome.ended_at, UTC) if outcome else None,
        "boot_id": boot_id,
        "config": "{}" if is_timed else _config(recorder),
        "input_preview": encoding.preview(own.json),
        "output_preview": encoding.preview(out.json),
        "steps_count": len(recorder.steps) - 1 if recorder.steps else 0,
        "steps_dropped": recorder.dropped,
        "name": _clean(root.name if root else recorder.deployment.name)[:NAME],
        "state": state_of(recorder),
        "input": own.json,
        "output": out.json,
        "input_size": own.size,
        "output_size": out.size,
        "input_shape": own.shape,
        "output_shape": out.shape,
        **(_told(root, how, _NO_METADATA) if root else _NOTHING_TOLD),
        **_UNTIMED,
    }
    if root and root.ended is not None:
        row["duration_ms"] = _ms(root.ended - recorder.started)
    elif outcome:
        row["duration_ms"] = _ms(outcome.seconds)
    if outcome:
        row["first_chunk_ms"] = _ms(outcome.first_chunk)
        if outcome.error is not None and recorder.endpoint != "batch":
            # As the figures count it; the root's own may be of the cancel that ended it.
            row["error_class"] = _error_class(outcome)
        if recorder.is_first:
            row["request_ms"] = _ms(outcome.seconds)
            row["request_state"] = outcome.state
            row["request_first_chunk_ms"] = row["first_chunk_ms"]
    if recorder.has_usage:
        row["input_tokens"], row["output_tokens"], row["cost"] = _sums(recorder)
    return row


def _error_class(outcome: Outcome) -> str:
    return "" if outcome.state in _ENDED_BY_CALLER else type(outcome.error).__name__[:NAME]


_ENDED_BY_CALLER = ("cancelled", "client_gone")
_UNTIMED: Row = {
    **dict.fromkeys(("duration_ms", "first_chunk_ms", "request_ms", "request_first_chunk_ms")),
    **dict.fromkeys(("input_tokens", "output_tokens", "cost")),
    "request_state": "",
}
_NOTHING_TOLD: Row = {"error_class": "", "error": "", "tags": "[]", "metadata": "{}"}
_NO_METADATA: Mapping[str, Any] = {}


def _input(recorder: Recorder, root: StepRecord | None) -> Any:
    # LangChain knows the input of a stream only when it has ended.
    return root.input if root and root.input != _UNKNOWN else recorder.input


def step_rows(recorder: Recorder, steps: Iterable[StepRecord], *, trace: UUID) -> list[Row]:
    """
    Those of the steps that are not the run itself.
    """
    common = recorder.root.metadata if recorder.root else None
    return [
        _step_row(recorder, step, common or {}, trace)
        for step in steps
        if step.id != recorder.run_id
    ]


def _step_row(recorder: Recorder, step: StepRecord, common: Mapping[str, Any], trace: UUID) -> Row:
    how, began = recorder.rules, step.started
    own, out = encoding.kept(step.input, how), encoding.kept(step.output, how)
    known = step.parent is not None and step.parent in recorder.steps
    is_left = recorder.outcome is not None and step.state == "running"
    return {
        "id": step.id,
        "trace_id": trace,
        "parent": step.parent if known and step.parent != recorder.run_id else trace,
        "position": step.position,
        "kind": step.kind,
        "name": _clean(step.name)[:NAME],
        # The run went on without it, or was stopped.
        "state": "cancelled" if is_left else step.state,
        "offset_ms": _ms(began - recorder.started),
        "duration_ms": None if step.ended is None else _ms(step.ended - began),
        "first_token_ms": None if step.first_token is None else _ms(step.first_token - began),
        "model": _clean(step.model)[:NAME],
        "input_tokens": step.tokens and step.tokens[0],
        "output_tokens": step.tokens and step.tokens[1],
        "cost": _cost(step),
        "input": own.json,
        "output": out.json,
        "input_size": own.size,
        "output_size": out.size,
        "input_shape": own.shape,
        "output_shape": out.shape,
        **_told(step, how, common),
    }


def _told(step: StepRecord, how: Rules, common: Mapping[str, Any]) -> Row:
    return {
        "error_class": step.error_class[:NAME],
        "error": encoding.text(step.error, how) if step.error else "",
        "tags": encoding.plain(step.tags, how) if step.tags else "[]",
        "metadata": _metadata(step, how, common) if step.metadata or step.retries else "{}",
    }


def _metadata(step: StepRecord, how: Rules, common: Mapping[str, Any]) -> str:
    """
    Without what the server added for itself, and what the run says for all its steps.
    """
    found = {
        name: value
        for name, value in (step.metadata or {}).items()
        if name[:2] != "__" and (name not in common or common[name] != value)
    }
    if step.retries:
        found["retries"] = step.retries
    return encoding.plain(found, how) if found else "{}"


def _config(recorder: Recorder) -> str:
    config = recorder.config
    found = {name: config[name] for name in _OF_CALLERS if config.get(name)}
    if given := config.get("configurable"):
        prefix = f"{recorder.principal or 'anonymous'}-"
        found["configurable"] = {
            name: value.removeprefix(prefix) if isinstance(value, str) else value
            for name, value in given.items()
            if name not in SERVER_OWNED and not name.startswith(("__", "checkpoint_"))
        }
    metadata = config.get("metadata") or {}
    if own := {name: metadata[name] for name in metadata if name[:2] != "__"}:
        found["metadata"] = own
    return encoding.plain(found, recorder.rules) if found else "{}"


def _thread(recorder: Recorder) -> str:
    """
    The thread or session that the caller named, as they named it.
    """
    configurable = recorder.config.get("configurable")
    if not configurable:
        return ""
    named = configurable.get("thread_id") or configurable.get("session_id") or ""
    prefix = f"{recorder.principal or 'anonymous'}-"
    return _clean(str(named).removeprefix(prefix))[:NAME]


def _sums(recorder: Recorder) -> tuple[int, int, Decimal | None]:
    """
    Tokens in and out, and the cost, of all models that told.
    """
    told = [(step.tokens, _cost(step)) for step in recorder.steps.values() if step.tokens]
    costs = [cost for _, cost in told if cost is not None]
    return (
        sum(tokens[0] for tokens, _ in told),
        sum(tokens[1] for tokens, _ in told),
        sum(costs, Decimal(0)) if costs else None,
    )


def _cost(step: StepRecord) -> Decimal | None:
    return rules.cost(step.model, *step.tokens) if step.tokens and step.model else None


def _ms(seconds: float | None) -> Any:
    return None if seconds is None else round(seconds * 1000, 3)


def _clean(text: str) -> str:
    return text.replace("\0", "") if "\0" in text else text


# What LangChain calls the input of a stream before it has come.
_UNKNOWN = {"input": ""}

TOLD = (
    *("id", "principal", "state", "deployment_name", "version", "started_at", "ended_at"),
    *("duration_ms", "first_chunk_ms", "input_tokens", "output_tokens", "cost", "error_class"),
)


def told(recorder: Recorder) -> Row:
    """
    What its caller may be told of a run, before it is in the database.
    """
    row = trace_row(recorder, _NOBODY)
    return {name: row[name] for name in TOLD}


_NOBODY = UUID(int=0)
