"""
What runs did. A Trace is one run with its own input and output; what happened inside it
are its Steps.

JSON lies in text columns, as the writer's one pass made it: it is written thousands of times
for each time it is read.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar
from uuid import uuid4

import orjson
from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runnables.models import Deployment

# Of this app too.
from traces.review.models import Review, ReviewItem, ReviewQueue  # noqa: F401

SHOWN_CHARACTERS = 200


class State(models.TextChoices):
    RUNNING = "running", _("Running")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    CLIENT_GONE = "client_gone", _("Client gone")
    CLIENT_TOO_SLOW = "client_too_slow", _("Client too slow")
    TIMED_OUT = "timed_out", _("Timed out")
    LOST = "lost", _("Lost")


class Payloads(models.TextChoices):
    FULL = "full", _("Full")
    REDACTED = "redacted", _("Redacted")
    SHAPE = "shape", _("Shape only")


class Recorded(models.Model):
    """
    What runs and their steps have in common. Durations are milliseconds, None while it runs;
    `input` and `output` are JSON, cut at LANGSERVE["TRACE_BYTES"] (then `*_size`, in bytes, is
    larger than they are), and empty where only shapes are kept.
    """

    name = models.CharField(_("name"), max_length=200, blank=True)
    state = models.CharField(_("state"), max_length=20, choices=State.choices)
    duration_ms = models.FloatField(_("duration"), null=True)
    input = models.TextField(blank=True)
    output = models.TextField(blank=True)
    input_size = models.PositiveIntegerField(default=0)
    output_size = models.PositiveIntegerField(default=0)
    # What may be seen without seeing payloads: `question: text, 24 characters`.
    input_shape = models.CharField(max_length=SHOWN_CHARACTERS, blank=True)
    output_shape = models.CharField(max_length=SHOWN_CHARACTERS, blank=True)
    # None where no model told.
    input_tokens = models.PositiveBigIntegerField(_("tokens in"), null=True)
    output_tokens = models.PositiveBigIntegerField(_("tokens out"), null=True)
    # None where no model has a price.
    cost = models.DecimalField(_("cost"), max_digits=20, decimal_places=9, null=True)
    error_class = models.CharField(_("error"), max_length=200, blank=True)
    # The exception's text and traceback: a payload, redacted and hidden like one.
    error = models.TextField(blank=True)
    tags = models.TextField(default="[]")
    metadata = models.TextField(default="{}")

    class Meta:
        abstract = True

    @property
    def tag_list(self) -> list[str]:
        found: list[str] = orjson.loads(self.tags or "[]")
        return found

    @property
    def metadata_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.metadata or "{}")
        return found


class Trace(Recorded):
    """
    One run. `id` is the run id that callers know, unless that was taken already: then it is in
    `reused_id`. `request_ms` and `request_state` are set for one run of each request, as the
    figures count it; `request_first_chunk_ms` where it streamed.
    """

    class Kept(models.TextChoices):
        FULL = "full", _("everything")
        REDACTED = "redacted", _("secrets redacted")
        SHAPE = "shape", _("shapes only")
        TIMING = "timing", _("times only")  # sampled out

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    reused_id = models.UUIDField(null=True)
    deployment = models.ForeignKey(
        Deployment, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    deployment_name = models.CharField(_("deployment"), max_length=200)
    version = models.PositiveIntegerField(_("version"), default=0)
    version_pk = models.PositiveBigIntegerField(default=0)
    canary_id = models.PositiveBigIntegerField(default=0)
    arm = models.CharField(max_length=10, default="stable")
    endpoint = models.CharField(_("door"), max_length=20)
    transport = models.CharField(max_length=10, default="http")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )
    # Of the caller, who may see the run: see `runnables.identity`; empty for anonymous ones.
    principal = models.CharField(max_length=100, blank=True)
    # The session_id or thread_id that the caller gave.
    thread = models.CharField(max_length=200, blank=True)
    kept = models.CharField(max_length=10, choices=Kept.choices, default=Kept.REDACTED)
    started_at = models.DateTimeField(_("started"))
    ended_at = models.DateTimeField(_("ended"), null=True)
    # When the process that runs it last wrote something of it; it is lost once that is gone.
    boot_id = models.UUIDField(null=True)
    first_chunk_ms = models.FloatField(_("first chunk"), null=True)
    request_ms = models.FloatField(null=True)
    request_state = models.CharField(max_length=20, blank=True)
    request_first_chunk_ms = models.FloatField(null=True)
    # What the caller may send again to have the same run: config without what the server adds.
    config = models.TextField(default="{}")
    input_preview = models.CharField(max_length=SHOWN_CHARACTERS, blank=True)
    output_preview = models.CharField(max_length=SHOWN_CHARACTERS, blank=True)
    steps_count = models.PositiveIntegerField(default=0)
    # Steps beyond LANGSERVE["TRACE_STEPS"].
    steps_dropped = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("trace")
        verbose_name_plural = _("traces")
        ordering: ClassVar = ["-started_at", "-id"]
        # Only those that most runs are in cost their insert something; the rest are partial.
        indexes: ClassVar = [
            models.Index(fields=["started_at", "id"], name="traces_newest"),
            models.Index(fields=["deployment", "started_at"], name="traces_deployment"),
            models.Index(fields=["duration_ms"], name="traces_slowest"),
            models.Index(
                fields=["user", "started_at"],
                name="traces_user",
                condition=Q(user__isnull=False),
            ),
            models.Index(
                fields=["state", "started_at"],
                name="traces_not_done",
                condition=~Q(state="done"),
            ),
            models.Index(
                fields=["thread", "started_at"], name="traces_thread", condition=~Q(thread="")
            ),
            models.Index(fields=["cost"], name="traces_cost", condition=Q(cost__isnull=False)),
            models.Index(
                fields=["output_tokens"],
                name="traces_tokens",
                condition=Q(output_tokens__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.deployment_name} {self.id}"

    @property
    def config_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.config or "{}")
        return found

    @property
    def is_running(self) -> bool:
        return self.state == State.RUNNING


class Step(Recorded):
    """
    One run of a runnable inside a trace, in the order they began. `parent` is another step, or
    the trace's own id.
    """

    class Kind(models.TextChoices):
        CHAIN = "chain", _("chain")
        MODEL = "llm", _("model")
        TOOL = "tool", _("tool")
        RETRIEVER = "retriever", _("retriever")
        PROMPT = "prompt", _("prompt")
        PARSER = "parser", _("parser")

    id = models.UUIDField(primary_key=True, editable=False)
    trace = models.ForeignKey(Trace, on_delete=models.CASCADE, related_name="steps", db_index=False)
    parent = models.UUIDField()
    position = models.PositiveIntegerField()
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    # Milliseconds after the trace's start.
    offset_ms = models.FloatField(default=0)
    first_token_ms = models.FloatField(null=True)
    model = models.CharField(_("model"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        ordering: ClassVar = ["position"]
        indexes: ClassVar = [models.Index(fields=["trace", "position"], name="traces_steps")]

    def __str__(self) -> str:
        return self.name


class Tracing(models.Model):
    """
    What is recorded of one deployment's runs, where that is not the site's default.
    """

    deployment = models.OneToOneField(
        Deployment, primary_key=True, on_delete=models.CASCADE, related_name="tracing"
    )
    is_on = models.BooleanField(_("record runs"), default=True)
    sample_percent = models.FloatField(
        _("record so many percent"),
        default=100.0,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text=_("Of the others only the times are kept."),
    )
    payloads = models.CharField(
        _("inputs and outputs"),
        max_length=10,
        choices=Payloads.choices,
        default=Payloads.REDACTED,
    )
    redact_keys = models.JSONField(
        _("redact what stands under"),
        default=list,
        blank=True,
        help_text=_("Names of keys, beside those that look like a credential."),
    )
    redact_patterns = models.JSONField(
        _("redact what matches"),
        default=list,
        blank=True,
        help_text=_("Regular expressions."),
    )
    days = models.PositiveIntegerField(
        _("keep for days"), null=True, blank=True, validators=[MinValueValidator(1)]
    )

    class Meta:
        verbose_name = _("tracing")
        verbose_name_plural = _("tracing")

    def __str__(self) -> str:
        return str(self.deployment)


class ModelPrice(models.Model):
    """
    What a million tokens of a model cost. The longest pattern that fits a model's name counts.
    """

    pattern = models.CharField(
        _("model"),
        max_length=200,
        unique=True,
        help_text=_("Its name; * stands for anything: gpt-5-mini*."),
    )
    input_price = models.DecimalField(
        _("a million tokens in"),
        max_digits=12,
        decimal_places=6,
        validators=[MinValueValidator(Decimal(0))],
    )
    output_price = models.DecimalField(
        _("a million tokens out"),
        max_digits=12,
        decimal_places=6,
        validators=[MinValueValidator(Decimal(0))],
    )

    class Meta:
        verbose_name = _("price of a model")
        verbose_name_plural = _("prices of models")
        ordering: ClassVar = ["pattern"]

    def __str__(self) -> str:
        return self.pattern


class DroppedTraces(models.Model):
    """
    Runs of an hour that left no trace: the queue was full, or the database was away.
    """

    hour = models.DateTimeField(primary_key=True, default=timezone.now)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = _("dropped traces")
        verbose_name_plural = _("dropped traces")

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}: {self.count}"
