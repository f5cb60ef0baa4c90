from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from runnables.models.validators import validate_endpoints, validate_names, validate_path
from runnables.permissions import PERMISSIONS, Matrix
from runnables.registry import ENDPOINTS, default_registry


def all_endpoints() -> list[str]:
    return list(ENDPOINTS)


class DeploymentQuerySet(models.QuerySet["Deployment"]):
    def enabled(self) -> DeploymentQuerySet:
        return self.filter(is_enabled=True)

    def orphaned(self) -> DeploymentQuerySet:
        """
        Rows whose runnable the code registers no more.
        """
        return self.exclude(name__in=[registration.name for registration in default_registry])


class Deployment(models.Model):
    """
    Serves one registered runnable under a path; the admin owns it once it is there.

    `name` is a key of the registry, never an import path: nobody can make the server
    import code by editing a row. What is here takes effect at once; what changes results
    is in `version`, and in the canary's.
    """

    class ErrorDetail(models.TextChoices):
        NONE = "none", _("Nothing but the run id")
        CLASS = "class", _("The exception's class")
        MESSAGE = "message", _("The exception's class and message")

    name = models.CharField(_("runnable"), max_length=200, unique=True)
    path = models.CharField(
        _("path"),
        max_length=200,
        unique=True,
        blank=True,
        validators=[validate_path],
        help_text=_(
            "Where it is served, without slashes at the ends. Empty is the root of the site."
        ),
    )
    description = models.TextField(_("description"), blank=True)
    version = models.ForeignKey(
        "langserve.DeploymentVersion",
        verbose_name=_("version"),
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    is_enabled = models.BooleanField(_("enabled"), default=True)
    off_reason = models.CharField(
        _("why it is off"), max_length=200, blank=True, help_text=_("For staff; callers get 404.")
    )
    in_maintenance = models.BooleanField(
        _("in maintenance"), default=False, help_text=_("Calls get 503 with the message below.")
    )
    maintenance_message = models.CharField(_("message to callers"), max_length=300, blank=True)
    maintenance_retry_after = models.PositiveIntegerField(
        _("try again after, in seconds"), default=300, validators=[MinValueValidator(1)]
    )
    listed = models.BooleanField(
        _("listed"),
        default=True,
        help_text=_("Callers without access learn that it exists. Otherwise they get 404."),
    )

    endpoints = models.JSONField(
        _("endpoints switched on"),
        default=all_endpoints,
        blank=True,
        validators=[validate_endpoints],
    )
    include_callback_events = models.BooleanField(_("send callback events"), default=False)
    stream_log_name_allow_list = models.JSONField(
        _("stream log name allow-list"),
        null=True,
        blank=True,
        default=None,
        validators=[validate_names],
    )
    playground_type = models.CharField(
        _("playground"),
        max_length=10,
        choices=[("default", _("Form")), ("chat", _("Chat"))],
        default="default",
    )
    astream_events_version = models.CharField(
        _("version of stream_events"),
        max_length=2,
        choices=[("v1", "v1"), ("v2", "v2")],
        default="v2",
    )
    error_detail = models.CharField(
        _("what errors show"), max_length=10, choices=ErrorDetail.choices, default=ErrorDetail.NONE
    )

    timeout = models.FloatField(
        _("longest run in seconds"), default=600.0, validators=[MinValueValidator(0.01)]
    )
    max_concurrent_runs = models.PositiveIntegerField(
        _("runs at a time"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("In each server process. Empty: as many as come. Further runs wait in line."),
    )
    max_queued_runs = models.PositiveIntegerField(
        _("runs that may wait in line"),
        default=100,
        help_text=_("Where runs at a time are limited. Callers beyond get 429."),
    )
    requests_per_minute = models.PositiveIntegerField(
        _("calls a minute per user"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    anonymous_requests_per_minute = models.PositiveIntegerField(
        _("calls a minute per anonymous address"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
    )
    daily_quota = models.PositiveIntegerField(
        _("runs a day per user"),
        null=True,
        blank=True,
        help_text=_("Counted exactly; anonymous callers by address. A batch counts each input."),
    )
    max_batch_size = models.PositiveIntegerField(
        _("largest batch"),
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
    )
    batch_concurrency = models.PositiveIntegerField(
        _("runs at a time per batch"),
        default=8,
        validators=[MinValueValidator(1), MaxValueValidator(1_000)],
    )
    max_input_bytes = models.PositiveIntegerField(
        _("largest body in bytes"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Empty: the site's default, which is larger where files are uploaded."),
    )
    max_recursion = models.PositiveIntegerField(
        _("highest recursion limit"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1_000)],
        help_text=_("That callers may ask for, and that runs get without asking."),
    )
    degraded_error_percent = models.FloatField(
        _("degraded from this error rate, in percent"),
        default=5.0,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
    )
    degraded_p95_seconds = models.FloatField(
        _("degraded from this p95, in seconds"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.001)],
    )

    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["path"]
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")
        permissions: ClassVar = [
            ("publish_deployment", _("Can open a deployment to everybody")),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def matrix(self) -> Matrix:
        """
        Its rights by audience; one query unless the grants are prefetched.
        """
        return Matrix.of(self.grants.all())

    @property
    def access(self) -> str:
        """
        The widest audience that may call it.
        """
        return self.matrix.audience

    def clean(self) -> None:
        # A row whose code is gone may still be edited: switched off, for one.
        is_known = Deployment.objects.filter(pk=self.pk, name=self.name).exists()
        if not is_known and self.name not in default_registry:
            raise ValidationError({"name": _("No runnable with this name is registered.")})
        self.path = self.path.strip("/")


class Grant(models.Model):
    """
    What one audience may do with a deployment: one row of its access matrix. Rights add up.
    """

    class Audience(models.TextChoices):
        PUBLIC = "public", _("Everybody")
        AUTHENTICATED = "authenticated", _("Signed-in users")
        STAFF = "staff", _("Staff")
        GROUP = "group", _("Group")
        USER = "user", _("User")

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="grants")
    audience = models.CharField(_("audience"), max_length=20, choices=Audience.choices)
    group = models.ForeignKey(
        Group, verbose_name=_("group"), null=True, blank=True, on_delete=models.CASCADE
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
    )

    run = models.BooleanField(_("run"), default=False)
    playground = models.BooleanField(_("playground"), default=False)
    override_config = models.BooleanField(_("override config"), default=False)
    pin_version = models.BooleanField(_("choose a version"), default=False)
    see_traces = models.BooleanField(_("see traces"), default=False)
    see_payloads = models.BooleanField(_("see payloads"), default=False)
    share = models.BooleanField(_("share"), default=False)
    review = models.BooleanField(_("review"), default=False)

    class Meta:
        verbose_name = _("right")
        verbose_name_plural = _("rights")
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="langserve_grant_names_its_audience",
                condition=(
                    Q(audience="group", group__isnull=False, user__isnull=True)
                    | Q(audience="user", group__isnull=True, user__isnull=False)
                    | (
                        Q(audience__in=["public", "authenticated", "staff"])
                        & Q(group__isnull=True, user__isnull=True)
                    )
                ),
            ),
            models.UniqueConstraint(
                name="langserve_grant_once_per_audience",
                fields=["deployment", "audience"],
                condition=Q(audience__in=["public", "authenticated", "staff"]),
            ),
            models.UniqueConstraint(
                name="langserve_grant_once_per_group",
                fields=["deployment", "group"],
                condition=Q(group__isnull=False),
            ),
            models.UniqueConstraint(
                name="langserve_grant_once_per_user",
                fields=["deployment", "user"],
                condition=Q(user__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.named

    @property
    def named(self) -> str:
        """
        Whom it is for, in words.
        """
        whom: Any = self.group or self.user
        label = str(self.Audience(self.audience).label)
        return f"{label} {whom}" if whom else label

    @property
    def permissions(self) -> frozenset[str]:
        return frozenset(name for name in PERMISSIONS if getattr(self, name))


class Revision(models.Model):
    """
    One row whose number rises with each change of a deployment; processes watch it.
    """

    number = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.number)
