"""
What is recorded of one deployment: read, changed, and what it comes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import Length
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from runnables import audit
from runnables.conf import conf
from runnables.deployments import announce_change
from runnables.hooks import AdminSection
from runnables.models import Deployment
from traces.models import Step, Trace, Tracing

FIELDS = ("is_on", "sample_percent", "payloads", "redact_keys", "redact_patterns", "days")
# Of these only that they changed is said: what is to be kept out may be spelled in them.
UNSAID = ("redact_keys", "redact_patterns")
SAMPLED = 200
# What rows take beside their texts, indexes included, as measured on SQLite.
TRACE_BYTES, STEP_BYTES = 500, 270
TEXTS = ("input", "output", "error", "tags", "metadata")


@dataclass(frozen=True, slots=True)
class Size:
    """
    Of the last 24 hours, from the newest runs of them.
    """

    runs: int
    bytes_each: int
    days: int

    @property
    def bytes(self) -> int:
        return self.runs * self.bytes_each * self.days


def tracing_of(deployment: Deployment) -> Tracing:
    """
    Its row, or one not saved with what the site says.
    """
    found = Tracing.objects.filter(pk=deployment.pk).first()
    return found or Tracing(deployment=deployment, is_on=conf.traces, payloads=conf.trace_payloads)


def save(row: Tracing, *, by: audit.Actor) -> list[str]:
    """
    Save it, for every process at once; what changed, in words.
    """
    with transaction.atomic():
        # Whoever else saves at the same moment waits here.
        deployment = Deployment.objects.select_for_update().get(pk=row.pk)
        changes = _differences(tracing_of(deployment), row)
        if changes:
            row.save()
            announce_change()
            audit.record(deployment, f"Tracing: {'; '.join(changes)}.", by=by)
    return changes


def follow_the_site(deployment: Deployment, *, by: audit.Actor) -> bool:
    """
    Forget what is set for this deployment; whether anything was.
    """
    with transaction.atomic():
        count, _rows = Tracing.objects.filter(pk=deployment.pk).delete()
        if count:
            announce_change()
            audit.record(deployment, "Tracing: as the site's settings say.", by=by)
    return bool(count)


def size_of(deployment: Deployment, days: int | None) -> Size:
    """
    What a day of traces takes. The newest are weighed, and the others counted.
    """
    since = timezone.now() - timedelta(days=1)
    traces = Trace.objects.filter(deployment=deployment, started_at__gte=since)
    newest = list(traces.order_by("-started_at").values_list("pk", flat=True)[:SAMPLED])
    kept_for = days or conf.trace_days
    if not newest:
        return Size(0, 0, kept_for)
    own = _weight(Trace.objects.filter(pk__in=newest), (*TEXTS, "config"), TRACE_BYTES)
    inner = _weight(Step.objects.filter(trace__in=newest), TEXTS, STEP_BYTES)
    return Size(traces.count(), (own + inner) // len(newest), kept_for)


def section(request: HttpRequest, deployment: Deployment) -> AdminSection | None:
    """
    The part of the deployment's page in the admin that leads to all this.
    """
    if not may_see(request):
        return None
    row = tracing_of(deployment)
    context = {
        "row": row,
        "days": row.days or conf.trace_days,
        "is_own": bool(row.pk and Tracing.objects.filter(pk=row.pk).exists()),
        "url": reverse("admin:langserve_traces_tracing", args=[deployment.pk]),
        "may_change": may_change(request),
    }
    return AdminSection("tracing", _("Tracing"), "admin/langserve_traces/section.html", context)


def may_see(request: HttpRequest) -> bool:
    return request.user.has_perm("langserve_traces.view_tracing") or may_change(request)


def may_change(request: HttpRequest) -> bool:
    return request.user.has_perm("langserve_traces.change_tracing")


def _differences(before: Tracing, after: Tracing) -> list[str]:
    said = []
    for name in FIELDS:
        old, new = getattr(before, name), getattr(after, name)
        if old == new:
            continue
        field: Any = Tracing._meta.get_field(name)
        values = "changed" if name in UNSAID else f"{_in_words(old)} → {_in_words(new)}"
        said.append(f"{field.verbose_name}: {values}")
    return said


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "the site's" if value is None else str(value)


def _weight(rows: QuerySet[Any], texts: Sequence[str], of_a_row: int) -> int:
    sums = {name: Sum(Length(F(name))) for name in texts}
    found = rows.order_by().aggregate(rows=Count("pk"), **sums)
    return sum(int(found[name] or 0) for name in texts) + int(found["rows"]) * of_a_row
