"""
How much each deployment is used, how long it takes and how often it fails.

Calls are counted in memory, and every few seconds a process adds its counts to rows of an
hour each: under a lock, so that the sums are right however many processes add.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone

from runnables import histogram
from runnables.models import Deployment, Figures, Health
from runnables.models.figures import OUTCOMES as OUTCOMES

if TYPE_CHECKING:
    from runnables.invocation import Invocation

logger = logging.getLogger(__name__)

# Of these a deployment is to blame.
ERRORS = ("failed", "timed_out")
RECENT = 5
HOUR = 3600
KEPT_DAYS = 400
# The hour of the rows that hold, together, what was counted before that.
PAST = datetime.fromtimestamp(0, UTC)
FOLDED_AT_ONCE = 500


# What is counted apart: keys of the deployment, its version and a canary (0 for none), the arm
# of that, and the endpoint. The hour is in hours since the epoch.
Kind = tuple[int, int, int, str, str]
Key = tuple[Kind, int]


class _Counts:
    __slots__ = (
        "cost",
        "durations",
        "error_classes",
        "first_chunks",
        "input_tokens",
        "outcomes",
        "output_tokens",
        "requests",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.outcomes: dict[str, int] = {}
        self.error_classes: dict[str, int] = {}
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost = Decimal(0)
        self.durations = [0] * histogram.BUCKETS
        self.first_chunks = [0] * histogram.BUCKETS


class _Last:
    """
    The last calls of a deployment: (milliseconds since the epoch, went well).
    """

    __slots__ = ("error", "recent")

    def __init__(self) -> None:
        self.recent: deque[tuple[int, bool]] = deque(maxlen=RECENT)
        self.error: tuple[datetime, str, UUID] | None = None


@dataclass(slots=True)
class Finished:
    """
    How a call ended. `outcome` is "done" or one of OUTCOMES; durations are in seconds, and
    `ended_at` is since the epoch. `error` is a class, if the deployment is to blame.
    """

    run_id: UUID
    outcome: str
    seconds: float
    first_chunk: float | None
    error: str = ""
    ended_at: float = field(default_factory=time.time)


_lock = threading.Lock()
_counts: dict[Key, _Counts] = {}
_last: dict[int, _Last] = {}


def count(kind: Kind, call: Finished) -> None:
    """
    Count a call; no query, no waiting. Nothing is kept for each: what lives long makes the
    garbage collector walk it.
    """
    now, is_error = call.ended_at, call.outcome in ERRORS
    with _lock:
        counts = _counts_of(kind, now)
        counts.requests += 1
        counts.durations[histogram.bucket(call.seconds * 1000)] += 1
        if call.first_chunk is not None:
            counts.first_chunks[histogram.bucket(call.first_chunk * 1000)] += 1
        if call.outcome != "done":
            counts.outcomes[call.outcome] = counts.outcomes.get(call.outcome, 0) + 1
        if call.error:
            counts.error_classes[call.error] = counts.error_classes.get(call.error, 0) + 1
        if is_error or call.outcome == "done":
            last = _last.get(kind[0]) or _last.setdefault(kind[0], _Last())
            last.recent.append((int(now * 1000), not is_error))
            if is_error:
                last.error = (datetime.fromtimestamp(now, UTC), call.error, call.run_id)


def count_usage(
    kind: Kind, ended_at: float, input_tokens: int, output_tokens: int, cost: Decimal
) -> None:
    """
    Count what a call that was counted has used; as soon as it is known.
    """
    with _lock:
        counts = _counts_of(kind, ended_at)
        counts.input_tokens += input_tokens
        counts.output_tokens += output_tokens
        counts.cost += cost


def _counts_of(kind: Kind, ended_at: float) -> _Counts:
    key = (kind, int(ended_at) // HOUR)
    return _counts.get(key) or _counts.setdefault(key, _Counts())


def kind_of(call: Invocation) -> Kind | None:
    """
    What a call is counted under; None where no row knows the deployment.
    """
    deployment = call.deployment
    if deployment.pk is None:
        return None
    canary = deployment.canary.pk if deployment.canary else 0
    return deployment.pk, call.version.pk, canary, call.arm, call.endpoint


def flush() -> set[int]:
    """
    Add what was counted to the database; the keys of the deployments it was of. What could
    not be written stays counted.
    """
    with _lock:
        counts, last = dict(_counts), dict(_last)
        _counts.clear()
        _last.clear()
    if not counts:
        return set()
    try:
        with transaction.atomic():
            known = set(
                Deployment.objects.filter(pk__in={kind[0] for kind, _ in counts}).values_list(
                    "pk", flat=True
                )
            )
            for key, more in counts.items():
                if key[0][0] in known:
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
        _counts.clear()
        _last.clear()


def _add(key: Key, more: _Counts | Sum) -> None:
    (deployment, version, canary, arm, endpoint), hour = key
    row, _ = Figures.objects.select_for_update().get_or_create(
        deployment_id=deployment,
        version_id=version,
        canary_id=canary,
        arm=arm,
        endpoint=endpoint,
        hour=datetime.fromtimestamp(hour * HOUR, UTC),
    )
    row.requests += more.requests
    for outcome, number in more.outcomes.items():
        setattr(row, outcome, getattr(row, outcome) + number)
    row.durations = histogram.added([row.durations, more.durations])
    row.first_chunks = histogram.added([row.first_chunks, more.first_chunks])
    row.error_classes = _added(row.error_classes, more.error_classes)
    row.input_tokens += more.input_tokens
    row.output_tokens += more.output_tokens
    row.cost += more.cost
    row.save()


def _added(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(counts) + Counter(more))


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
            kept.outcomes = _added(kept.outcomes, more.outcomes)
            kept.error_classes = _added(kept.error_classes, more.error_classes)
            kept.input_tokens += more.input_tokens
            kept.output_tokens += more.output_tokens
            kept.cost += more.cost
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
    Figures of several hours together. `outcomes` has those of OUTCOMES that there were;
    percentiles are in milliseconds.
    """

    requests: int
    outcomes: Mapping[str, int]
    durations: list[int]
    first_chunks: list[int]
    error_classes: Mapping[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)

    @property
    def errors(self) -> int:
        return sum(self.outcomes.get(name, 0) for name in ERRORS)

    @property
    def done(self) -> int:
        return self.requests - sum(self.outcomes.values())

    @property
    def error_percent(self) -> float:
        return 100 * self.errors / self.requests if self.requests else 0.0

    def duration(self, share: float) -> float | None:
        return histogram.percentile(self.durations, share)

    def first_chunk(self, share: float) -> float | None:
        return histogram.percentile(self.first_chunks, share)


