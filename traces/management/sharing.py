"""
manage.py traces share list | revoke

Links are named by number: whoever has a token may read the trace, so none is printed.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from feedback.models import TraceLink
from runnables import audit
from runnables.management.arguments import confirm, user_named
from traces.management.selection import AddCommand, counted, deployment_named, say

SOME = 500


def add_arguments(command: AddCommand) -> None:
    listing = command("list", show, "show the links that still open")
    listing.add_argument(
        "--all", action="store_true", dest="is_all", help="revoked and expired too"
    )
    revoking = command("revoke", revoke, "let links open nothing any more")
    revoking.add_argument("links", nargs="*", metavar="LINK", help="number, token or address")
    for sub in (listing, revoking):
        sub.add_argument("--user", help="those shared by this user")
        sub.add_argument("--deployment", metavar="NAME", help="those of this one, by name or /path")
    revoking.add_argument("--dry-run", action="store_true", help="only say how many")
    revoking.add_argument("--no-input", action="store_true", help="do not ask")


def show(command: BaseCommand, *, is_all: bool, as_json: bool, **options: Any) -> None:
    links = TraceLink.objects.all() if is_all else TraceLink.objects.live()
    rows = _narrowed(links, **options).select_related("deployment", "created_by").order_by("pk")
    found = False
    for link in rows.iterator(chunk_size=SOME):
        found = True
        _show_one(command, link, as_json)
    if not found and not as_json:
        command.stdout.write("no links")


def _show_one(command: BaseCommand, link: TraceLink, as_json: bool) -> None:
    who = link.created_by.get_username() if link.created_by else None
    state = "revoked" if link.revoked_at else "live" if link.is_live else "expired"
    until = f"{link.expires_at:%Y-%m-%d %H:%M}" if link.expires_at else "for ever"
    deployment = link.deployment.name if link.deployment else None
    say(
        command,
        as_json,
        f"{link.pk:>6}  {state:<8} {deployment or '-':<16} {who or '-':<12}"
        f" until {until}, {counted(link.views, 'view', 'views')}\n        run {link.run_id}",
        link=link.pk,
        name=link.name,
        run_id=str(link.run_id),
        deployment=deployment,
        state=state,
        by=who,
        parts=link.parts,
        created_at=link.created_at.isoformat(),
        expires_at=link.expires_at and link.expires_at.isoformat(),
        views=link.views,
        last_viewed_at=link.last_viewed_at and link.last_viewed_at.isoformat(),
    )


def revoke(
    command: BaseCommand,
    *,
    links: list[str],
    user: str | None,
    deployment: str | None,
    dry_run: bool,
    no_input: bool,
    as_json: bool,
    **_: Any,
) -> None:
    if not (links or user or deployment):
        raise CommandError("say which: their numbers, --user or --deployment")
    keys = [_key(text) for text in links]
    rows = _narrowed(TraceLink.objects.live(), user=user, deployment=deployment)
    rows = rows.filter(pk__in=keys) if links else rows
    total = rows.count()
    if dry_run:
        say(command, as_json, f"would revoke {_links(total)}", would_revoke=total)
        return
    if total and not no_input:
        confirm(command, f"Revoke {_links(total)}?")
    done = _revoke(rows)
    say(command, as_json, f"revoked {_links(done)}", revoked=done)


def _revoke(rows: QuerySet[TraceLink]) -> int:
    with transaction.atomic():
        found = list(rows.select_for_update(of=("self",)).select_related("deployment"))
        now = timezone.now()
        TraceLink.objects.filter(pk__in=[link.pk for link in found]).update(revoked_at=now)
        for link in found:
            if link.deployment:
                text = f"Revoked a link to the trace of run {link.run_id}."
                audit.record(link.deployment, text, by=audit.COMMAND_LINE)
    return len(found)


def _narrowed(
    links: QuerySet[TraceLink], *, user: str | None, deployment: str | None, **_: Any
) -> QuerySet[TraceLink]:
    if user:
        links = links.filter(created_by=user_named(user))
    if deployment:
        row = deployment_named(deployment)
        if row is None:
            raise CommandError(f"there is no deployment {deployment!r}")
        links = links.filter(deployment=row)
    return links


def _key(text: str) -> int:
    """
    A link's number, from that, its token or its whole address.
    """
    token = text.rstrip("/").rpartition("/")[2]
    by_token = TraceLink.objects.filter(token=token).values_list("pk", flat=True).first()
    found = by_token if by_token else int(text) if text.isdecimal() and len(text) < 19 else None
    if found is None or not TraceLink.objects.filter(pk=found).exists():
        raise CommandError(f"there is no link {text!r}" if text.isdecimal() else "no such link")
    return found


def _links(number: int) -> str:
    return counted(number, "link", "links")
