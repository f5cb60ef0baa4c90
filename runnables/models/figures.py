from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from runnables.models.deployment import Deployment
from runnables.models.version import DeploymentVersion

# How a call may end, other than done: each is a field.
OUTCOMES = ("failed", "timed_out", "cancelled", "client_gone", "client_too_slow")


class Figures(models.Model):
    """
    One hour of one endpoint under one version: counters, and histograms of 64 buckets each
    (see `runnables.histogram`). Calls during a canary are kept apart by `canary` and `arm`.
    Hours of long ago are one row: see `runnables.figures.PAST`.
    """

    class Arm(models.TextChoices):
        STABLE = "stable", _("stable")
        CANARY = "canary", _("canary")
        PINNED = "pinned", _("chosen by the caller")

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="figures")
    version = models.ForeignKey(DeploymentVersion, on_delete=models.CASCADE, related_name="+")
    # 0 outside a canary: NULLs would not be unique.
    canary_id = models.PositiveBigIntegerField(default=0)
    arm = models.CharField(max_length=10, choices=Arm.choices, default=Arm.STABLE)
    endpoint = models.CharField(max_length=20)
    hour = models.DateTimeField()

    requests = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)
    timed_out = models.PositiveBigIntegerField(default=0)
    cancelled = models.PositiveBigIntegerField(default=0)
    client_gone = models.PositiveBigIntegerField(default=0)
    client_too_slow = models.PositiveBigIntegerField(default=0)
    # 64 counts each; milliseconds of whole calls, and to the first chunk of streams.
    durations = models.JSONField(default=list)
    first_chunks = models.JSONField(default=list)
    # Class -> how often, of the calls that failed or timed out.
    error_classes = models.JSONField(default=dict)
    # Of the calls whose runs were recorded, which sampling may make fewer than the requests.
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cost = models.DecimalField(max_digits=20, decimal_places=9, default=0)

    class Meta:
        verbose_name = _("figures of an hour")
        verbose_name_plural = _("figures by the hour")
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="langserve_figures_once",
                fields=["deployment", "version", "canary_id", "arm", "endpoint", "hour"],
            )
        ]
        indexes: ClassVar = [models.Index(fields=["hour"], name="langserve_figures_hour")]

    def __str__(self) -> str:
        return f"{self.deployment_id} {self.endpoint} {self.hour:%Y-%m-%d %H}"

    @property
    def outcomes(self) -> dict[str, int]:
        """
        How many calls ended how, of the ways other than done that there were.
        """
        return {name: number for name in OUTCOMES if (number := getattr(self, name))}


class Health(models.Model):
    """
    How the last calls of a deployment went, and what its health check said.
    """

    deployment = models.OneToOneField(
        Deployment, primary_key=True, on_delete=models.CASCADE, related_name="health"
    )
    # The last five finished calls, oldest first: [milliseconds since the epoch, went well].
    recent = models.JSONField(default=list)
    last_error_at = models.DateTimeField(null=True)
    last_error_class = models.CharField(max_length=200, blank=True)
    last_error_run_id = models.UUIDField(null=True)
    checked_at = models.DateTimeField(null=True)
    check_passed = models.BooleanField(null=True)
    check_text = models.TextField(blank=True)

    def __str__(self) -> str:
        return str(self.deployment_id)


class ServerProcess(models.Model):
    """
    A server process that is up, and what it is running: `{deployment pk: runs now}`. So too
    what is `waiting` in line; `gauges` are numbers of other apps by name.
    """

    boot_id = models.UUIDField(primary_key=True)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(db_index=True)
    running = models.JSONField(default=dict)
    waiting = models.JSONField(default=dict)
    gauges = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
