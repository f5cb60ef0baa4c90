from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from runnables.models.deployment import Deployment


class AuditEntry(models.Model):
    """
    Something that was done to a deployment, by whom and in words.

    Django's own log of the admin has the same for users; this one also holds what the
    command line and the site itself did, and stays when a user is deleted.
    """

    deployment = models.ForeignKey(
        Deployment, null=True, on_delete=models.SET_NULL, related_name="audit"
    )
    name = models.CharField(_("deployment"), max_length=200)
    at = models.DateTimeField(_("when"), auto_now_add=True, db_index=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Kept beside `user`: who it was, when the user is gone or was none.
    by = models.CharField(_("who"), max_length=200)
    text = models.TextField(_("what"))

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"
