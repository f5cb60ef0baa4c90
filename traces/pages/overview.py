"""
What the small charts above the list show: the newest of the traces that fit, as far as a
thousand of them reach. More would cost a scan of the table each time the list is opened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.utils import timezone

from traces.models import Trace
from traces.pages.filters import PROBLEMS

MOST = 1_000
SLOTS = 32
_PROBLEMS = frozenset(str(state) for state in PROBLEMS)


class Point(NamedTuple):
    """
    Of one trace, what is counted.
    """

    started_at: datetime
    duration_ms: float | None
    state: str
    deployment_name: str
    error_class: str


@dataclass(frozen=True, slots=True)
class Overview:
    """
    Slots of equal time from `start` to `end`. A slot without a duration has None.
    """

    number: int
    is_all: bool
    start: datetime
    end: datetime
    counts: list[int]
    errors: list[int]
    p50s: list[float | None]
    p95s: list[float | None]
    p50: float | None
    p95: float | None
    deployments: list[str]
    error_classes: list[str]

    @property
    def error_number(self) -> int:
        return sum(self.errors)

    @property
    def error_percent(self) -> float:
        return 100 * self.error_number / self.number if self.number else 0.0


def overview(traces: QuerySet[Trace], start: datetime | None, end: datetime | None) -> Overview:
    """
    One query. The time shown is that of the filter where the rows reach so far.
    """
    newest = traces.order_by("-started_at", "-id").values_list(*Point._fields)
    rows: list[Any] = list(newest[: MOST + 1])
    points = [Point(*row) for row in rows[:MOST]]
    return _overview(points, len(rows) <= MOST, start, end)


def percentile(values: Sequence[float], share: float) -> float | None:
    """
    The nearest rank.
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _overview(
    points: list[Point], is_all: bool, start: datetime | None, end: datetime | None
) -> Overview:
    times = [point.started_at for point in points]
    last = end or timezone.now()
    first = start if start and is_all else min(times, default=last - timedelta(hours=1))
    last = max(last, first + timedelta(seconds=SLOTS))
    slots: list[list[Point]] = [[] for _ in range(SLOTS)]
    for point in points:
        share = (point.started_at - first) / (last - first)
        slots[min(SLOTS - 1, max(0, int(share * SLOTS)))].append(point)
    durations = [_durations(slot) for slot in slots]
    return Overview(
        number=len(points),
        is_all=is_all,
        start=first,
        end=last,
        counts=[len(slot) for slot in slots],
        errors=[sum(point.state in _PROBLEMS for point in slot) for slot in slots],
        p50s=[percentile(slot, 0.5) for slot in durations],
        p95s=[percentile(slot, 0.95) for slot in durations],
        p50=percentile(_durations(points), 0.5),
        p95=percentile(_durations(points), 0.95),
        deployments=sorted({point.deployment_name for point in points}),
        error_classes=sorted({point.error_class for point in points if point.error_class}),
    )


def _durations(points: list[Point]) -> list[float]:
    return [point.duration_ms for point in points if point.duration_ms is not None]
