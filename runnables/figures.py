"""
How much each deployment is used, how long it takes and how often it fails.

Calls are counted in memory, and every few seconds a process adds its counts to rows of an
hour each: under a lock, so that the sums are right however many processes add.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from runnables import histogram
from runnables.models import Deployment, Figures, Health

logger = logging.getLogger(__name__)

OUTCOMES = ("failed", "timed_out", "cancelled", "client_gone", "client_too_slow")
# Of these a deployment is to blame.
ERRORS = ("failed", "timed_out")
RECENT = 5
MOST_UNCOUNTED = 10_000
KEPT_DAYS = 400


class Key(NamedTuple):
    """
    What is counted apart.
    """

    deployment: int
    version: int
    canary: int
    arm: str
    endpoint: str
    hour: datetime


@dataclass(slots=True)
class _Counts:
    requests: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    durations: list[int] = field(default_factory=lambda: [0] * histogram.BUCKETS)
    first_chunks: list[int] = field(default_factory=lambda: [0] * histogram.BUCKETS)


@dataclass(slots=True)
class _Last:
    """
    The last calls of a deployment: (milliseconds since the epoch, went well).
    """

    recent: deque[tuple[int, bool]] = field(default_factory=lambda: deque(maxlen=RECENT))
    error: tuple[datetime, str, UUID] | None = None


class Finished(NamedTuple):
    """
    A call that is over. `at` is in seconds since the epoch, `outcome` "done" or one of
    OUTCOMES; durations are in seconds.
    """

    at: float
    deployment: int
    version: int
    canary: int
    arm: str
    endpoint: str
    outcome: str
    run_id: UUID
    seconds: float
    first_chunk: float | None
    error: str


# Calls as they end, and what was made of them; the first is all that a call costs.
_finished: deque[Finished] = deque()
_lock = threading.Lock()
_counts: dict[Key, _Counts] = {}
_last: dict[int, _Last] = {}


def count(call: Finished) -> None:
    """
    Count a call; no query, no waiting.
    """
    _finished.append(call)
    # Where nobody writes for long, memory must not grow with every call.
    if len(_finished) > MOST_UNCOUNTED:
        with _lock:
            _sum_up()


def _sum_up() -> None:
    while _finished:
        call = _finished.popleft()
        at = datetime.fromtimestamp(call.at, UTC)
        hour = at.replace(minute=0, second=0, microsecond=0)
        key = Key(call.deployment, call.version, call.canary, call.arm, call.endpoint, hour)
        counts = _counts.setdefault(key, _Counts())
        counts.requests += 1
        if call.outcome != "done":
            counts.outcomes[call.outcome] = counts.outcomes.get(call.outcome, 0) + 1
        counts.durations[histogram.bucket(call.seconds * 1000)] += 1
        if call.first_chunk is not None:
            counts.first_chunks[histogram.bucket(call.first_chunk * 1000)] += 1
        _remember(call, at)


def _remember(call: Finished, at: datetime) -> None:
    last = _last.setdefault(call.deployment, _Last())
    is_error = call.outcome in ERRORS
    if is_error or call.outcome == "done":
        last.recent.append((int(call.at * 1000), not is_error))
    if is_error:
        last.error = (at, call.error, call.run_id)


def flush() -> set[int]:
    """
    Add what was counted to the database; the keys of the deployments it was of. What could
    not be written stays counted.
    """
    with _lock:
        _sum_up()
        counts, last = dict(_counts), dict(_last)
        _counts.clear()
        _last.clear()
    if not counts:
        return set()
    try:
        with transaction.atomic():
            known = set(Deployment.objects.filter(pk__in=last).values_list("pk", flat=True))
            for key, more in counts.items():
                if key.deployment in known:
                    _add(key, more)
            for deployment, calls in last.items():
                if deployment in known:
                    _note(deployment, calls)
    except Exception:
        _take_back(counts, last)
        raise
    return known


def forget() -> None:
    """
    Drop what was counted and not written; for tests.
    """
    with _lock:
        _finished.clear()
        _counts.clear()
        _last.clear()


def _add(key: Key, more: _Counts) -> None:
    row, _ = Figures.objects.select_for_update().get_or_create(
        deployment_id=key.deployment,
        version_id=key.version,
        canary_id=key.canary,
        arm=key.arm,
        endpoint=key.endpoint,
        hour=key.hour,
    )
    row.requests += more.requests
    for outcome, number in more.outcomes.items():
        setattr(row, outcome, getattr(row, outcome) + number)
    row.durations = histogram.added([row.durations, more.durations])
    row.first_chunks = histogram.added([row.first_chunks, more.first_chunks])
    row.save()


def _note(deployment: int, calls: _Last) -> None:
    row, _ = Health.objects.select_for_update().get_or_create(deployment_id=deployment)
    row.recent = sorted([*row.recent, *map(list, calls.recent)])[-RECENT:]
    if calls.error and (row.last_error_at is None or calls.error[0] > row.last_error_at):
        row.last_error_at, row.last_error_class, row.last_error_run_id = calls.error
    row.save(update_fields=["recent", "last_error_at", "last_error_class", "last_error_run_id"])


def _take_back(counts: Mapping[Key, _Counts], last: Mapping[int, _Last]) -> None:
    with _lock:
        for key, more in counts.items():
            kept = _counts.setdefault(key, _Counts())
            kept.requests += more.requests
            for outcome, number in more.outcomes.items():
                kept.outcomes[outcome] = kept.outcomes.get(outcome, 0) + number
            kept.durations = histogram.added([kept.durations, more.durations])
            kept.first_chunks = histogram.added([kept.first_chunks, more.first_chunks])
        for deployment, calls in last.items():
            newer = _last.get(deployment)
            if newer:
                calls.recent.extend(newer.recent)
                calls.error = newer.error or calls.error
            _last[deployment] = calls


@dataclass(frozen=True, slots=True)
class Sum:
    """
    Figures of several hours together. Percentiles are in milliseconds.
    """

    requests: int
    errors: int
    durations: list[int]
    first_chunks: list[int]

    @property
    def error_percent(self) -> float:
        return 100 * self.errors / self.requests if self.requests else 0.0

    def duration(self, share: float) -> float | None:
        return histogram.percentile(self.durations, share)

    def first_chunk(self, share: float) -> float | None:
        return histogram.percentile(self.first_chunks, share)


def summed(rows: Iterable[Any]) -> Sum:
    """
    Rows of Figures as one.
    """
    rows = list(rows)
    return Sum(
        requests=sum(row.requests for row in rows),
        errors=sum(getattr(row, name) for row in rows for name in ERRORS),
        durations=histogram.added(row.durations for row in rows),
        first_chunks=histogram.added(row.first_chunks for row in rows),
    )


def since(hours: int = 24) -> Any:
    """
    The rows of the last so many hours, the one going on included.
    """
    start = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
    return Figures.objects.filter(hour__gte=start)


def prune() -> int:
    """
    Delete figures that nobody looks at any more; how many rows.
    """
    old = Figures.objects.filter(hour__lt=timezone.now() - timedelta(days=KEPT_DAYS))
    return old.delete()[0]


def by_deployment(hours: int = 24) -> dict[int, Sum]:
    """
    The figures of each deployment that was called in the last so many hours; one query.
    """
    rows: dict[int, list[Any]] = {}
    for row in since(hours):
        rows.setdefault(row.deployment_id, []).append(row)
    return {deployment: summed(of_one) for deployment, of_one in rows.items()}
