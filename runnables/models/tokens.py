from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from knox.models import AbstractAuthToken

from runnables import scopes
from runnables.models.validators import validate_scopes

SHOWN_CHARACTERS = 8


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
        return self.name or self.beginning

    @property
    def beginning(self) -> str:
        """
        The first characters of the token: enough to tell it from others, of no use to call with.
        """
        return f"{self.token_key[:SHOWN_CHARACTERS]}…"

    @property
    def public_id(self) -> str:
        """
        A name for pages and addresses, made from the digest, which need not be shown for it.
        """
        return salted_hmac("runnables.ApiToken", self.pk, algorithm="sha256").hexdigest()[:32]

    @property
    def is_expired(self) -> bool:
        expiry: datetime | None = self.expiry
        return expiry is not None and expiry < timezone.now()

    @property
    def actions(self) -> list[str]:
        return [scope for scope in self.scopes if scope in scopes.ACTIONS]

    @property
    def deployments(self) -> list[str]:
        named = (scope for scope in self.scopes if scope.startswith(scopes.DEPLOYMENT))
        return [scope.removeprefix(scopes.DEPLOYMENT) for scope in named]
