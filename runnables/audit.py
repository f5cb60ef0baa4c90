"""
Who did what to a deployment, in words: for the admin's history and for good.
"""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import models

from runnables.models import AuditEntry, Deployment

# A user, or the name of whatever else it was.
Actor = Any
COMMAND_LINE = "command line"
THE_SITE = "the site itself"


def record(deployment: Deployment, text: str, *, by: Actor, log: bool = True) -> None:
    """
    Keep what was done; call it in the transaction that did it. With `log` it is in the
    admin's own log as well, which knows users only.
    """
    user: Any = by if isinstance(by, models.Model) else None
    AuditEntry.objects.create(
        deployment=deployment, name=deployment.name, user=user, by=str(by)[:200], text=text
    )
    if user is not None and log:
        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(Deployment),
            object_id=str(deployment.pk),
            object_repr=str(deployment)[:200],
            action_flag=CHANGE,
            change_message=text,
        )


def record_of_user(text: str, *, by: Actor) -> None:
    """
    The same of what was done to no deployment.
    """
    user: Any = by if isinstance(by, models.Model) else None
    AuditEntry.objects.create(user=user, by=str(by)[:200], text=text)
