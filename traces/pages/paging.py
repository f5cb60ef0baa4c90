"""
Pages of a list by keys, never by numbers: the thousandth costs what the first does, and rows
that come meanwhile move nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy

from traces.models import Trace
from traces.pages.filters import YEARS

SIZE = 50


class WrongCursor(ValueError):
    """
    An address that no page of ours has given out.
    """


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None or found.year not in YEARS:
        raise ValueError(text)
    return found


def _number(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(text)
    return found


def _whole(text: str) -> int:
    found = int(text)
    if not 0 <= found < 2**63:
        raise ValueError(text)
    return found


def _decimal(text: str) -> Decimal:
    found = Decimal(text)
    if not found.is_finite() or abs(found) >= 10**11 or found.as_tuple().exponent < -12:  # type: ignore[operator]
        raise ValueError(text)
    return found


@dataclass(frozen=True, slots=True)
class Sort:
    label: Any
    field: str
    read: Callable[[str], Any]


# Each has an index; the largest come first.
SORTS = {
    "newest": Sort(gettext_lazy("Newest"), "started_at", _moment),
    "slowest": Sort(gettext_lazy("Slowest"), "duration_ms", _number),
    "tokens": Sort(gettext_lazy("Most tokens out"), "output_tokens", _whole),
    "cost": Sort(gettext_lazy("Most expensive"), "cost", _decimal),
}


@dataclass(frozen=True, slots=True)
class Page:
    """
    `newer` and `older` are cursors of the pages beside it, empty where there is none.
    """

    rows: list[Trace]
    newer: str = ""
    older: str = ""


def page_of(traces: QuerySet[Trace], sort: Sort, params: Mapping[str, Any]) -> Page:
    """
    The page that `?after=` or `?before=` names; raises WrongCursor.
    """
    if sort.field != "started_at":
        traces = traces.filter(**{f"{sort.field}__isnull": False})
    ordered = traces.order_by(f"-{sort.field}", "-id")
    if before := params.get("before"):
        value, key = _read(before, sort)
        above = _beyond(traces, sort, "gt", value, key).order_by(sort.field, "id")
        rows = list(above[: SIZE + 1])
        # Fewer than a page: the first page begins with them.
        if len(rows) > SIZE:
            rows = rows[:SIZE][::-1]
            return Page(rows, _cursor(rows[0], sort), _cursor(rows[-1], sort))
    elif after := params.get("after"):
        ordered = _beyond(ordered, sort, "lt", *_read(after, sort))
        rows = list(ordered[: SIZE + 1])
        return _cut(rows, sort, newer=_cursor(rows[0], sort) if rows else "")
    return _cut(list(ordered[: SIZE + 1]), sort)


def _cut(rows: list[Trace], sort: Sort, newer: str = "") -> Page:
    older = _cursor(rows[SIZE - 1], sort) if len(rows) > SIZE else ""
    return Page(rows[:SIZE], newer, older)


def _beyond(
    traces: QuerySet[Trace], sort: Sort, side: str, value: Any, key: UUID
) -> QuerySet[Trace]:
    # The first condition is one that an index can use, the second cuts what it has too much.
    return traces.filter(**{f"{sort.field}__{side}e": value}).filter(
        Q(**{f"{sort.field}__{side}": value}) | Q(**{f"id__{side}": key})
    )


def _cursor(row: Trace, sort: Sort) -> str:
    value = getattr(row, sort.field)
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"{text}~{row.pk.hex}"


def _read(cursor: str, sort: Sort) -> tuple[Any, UUID]:
    text, _tilde, key = cursor.rpartition("~")
    try:
        return sort.read(text), UUID(key)
    except (ValueError, InvalidOperation, OverflowError) as error:
        raise WrongCursor(cursor) from error
