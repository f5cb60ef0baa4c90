"""
Canaries: a version is tried on a share of the callers, compared, and promoted or stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.mail import mail_admins
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from runnables import audit, figures
from runnables.deployments import announce_change
from runnables.models import Canary, Deployment, DeploymentVersion, Figures
from runnables.versions import Outdated, make_version_current

logger = logging.getLogger(__name__)

# Fewer calls than this in an arm say little.
ENOUGH = 50
# A version that is saved for a trial is tried at once.
SAVED_FOR_IT = timedelta(minutes=1)


class NoCanary(Exception):
    """
    No trial is going on at this deployment.
    """


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    The two sides of a trial, since it began.
    """

    stable: figures.Sum
    canary: figures.Sum

    @property
    def is_telling(self) -> bool:
        return min(self.stable.requests, self.canary.requests) >= ENOUGH


def start(
    deployment: Deployment,
    version: DeploymentVersion,
    *,
    percent: float,
    by: audit.Actor,
    sticky_by: str = Canary.StickyBy.USER,
    stop_error_percent: float | None = None,
    stop_min_requests: int = 20,
) -> Canary:
    """
    Try a version on `percent` of the callers; a trial that was going on is stopped. Raises
    ValidationError if there is nothing to try or the numbers make no sense.
    """
    with transaction.atomic():
        row = _locked(deployment)
        if version.deployment_id != row.pk or version.pk == row.version_id:
            raise ValidationError({"version": _("Another version than the current one is tried.")})
        if running_now(row).exists():
            stop(row, by=by, why=f"version {version.number} is tried instead")
        canary = Canary(
            deployment=deployment,
            version=version,
            percent=percent,
            sticky_by=sticky_by,
            stop_error_percent=stop_error_percent,
            stop_min_requests=stop_min_requests,
            started_by=by if not isinstance(by, str) else None,
        )
        canary.full_clean(exclude=["deployment", "version", "started_by"])
        canary.save()
        audit.record(
            deployment, f"Version {version.number} is tried on {percent:g} % of callers.", by=by
        )
        announce_change()
        return canary


def change_share(canary: Canary, *, percent: float, by: audit.Actor) -> None:
    """
    Widen or narrow a trial that goes on: who was in it stays in it as it widens. Raises
    NoCanary if it has ended.
    """
    with transaction.atomic():
        _locked(canary.deployment)
        _going_on(canary.deployment, canary)
        before, canary.percent = canary.percent, percent
        canary.full_clean(exclude=["deployment", "version", "started_by"])
        canary.save(update_fields=["percent"])
        text = f"The trial of version {canary.version.number}: {before:g} % → {percent:g} %."
        audit.record(canary.deployment, text, by=by)
        announce_change()


def promote(
    deployment: Deployment,
    *,
    by: audit.Actor,
    canary: Canary | None = None,
    instead_of: int | None = None,
) -> DeploymentVersion:
    """
    The version on trial answers everybody from now on; raises NoCanary. Who has looked at
    it names the trial and the number of the version that it replaces: Outdated is raised if
    that is not the current one any more.
    """
    with transaction.atomic():
        row = _locked(deployment)
        before = row.version
        if before and instead_of not in (None, before.number):
            raise Outdated(before)
        ended = _end(row, Canary.Outcome.PROMOTED, canary)
        number = before.number if before else 0
        text = f"Version {ended.version.number} was promoted in place of version {number}."
        audit.record(row, text, by=by)
        make_version_current(row, ended.version)
        deployment.version = ended.version
        return ended.version


def stop(
    deployment: Deployment,
    *,
    by: audit.Actor,
    canary: Canary | None = None,
    outcome: Canary.Outcome = Canary.Outcome.STOPPED,
    why: str = "",
) -> Canary:
    """
    Nobody is answered by the version on trial any more; raises NoCanary, too if `canary`
    names a trial that another one has replaced.
    """
    with transaction.atomic():
        ended = _end(_locked(deployment), outcome, canary)
        text = f"The trial of version {ended.version.number} was stopped{why and f': {why}'}."
        audit.record(deployment, text, by=by)
        announce_change()
        return ended


def compare(canary: Canary) -> Comparison:
    rows = list(Figures.objects.filter(canary_id=canary.pk))
    return Comparison(
        stable=figures.summed(row for row in rows if row.arm == Figures.Arm.STABLE),
        canary=figures.summed(row for row in rows if row.arm == Figures.Arm.CANARY),
    )


def judge(deployments: Iterable[int]) -> None:
    """
    Stop the trials of these deployments that fail more than they may.
    """
    judged = Canary.objects.filter(
        deployment__in=list(deployments),
        outcome=Canary.Outcome.RUNNING,
        stop_error_percent__isnull=False,
    )
    for canary in judged.select_related("deployment", "version"):
        side = compare(canary).canary
        if side.requests < canary.stop_min_requests:
            continue
        if side.error_percent > (canary.stop_error_percent or 0):
            _stop_failing(canary, side)


def only_tried(deployment: Deployment) -> set[int]:
    """
    Keys of the versions that were saved for a trial and have never answered everybody: what
    came after them was not made from them.
    """
    rows = Canary.objects.filter(deployment=deployment).values_list(
        "version", "outcome", "started_at", "version__created_at"
    )
    promoted = {version for version, outcome, *_ in rows if outcome == Canary.Outcome.PROMOTED}
    # One that is tried later on, instead, had answered everybody before.
    saved_for_it = {
        version for version, _, started, created in rows if started - created < SAVED_FOR_IT
    }
    return saved_for_it - promoted - {deployment.version_id}


def running_now(deployment: Deployment) -> QuerySet[Canary]:
    return Canary.objects.filter(deployment=deployment, outcome=Canary.Outcome.RUNNING)


def _stop_failing(canary: Canary, side: figures.Sum) -> None:
    why = (
        f"{side.errors} of {side.requests} calls failed ({side.error_percent:.1f} %), "
        f"more than {canary.stop_error_percent:g} %"
    )
    try:
        stop(
            canary.deployment,
            by=audit.THE_SITE,
            canary=canary,
            outcome=Canary.Outcome.FAILED,
            why=why,
        )
    except NoCanary:
        return  # another process or somebody was first
    subject = f"Canary of {canary.deployment.name} stopped"
    logger.warning("%s: %s", subject, why)
    mail_admins(
        subject,
        f"Version {canary.version.number} is not tried any more: {why}.",
        fail_silently=True,
    )


def _locked(deployment: Deployment) -> Deployment:
    rows = Deployment.objects.select_for_update(of=("self",)).select_related("version")
    return rows.get(pk=deployment.pk)


def _going_on(deployment: Deployment, expected: Canary | None) -> Canary:
    canary = running_now(deployment).select_related("version").first()
    if canary is None or (expected and expected.pk != canary.pk):
        raise NoCanary
    return canary


def _end(deployment: Deployment, outcome: Canary.Outcome, expected: Canary | None) -> Canary:
    canary = _going_on(deployment, expected)
    canary.outcome, canary.ended_at = outcome, timezone.now()
    canary.save(update_fields=["outcome", "ended_at"])
    return canary