def summed(rows: Iterable[Any]) -> Sum:
    """
    Rows of Figures, or sums or Hours of some, as one.
    """
    rows = list(rows)
    outcomes: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    for row in rows:
        if row.outcomes:
            outcomes.update(row.outcomes)
        if row.error_classes:
            classes.update(row.error_classes)
    return Sum(
        requests=sum(row.requests for row in rows),
        outcomes=dict(+outcomes),  # without those that there were none of
        durations=histogram.added(row.durations for row in rows),
        first_chunks=histogram.added(row.first_chunks for row in rows),
        error_classes=dict(classes),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost=sum((row.cost for row in rows), Decimal(0)),
    )


class Hour(NamedTuple):
    """
    A row of Figures where thousands are read: a tenth of what making an object of each costs.
    """

    deployment_id: int
    version_id: int
    arm: str
    endpoint: str
    hour: datetime
    requests: int
    outcomes: Mapping[str, int]
    durations: list[int]
    first_chunks: list[int]
    error_classes: Mapping[str, int]
    input_tokens: int
    output_tokens: int
    cost: Decimal


def hours(rows: Any) -> Iterator[Hour]:
    """
    The rows of a query of Figures, quickly.
    """
    # As texts, since Django's own way of reading JSON takes most of the time.
    texts = {f"{name}_text": Cast(name, TextField()) for name in _JSON}
    plain = ("deployment_id", "version_id", "arm", "endpoint", "hour", "requests")
    usage = ("input_tokens", "output_tokens", "cost")
    names = (*plain, *texts, *usage, *OUTCOMES)
    for row in rows.annotate(**texts).values_list(*names).iterator():
        durations, first_chunks, classes, *used = row[len(plain) : -len(OUTCOMES)]
        others = row[-len(OUTCOMES) :]
        yield Hour._make(
            (
                *row[: len(plain)],
                dict(zip(OUTCOMES, others, strict=True)) if any(others) else {},
                orjson.loads(durations),
                orjson.loads(first_chunks),
                orjson.loads(classes),
                *used,
            )
        )


_JSON = ("durations", "first_chunks", "error_classes")


def since(hours: int = 24) -> Any:
    """
    The rows of the last so many hours, the one going on included.
    """
    start = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
    return Figures.objects.filter(hour__gte=start)


def between(start: datetime, end: datetime) -> Any:
    """
    The rows of the hours that begin in this period, but not those that hold what is past.
    """
    return Figures.objects.filter(hour__gte=start, hour__lt=end, hour__gt=PAST)


def prune() -> int:
    """
    Put together the hours that nobody looks at any more, so that what was counted in all
    stays true: those of a kind become one row, of the hour PAST. How many rows went into it.
    """
    limit = timezone.now() - timedelta(days=KEPT_DAYS)
    old = Figures.objects.filter(hour__lt=limit, hour__gt=PAST).order_by("hour", "pk")
    folded = 0
    while number := _fold(old):
        folded += number
    return folded


def _fold(old: Any) -> int:
    with transaction.atomic():
        rows = list(old.select_for_update()[:FOLDED_AT_ONCE])
        kinds: dict[Kind, list[Any]] = {}
        for row in rows:
            kind = (row.deployment_id, row.version_id, row.canary_id, row.arm, row.endpoint)
            kinds.setdefault(kind, []).append(row)
        for kind, of_kind in kinds.items():
            _add((kind, 0), summed(of_kind))
        Figures.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)


def by_deployment(hours: int = 24) -> dict[int, Sum]:
    """
    The figures of each deployment that was called in the last so many hours; one query.
    """
    rows: dict[int, list[Any]] = {}
    for row in since(hours):
        rows.setdefault(row.deployment_id, []).append(row)
    return {deployment: summed(of_one) for deployment, of_one in rows.items()}
