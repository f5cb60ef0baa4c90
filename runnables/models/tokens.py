from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from knox.models import AbstractAuthToken

from runnables.models.validators import validate_scopes


class ApiToken(AbstractAuthToken):
    """
    A caller's bearer token. Only knox's digest of it is stored.
    """

    name = models.CharField(_("name"), max_length=100, blank=True)
    scopes = models.JSONField(_("scopes"), default=list, blank=True, validators=[validate_scopes])
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")

    def __str__(self) -> str:
        return self.name or f"{self.token_key}…"
