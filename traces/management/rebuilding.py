"""
manage.py traces rebuild-stats
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from runnables.management.arguments import beginning, end
from runnables.management.progress import Interrupt, Progress
from traces.management.selection import AddCommand, counted, deployment_named, say, stop
from traces.models import Trace
from traces.rebuild import rebuild


def add_arguments(command: AddCommand) -> None:
    sub = command("rebuild-stats", rebuild_stats, "count the figures of whole hours anew")
    sub.add_argument("--since", type=beginning, metavar="WHEN", help="30d, a date or a time")
    sub.add_argument("--until", type=end, metavar="WHEN", help="30d, a date (to its end) or a time")
    sub.add_argument("--deployment", metavar="NAME", help="of this one, by name or /path")


def rebuild_stats(
    command: BaseCommand,
    *,
    since: datetime | None,
    until: datetime | None,
    deployment: str | None,
    as_json: bool,
    no_progress: bool,
    **_: Any,
) -> None:
    row = deployment_named(deployment) if deployment else None
    if deployment and row is None:
        raise CommandError(f"there is no deployment {deployment!r}")
    if since and until and since >= until:
        raise CommandError("--since is not before --until")
    since = (
        since or Trace.objects.order_by("started_at").values_list("started_at", flat=True).first()
    )
    bar: Progress | None = None
    done = total = changed = left_alone = 0
    hours = rebuild(since, until or timezone.now(), row) if since else iter(())
    with Interrupt() as interrupt:
        for hour in hours:
            done, total = hour.number, hour.hours
            changed, left_alone = changed + hour.changed, left_alone + hour.left
            bar = bar or Progress(command.stderr, "Counting", total, "hours", bar=not no_progress)
            bar.show(done)
            if interrupt.came:
                break
        if bar:
            bar.close()
    text = f"counted {counted(done, 'hour', 'hours')} anew; {changed:,} figures changed"
    if left_alone:
        text += f"; left {left_alone:,} alone, whose traces are not all kept"
    say(command, as_json, text, hours=done, of=total, changed=changed, left_alone=left_alone)
    if interrupt.came:
        stop(command, "stopped after a whole batch; counting is the same however often it is done")
