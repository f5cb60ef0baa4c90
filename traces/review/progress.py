"""
Who may review in which queue, and how far they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.http import Http404
from django.utils import timezone

from traces.review.models import Review, ReviewItem, ReviewQueue
from traces.review.services import reviewable
from traces.viewers import Viewer


@dataclass(frozen=True, slots=True)
class Progress:
    """
    Of the runs that a reviewer may review: `settled` need nothing more of them.
    """

    total: int
    settled: int
    mine: int
    skipped: int

    @property
    def is_empty(self) -> bool:
        return self.total == 0

    @property
    def left(self) -> int:
        return self.total - self.settled - self.skipped


def queues_of(viewer: Viewer) -> list[ReviewQueue]:
    """
    The queues this user may review in.
    """
    queues = ReviewQueue.objects.of(viewer.user).prefetch_related("deployments")
    return [queue for queue in queues if _has_right(queue, viewer)]


def queue_of(slug: str, viewer: Viewer) -> ReviewQueue:
    """
    The queue of this address, or Http404 for who may not review in it.
    """
    queue = ReviewQueue.objects.of(viewer.user).filter(slug=slug).first()
    if queue is None or not _has_right(queue, viewer):
        raise Http404
    return queue


def fillable(user: Any) -> list[ReviewQueue]:
    """
    The open queues that this user may add runs to: those who change queues, and reviewers.
    """
    if user.has_perm("langserve_traces.change_reviewqueue"):
        return list(ReviewQueue.objects.filter(is_open=True))
    return [queue for queue in queues_of(Viewer(user)) if queue.is_open]


def progress(queue: ReviewQueue, viewer: Viewer) -> Progress:
    items = reviewable(queue, viewer).order_by()
    mine = Review.objects.filter(item__queue=queue, reviewer=viewer.user.pk)
    done = mine.filter(state=Review.State.DONE).values("item")
    skipped = mine.filter(state=Review.State.SKIPPED).values("item")
    complete = ReviewItem.objects.filter(queue=queue).complete().values("pk")
    settled = Q(pk__in=done) | Q(pk__in=complete)
    return Progress(
        total=items.count(),
        settled=items.filter(settled).count(),
        mine=items.filter(pk__in=done).count(),
        skipped=items.filter(pk__in=skipped).exclude(settled).count(),
    )


def held_by_others(queue: ReviewQueue, viewer: Viewer) -> int:
    """
    Runs that others have before them, which may come back.
    """
    held = Review.objects.filter(
        item__queue=queue, state=Review.State.RESERVED, reserved_until__gt=timezone.now()
    )
    return held.exclude(reviewer=viewer.user.pk).values("item").distinct().count()


def _has_right(queue: ReviewQueue, viewer: Viewer) -> bool:
    if viewer.user.is_superuser:
        return True
    covered = {deployment.pk for deployment in queue.deployments.all()}
    theirs = set(viewer.deployments_with("review"))
    return bool(theirs & covered if covered else theirs)
