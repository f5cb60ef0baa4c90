"""
What people say about runs, and whom they show them to. A run is its id: nothing here knows
whether a trace of it is kept.
"""

from __future__ import annotations

import secrets
from typing import ClassVar
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runnables.models import Deployment


def new_token() -> str:
    """
    256 random bits, for an address.
    """
    return secrets.token_urlsafe(32)


class FeedbackKey(models.Model):
    """
    Something that is asked about a run, and the answers it takes.
    """

    class Kind(models.TextChoices):
        THUMBS = "thumbs", _("Thumbs: 0 or 1")
        SCALE = "scale", _("Scale")
        CATEGORY = "category", _("Category")
        TEXT = "text", _("Text")

    key = models.SlugField(_("key"), max_length=100, unique=True)
    title = models.CharField(_("title"), max_length=200, blank=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.THUMBS)
    lowest = models.FloatField(_("lowest"), default=1)
    highest = models.FloatField(_("highest"), default=5)
    categories = models.JSONField(_("categories"), default=list, blank=True)
    # What may be wrong with a run: chips to choose from.
    reasons = models.JSONField(_("reasons"), default=list, blank=True)
    takes_comment = models.BooleanField(_("takes a comment"), default=True)
    takes_correction = models.BooleanField(_("takes a correction"), default=False)
    deployments = models.ManyToManyField(
        Deployment,
        verbose_name=_("deployments"),
        blank=True,
        related_name="feedback_keys",
        help_text=_("None is all."),
    )

    class Meta:
        verbose_name = _("feedback key")
        verbose_name_plural = _("feedback keys")
        ordering: ClassVar = ["key"]

    def __str__(self) -> str:
        return self.title or self.key

    def clean(self) -> None:
        if self.kind == self.Kind.SCALE and self.lowest >= self.highest:
            raise ValidationError({"highest": _("More than the lowest.")})
        if self.kind == self.Kind.CATEGORY and not self.categories:
            raise ValidationError({"categories": _("A category needs at least one choice.")})


class Feedback(models.Model):
    """
    What one author says about one run under one key. `run_id` may be that of a step: then
    `trace_id` is the whole run's, as far as anybody knew when it was said.

    `author` is the principal of the user, "anonymous", or "token" for whoever had a feedback
    token.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    run_id = models.UUIDField(_("run"))
    trace_id = models.UUIDField(db_index=True)
    deployment = models.ForeignKey(
        Deployment, null=True, on_delete=models.SET_NULL, related_name="feedback"
    )
    key = models.CharField(_("key"), max_length=100)
    author = models.CharField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    score = models.FloatField(_("score"), null=True, blank=True)
    value = models.JSONField(_("value"), null=True, blank=True)
    comment = models.TextField(_("comment"), blank=True)
    correction = models.JSONField(_("correction"), null=True, blank=True)
    reasons = models.JSONField(_("reasons"), default=list, blank=True)
    source_info = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    modified_at = models.DateTimeField(_("modified"), default=timezone.now)

    class Meta:
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="langserve_feedback_once", fields=["run_id", "key", "author"]
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at", "id"], name="feedback_newest"),
            models.Index(fields=["deployment", "key", "created_at"], name="feedback_by_key"),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.run_id}"


class LangSmithCopy(models.Model):
    """
    What is to be told LangSmith of one feedback, and whether it has heard. No content is: to
    be deleted there. `mark` is another one after each change, so that what is changed while
    it is being sent is sent again.
    """

    feedback_id = models.UUIDField(primary_key=True)
    content = models.JSONField(null=True)
    mark = models.UUIDField(default=uuid4)
    is_sent = models.BooleanField(default=False)
    is_due = models.BooleanField(default=True)
    tries = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    claimed_until = models.DateTimeField(null=True)
    error = models.CharField(max_length=200, blank=True)

    objects: ClassVar[models.Manager[LangSmithCopy]] = models.Manager()

    class Meta:
        verbose_name = _("copy for LangSmith")
        verbose_name_plural = _("copies for LangSmith")
        indexes: ClassVar = [
            models.Index(fields=["next_at"], name="langsmith_due", condition=Q(is_due=True))
        ]

    def __str__(self) -> str:
        return str(self.feedback_id)


class TraceLinkQuerySet(models.QuerySet["TraceLink"]):
    def live(self) -> TraceLinkQuerySet:
        """
        Those that still open.
        """
        unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
        return self.filter(unexpired, revoked_at__isnull=True)


class TraceLink(models.Model):
    """
    An address under which anybody who has it may read a trace. The token is stored as it is:
    whoever reads this table can read the traces anyway, and LangServe's clients expect the
    same address twice.
    """

    class Part(models.TextChoices):
        PAYLOADS = "payloads", _("inputs and outputs")
        STEPS = "steps", _("steps")
        METADATA = "metadata", _("metadata")
        FEEDBACK = "feedback", _("feedback")

    token = models.CharField(max_length=64, unique=True, default=new_token, editable=False)
    run_id = models.UUIDField(_("run"), db_index=True)
    deployment = models.ForeignKey(
        Deployment, null=True, on_delete=models.CASCADE, related_name="trace_links"
    )
    name = models.CharField(_("name"), max_length=100, blank=True)
    parts = models.JSONField(_("what it shows"), default=list)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("shared by"),
        null=True,
        on_delete=models.CASCADE,
        related_name="+",
    )
    created_at = models.DateTimeField(_("shared"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    views = models.PositiveIntegerField(_("views"), default=0)
    last_viewed_at = models.DateTimeField(_("last view"), null=True, blank=True)

    objects = TraceLinkQuerySet.as_manager()

    class Meta:
        verbose_name = _("shared trace")
        verbose_name_plural = _("shared traces")
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return self.name or str(self.run_id)

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and (
            self.expires_at is None or self.expires_at > timezone.now()
        )
