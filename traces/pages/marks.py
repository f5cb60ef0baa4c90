"""
What was said about runs, as far as a viewer may know: whoever sees a deployment's traces or
reviews them sees all of it, others what they said themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Avg, Count, Q, QuerySet

from feedback.models import Feedback, FeedbackKey
from traces.models import Trace
from traces.viewers import Viewer


@dataclass(frozen=True, slots=True)
class Mark:
    """
    All the answers to one key about one run. `up` and `down` are of thumbs.
    """

    key: str
    number: int
    mean: float | None
    up: int = 0
    down: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """
    One answer; its words only for those who may see payloads, and whose it is.
    """

    key: str
    who: str
    score: float | None
    value: Any
    comment: str
    correction: Any
    reasons: list[str]
    run_id: UUID
    when: Any


def visible_feedback(viewer: Viewer) -> QuerySet[Feedback]:
    if viewer.user.is_superuser:
        return Feedback.objects.all()
    seen = {*viewer.deployments_with("see_traces"), *viewer.deployments_with("review")}
    return Feedback.objects.filter(Q(author=viewer.principal) | Q(deployment__in=seen))


def marks_of(traces: Iterable[UUID], viewer: Viewer) -> dict[UUID, list[Mark]]:
    """
    By trace; two queries.
    """
    rows = (
        visible_feedback(viewer)
        .filter(trace_id__in=list(traces))
        .values("trace_id", "key")
        .annotate(mean=Avg("score"), number=Count("id"), scores=Count("score"))
        .order_by("key")
    )
    kinds = dict(FeedbackKey.objects.values_list("key", "kind"))
    found: dict[UUID, list[Mark]] = {}
    for row in rows:
        found.setdefault(row["trace_id"], []).append(_mark(row, kinds.get(row["key"])))
    return found


def said_about(trace: Trace, viewer: Viewer, *, shows_words: bool) -> list[Said]:
    """
    All answers about the run and its steps, newest first.
    """
    rows = visible_feedback(viewer).filter(trace_id=trace.pk).select_related("user")
    return [_said(row, shows_words or row.author == viewer.principal) for row in rows[:200]]


def _mark(row: Any, kind: str | None) -> Mark:
    mean = row["mean"]
    if mean is None or kind != FeedbackKey.Kind.THUMBS:
        return Mark(row["key"], row["number"], mean)
    up = round(mean * row["scores"])
    return Mark(row["key"], row["number"], mean, up, row["scores"] - up)


def _said(row: Feedback, shows_words: bool) -> Said:
    who = row.user.get_username() if row.user else row.author
    return Said(
        key=row.key,
        who=who,
        score=row.score,
        value=row.value if shows_words else None,
        comment=row.comment if shows_words else "",
        correction=row.correction if shows_words else None,
        reasons=list(row.reasons),
        run_id=row.run_id,
        when=row.created_at,
    )
