"""
manage.py traces export
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.core.management.base import BaseCommand
from django.db.models import Q, QuerySet

from feedback.models import Feedback
from runnables.management.arguments import beginning, end, user_named
from runnables.management.progress import Interrupt, Progress
from traces.management.selection import AddCommand, of_deployment, stop
from traces.models import Recorded, State, Step, Trace

BATCH = 100


def add_arguments(command: AddCommand) -> None:
    sub = command("export", export, "one JSON object per trace and line, with steps and feedback")
    sub.add_argument("--format", choices=["jsonl"], default="jsonl")
    sub.add_argument("--deployment", metavar="NAME", help="of this one, by name or /path")
    sub.add_argument("--user", help="of the runs of this user")
    sub.add_argument("--since", type=beginning, metavar="WHEN", help="30d, a date or a time")
    sub.add_argument("--until", type=end, metavar="WHEN", help="30d, a date (to its end) or a time")
    sub.add_argument("--state", choices=State.values)


def export(
    command: BaseCommand,
    *,
    deployment: str | None,
    user: str | None,
    since: datetime | None,
    until: datetime | None,
    state: str | None,
    no_progress: bool,
    **_: Any,
) -> None:
    wanted = {
        "user": user_named(user) if user else None,
        "started_at__gte": since,
        "started_at__lt": until,
        "state": state,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    traces = of_deployment(Trace.objects.filter(**given), deployment)
    done, last = 0, None
    # A bar would stand between the lines, where both go to the same terminal.
    is_bar = not no_progress and not command.stdout.isatty()
    bar = Progress(command.stderr, "Exporting", traces.count(), "traces", bar=is_bar)
    with Interrupt() as interrupt, bar as progress:
        for trace, line in lines(traces):
            command.stdout.write(line)
            done, last = done + 1, trace
            progress.show(done)
            if interrupt.came:
                break
    if interrupt.came:
        since_last = f"; go on with --since {last.started_at.isoformat()}" if last else ""
        stop(command, f"stopped after {done:,} traces{since_last}")


def lines(traces: QuerySet[Trace]) -> Iterator[tuple[Trace, str]]:
    """
    Each trace, oldest first, with all that is kept of it as a line of JSON.
    """
    for batch in _batches(traces):
        said = _feedback([trace.pk for trace in batch])
        for trace in batch:
            yield trace, orjson.dumps(_exported(trace, said.get(trace.pk, []))).decode()


def _batches(traces: QuerySet[Trace]) -> Iterator[list[Trace]]:
    """
    By where the last one ended, so that the millionth costs what the first did.
    """
    rows = traces.select_related("user").order_by("started_at", "id")
    batch = list(rows[:BATCH])
    while batch:
        yield batch
        last = batch[-1]
        later = Q(started_at__gt=last.started_at) | Q(started_at=last.started_at, id__gt=last.pk)
        batch = list(rows.filter(later)[:BATCH])


def _exported(trace: Trace, said: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "run_id": trace.pk,
        "deployment": trace.deployment_name,
        "version": trace.version,
        "door": trace.endpoint,
        "transport": trace.transport,
        "user": trace.user.get_username() if trace.user else None,
        "thread": trace.thread,
        "kept": trace.kept,
        "started_at": trace.started_at,
        "ended_at": trace.ended_at,
        "first_chunk_ms": trace.first_chunk_ms,
        "config": _json(trace.config),
        **_recorded(trace),
        "steps_dropped": trace.steps_dropped,
        "steps": _tree(trace.pk, trace.steps.iterator(chunk_size=2000)),
        "feedback": said,
    }


def _tree(root: UUID, steps: Iterable[Step]) -> list[dict[str, Any]]:
    """
    The steps, each among those of its parent. One whose parent was dropped is the root's.
    """
    nodes: dict[UUID, dict[str, Any]] = {root: {"steps": []}}
    found = []
    for step in steps:
        nodes[step.pk] = {
            "id": step.pk,
            "kind": step.kind,
            "offset_ms": step.offset_ms,
            "first_token_ms": step.first_token_ms,
            "model": step.model,
            **_recorded(step),
            "steps": [],
        }
        found.append((step.parent, step.pk))
    for parent, pk in found:
        nodes.get(parent, nodes[root])["steps"].append(nodes[pk])
    top: list[dict[str, Any]] = nodes[root]["steps"]
    return top


def _recorded(row: Recorded) -> dict[str, Any]:
    return {
        "name": row.name,
        "state": row.state,
        "duration_ms": row.duration_ms,
        "input": _json(row.input),
        "input_size": row.input_size,
        "input_shape": row.input_shape,
        "output": _json(row.output),
        "output_size": row.output_size,
        "output_shape": row.output_shape,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost": None if row.cost is None else str(row.cost),
        "error_class": row.error_class,
        "error": row.error,
        "tags": _json(row.tags),
        "metadata": _json(row.metadata),
    }


def _json(text: str) -> Any:
    """
    What the text says; the text itself where it was cut.
    """
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _feedback(traces: list[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    said: dict[UUID, list[dict[str, Any]]] = {}
    rows = Feedback.objects.filter(trace_id__in=traces).select_related("user")
    for row in rows.order_by("created_at", "id"):
        said.setdefault(row.trace_id, []).append(
            {
                "run_id": row.run_id,
                "key": row.key,
                "author": row.user.get_username() if row.user else row.author,
                "score": row.score,
                "value": row.value,
                "comment": row.comment,
                "correction": row.correction,
                "reasons": row.reasons,
                "created_at": row.created_at,
                "modified_at": row.modified_at,
            }
        )
    return said
