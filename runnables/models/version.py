from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from runnables.models.deployment import Deployment
from runnables.models.validators import validate_config_keys, validate_names


def default_config_keys() -> list[str]:
    return ["configurable"]


class DeploymentVersion(models.Model):
    """
    What changes a deployment's results, numbered and never changed again.

    `defaults` is a config: `{"configurable": {...}, "tags": [...], …}`. Switches, access
    and limits are not in here, so that a roll-back never opens what was closed.
    """

    class Validation(models.TextChoices):
        STRICT = "strict", _("Strict: input must fit the schema, unknown keys are dropped")
        LENIENT = "lenient", _("Lenient: unknown keys are kept, a misfit passes as it was sent")
        OFF = "off", _("Off: input passes as it was sent")

    CONTENT: ClassVar = (
        "defaults",
        "locked",
        "config_keys",
        "extra_configurable",
        "open_configurable",
        "strict_config",
        "validation",
    )

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField(_("number"))
    defaults = models.JSONField(_("defaults"), default=dict, blank=True)
    locked = models.JSONField(
        _("locked ids"),
        default=list,
        blank=True,
        validators=[validate_names],
        help_text=_("Declared configurable ids that callers may not set."),
    )
    config_keys = models.JSONField(
        _("config keys callers may send"),
        default=default_config_keys,
        blank=True,
        validators=[validate_config_keys],
    )
    extra_configurable = models.JSONField(
        _("extra configurable ids callers may send"),
        default=list,
        blank=True,
        validators=[validate_names],
        help_text=_("Ids that the runnable does not declare, such as session_id."),
    )
    open_configurable = models.JSONField(
        _("guarded configurable ids callers may send"),
        default=list,
        blank=True,
        validators=[validate_names],
        help_text=_("Ids that look like a credential or an address are closed unless named here."),
    )
    strict_config = models.BooleanField(
        _("refuse unknown config"),
        default=False,
        help_text=_("Answer 422 to config that would otherwise be dropped."),
    )
    validation = models.CharField(
        _("input validation"), max_length=10, choices=Validation.choices, default=Validation.STRICT
    )

    note = models.CharField(_("why"), max_length=300, blank=True)
    # Roll back to 3 makes a new version whose `copy_of` is 3.
    copy_of = models.PositiveIntegerField(_("copy of"), null=True, blank=True)
    created_at = models.DateTimeField(_("when"), auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("who"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    class Meta:
        verbose_name = _("version of a deployment")
        verbose_name_plural = _("versions of deployments")
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="langserve_version_number", fields=["deployment", "number"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.deployment_id}: v{self.number}"

    @property
    def content(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.CONTENT}


class Canary(models.Model):
    """
    A trial: a share of the callers is answered by another version until it ends.
    """

    class StickyBy(models.TextChoices):
        USER = "user", _("user (anonymous callers by address)")
        TOKEN = "token", _("API token (others by user or address)")
        ADDRESS = "address", _("address")

    class Outcome(models.TextChoices):
        RUNNING = "running", _("running")
        PROMOTED = "promoted", _("promoted")
        STOPPED = "stopped", _("stopped")
        FAILED = "failed", _("stopped for its errors")

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="canaries")
    version = models.ForeignKey(DeploymentVersion, on_delete=models.CASCADE, related_name="+")
    percent = models.FloatField(
        _("share of callers, in percent"),
        validators=[MinValueValidator(0), MaxValueValidator(100)],
    )
    sticky_by = models.CharField(
        _("sticky by"), max_length=10, choices=StickyBy.choices, default=StickyBy.USER
    )
    stop_error_percent = models.FloatField(
        _("stop above this error rate, in percent"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
    )
    stop_min_requests = models.PositiveIntegerField(
        _("after at least so many calls"), default=20, validators=[MinValueValidator(1)]
    )
    outcome = models.CharField(
        _("outcome"), max_length=10, choices=Outcome.choices, default=Outcome.RUNNING
    )
    started_at = models.DateTimeField(_("started"), auto_now_add=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("canary")
        verbose_name_plural = _("canaries")
        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="langserve_one_canary_at_a_time",
                fields=["deployment"],
                condition=Q(outcome="running"),
            )
        ]

    def __str__(self) -> str:
        return f"{self.percent:g} % of {self.deployment_id}"
