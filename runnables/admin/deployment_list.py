"""
The list of deployments: its columns, and what they are drawn from, looked up for the rows
of the page and no others.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import prefetch_related_objects
from django.http import HttpRequest
from django.urls import get_script_prefix, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from runnables.admin import pieces
from runnables.admin.overviews import overviews
from runnables.conf import conf
from runnables.models import Deployment
from runnables.registry import ENDPOINTS, default_registry

# Names of groups and users that a row of the list shows before it only counts them.
FEW = 3

# A Deployment that `get_results` has given its `overview` and `may_change`.
Row = Any


class DeploymentChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Row] = list(self.result_list)
        prefetch_related_objects(rows, "grants__group", "grants__user")
        known = overviews(rows)
        may_change = self.model_admin.has_change_permission(request)
        for row in rows:
            row.overview = known[row.pk]
            row.may_change = may_change
        self.result_list: Any = rows


class ListColumns:
    """
    The computed columns of the list.
    """

    @admin.display(description=gettext_lazy("deployment"), ordering="path")
    def named(self, row: Row) -> SafeString:
        return format_html('{}<span class="ls-why">/{}</span>', row.name, row.path)

    @admin.display(description=gettext_lazy("status"))
    def status(self, row: Row) -> SafeString:
        return pieces.verdict_badge(row.overview.verdict)

    @admin.display(description=gettext_lazy("endpoints"))
    def endpoints_on(self, row: Row) -> str:
        return f"{len(row.endpoints)} / {len(ENDPOINTS)}"

    @admin.display(description=gettext_lazy("version"))
    def version_shown(self, row: Row) -> str | SafeString:
        if row.version is None:
            return pieces.nothing(_("It has no version yet: run `manage.py langserve sync`"))
        canary = row.overview.canary
        if canary is None:
            return f"v{row.version.number}"
        return _("v%(stable)d · canary v%(canary)d %(share)s") % {
            "stable": row.version.number,
            "canary": canary.version.number,
            "share": f"{canary.percent:g} %",
        }

    @admin.display(description=gettext_lazy("calls, 24 h"))
    def requests(self, row: Row) -> SafeString:
        count = row.overview.day.requests
        if not count:
            return no_calls()
        label = _("Calls by the hour, at most %d") % max(row.overview.hours)
        return format_html(
            '<span class="ls-number">{}</span> {}',
            pieces.number(count),
            pieces.spark_line(row.overview.hours, label),
        )

    @admin.display(description=gettext_lazy("errors"))
    def errors(self, row: Row) -> str | SafeString:
        day = row.overview.day
        return pieces.percent(day.error_percent) if day.requests else no_calls()

    @admin.display(description="p95")
    def p95(self, row: Row) -> str | SafeString:
        slow = row.overview.day.duration(0.95)
        return no_calls() if slow is None else pieces.duration(slow)

    @admin.display(description=gettext_lazy("last error"))
    def last_error(self, row: Row) -> SafeString:
        health = row.overview.last_error
        if health is None:
            return pieces.nothing(_("No error is known"))
        return format_html(
            '{}<span class="ls-why">{}</span>',
            pieces.ago(health.last_error_at),
            health.last_error_class,
        )

    @admin.display(description=gettext_lazy("may call"))
    def audience(self, row: Row) -> str:
        return audience_in_words(row)

    @admin.display(description=gettext_lazy("actions"))
    def row_actions(self, row: Row) -> SafeString:
        is_served = row.is_enabled and row.name in default_registry
        return format_html(
            '<span class="ls-row-actions">{}{}</span>',
            _switch_button(row) if row.may_change else "",
            _open_link(row) if is_served and "input_schema" in row.endpoints else "",
        )


def no_calls() -> SafeString:
    return pieces.nothing(_("No calls in 24 hours"))


def url_of(deployment: Deployment, endpoint: str = "") -> str:
    """
    Where callers find it, below whatever the site is mounted at.
    """
    parts = [part for part in (conf.prefix, deployment.path, endpoint) if part]
    return get_script_prefix() + "/".join(parts)


def audience_in_words(deployment: Deployment) -> str:
    """
    Who may call it; names of groups and users while they are few. One query unless the
    grants are prefetched.
    """
    audience = deployment.access
    if audience == "groups":
        names = [str(g.group or g.user) for g in deployment.grants.all() if g.run]
        more = len(names) - FEW
        rest = [ngettext("%d more", "%d more", more) % more] if more > 0 else []
        return ", ".join(sorted(names)[:FEW] + rest)
    return {
        "public": _("Everybody"),
        "authenticated": _("Signed-in users"),
        "staff": _("Staff"),
    }.get(audience, _("Nobody"))


def _switch_button(row: Row) -> SafeString:
    on = not row.is_enabled
    word = _("Enable") if on else _("Disable")
    return format_html(
        '<button type="submit" class="ls-button" form="ls-row-form" formaction="{}" name="on"'
        ' value="{}" aria-label="{} {}">{}</button>',
        reverse("admin:langserve_deployment_switch", args=[row.pk]),
        "1" if on else "",
        word,
        row.name,
        word,
    )


def _open_link(row: Row) -> SafeString:
    return format_html(
        '<a class="ls-button" href="{}" aria-label="{}">{}</a>',
        url_of(row, "input_schema"),
        _("Open /%s: what it takes") % row.path,
        _("Open"),
    )
