"""
The hourly figures made again from the recorded runs: after figures were lost, or a fault in
counting was mended.

What was counted and is not recorded, since runs were sampled, dropped or deleted meanwhile,
would be lost by that: such figures are left as they are, and told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from runnables import histogram
from runnables.deployments import announce_change
from runnables.figures import ERRORS, OUTCOMES, PAST, Kind
from runnables.models import Deployment, DeploymentVersion, Figures
from traces.dashboard import longest_run
from traces.models import Trace

HOUR = timedelta(hours=1)
# Processes may still hold what they counted of an hour that has just ended.
SETTLED = timedelta(minutes=10)
STATES = ("done", *OUTCOMES)


@dataclass(frozen=True, slots=True)
class Progress:
    """
    An hour that is done: the `number`th of `hours`. `rebuilt` figures were made again and are
    the same or more now, `changed` of them differ; `left` were more than is recorded.
    """

    hour: datetime
    number: int
    hours: int
    rebuilt: int
    changed: int
    left: int


@dataclass
class _Made:
    """
    The figures of an hour and kind, as its recorded runs have them.
    """

    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    durations: list[int] = field(default_factory=lambda: [0] * histogram.BUCKETS)
    first_chunks: list[int] = field(default_factory=lambda: [0] * histogram.BUCKETS)
    error_classes: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)

    def add(self, row: dict[str, Any]) -> None:
        self.input_tokens += row["input_tokens"] or 0
        self.output_tokens += row["output_tokens"] or 0
        self.cost += row["cost"] or 0
        state = row["request_state"]
        if row["request_ms"] is None or state not in STATES:
            return
        self.requests += 1
        self.durations[histogram.bucket(row["request_ms"])] += 1
        if row["request_first_chunk_ms"] is not None:
            self.first_chunks[histogram.bucket(row["request_first_chunk_ms"])] += 1
        if state != "done":
            self.outcomes[state] += 1
        if state in ERRORS and row["error_class"]:
            self.error_classes[row["error_class"]] += 1

    def has_all_of(self, row: Figures) -> bool:
        """
        Whether nothing that was counted is missing here.
        """
        return (
            self.requests >= row.requests
            and sum(self.first_chunks) >= sum(row.first_chunks)
            and self.input_tokens >= row.input_tokens
            and self.output_tokens >= row.output_tokens
            and self.cost >= row.cost
        )

    def values(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            **{name: self.outcomes[name] for name in OUTCOMES},
            "durations": self.durations,
            "first_chunks": self.first_chunks,
            "error_classes": dict(self.error_classes),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost,
        }


def rebuild(
    since: datetime, until: datetime, deployment: Deployment | None = None
) -> Iterator[Progress]:
    """
    Make the figures of the hours from `since` to `until` again, hour by hour, each in a
    transaction of its own. Twice is as good as once. The hour that goes on is not touched.
    """
    hours = _hours(since, min(until, timezone.now() - SETTLED))
    deployments = (
        [deployment.pk] if deployment else [*Deployment.objects.values_list("pk", flat=True)]
    )
    longest = longest_run(deployments)
    has_changed = False
    try:
        for number, hour in enumerate(hours, 1):
            done = _rebuild_hour(hour, deployments, longest)
            has_changed = has_changed or done["changed"] > 0
            yield Progress(hour, number, len(hours), **done)
    finally:
        if has_changed:
            # What processes remember of the figures is out of date.
            announce_change()


def _hours(since: datetime, until: datetime) -> list[datetime]:
    """
    Those that begin and end within.
    """
    start = max(since, PAST + HOUR).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [start + number * HOUR for number in range(max(0, (until - start) // HOUR))]


def _rebuild_hour(hour: datetime, deployments: list[int], longest: timedelta) -> dict[str, int]:
    done = {"rebuilt": 0, "changed": 0, "left": 0}
    with transaction.atomic():
        rows = Figures.objects.select_for_update().filter(hour=hour, deployment__in=deployments)
        counted = {_kind(row): row for row in rows}
        made = _made(hour, deployments, longest)
        for kind in sorted({*counted, *made}):
            row, new = counted.get(kind), made.get(kind)
            if new is None or (row is not None and not new.has_all_of(row)):
                done["left"] += 1
            else:
                done["rebuilt"] += 1
                done["changed"] += _store(kind, hour, row, new)
    return done


def _made(hour: datetime, deployments: list[int], longest: timedelta) -> dict[Kind, _Made]:
    found: dict[Kind, _Made] = {}
    for row in _traces(hour, deployments, longest).values(*_FIELDS).iterator():
        kind = row["deployment"], *(row[name] for name in _KIND)
        found.setdefault(kind, _Made()).add(row)
    versions = DeploymentVersion.objects.filter(pk__in={kind[1] for kind in found})
    known = set(versions.values_list("deployment", "pk"))
    # Of a version that is gone there can be no figures, and of no request none are made.
    return {
        kind: made
        for kind, made in found.items()
        if kind[:2] in known and (made.requests or made.input_tokens or made.output_tokens)
    }


_KIND = ("version_pk", "canary_id", "arm", "endpoint")
_FIELDS = (
    "deployment",
    *_KIND,
    "request_ms",
    "request_state",
    "request_first_chunk_ms",
    "error_class",
    "input_tokens",
    "output_tokens",
    "cost",
)


def _traces(hour: datetime, deployments: list[int], longest: timedelta) -> QuerySet[Trace]:
    # By when they began, as the index has them.
    began = Q(started_at__gte=hour - longest, started_at__lt=hour + HOUR)
    ended = Q(ended_at__gte=hour, ended_at__lt=hour + HOUR)
    return Trace.objects.filter(began, ended, deployment__in=deployments).order_by()


def _kind(row: Figures) -> Kind:
    return row.deployment_id, row.version_id, row.canary_id, row.arm, row.endpoint


def _store(kind: Kind, hour: datetime, row: Figures | None, made: _Made) -> bool:
    """
    Whether anything is different from before.
    """
    values = made.values()
    if row is None:
        names = ("deployment_id", "version_id", "canary_id", "arm", "endpoint")
        Figures.objects.create(**dict(zip(names, kind, strict=True)), hour=hour, **values)
        return True
    if all(getattr(row, name) == value for name, value in values.items()):
        return False
    for name, value in values.items():
        setattr(row, name, value)
    row.save(update_fields=list(values))
    return True
