"""
What people said as files: CSV and JSONL, as rows or as a set to evaluate runnables with.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.timezone import get_current_timezone, is_naive, make_aware

from feedback.models import Feedback
from runnables.hooks import payloads_of

FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl; charset=utf-8",
}
SHAPES = ("rows", "dataset")
COLUMNS = {
    "rows": (
        *("id", "run_id", "trace_id", "deployment", "key", "author", "user"),
        *("score", "value", "comment", "correction", "reasons"),
        *("source_info", "created_at", "modified_at"),
    ),
    "dataset": (
        *("run_id", "deployment", "input", "output", "correction"),
        *("key", "score", "value", "comment", "reasons"),
    ),
}
BATCH = 500
# A spreadsheet takes a cell that begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

Row = dict[str, Any]


def chosen(
    *,
    deployment: int | None = None,
    key: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[Feedback]:
    """
    Feedback by what it is about and when it was said first.
    """
    rows = Feedback.objects.all()
    if deployment is not None:
        rows = rows.filter(deployment=deployment)
    if key:
        rows = rows.filter(key=key)
    if since:
        rows = rows.filter(created_at__gte=since)
    return rows.filter(created_at__lt=until) if until else rows


def batches(
    rows: QuerySet[Feedback],
    *,
    kind: str,
    shape: str,
    count: Callable[[int, int], None] = lambda read, written: None,
) -> Iterator[str]:
    """
    The file, piece by piece, oldest first; each piece costs a few queries. `count` is told
    how many rows were read for a piece, and how many are in it.
    """
    if kind == "csv":
        yield _csv([list(COLUMNS[shape])])
    for batch in in_batches(rows):
        found = list(_dataset(batch) if shape == "dataset" else map(_row, batch))
        count(len(batch), len(found))
        if kind == "csv":
            yield _csv([_cell(row[name]) for name in COLUMNS[shape]] for row in found)
        else:
            yield "".join(f"{_json(row)}\n" for row in found)


def read_time(text: str) -> datetime:
    """
    A date, or a date and time, in the site's zone unless it names one; raises ValueError.
    """
    when = parse_datetime(text)
    if when is None and (day := parse_date(text)):
        when = datetime(day.year, day.month, day.day)
    if when is None:
        raise ValueError(text)
    return make_aware(when, get_current_timezone()) if is_naive(when) else when


def in_batches(rows: QuerySet[Feedback]) -> Iterator[list[Feedback]]:
    """
    By key: what is said or taken back meanwhile moves nothing.
    """
    ordered = rows.order_by("created_at", "pk").select_related("deployment", "user")
    batch = list(ordered[:BATCH])
    while batch:
        yield batch
        last = batch[-1]
        later = Q(created_at__gt=last.created_at) | Q(created_at=last.created_at, pk__gt=last.pk)
        batch = list(ordered.filter(later)[:BATCH])


def _row(feedback: Feedback) -> Row:
    return {
        "id": str(feedback.pk),
        "run_id": str(feedback.run_id),
        "trace_id": str(feedback.trace_id),
        "deployment": feedback.deployment.name if feedback.deployment else "",
        "key": feedback.key,
        "author": feedback.author,
        "user": _name(feedback.user),
        "score": feedback.score,
        "value": feedback.value,
        "comment": feedback.comment,
        "correction": feedback.correction,
        "reasons": feedback.reasons,
        "source_info": feedback.source_info,
        "created_at": feedback.created_at.isoformat(),
        "modified_at": feedback.modified_at.isoformat(),
    }


def _dataset(batch: Sequence[Feedback]) -> Iterator[Row]:
    """
    What was given, said and should have been said; without runs whose payloads are not kept.
    """
    found = payloads_of([one.run_id for one in batch])
    for feedback in batch:
        payload = found.get(feedback.run_id)
        # A caller may have named any run before it was recorded, another deployment's too.
        if payload and payload.deployment == feedback.deployment_id:
            row = _row(feedback) | {"input": payload.input, "output": payload.output}
            yield {name: row[name] for name in COLUMNS["dataset"]}


def _name(user: Any) -> str:
    return str(getattr(user, get_user_model().USERNAME_FIELD)) if user else ""


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """
    A value as a cell; a text that a spreadsheet would run is marked as a text.
    """
    if value is None or value == [] or value == {}:
        return ""
    if isinstance(value, float):
        return int(value) if value == int(value) else value
    text = value if isinstance(value, str) else _json(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
