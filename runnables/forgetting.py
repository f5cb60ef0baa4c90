"""
What is kept of a user, in all apps, and deleting it.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_noop

from runnables import audit, hooks
from runnables.history import delete_sessions
from runnables.models import ChatSession

SESSIONS = gettext_noop("chat sessions")


def kept_of(user: Any) -> dict[str, int]:
    """
    What is kept of them -> how many.
    """
    found = {SESSIONS: ChatSession.objects.filter(user=user).count()}
    for count in hooks.kept:
        found |= count(user)
    return found


def forget(user: Any, *, by: audit.Actor) -> dict[str, int]:
    """
    Delete it, batch by batch, each committed; that it was done is kept. What -> how many.
    """
    gone = {SESSIONS: sum(delete_sessions(ChatSession.objects.filter(user=user)))}
    for delete in hooks.forgotten:
        gone |= delete(user)
    audit.record_of_user(f"Deleted what was kept of {user}: {in_words(gone)}.", by=by)
    return gone


def in_words(counts: dict[str, int]) -> str:
    """
    Numbers in brackets, which spares the plurals of each.
    """
    parts = [f"{name} ({count:,})" for name, count in counts.items() if count]
    return ", ".join(parts) or "nothing"
