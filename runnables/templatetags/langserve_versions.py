"""
What the pages and sections of versions need in templates.
"""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context
from django.urls import get_script_prefix, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from runnables import trials
from runnables.conf import conf
from runnables.figures import Sum
from runnables.models import Canary, Deployment, DeploymentVersion
from runnables.versions import flat

register = template.Library()

IN_SECTION = 20
# Drawn on 16 by 16; the word beside says the same.
_ICONS = {
    "current": "M3 8.5l3.2 3.2L13 5",
    "canary": "M6 2h4M7 2v4L3.5 13h9L9 6V2M5 10h6",
    "copy": "M3 7h7a3 3 0 0 1 0 6H6M6 4L3 7l3 3",
    "locked": "M4 7h8v6H4zM5.5 7V5a2.5 2.5 0 0 1 5 0v2",
    "warning": "M8 2l6.5 12h-13zM8 6.5v3.5M8 12v.5",
    "stopped": "M4 4h8v8H4z",
}


@register.simple_tag
def version_icon(name: str) -> SafeString:
    return format_html(
        '<svg class="version-icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">'
        '<path d="{}" fill="none" stroke="currentColor" stroke-width="1.7"/></svg>',
        mark_safe(_ICONS[name]),  # noqa: S308 - one of ours
    )


@register.simple_tag
def deployment_url(name: str, deployment: Deployment, *further: Any) -> str:
    """
    The page of this name below a deployment.
    """
    return reverse(f"admin:langserve_deployment_{name}", args=[deployment.pk, *further])


@register.filter
def place(where: str) -> SafeString:
    """
    What a line of a diff is about: its kind in words, and the id as code.
    """
    parts = where.split(".", 2)
    if parts[:2] == ["defaults", "configurable"] and len(parts) == 3:
        return format_html("{} <code>{}</code>", _("Default of"), parts[2])
    if parts[0] == "defaults":
        return format_html("{} <code>{}</code>", _("Default of"), ".".join(parts[1:]))
    head, _dot, rest = where.partition(".")
    field: Any = DeploymentVersion._meta.get_field(head)
    name = capfirst(str(field.verbose_name))
    return format_html("{} <code>{}</code>", name, rest) if rest else format_html("{}", name)


@register.filter
def duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} m {seconds:02d} s"


@register.filter
def try_path(deployment: Deployment, version: DeploymentVersion) -> str:
    """
    Where a call of one version goes.
    """
    parts = [part for part in (conf.prefix, deployment.path, "invoke") if part]
    return f"{get_script_prefix()}{'/'.join(parts)}?version={version.number}"


@register.inclusion_tag("admin/langserve/deployment/includes/configuration_summary.html")
def configuration_summary(deployment: Deployment, *, may_change: bool = False) -> dict[str, Any]:
    """
    What the current version sets and what it locks, in a few lines.
    """
    version = deployment.version
    said = flat(version.content) if version else {}
    ids = [way[2] for way in said if way[:2] == ("defaults", "configurable") and len(way) > 2]
    return {
        "original": deployment,
        "version": version,
        "ids": list(dict.fromkeys(ids)),
        "others": list(
            dict.fromkeys(
                way[1] for way in said if way[0] == "defaults" and way[1] != "configurable"
            )
        ),
        "may_change": may_change,
    }


@register.inclusion_tag("admin/langserve/deployment/includes/versions_table.html")
def versions_table(
    deployment: Deployment, rows: Any = None, *, may_change: bool = False
) -> dict[str, Any]:
    """
    A table of versions: the given rows, or the last of them with a link to the others.
    """
    more = 0
    if rows is None:
        found = list(deployment.versions.select_related("created_by")[:IN_SECTION])
        # Not on top: Django's checks load template tags, perhaps before they load the admin,
        # and ours must not register with it before that of the users has.
        from runnables.admin.version_rows import rows_of  # noqa: PLC0415

        rows = rows_of(deployment, found)
        more = deployment.versions.count() - len(rows)
    return {"original": deployment, "rows": rows, "more": more, "may_change": may_change}


@register.inclusion_tag("admin/langserve/deployment/includes/canary_state.html")
def canary_state(deployment: Deployment, *, may_change: bool = False) -> dict[str, Any]:
    """
    The trial that goes on, with both its sides beside each other.
    """
    running = trials.running_now(deployment).select_related("version", "started_by").first()
    return {
        "original": deployment,
        "canary": running,
        "current": deployment.version,
        "may_change": may_change,
        **(compared(running) if running else {}),
    }


def compared(canary: Canary) -> dict[str, Any]:
    found = trials.compare(canary)
    return {
        "lines": [
            (_("Calls"), found.stable.requests, found.canary.requests),
            (_("Errors"), _errors(found.stable), _errors(found.canary)),
            *(_times(_("p50"), found, 0.5)),
            *(_times(_("p95"), found, 0.95)),
            (
                _("First chunk, p50"),
                _time(found.stable.first_chunks, found.stable.first_chunk(0.5)),
                _time(found.canary.first_chunks, found.canary.first_chunk(0.5)),
            ),
        ],
        "is_telling": found.is_telling,
        "enough": trials.ENOUGH,
    }


def _times(name: str, found: trials.Comparison, share: float) -> list[tuple[str, str, str]]:
    return [(name, duration(found.stable.duration(share)), duration(found.canary.duration(share)))]


def _time(histogram: list[int], milliseconds: float | None) -> str:
    """
    A percentile with the number of calls it is of: not all of them stream.
    """
    text = duration(milliseconds)
    if milliseconds is None:
        return text
    return _("%(time)s (n = %(number)d)") % {"time": text, "number": sum(histogram)}


def _errors(side: Sum) -> str:
    if not side.requests:
        return "-"
    return _("%(percent).1f %% (%(errors)d)") % {
        "percent": side.error_percent,
        "errors": side.errors,
    }


@register.simple_tag(takes_context=True)
def may_change_here(context: Context) -> bool:
    """
    Whether the reader may change the deployment: said by our pages and by the change form.
    """
    return bool(context.get("may_change", context.get("has_change_permission", False)))
