from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class ChatSession(models.Model):
    """
    One conversation: of one owner, at one deployment, under the caller's own id for it.
    """

    # A principal as `runnables.identity` spells it: "u7", or "anonymous" for all of those.
    owner = models.CharField(_("owner"), max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        null=True,
        on_delete=models.CASCADE,
        related_name="+",
    )
    deployment = models.CharField(_("deployment"), max_length=200)
    session_id = models.CharField(_("session id"), max_length=255)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("last message"), auto_now=True, db_index=True)

    class Meta:
        verbose_name = _("chat session")
        verbose_name_plural = _("chat sessions")
        ordering: ClassVar = ["-updated_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="langserve_chat_session_once", fields=["owner", "deployment", "session_id"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.deployment}: {self.session_id}"


class ChatMessage(models.Model):
    """
    One message of a conversation, as the wire spells it.
    """

    session = models.ForeignKey(ChatSession, on_delete=models.CASCADE, related_name="messages")
    message = models.JSONField(_("message"))
    created_at = models.DateTimeField(_("when"), auto_now_add=True)

    class Meta:
        verbose_name = _("chat message")
        verbose_name_plural = _("chat messages")
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.pk}"
