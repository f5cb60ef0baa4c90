"""
What is known of how deployments are doing, for many at once: the same few queries whether
they are one or five hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from runnables import figures
from runnables.health import Verdict, verdict
from runnables.models import Canary, Deployment, Health

HOURS = 24


@dataclass(frozen=True, slots=True)
class Overview:
    """
    One deployment over the last 24 hours; `hours` are its calls by the hour, oldest first.
    """

    verdict: Verdict
    day: figures.Sum
    hours: list[int]
    health: Health | None
    canary: Canary | None

    @property
    def last_error(self) -> Health | None:
        return self.health if self.health and self.health.last_error_at else None


def overviews(deployments: Sequence[Deployment]) -> dict[int, Overview]:
    """
    Their overviews by primary key; three queries.
    """
    keys = [deployment.pk for deployment in deployments]
    rows: dict[int, list[Any]] = {key: [] for key in keys}
    for row in figures.since(HOURS).filter(deployment__in=keys):
        rows[row.deployment_id].append(row)
    health = Health.objects.in_bulk(keys)
    running = Canary.objects.filter(deployment__in=keys, outcome=Canary.Outcome.RUNNING)
    canaries = {canary.deployment_id: canary for canary in running.select_related("version")}
    return {
        deployment.pk: _overview(
            deployment, rows[deployment.pk], health.get(deployment.pk), canaries.get(deployment.pk)
        )
        for deployment in deployments
    }


def overview(deployment: Deployment) -> Overview:
    return overviews([deployment])[deployment.pk]


def calls_by_endpoint(deployment: Deployment) -> dict[str, int]:
    """
    Calls in 24 hours by endpoint, of those that were called.
    """
    rows = figures.since(HOURS).filter(deployment=deployment).values_list("endpoint")
    return dict(rows.annotate(calls=Sum("requests")))


def _overview(
    deployment: Deployment, rows: list[Any], health: Health | None, canary: Canary | None
) -> Overview:
    day = figures.summed(rows)
    return Overview(
        verdict=verdict(deployment, health, day),
        day=day,
        hours=_by_hour(rows),
        health=health,
        canary=canary,
    )


def _by_hour(rows: list[Any]) -> list[int]:
    this_hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    hours = [this_hour - timedelta(hours=back) for back in reversed(range(HOURS))]
    counts = dict.fromkeys(hours, 0)
    for row in rows:
        if row.hour in counts:
            counts[row.hour] += row.requests
    return list(counts.values())
