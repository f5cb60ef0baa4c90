"""
Traces shown to whoever has the link: made, looked up, counted and ended here alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet
from django.urls import reverse
from django.utils import timezone

from feedback.models import TraceLink
from runnables import audit
from runnables.conf import conf
from runnables.models import Deployment

ENDPOINT = "public_trace_link"
LONGEST_NAME = 100
LONGEST_TOKEN = 64
USUAL_PARTS = (TraceLink.Part.PAYLOADS.value, TraceLink.Part.STEPS.value)


class _Usual:
    """
    Where nobody says how long: the site's own term.
    """


USUAL = _Usual()


class ExpiryRefused(ValueError):
    """
    Longer than the site lets links live; the text says how long it does.
    """


def is_open(deployment: Deployment | None) -> bool:
    """
    Whether its runs may be shared, and those that were can be seen.
    """
    return bool(deployment and deployment.is_enabled and ENDPOINT in deployment.endpoints)


@transaction.atomic
def share_run(
    *,
    run_id: UUID,
    deployment: Deployment,
    by: Any,
    parts: Iterable[str] = USUAL_PARTS,
    name: str = "",
    lives: timedelta | _Usual | None = USUAL,
) -> TraceLink:
    """
    The user's live link of that name to these parts of the run, made if there is none: asked
    twice, the address is the same. `lives` also moves the end of a link that is there; None is
    for ever. Raises ExpiryRefused.
    """
    expires_at = expiry(lives)
    chosen = sorted({TraceLink.Part(part).value for part in parts})
    # One at a time: of two that ask together the second finds what the first has made.
    Deployment.objects.select_for_update().only("pk").get(pk=deployment.pk)
    theirs = TraceLink.objects.live().filter(run_id=run_id, created_by=by, name=name)
    for link in theirs.order_by("pk"):
        if link.parts == chosen:
            return _moved(link, expires_at, by) if lives is not USUAL else link
    link = TraceLink.objects.create(
        run_id=run_id,
        deployment=deployment,
        name=name,
        parts=chosen,
        created_by=by,
        expires_at=expires_at,
    )
    audit.record(deployment, f"Shared run {run_id} by link{_called(link)}, {_until(link)}.", by=by)
    return link


@transaction.atomic
def revoke(links: Iterable[TraceLink], *, by: Any) -> int:
    """
    End the links at once; how many were live.
    """
    keys = [link.pk for link in links]
    live = TraceLink.objects.live().select_related("deployment").filter(pk__in=keys)
    rows = list(live.select_for_update(of=("self",)))
    TraceLink.objects.filter(pk__in=[row.pk for row in rows]).update(revoked_at=timezone.now())
    for row in rows:
        if row.deployment:
            text = f"Revoked the link{_called(row)} to run {row.run_id}."
            audit.record(row.deployment, text, by=by)
    return len(rows)


def count_view(link: TraceLink) -> None:
    """
    One more look at it, exact however many look at once.
    """
    TraceLink.objects.filter(pk=link.pk).update(views=F("views") + 1, last_viewed_at=timezone.now())


def find(token: str) -> TraceLink | None:
    """
    The link that this token opens now; None of any other, whatever is wrong with it.
    """
    if not 0 < len(token) <= LONGEST_TOKEN or not token.isascii() or not token.isprintable():
        return None
    link = TraceLink.objects.live().select_related("deployment").filter(token=token).first()
    return link if link and is_open(link.deployment) else None


def links_of(user: Any) -> QuerySet[TraceLink]:
    """
    Those that the user has made, newest first, but for what was revoked.
    """
    made = TraceLink.objects.filter(created_by=user, revoked_at__isnull=True)
    return made.select_related("deployment").order_by("-created_at", "-pk")


def path_of(link: TraceLink) -> str:
    """
    The page is that of `traces`, which is above us: it is known here by its name alone.
    """
    return reverse("langserve_traces:shared", args=[link.token])


def longest_life() -> timedelta | None:
    return None if conf.trace_link_max_days is None else timedelta(days=conf.trace_link_max_days)


def expiry(lives: timedelta | _Usual | None) -> datetime | None:
    """
    When a link made now ends; raises ExpiryRefused.
    """
    longest = longest_life()
    if isinstance(lives, _Usual):
        usual = None if conf.trace_link_days is None else timedelta(days=conf.trace_link_days)
        lives = min(filter(None, (usual, longest)), default=None)
    elif longest is not None and (lives is None or lives > longest):
        raise ExpiryRefused(f"links may live {longest.days} days at most here")
    if lives is None:
        return None
    try:
        return timezone.now() + lives
    except OverflowError:
        raise ExpiryRefused("that is beyond the end of the calendar; use null") from None


def _moved(link: TraceLink, expires_at: datetime | None, by: Any) -> TraceLink:
    link.expires_at = expires_at
    link.save(update_fields=["expires_at"])
    if link.deployment:
        text = f"Moved the end of the link{_called(link)} to run {link.run_id}: {_until(link)}."
        audit.record(link.deployment, text, by=by)
    return link


def _called(link: TraceLink) -> str:
    return f" “{link.name}”" if link.name else ""


def _until(link: TraceLink) -> str:
    return f"until {link.expires_at:%Y-%m-%d %H:%M} UTC" if link.expires_at else "for ever"
