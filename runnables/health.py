"""
How a deployment is doing, in one word, and its health check.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runnables import figures
from runnables.exceptions import ServingError
from runnables.models import Deployment, Health
from runnables.registry import default_registry
from runnables.served import ServedDeployment


class Status(models.TextChoices):
    """
    `failing`: the last five calls failed. `degraded`: the error rate or p95 of 24 hours is
    over the deployment's thresholds. `unknown`: nobody called it in 24 hours.
    """

    MISSING = "missing", _("Missing in code")
    OFF = "off", _("Off")
    MAINTENANCE = "maintenance", _("Maintenance")
    UNKNOWN = "unknown", _("Unknown")
    HEALTHY = "healthy", _("Healthy")
    DEGRADED = "degraded", _("Degraded")
    FAILING = "failing", _("Failing")


@dataclass(frozen=True, slots=True)
class Verdict:
    status: Status
    why: str = ""


def verdict(deployment: Deployment, known: Health | None, day: figures.Sum) -> Verdict:
    """
    The status of a deployment, of what is known of its calls of the last 24 hours.
    """
    if deployment.name not in default_registry:
        return Verdict(Status.MISSING, str(_("No runnable of this name is registered.")))
    if not deployment.is_enabled:
        return Verdict(Status.OFF, deployment.off_reason)
    if deployment.in_maintenance:
        return Verdict(Status.MAINTENANCE, deployment.maintenance_message)
    if not day.requests:
        return Verdict(Status.UNKNOWN, str(_("No calls in 24 hours.")))
    recent = known.recent if known else []
    if len(recent) >= figures.RECENT and not any(went_well for _at, went_well in recent):
        return Verdict(Status.FAILING, str(_("The last five calls failed.")))
    return _against_thresholds(deployment, day)


def _against_thresholds(deployment: Deployment, day: figures.Sum) -> Verdict:
    errors, most = day.error_percent, deployment.degraded_error_percent
    if errors > most:
        why = _("%(errors).1f %% of calls failed; the threshold is %(most)g %%.")
        return Verdict(Status.DEGRADED, str(why) % {"errors": errors, "most": most})
    p95, slowest = day.duration(0.95), deployment.degraded_p95_seconds
    if p95 is not None and slowest is not None and p95 > slowest * 1000:
        why = _("p95 is %(p95).1f s; the threshold is %(slowest)g s.")
        return Verdict(Status.DEGRADED, str(why) % {"p95": p95 / 1000, "slowest": slowest})
    return Verdict(Status.HEALTHY)


async def ask(deployment: ServedDeployment) -> None:
    """
    Call the registered health check, if there is one; it says no by raising or by returning
    False, which raises Unhealthy.
    """
    check = deployment.options.health_check
    answer: Any = check() if check else None
    if inspect.isawaitable(answer):
        answer = await answer
    if answer is False:
        raise Unhealthy


class Unhealthy(ServingError):
    """
    A health check answered False.
    """

    status_code = 503
    code = "unhealthy"
    message = "The health check of this deployment says no."


def note_check(deployment: Deployment, *, passed: bool, text: str) -> None:
    """
    Keep what a health check said.
    """
    Health.objects.update_or_create(
        deployment=deployment,
        defaults={"checked_at": timezone.now(), "check_passed": passed, "check_text": text[:1000]},
    )


async def check_deployment(deployment: ServedDeployment) -> tuple[bool, str]:
    """
    Build the runnable and ask its health check: whether all is well, and what was said.
    What is wrong is told as it is: this is for staff.
    """
    try:
        await deployment.ready()
        await ask(deployment)
    except Exception as error:  # noqa: BLE001 - whatever a check raises is the finding
        cause = error.__cause__ or error
        return False, f"{type(cause).__name__}: {cause}"
    asked = deployment.options.health_check is not None
    return True, "The health check passed." if asked else "It builds; it has no health check."
