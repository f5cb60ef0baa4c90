"""
What the list of deployments is filtered by.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runnables.admin.overviews import HOURS, overviews
from runnables.health import Status
from runnables.models import Canary, Deployment, Grant

Rows = QuerySet[Deployment]


class StatusFilter(admin.SimpleListFilter):
    """
    By status, which is computed: the overviews of all rows are made first, by a constant
    number of queries.
    """

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Status.choices)

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if self.value() not in Status.values:
            return queryset
        known = overviews(list(queryset))
        keys = [key for key, one in known.items() if one.verdict.status == self.value()]
        return queryset.filter(pk__in=keys)


class GroupFilter(admin.SimpleListFilter):
    """
    By a group that the access matrix names, whatever it may do.
    """

    title = _("group")
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        named = Group.objects.filter(pk__in=Grant.objects.values("group"))
        return [(str(group.pk), group.name) for group in named.order_by("name")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        value = self.value() or ""
        if not value.isdecimal():
            return queryset
        # By a subquery: a join would give a row once for each of its grants.
        granted = Grant.objects.filter(deployment=OuterRef("pk"), group=int(value))
        return queryset.filter(Exists(granted))


class YesFilter(admin.SimpleListFilter):
    """
    Those of which one thing is so, or those of which it is not.
    """

    words: tuple[Any, Any]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(zip(("yes", "no"), self.words, strict=True))

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if self.value() not in ("yes", "no"):
            return queryset
        is_so = self.condition()
        return queryset.filter(is_so if self.value() == "yes" else ~is_so)

    def condition(self) -> Exists:
        raise NotImplementedError


class CanaryFilter(YesFilter):
    title = _("canary")
    parameter_name = "canary"
    words = (_("Running"), _("None"))

    def condition(self) -> Exists:
        running = Canary.objects.filter(outcome=Canary.Outcome.RUNNING)
        return Exists(running.filter(deployment=OuterRef("pk")))


class ErrorFilter(YesFilter):
    title = _("errors in 24 h")
    parameter_name = "error"
    words = (_("Some"), _("None"))

    def condition(self) -> Exists:
        since = timezone.now() - timedelta(hours=HOURS)
        return Exists(
            Deployment.objects.filter(pk=OuterRef("pk"), health__last_error_at__gte=since)
        )
