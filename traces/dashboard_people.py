"""
What of the dashboard is about people, and no roll-up knows: who ran most, and what was said.
Both are asked of the rows themselves, for as long as a page can wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncDay, TruncHour
from django.utils.translation import gettext as _

from feedback.models import Feedback, FeedbackKey
from runnables.figures import ERRORS
from traces.dashboard import MOST_GROUPS, Selection
from traces.models import Trace
from traces.periods import Period

TOP = 10


@dataclass(frozen=True)
class Person:
    """
    A caller; `user` is None for all the anonymous ones together.
    """

    user: Any
    name: str
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost: Decimal
    # In the filters of traces.
    known_as: str = ""


@dataclass(frozen=True)
class Tally:
    """
    How many said something under a key, and how many of them something good. What takes no
    score (a category, a text) has none that is good: `positive` is None.
    """

    n: int = 0
    positive: int | None = 0

    @property
    def share(self) -> float | None:
        if not self.n or self.positive is None:
            return None
        return 100 * self.positive / self.n


@dataclass(frozen=True)
class KeyRatings:
    key: str
    name: str
    total: Tally
    by_bucket: list[Tally]


@dataclass(frozen=True)
class Ratings:
    """
    The keys most was said under first, at most MOST_GROUPS; `left_out` is how many more there
    are. `runs` is how many runs anything was said about, and `everything` adds up the keys that
    take a score, left-out ones too.
    """

    keys: list[KeyRatings] = field(default_factory=list)
    left_out: int = 0
    runs: int = 0
    everything: Tally = field(default_factory=Tally)


def top_users(selection: Selection) -> list[Person]:
    """
    Those with the most requests, of the runs that are recorded.
    """
    is_request = Q(request_ms__isnull=False) & ~Q(request_state="")
    rows = (
        selection.traces(selection.period)
        .order_by()
        .values("user")
        .annotate(
            requests=Count("pk", filter=is_request),
            errors=Count("pk", filter=is_request & Q(request_state__in=ERRORS)),
            tokens_in=Sum("input_tokens"),
            tokens_out=Sum("output_tokens"),
            costs=Sum("cost"),
        )
        .filter(requests__gt=0)
        .order_by("-requests", "user")[:TOP]
    )
    found = list(rows)
    users = get_user_model()._default_manager.in_bulk([row["user"] for row in found])
    return [_person(row, users.get(row["user"])) for row in found]


def ratings(selection: Selection, period: Period) -> Ratings:
    """
    What was said in this period, whenever the runs were.
    """
    said = _said(selection, period)
    known = FeedbackKey.objects.in_bulk(field_name="key")
    cut = TruncDay if period.is_daily else TruncHour
    rows = (
        said.order_by()
        .annotate(bucket=cut("created_at", tzinfo=period.zone))
        .values("key", "bucket")
        .annotate(n=Count("pk"), positive=Count("pk", filter=_is_positive(known.values())))
    )
    bucket_of, buckets = period.bucket_of(), len(period.buckets())
    by_key: dict[str, list[Tally]] = {}
    for row in rows:
        tallies = by_key.setdefault(row["key"], [Tally()] * buckets)
        number = min(max(bucket_of(row["bucket"]), 0), buckets - 1)
        tallies[number] = _added(tallies[number], Tally(row["n"], row["positive"]))
    found = [_ratings_of(key, known.get(key), tallies) for key, tallies in by_key.items()]
    found.sort(key=lambda one: (-one.total.n, one.key))
    return Ratings(
        keys=found[:MOST_GROUPS],
        left_out=len(found[MOST_GROUPS:]),
        runs=said.aggregate(runs=Count("trace_id", distinct=True))["runs"] if found else 0,
        everything=_added(*(one.total for one in found if one.total.positive is not None)),
    )


def _said(selection: Selection, period: Period) -> QuerySet[Feedback]:
    said = Feedback.objects.filter(
        deployment__in=selection.deployments,
        created_at__gte=period.start,
        created_at__lt=period.end,
    )
    runs: dict[str, Any] = {}
    if selection.version is not None:
        runs["version"] = selection.version
    if selection.arm:
        runs["arm"] = selection.arm
    if not runs:
        return said
    about = Trace.objects.filter(deployment__in=selection.deployments, **runs)
    return said.filter(trace_id__in=about.values("pk"))


def _is_positive(keys: Any) -> Q:
    """
    A thumb up, or more than the middle of a scale.
    """
    scales = [key for key in keys if key.kind == FeedbackKey.Kind.SCALE]
    good = Q(score__gt=0) & ~Q(key__in=[key.key for key in scales])
    for key in scales:
        good |= Q(key=key.key, score__gt=(key.lowest + key.highest) / 2)
    return good


def _ratings_of(key: str, known: FeedbackKey | None, tallies: list[Tally]) -> KeyRatings:
    if known and known.kind in (FeedbackKey.Kind.CATEGORY, FeedbackKey.Kind.TEXT):
        tallies = [Tally(tally.n, None) for tally in tallies]
        total = Tally(sum(tally.n for tally in tallies), None)
    else:
        total = _added(*tallies)
    return KeyRatings(key, str(known or key), total, tallies)


def _added(*tallies: Tally) -> Tally:
    return Tally(sum(tally.n for tally in tallies), sum(tally.positive or 0 for tally in tallies))


def _person(row: Mapping[str, Any], user: Any) -> Person:
    return Person(
        user=row["user"],
        name=str(user) if user else _("anonymous callers"),
        requests=row["requests"],
        errors=row["errors"],
        input_tokens=row["tokens_in"] or 0,
        output_tokens=row["tokens_out"] or 0,
        cost=row["costs"] or Decimal(0),
        known_as=user.get_username() if user else "",
    )
