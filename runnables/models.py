from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from knox.models import AbstractAuthToken

from runnables.paths import normalize
from runnables.registry import ENDPOINTS, BadOption, check_config_keys, default_registry


def _validate_path(value: str) -> None:
    try:
        normalize(value)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def _validate_endpoints(value: Any) -> None:
    if not isinstance(value, list) or (unknown := [v for v in value if v not in ENDPOINTS]):
        known = ", ".join(ENDPOINTS)
        raise ValidationError(
            _("This is a list of endpoint names. Unknown: %(unknown)s. Known: %(known)s."),
            params={"unknown": unknown if isinstance(value, list) else value, "known": known},
        )


def _validate_names(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError(_("This is a list of texts."))


def _validate_config_keys(value: Any) -> None:
    _validate_names(value)
    try:
        check_config_keys(value)
    except BadOption as error:
        raise ValidationError(str(error)) from None


def all_endpoints() -> list[str]:
    return list(ENDPOINTS)


def default_config_keys() -> list[str]:
    return ["configurable"]


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
    import code by editing a row.
    """

    class Access(models.TextChoices):
        PUBLIC = "public", _("Everybody")
        AUTHENTICATED = "authenticated", _("Signed-in users")
        STAFF = "staff", _("Staff")
        GROUPS = "groups", _("Members of the groups below")

    class Validation(models.TextChoices):
        STRICT = "strict", _("Strict: input must fit the schema, unknown keys are dropped")
        LENIENT = "lenient", _("Lenient: unknown keys are kept, a misfit passes as it was sent")
        OFF = "off", _("Off: input passes as it was sent")

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
        validators=[_validate_path],
        help_text=_(
            "Where it is served, without slashes at the ends. Empty is the root of the site."
        ),
    )
    description = models.TextField(_("description"), blank=True)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    listed = models.BooleanField(
        _("listed"),
        default=True,
        help_text=_("Callers without access learn that it exists. Otherwise they get 404."),
    )
    access = models.CharField(
        _("who may call it"), max_length=20, choices=Access.choices, default=Access.AUTHENTICATED
    )
    groups = models.ManyToManyField(Group, verbose_name=_("groups"), blank=True)

    endpoints = models.JSONField(
        _("endpoints switched on"),
        default=all_endpoints,
        blank=True,
        validators=[_validate_endpoints],
    )
    config_keys = models.JSONField(
        _("config keys callers may send"),
        default=default_config_keys,
        blank=True,
        validators=[_validate_config_keys],
    )
    extra_configurable = models.JSONField(
        _("extra configurable ids callers may send"),
        default=list,
        blank=True,
        validators=[_validate_names],
        help_text=_("Ids that the runnable does not declare, such as session_id."),
    )
    open_configurable = models.JSONField(
        _("guarded configurable ids callers may send"),
        default=list,
        blank=True,
        validators=[_validate_names],
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
    include_callback_events = models.BooleanField(_("send callback events"), default=False)
    stream_log_name_allow_list = models.JSONField(
        _("stream log name allow-list"),
        null=True,
        blank=True,
        default=None,
        validators=[_validate_names],
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
    timeout = models.FloatField(
        _("longest run in seconds"), default=600.0, validators=[MinValueValidator(0.01)]
    )

    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["path"]
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        # A row whose code is gone may still be edited: switched off, for one.
        is_known = Deployment.objects.filter(pk=self.pk, name=self.name).exists()
        if not is_known and self.name not in default_registry:
            raise ValidationError({"name": _("No runnable with this name is registered.")})
        self.path = self.path.strip("/")


class Revision(models.Model):
    """
    One row whose number rises with each change of a deployment; processes watch it.
    """

    number = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.number)


class CancelRequest(models.Model):
    """
    "Cancel this run", left for whichever process is running it.
    """

    run_id = models.UUIDField(primary_key=True)
    principal = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    done = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.run_id)


class ApiToken(AbstractAuthToken):
    """
    A caller's bearer token. Only knox's digest of it is stored.
    """

    name = models.CharField(_("name"), max_length=100, blank=True)
    scopes = models.JSONField(_("scopes"), default=list, blank=True, validators=[_validate_names])
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")

    def __str__(self) -> str:
        return self.name or f"{self.token_key}…"


class Session(AbstractBaseSession):
    """
    Django's session with its user beside it, so that one query tells who is calling.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        null=True,
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="+",
    )

    class Meta(AbstractBaseSession.Meta):
        pass

    @classmethod
    def get_session_store_class(cls) -> Any:
        # By name: the engine imports this module.
        return import_string("runnables.sessions.SessionStore")
