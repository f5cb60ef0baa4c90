"""
Every change of a queue's contents and of who reviews what, each in one transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Max, Q, QuerySet
from django.utils import timezone

from feedback.answers import Answer
from feedback.services import author_of, record_feedback
from runnables import audit
from runnables.models import AuditEntry, Deployment
from traces.models import State, Trace
from traces.review import filters
from traces.review.models import Review, ReviewItem, ReviewQueue
from traces.viewers import Viewer

MOST_ADDED = 500
_OF_TRACES = ("deployment", "deployment_name")


class ReservationLost(Exception):
    """
    The time for an item ended, and as many others as should review it have it.
    """


def fill(queue: ReviewQueue, *, by: Any) -> int:
    """
    Add the runs that match the queue's filter and that `by` sees, the newest so many; how
    many were new.
    """
    return _add(queue, filters.matching(queue.filter, Viewer(by)), by=by)


def add(queue: ReviewQueue, trace_ids: Iterable[UUID], *, by: Any) -> int:
    """
    Add these runs, as far as `by` sees them; how many were new.
    """
    chosen = [*trace_ids][:MOST_ADDED]
    return _add(queue, Viewer(by).traces().filter(pk__in=chosen), by=by)


def _add(queue: ReviewQueue, traces: QuerySet[Trace], *, by: Any) -> int:
    with transaction.atomic():
        _lock(queue)
        covered = list(queue.deployments.values_list("pk", flat=True))
        if covered:
            traces = traces.filter(deployment__in=covered)
        # What still runs has no answer to review.
        finished = traces.exclude(state=State.RUNNING)
        unknown = finished.exclude(pk__in=ReviewItem.objects.filter(queue=queue).values("trace"))
        new = list(unknown.only(*_OF_TRACES).order_by("-started_at", "-pk")[:MOST_ADDED])
        last = queue.items.aggregate(last=Max("position"))["last"] or 0
        ReviewItem.objects.bulk_create(
            ReviewItem(queue=queue, trace=trace, position=last + number)
            for number, trace in enumerate(reversed(new), start=1)
        )
        _record_added(queue, new, by)
    return len(new)


def record_made(queue: ReviewQueue, *, by: Any, is_new: bool) -> None:
    """
    Keep who made or changed a queue, beside what the admin's own log has.
    """
    text = f"{'Made' if is_new else 'Changed'} the review queue “{queue}”."
    covered = list(queue.deployments.all())
    for deployment in covered:
        audit.record(deployment, text, by=by, log=False)
    if not covered:
        _record_without_deployment(queue.name, text, by)


def _record_added(queue: ReviewQueue, added: Iterable[Trace], by: Any) -> None:
    counts = Counter((trace.deployment_id, trace.deployment_name) for trace in added)
    rows = Deployment.objects.in_bulk([pk for pk, _ in counts if pk is not None])
    for (pk, name), count in counts.items():
        text = f"Added {count} run{'s' if count != 1 else ''} to the review queue “{queue}”."
        if pk in rows:
            audit.record(rows[pk], text, by=by, log=False)
        else:
            _record_without_deployment(name, text, by)


def _record_without_deployment(name: str, text: str, by: Any) -> None:
    AuditEntry.objects.create(name=name, user=by, by=str(by)[:200], text=text)


def take_next(queue: ReviewQueue, viewer: Viewer) -> ReviewItem | None:
    """
    The item that this reviewer has before them, else the next that wants a review, reserved
    for them from now on. None when there is nothing for them.
    """
    now = timezone.now()
    until = now + timedelta(minutes=queue.reservation_minutes)
    with transaction.atomic():
        # All that reserve in one queue wait here for each other: who comes later counts
        # what the others have.
        _lock(queue)
        items = reviewable(queue, viewer)
        item = _held(items, viewer, now).first() or _free(items, viewer, queue, now).first()
        if item is None:
            return None
        Review.objects.update_or_create(
            item=item,
            reviewer_id=viewer.user.pk,
            defaults={"state": Review.State.RESERVED, "reserved_until": until, "at": now},
        )
    return item


def finish(item: ReviewItem, viewer: Viewer, answers: Mapping[str, Answer]) -> None:
    """
    Keep what a reviewer says and be done with the item, or raise ReservationLost.
    """
    with transaction.atomic():
        _lock(item.queue)
        review = _own_place(item, viewer)
        record_answers(item.trace, viewer.user, answers)
        review.state, review.reserved_until = Review.State.DONE, None
        review.at = timezone.now()
        review.save()


def skip(item: ReviewItem, viewer: Viewer) -> None:
    """
    Leave an item to the others. Who has reviewed it stays done with it.
    """
    Review.objects.filter(item=item, reviewer=viewer.user.pk).exclude(
        state=Review.State.DONE
    ).update(state=Review.State.SKIPPED, reserved_until=None, at=timezone.now())


def record_answers(trace: Trace, user: Any, answers: Mapping[str, Answer]) -> None:
    """
    What a reviewer says as feedback: one row for each key they answered, none for those they
    did not. Raises InvalidInput where an answer does not fit its key.
    """
    with transaction.atomic():
        for key, answer in answers.items():
            record_feedback(
                run_id=trace.pk,
                trace_id=trace.pk,
                deployment=trace.deployment_id,
                key=key,
                author=author_of(user),
                answer=answer,
                source_info={"source": "review"},
            )


def reviewable(queue: ReviewQueue, viewer: Viewer) -> QuerySet[ReviewItem]:
    """
    The items of a queue that this reviewer has the right to review, in their order.
    """
    items = ReviewItem.objects.filter(queue=queue).select_related("queue", "trace")
    if viewer.user.is_superuser:
        return items
    return items.filter(trace__deployment__in=viewer.deployments_with("review"))


def _lock(queue: ReviewQueue) -> None:
    # SQLite knows no lock of a row; there a transaction that writes first waits for the others.
    ReviewQueue.objects.filter(pk=queue.pk).update(is_open=F("is_open"))


def _held(items: QuerySet[ReviewItem], viewer: Viewer, now: Any) -> QuerySet[ReviewItem]:
    return items.filter(
        pk__in=Review.objects.filter(
            reviewer=viewer.user.pk, state=Review.State.RESERVED, reserved_until__gt=now
        ).values("item")
    )


def _free(
    items: QuerySet[ReviewItem], viewer: Viewer, queue: ReviewQueue, now: Any
) -> QuerySet[ReviewItem]:
    past = Review.objects.filter(reviewer=viewer.user.pk).exclude(state=Review.State.RESERVED)
    wanted = items.exclude(pk__in=past.values("item"))
    return wanted.filter(pk__in=ReviewItem.objects.filter(queue=queue).free(now).values("pk"))


def _own_place(item: ReviewItem, viewer: Viewer) -> Review:
    now = timezone.now()
    review = Review.objects.filter(item=item, reviewer=viewer.user.pk).first()
    if review is None:
        raise ReservationLost
    has_it = review.state == Review.State.DONE or (
        review.state == Review.State.RESERVED and (review.reserved_until or now) > now
    )
    others = Review.objects.filter(item=item).exclude(pk=review.pk)
    taken = others.filter(
        Q(state=Review.State.DONE) | Q(state=Review.State.RESERVED, reserved_until__gt=now)
    ).count()
    if not has_it and taken >= item.queue.reviews_per_item:
        raise ReservationLost
    return review
