"""
Queues of runs to review, what lies in them, and who has which run or is done with it. The
answers themselves are feedback like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Count, F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from feedback.models import FeedbackKey
from runnables.identity import groups_of
from runnables.models import Deployment

if TYPE_CHECKING:
    from datetime import datetime


# Words that are routes beside the queues.
RESERVED = frozenset({"add"})
MOST_REVIEWS = 5
A_DAY = 24 * 60


def validate_slug_is_free(slug: str) -> None:
    if slug in RESERVED:
        raise ValidationError(_("This word is an address of the site itself."))


class ReviewQueueQuerySet(models.QuerySet["ReviewQueue"]):
    def of(self, user: Any) -> ReviewQueueQuerySet:
        """
        Those that this user is a reviewer of; for superusers all.
        """
        if user.is_superuser:
            return self
        theirs = Q(reviewers=user.pk) | Q(groups__in=groups_of(user))
        return self.filter(pk__in=ReviewQueue.objects.filter(theirs).values("pk"))


class ReviewQueue(models.Model):
    """
    Which runs are reviewed, by whom, under which keys.

    `filter` has the parameters of the traces list's address. It is looked at when somebody adds
    what matches, never by itself.
    """

    name = models.CharField(_("name"), max_length=100)
    slug = models.SlugField(
        _("address"),
        max_length=100,
        unique=True,
        validators=[validate_slug_is_free],
        help_text=_("Its pages are below /review/ with this word."),
    )
    deployments = models.ManyToManyField(
        Deployment,
        verbose_name=_("deployments"),
        blank=True,
        related_name="+",
        help_text=_("None is all."),
    )
    filter = models.JSONField(_("runs that match"), default=dict, blank=True)
    rubric = models.TextField(
        _("rubric"),
        blank=True,
        help_text=_("What reviewers should look at and how to score it; shown beside each run."),
    )
    keys = models.ManyToManyField(FeedbackKey, verbose_name=_("questions"), related_name="+")
    reviewers = models.ManyToManyField(
        settings.AUTH_USER_MODEL, verbose_name=_("reviewers"), blank=True, related_name="+"
    )
    groups = models.ManyToManyField(
        Group, verbose_name=_("groups of reviewers"), blank=True, related_name="+"
    )
    reviews_per_item = models.PositiveSmallIntegerField(
        _("reviews of each run"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_REVIEWS)],
        help_text=_("By so many different people. Agreement needs two or more."),
    )
    reservation_minutes = models.PositiveSmallIntegerField(
        _("reserved for minutes"),
        default=15,
        validators=[MinValueValidator(1), MaxValueValidator(A_DAY)],
        help_text=_("So long a run is kept for who opened it; then others may have it."),
    )
    is_open = models.BooleanField(
        _("open"), default=True, help_text=_("A closed queue only has results.")
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    objects = ReviewQueueQuerySet.as_manager()

    class Meta:
        app_label = "langserve_traces"
        verbose_name = _("review queue")
        verbose_name_plural = _("review queues")
        ordering: ClassVar = ["name", "pk"]

    def __str__(self) -> str:
        return self.name


class ReviewItemQuerySet(models.QuerySet["ReviewItem"]):
    def free(self, now: datetime) -> ReviewItemQuerySet:
        """
        Those that fewer people have reviewed, or have before them, than should.
        """
        held = Q(reviews__state=Review.State.RESERVED, reviews__reserved_until__gt=now)
        taken = Count("reviews", filter=Q(reviews__state=Review.State.DONE) | held)
        return self.alias(taken=taken).filter(taken__lt=F("queue__reviews_per_item"))

    def complete(self) -> ReviewItemQuerySet:
        """
        Those that nobody else is asked to review.
        """
        done = Count("reviews", filter=Q(reviews__state=Review.State.DONE))
        return self.alias(done=done).filter(done__gte=F("queue__reviews_per_item"))


class ReviewItem(models.Model):
    """
    A run in a queue. It goes when its trace does.
    """

    queue = models.ForeignKey(ReviewQueue, on_delete=models.CASCADE, related_name="items")
    trace = models.ForeignKey("langserve_traces.Trace", on_delete=models.CASCADE, related_name="+")
    position = models.PositiveIntegerField()
    added_at = models.DateTimeField(_("added"), default=timezone.now)

    objects = ReviewItemQuerySet.as_manager()

    class Meta:
        app_label = "langserve_traces"
        verbose_name = _("run in a queue")
        verbose_name_plural = _("runs in queues")
        ordering: ClassVar = ["position", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="traces_review_item_once", fields=["queue", "trace"])
        ]

    def __str__(self) -> str:
        return f"{self.queue_id} {self.trace_id}"


class Review(models.Model):
    """
    That a reviewer has an item before them, is done with it, or would not review it.
    """

    class State(models.TextChoices):
        RESERVED = "reserved", _("Reserved")
        DONE = "done", _("Done")
        SKIPPED = "skipped", _("Skipped")

    item = models.ForeignKey(ReviewItem, on_delete=models.CASCADE, related_name="reviews")
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    state = models.CharField(_("state"), max_length=10, choices=State.choices)
    reserved_until = models.DateTimeField(null=True)
    # When it was last opened, done or skipped: the order in which one goes back.
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "langserve_traces"
        verbose_name = _("review")
        verbose_name_plural = _("reviews")
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="traces_review_once", fields=["item", "reviewer"])
        ]

    def __str__(self) -> str:
        return f"{self.item_id} {self.reviewer_id} {self.state}"
