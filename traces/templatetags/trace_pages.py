"""
How the pages of traces tell times, states and numbers, and the small charts they draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from django import template
from django.template import Context, TemplateDoesNotExist
from django.template.loader import select_template
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from traces.models import State
from traces.pages.tree import Node, Pages

register = template.Library()

# Drawn on 16 by 16; a word stands beside each.
_ICONS = {
    "running": "M8 2.5a5.5 5.5 0 1 0 5.5 5.5",
    "done": "M3 8.5l3.2 3.2L13 5",
    "failed": "M4 4l8 8M12 4l-8 8",
    "cancelled": "M4 4h8v8H4z",
    "client_gone": "M2.5 8h8M7.5 5l3 3-3 3M13.5 3v10",
    "client_too_slow": "M4 2.5h8M4 13.5h8M5 3c0 4 6 6 6 10M11 3c0 4-6 6-6 10",
    "timed_out": "M8 4.5V8l2.5 2M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11",
    "lost": "M5.5 6a2.5 2.5 0 1 1 3.7 2.2c-.9.5-1.2 1-1.2 1.8M8 12.6v.6",
    # Thumbs.
    "up": "M2.5 7.5h2.5v6H2.5zM5 8l2.5-5.5c1.5 0 2 1 1.7 2.3L8.8 6.5h3.7c.8 0 1.3.7 1.1 1.5l-1.1 4.3c-.2.7-.7 1.2-1.5 1.2H5z",
    "down": "M2.5 8.5h2.5v-6H2.5zM5 8l2.5 5.5c1.5 0 2-1 1.7-2.3L8.8 9.5h3.7c.8 0 1.3-.7 1.1-1.5l-1.1-4.3c-.2-.7-.7-1.2-1.5-1.2H5z",
    "close": "M4.5 4.5l7 7M11.5 4.5l-7 7",
}
_DRAWN = {
    name: mark_safe(  # noqa: S308 - of our own paths alone
        f'<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false"><path d="{path}" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/></svg>'
    )
    for name, path in _ICONS.items()
}
MINUTE, HOUR, DAY = 60, 3600, 86_400
CHART_WIDTH, CHART_HEIGHT = 320, 56


@register.simple_tag
def trace_icon(name: str) -> SafeString:
    return _DRAWN.get(name, SafeString())


@register.filter
def milliseconds(value: float | None) -> str:
    """
    `850 ms`, `1.4 s`, `2 m 05 s`.
    """
    if value is None:
        return ""
    if value < 999.5:
        number = _tenths(round(value, 1), get_language()) if value < 10 else round(value)
        return _("%(number)s ms") % {"number": number}
    if value < 59_950:
        return _("%(number)s s") % {"number": _tenths(round(value / 1000, 1), get_language())}
    minutes, seconds = divmod(round(value / 1000), 60)
    if minutes < 60:
        return _("%(minutes)d m %(seconds)02d s") % {"minutes": minutes, "seconds": seconds}
    hours, minutes = divmod(minutes, 60)
    return _("%(hours)d h %(minutes)02d m") % {"hours": hours, "minutes": minutes}


@lru_cache(maxsize=4096)
def _tenths(value: float, language: str | None) -> str:
    # A tree has thousands of them, and Django's own takes its time.
    return str(number_format(value))


@register.filter
def elapsed(moment: datetime) -> float:
    """
    Milliseconds since then.
    """
    return max(0.0, (timezone.now() - moment).total_seconds() * 1000)


@register.filter
def ago(moment: datetime) -> str:
    seconds = (timezone.now() - moment).total_seconds()
    if seconds < MINUTE:
        return _("just now")
    if seconds < HOUR:
        return _("%(number)d min ago") % {"number": seconds // MINUTE}
    if seconds < DAY:
        return _("%(number)d h ago") % {"number": seconds // HOUR}
    days = int(seconds // DAY)
    return ngettext("%(number)d day ago", "%(number)d days ago", days) % {"number": days}


@register.filter
def cost(value: Decimal | None) -> str:
    """
    Four digits that tell something, however small it is.
    """
    if value is None:
        return ""
    if value == 0:
        return "0"
    places = max(2, 3 - value.adjusted()) if abs(value) < 1000 else 0
    return str(number_format(round(value, min(places, 9)), places if value < 1 else 2))


@register.filter
def percent(value: float) -> str:
    return f"{value:.0f} %" if value == 0 or value >= 10 else f"{value:.1f} %"


_ROW = (
    '<li data-level="{}" data-state="{}"{}><a href="?node={}{}" id="n-{}"{}>{}'
    '<span class="kind kind-{}"></span><span class="name">{}</span>{}'
    '<span class="took">{}</span><svg class="bar" viewBox="0 0 100 8" '
    'preserveAspectRatio="none"><rect x="{}" width="{}" y="1" height="6"/></svg></a></li>\n'
)


@register.simple_tag
def tree_rows(nodes: Iterable[Node], chosen: UUID, pages: Pages) -> SafeString:
    """
    The nodes of a tree as list items. Here and not in a template, which takes five times as
    long; and a page may have thousands. What is somebody else's text is escaped.
    """
    part = f"&amp;from={pages.first}" if pages.is_part else ""
    return mark_safe("".join(_row(node, chosen, part) for node in nodes))  # noqa: S308


def _row(node: Node, chosen: UUID, part: str) -> str:
    marks = ' aria-current="true"' if node.id == chosen else ""
    return _ROW.format(
        node.level,
        escape(node.state),
        " data-noise" if node.is_noise else "",
        node.id,
        part,
        node.id,
        f"{marks} data-parent" if node.has_children else marks,
        '<span class="twist"></span>' if node.has_children else "",
        escape(node.kind),
        escape(node.name),
        _beside(node),
        milliseconds(node.duration_ms) or "…",
        node.x,
        node.width,
    )


def _beside(node: Node) -> str:
    """
    The state, where it is not the usual one, and the tokens.
    """
    text = ""
    if node.state != State.DONE:
        text = format_html(
            '<span class="state state-{}">{}<span class="visually-hidden">{}</span></span>',
            node.state,
            trace_icon(node.state),
            node.state_label,
        )
    if node.tokens is None:
        return text
    return text + format_html('<span class="extra">{} tok</span>', node.tokens)


@register.simple_tag(takes_context=True)
def rate(context: Context, run_id: Any, path: str | None) -> str:
    """
    The buttons that rate a run, where the site has them.
    """
    try:
        found = select_template(["feedback/_feedback.html"])
    except TemplateDoesNotExist:
        return ""
    more: dict[str, Any] = {
        "run_id": run_id,
        "deployment_path": path,
        "current": context.get("current"),
    }
    around: dict[str, Any] = {str(name): value for name, value in context.flatten().items()}
    return str(found.render({**around, **more}, context.get("request")))


@register.simple_tag
def bars(values: Sequence[int], label: str, kind: str = "") -> SafeString:
    """
    A column for each value, none for 0; the largest is as high as the chart.
    """
    highest, width = max(values, default=0) or 1, CHART_WIDTH / (len(values) or 1)
    columns = format_html_join(
        "",
        '<rect x="{}" y="{}" width="{}" height="{}" rx="1"/>',
        (
            (_at(i * width + 1), _at(CHART_HEIGHT - height), _at(width - 2), _at(height))
            for i, value in enumerate(values)
            if value and (height := max(2.0, CHART_HEIGHT * value / highest))
        ),
    )
    return _chart(label, format_html('<g class="bars {}">{}</g>', kind, columns))


@register.simple_tag
def lines(lower: Sequence[float | None], upper: Sequence[float | None], label: str) -> SafeString:
    """
    Two lines on one scale, which begins at 0. Where a value is missing they have a gap, and
    a value alone is a dot.
    """
    known = [value for value in (*lower, *upper) if value is not None]
    highest = max(known, default=0) or 1
    drawn = format_html_join(
        "",
        '<g class="line {}">{}</g>',
        (
            (name, _line(values, highest))
            for name, values in (("line-upper", upper), ("line-lower", lower))
        ),
    )
    return _chart(label, drawn)


def _line(values: Sequence[float | None], highest: float) -> SafeString:
    step = CHART_WIDTH / (len(values) or 1)
    pieces: list[list[str]] = [[]]
    for i, value in enumerate(values):
        if value is None:
            pieces.append([])
            continue
        y = CHART_HEIGHT - 3 - (CHART_HEIGHT - 6) * value / highest
        pieces[-1].append(f"{_at((i + 0.5) * step)} {_at(y)}")
    return format_html_join("", "{}", ((_piece(points),) for points in pieces if points))


def _piece(points: list[str]) -> SafeString:
    # A line from a point to itself is a dot.
    return format_html('<polyline points="{}"/>', " ".join(points if points[1:] else points * 2))


def _chart(label: str, drawn: SafeString) -> SafeString:
    return format_html(
        '<svg class="small-chart" role="img" aria-label="{}" viewBox="0 0 {} {}" '
        'preserveAspectRatio="none">{}</svg>',
        label,
        CHART_WIDTH,
        CHART_HEIGHT,
        drawn,
    )


def _at(number: float) -> str:
    return f"{number:.1f}"
