"""
manage.py traces prune
"""

from __future__ import annotations

from datetime import timedelta
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand

from runnables.management.arguments import confirm, duration
from runnables.management.progress import Interrupt, Progress
from traces import retention
from traces.management.selection import AddCommand, counted, of_deployment, say, stop


def add_arguments(command: AddCommand) -> None:
    sub = command("prune", prune, "delete the traces that are past their days")
    sub.add_argument(
        "--older-than",
        type=duration,
        metavar="30d",
        help="hours (12h), days (30d) or weeks (4w), whatever the deployments say; otherwise the "
        'days of each, or LANGSERVE["TRACE_DAYS"]',
    )
    sub.add_argument("--deployment", metavar="NAME", help="of this one alone, by name or /path")
    sub.add_argument("--dry-run", action="store_true", help="only say how many")
    sub.add_argument("--no-input", action="store_true", help="do not ask")


def prune(
    command: BaseCommand,
    *,
    older_than: timedelta | None,
    deployment: str | None,
    dry_run: bool,
    no_input: bool,
    as_json: bool,
    no_progress: bool,
    **_: Any,
) -> None:
    found = [of_deployment(traces, deployment) for traces in retention.outdated(older_than)]
    total = sum(traces.count() for traces in found)
    if dry_run:
        say(command, as_json, f"would delete {_traces(total)}", would_delete=total)
        return
    if total and not no_input:
        confirm(command, f"Delete {_traces(total)} with all their steps?")
    done = 0
    bar = Progress(command.stderr, "Pruning", total, "traces", bar=not no_progress)
    with Interrupt() as interrupt, bar as progress:
        for count in chain.from_iterable(map(retention.delete_in_batches, found)):
            done += count
            progress.show(done)
            if interrupt.came:
                break
    say(command, as_json, f"deleted {_traces(done)}", deleted=done)
    if interrupt.came:
        stop(command, "stopped after a whole batch; run the same again to go on")


def _traces(number: int) -> str:
    return counted(number, "trace", "traces")
