"""
What a user said about runs, and whom they showed them to: counted and deleted.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext_noop

from feedback.models import Feedback, TraceLink
from feedback.services import remove_all
from runnables.identity import principal_of

FEEDBACK = gettext_noop("feedback")
LINKS = gettext_noop("shared links")


def kept_of_user(user: Any) -> dict[str, int]:
    return {name: rows.count() for name, rows in _rows_of(user).items()}


def forget_user(user: Any) -> dict[str, int]:
    rows = _rows_of(user)
    # Its copies elsewhere go too.
    return {FEEDBACK: remove_all(rows[FEEDBACK]), LINKS: rows[LINKS].delete()[0]}


def _rows_of(user: Any) -> dict[str, QuerySet[Any]]:
    said = Q(user=user) | Q(author=principal_of(user))
    return {
        FEEDBACK: Feedback.objects.filter(said),
        LINKS: TraceLink.objects.filter(created_by=user),
    }
