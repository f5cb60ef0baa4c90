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
from traces import encoding, rules
from traces.encoding import Kept
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
    facts, root, outcome = recorder.facts, recorder.root, recorder.outcome
    tokens, cost = _sums(recorder)
    first = outcome if outcome and recorder.is_first else None
    began = recorder.started
    ended = outcome.ended_at if outcome else None
    given = root.input if root and root.input not in _UNKNOWN else recorder.input
    has_payloads = recorder.handler is not None
    own = encoding.kept(given, recorder.rules) if has_payloads else encoding.NOTHING
    out = encoding.kept(root.output, recorder.rules) if root else encoding.NOTHING
    row = {
        "id": id or recorder.run_id,
        "reused_id": recorder.run_id if id else None,
        "deployment_id": facts.deployment,
        "deployment_name": facts.deployment_name[:NAME],
        "version": facts.version,
        "version_pk": facts.version_pk,
        "canary_id": facts.canary_id,
        "arm": facts.arm,
        "endpoint": facts.endpoint,
        "transport": facts.transport,
        "user_id": facts.user,
        "principal": facts.principal,
        "thread": _clean(facts.thread)[:NAME],
        "kept": recorder.rules.payloads if has_payloads else Trace.Kept.TIMING,
        "started_at": datetime.fromtimestamp(recorder.started_at, UTC),
        "ended_at": datetime.fromtimestamp(ended, UTC) if ended else None,
        "boot_id": boot_id,
        "first_chunk_ms": _ms(outcome.first_chunk) if outcome else None,
        "request_ms": _ms(first.seconds) if first else None,
        "request_state": first.state if first else "",
        "request_first_chunk_ms": _ms(first.first_chunk) if first else None,
        "config": _config(recorder) if has_payloads else "{}",
        "input_preview": encoding.preview(own.json),
        "output_preview": encoding.preview(out.json),
        "steps_count": max(0, len(recorder.steps) - 1),
        "steps_dropped": recorder.dropped,
        **_recorded(root, recorder.rules, own, out),
        "name": _clean((root.name if root else "") or facts.deployment_name)[:NAME],
        "state": state_of(recorder),
        "duration_ms": _duration(root, began, outcome.seconds if outcome else None),
        "input_tokens": tokens and tokens[0],
        "output_tokens": tokens and tokens[1],
        "cost": cost,
    }
    if outcome and outcome.error is not None and not row["error_class"]:
        # It failed before, or beside, what LangChain calls the run.
        row["error_class"] = type(outcome.error).__name__
    return row


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
    how = recorder.rules
    parent = step.parent if step.parent in recorder.steps else None
    tokens = step.tokens
    row = _recorded(
        step, how, encoding.kept(step.input, how), encoding.kept(step.output, how), common
    )
    state = step.state
    if recorder.outcome and state == "running":
        state = "cancelled"  # the run went on without it, or was stopped
    return {
        **row,
        "id": step.id,
        "trace_id": trace,
        "parent": trace if parent in (None, recorder.run_id) else parent,
        "position": step.position,
        "kind": step.kind,
        "name": _clean(step.name)[:NAME],
        "state": state,
        "offset_ms": _ms(step.started - recorder.started),
        "duration_ms": None if step.ended is None else _ms(step.ended - step.started),
        "first_token_ms": None
        if step.first_token is None
        else _ms(step.first_token - step.started),
        "model": _clean(step.model)[:NAME],
        "input_tokens": tokens and tokens[0],
        "output_tokens": tokens and tokens[1],
        "cost": _cost(step),
    }


def _recorded(
    step: StepRecord | None,
    how: Rules,
    own: Kept,
    out: Kept,
    common: Mapping[str, Any] | None = None,
) -> Row:
    return {
        "input": own.json,
        "output": out.json,
        "input_size": own.size,
        "output_size": out.size,
        "input_shape": own.shape,
        "output_shape": out.shape,
        "error_class": step.error_class[:NAME] if step else "",
        "error": encoding.text(step.error, how) if step and step.error else "",
        "tags": encoding.plain(step.tags, how) if step and step.tags else "[]",
        "metadata": _metadata(step, how, common or {}) if step else "{}",
    }


def _metadata(step: StepRecord, how: Rules, common: Mapping[str, Any]) -> str:
    """
    Without what the server added for itself, and what the run says for all its steps.
    """
    found = {
        name: value
        for name, value in (step.metadata or {}).items()
        if not name.startswith("__") and (name not in common or common[name] != value)
    }
    if step.retries:
        found["retries"] = step.retries
    return encoding.plain(found, how) if found else "{}"


def _config(recorder: Recorder) -> str:
    config = recorder.config
    found = {name: config[name] for name in _OF_CALLERS if config.get(name)}
    prefix = f"{recorder.facts.principal or 'anonymous'}-"
    configurable = {
        name: value.removeprefix(prefix) if isinstance(value, str) else value
        for name, value in (config.get("configurable") or {}).items()
        if name not in SERVER_OWNED and not name.startswith(("__", "checkpoint_"))
    }
    if configurable:
        found["configurable"] = configurable
    metadata = {
        name: value
        for name, value in (config.get("metadata") or {}).items()
        if not name.startswith("__") and name not in configurable
    }
    if metadata:
        found["metadata"] = metadata
    return encoding.plain(found, recorder.rules) if found else "{}"


def _sums(recorder: Recorder) -> tuple[tuple[int, int] | None, Decimal | None]:
    """
    Tokens in and out, and the cost, of all models that told.
    """
    told = [step for step in recorder.steps.values() if step.tokens]
    if not told:
        return None, None
    costs = [cost for step in told if (cost := _cost(step)) is not None]
    tokens = [step.tokens for step in told if step.tokens]
    together = sum(one[0] for one in tokens), sum(one[1] for one in tokens)
    return together, sum(costs, Decimal(0)) if costs else None


def _cost(step: StepRecord) -> Decimal | None:
    return rules.cost(step.model, *step.tokens) if step.tokens and step.model else None


def _duration(root: StepRecord | None, began: float, seconds: float | None) -> Any:
    if root and root.ended is not None:
        return _ms(root.ended - began)
    return _ms(seconds)


def _ms(seconds: float | None) -> Any:
    return None if seconds is None else round(seconds * 1000, 3)


def _clean(text: str) -> str:
    return text.replace("\0", "") if "\0" in text else text


class _Unknown:
    """
    What LangChain calls a stream's input before it has come.
    """

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, dict) and value == {"input": ""}


_UNKNOWN = _Unknown()

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
