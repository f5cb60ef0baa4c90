"""
How long traces are kept, and what is deleted when.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_noop

from runnables.conf import conf
from runnables.figures import PAST
from traces import writer
from traces.models import DroppedTraces, Trace, Tracing

BATCH = 500
DROPPED_DAYS = 400
TRACES = gettext_noop("traces")


def outdated(older_than: timedelta | None = None) -> list[QuerySet[Trace]]:
    """
    The traces past their days, or older than that whatever their days; by deployment.
    """
    now = timezone.now()
    if older_than is not None:
        return [Trace.objects.filter(started_at__lt=now - older_than)]
    own = dict(Tracing.objects.filter(days__isnull=False).values_list("pk", "days"))
    found = [
        Trace.objects.filter(deployment=pk, started_at__lt=now - timedelta(days=days or 0))
        for pk, days in own.items()
    ]
    rest = Trace.objects.filter(started_at__lt=now - timedelta(days=conf.trace_days))
    # NULL is in no list, and in no complement of one.
    return [*found, rest.exclude(deployment__in=[*own]) if own else rest]


def delete_in_batches(traces: QuerySet[Trace]) -> Iterator[int]:
    """
    Delete them so many at a time, each batch committed; how many went with it.
    """
    while keys := list(traces.order_by("started_at").values_list("pk", flat=True)[:BATCH]):
        Trace.objects.filter(pk__in=keys).delete()
        yield len(keys)


def tidy() -> None:
    """
    Delete what is past its days.
    """
    for traces in outdated():
        for _ in delete_in_batches(traces):
            pass
    _fold_dropped()


def _fold_dropped() -> None:
    """
    Put the hours of long ago together, so that how many were dropped in all stays true.
    """
    limit = timezone.now() - timedelta(days=DROPPED_DAYS)
    old = DroppedTraces.objects.filter(hour__lt=limit, hour__gt=PAST)
    with transaction.atomic():
        rows = list(old.select_for_update())
        if rows:
            past, _ = DroppedTraces.objects.select_for_update().get_or_create(hour=PAST)
            past.count += sum(row.count for row in rows)
            past.save(update_fields=["count"])
            DroppedTraces.objects.filter(pk__in=[row.pk for row in rows]).delete()


def kept_of_user(user: Any) -> dict[str, int]:
    """
    How many traces of a user's runs there are.
    """
    return {TRACES: Trace.objects.filter(user=user).count()}


def forget_user(user: Any) -> dict[str, int]:
    """
    Delete the traces of a user's runs, with those that this process has not written yet.
    """
    writer.write()
    return {TRACES: sum(delete_in_batches(Trace.objects.filter(user=user)))}
