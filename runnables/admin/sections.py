"""
The sections of the page of one deployment, which its tabs lead to, and what they show.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from runnables import hooks, processes, rights
from runnables.admin import pieces
from runnables.admin.deployment_list import no_calls, url_of
from runnables.admin.overviews import Overview, overview
from runnables.models import AuditEntry, Deployment
from runnables.registry import ENDPOINTS, default_registry

SCHEMAS = ("input_schema", "output_schema", "config_schema")
LAST_ENTRIES = 10

# Key -> where it stands on the page is the template's; names are the headings.
FIELDSETS: Any = (
    (
        gettext_lazy("Deployment"),
        {
            "fields": (
                "name",
                "path",
                "description",
                "listed",
                "is_enabled",
                "off_reason",
                "in_maintenance",
                "maintenance_message",
                "maintenance_retry_after",
            )
        },
    ),
    (gettext_lazy("Endpoints"), {"fields": ("endpoints",)}),
    (gettext_lazy("Access"), {"fields": ("rights",)}),
    (
        gettext_lazy("Limits"),
        {
            "fields": (
                "timeout",
                "max_concurrent_runs",
                "max_queued_runs",
                "requests_per_minute",
                "anonymous_requests_per_minute",
                "daily_quota",
                "max_batch_size",
                "batch_concurrency",
                "max_input_bytes",
                "max_recursion",
                "degraded_error_percent",
                "degraded_p95_seconds",
            )
        },
    ),
    (
        gettext_lazy("Answers"),
        {
            "fields": (
                "error_detail",
                "include_callback_events",
                "stream_log_name_allow_list",
                "astream_events_version",
                "playground_type",
            )
        },
    ),
)
KEYS = ("deployment", "endpoints", "access", "limits", "answers")

_READ_ONLY = {"endpoints": "endpoints_in_words", "rights": "rights_in_words"}
# For staff who may look at it and no more: the fields that are not columns, in words.
READ_ONLY_FIELDSETS: Any = tuple(
    (name, {"fields": tuple(_READ_ONLY.get(one, one) for one in options["fields"])})
    for name, options in FIELDSETS
)

TABS = (
    ("overview", gettext_lazy("Overview")),
    ("endpoints", gettext_lazy("Endpoints")),
    ("access", gettext_lazy("Access")),
    ("limits", gettext_lazy("Limits")),
    ("defaults", gettext_lazy("Defaults")),
    ("versions", gettext_lazy("Versions")),
    ("canary", gettext_lazy("Canary")),
    ("history", gettext_lazy("History")),
)


class ReadOnlyColumns:
    """
    Fields of the form as those see them who may not change them.
    """

    @admin.display(description=gettext_lazy("switched on"))
    def endpoints_in_words(self, row: Deployment) -> str:
        return ", ".join(name for name in ENDPOINTS if name in row.endpoints) or _("none")

    @admin.display(description=gettext_lazy("rights"))
    def rights_in_words(self, row: Deployment) -> SafeString:
        given = {key: may for key, may in rights.rights_of(row).items() if may}
        names = rights.named(given)
        lines = ((names[key], rights.in_words(given[key])) for key in given)
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}: {}</li>", lines))


def context(
    modeladmin: Any, request: HttpRequest, row: Deployment, adminform: Any
) -> dict[str, Any]:
    """
    What the template of the page needs beside what Django gives it.
    """
    # As it is saved: a form that was refused has left its values in the row.
    row = Deployment.objects.select_related("version").get(pk=row.pk)
    known = overview(row)
    alive = processes.alive()
    registration = default_registry.find(row.name)
    others = [found for show in hooks.admin_sections if (found := show(request, row))]
    return {
        "tabs": [*TABS[:-1], *((other.key, other.title) for other in others), TABS[-1]],
        "other_sections": others,
        "fieldsets": dict(zip(KEYS, adminform, strict=True)),
        "saved": row,
        "overview": known,
        "verdict": pieces.verdict_badge(known.verdict),
        "figures": _figures(known),
        "origin": registration.origin if registration else "",
        "url": url_of(row),
        "schemas": [
            {"name": name, "url": url_of(row, name)}
            for name in SCHEMAS
            if row.is_enabled and registration and name in row.endpoints
        ],
        "processes": alive,
        "check_badge": _check_badge(known),
        "calls": _last_calls(known),
        "running": sum(process.running.get(str(row.pk), 0) for process in alive),
        "entries": AuditEntry.objects.filter(deployment=row)[:LAST_ENTRIES],
        "may_change": modeladmin.has_change_permission(request, row),
    }


def _check_badge(known: Overview) -> SafeString | str:
    health = known.health
    if health is None or health.checked_at is None:
        return ""
    return (
        pieces.badge("healthy", _("Passed"))
        if health.check_passed
        else pieces.badge("failing", _("Failed"))
    )


def _last_calls(known: Overview) -> list[SafeString]:
    """
    How the last calls went, oldest first.
    """
    recent = known.health.recent if known.health else []
    return [
        pieces.badge("healthy", _("went well"))
        if went_well
        else pieces.badge("failing", _("failed"))
        for _at, went_well in recent
    ]


def _figures(known: Overview) -> list[tuple[str, str | SafeString]]:
    """
    The figures of 24 hours with their names; dashes where nothing is known.
    """
    day = known.day

    def timed(milliseconds: float | None) -> str | SafeString:
        return no_calls() if milliseconds is None else pieces.duration(milliseconds)

    calls: str | SafeString = no_calls()
    if day.requests:
        label = _("Calls by the hour, at most %d") % max(known.hours)
        calls = format_html(
            "{} {}", pieces.number(day.requests), pieces.spark_line(known.hours, label)
        )
    return [
        (_("calls"), calls),
        (_("errors"), pieces.percent(day.error_percent) if day.requests else no_calls()),
        (_("p50"), timed(day.duration(0.5))),
        (_("p95"), timed(day.duration(0.95))),
        (_("p50 to first chunk"), timed(day.first_chunk(0.5))),
    ]
