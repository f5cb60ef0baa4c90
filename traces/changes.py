"""
What changed how a deployment answers, and when: new versions, roll-backs and canaries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.utils.translation import gettext as _

from runnables.models import Canary, DeploymentVersion
from traces.periods import Period

# More would hide what they mark.
SHOWN = 20


@dataclass(frozen=True)
class Change:
    at: datetime
    deployment: str
    text: str


def changes(deployments: Collection[int], period: Period) -> list[Change]:
    """
    Those of a period, oldest first; the last ones if they are many. Two queries.
    """
    found = [*_versions(deployments, period), *_canaries(deployments, period)]
    return sorted(found, key=lambda change: change.at)[-SHOWN:]


def _versions(deployments: Collection[int], period: Period) -> Iterator[Change]:
    rows = DeploymentVersion.objects.filter(
        deployment__in=deployments, created_at__gte=period.start, created_at__lt=period.end
    )
    for row in rows.select_related("deployment").order_by("-created_at")[:SHOWN]:
        text = (
            _("version %(number)d")
            if row.copy_of is None
            else _("version %(number)d, back to %(old)d")
        )
        yield Change(
            row.created_at, row.deployment.name, text % {"number": row.number, "old": row.copy_of}
        )


def _canaries(deployments: Collection[int], period: Period) -> Iterator[Change]:
    start, end = period.start, period.end
    rows = Canary.objects.filter(
        Q(started_at__gte=start, started_at__lt=end) | Q(ended_at__gte=start, ended_at__lt=end),
        deployment__in=deployments,
    )
    for row in rows.select_related("deployment", "version").order_by("-started_at")[:SHOWN]:
        named = {"number": row.version.number, "percent": f"{row.percent:g}"}
        if start <= row.started_at < end:
            text = _("canary: version %(number)d for %(percent)s %%") % named
            yield Change(row.started_at, row.deployment.name, text)
        if row.ended_at and start <= row.ended_at < end:
            outcome = row.get_outcome_display()
            text = _("canary of version %(number)d: %(outcome)s") % {**named, "outcome": outcome}
            yield Change(row.ended_at, row.deployment.name, text)
