"""
Small pieces of HTML that several pages are made of: icons with a word, times, spark lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from runnables.health import Verdict

# Outlines on a field of 16 x 16, drawn with strokes.
ICONS = {
    "healthy": "M3 8.5l3.5 3.5L13 4.5",
    "degraded": "M8 2L14.5 14h-13zM8 6.5v3.5M8 12v.2",
    "failing": "M8 1.5a6.5 6.5 0 100 13 6.5 6.5 0 000-13M5.5 5.5l5 5M10.5 5.5l-5 5",
    "unknown": "M5.5 6a2.5 2.5 0 113.6 2.2Q8 8.8 8 10M8 12.5v.2",
    "off": "M8 2v6M4.5 4.5a5 5 0 107 0",
    "maintenance": "M5.5 3v10M10.5 3v10",
    "missing": "M4 2h5l3 3v9H4zM6.5 8l3 3M9.5 8l-3 3",
    "yes": "M3 8.5l3.5 3.5L13 4.5",
    "no": "M4 4l8 8M12 4l-8 8",
}

SPARK_WIDTH, SPARK_HEIGHT = 60, 20


def icon(name: str) -> SafeString:
    return format_html(
        '<svg class="ls-icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">'
        '<path d="{}"/></svg>',
        ICONS[name],
    )


def badge(kind: str, word: object) -> SafeString:
    """
    An icon and its word; the color says nothing that these do not.
    """
    return format_html('<span class="ls-badge ls-{}">{}{}</span>', kind, icon(kind), word)


def verdict_badge(verdict: Verdict) -> SafeString:
    shown = badge(verdict.status.value, verdict.status.label)
    if not verdict.why:
        return shown
    return format_html('{}<span class="ls-why">{}</span>', shown, verdict.why)


def nothing(reason: object) -> SafeString:
    """
    A dash, and why nothing else stands there.
    """
    return format_html(
        '<span class="ls-nothing" title="{0}"><span aria-hidden="true">&ndash;</span>'
        '<span class="visually-hidden">{0}</span></span>',
        reason,
    )


def duration(milliseconds: float) -> str:
    """
    850 ms, 1.4 s, 2 m 05 s.
    """
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms" if milliseconds >= 1 else "< 1 ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02d} s"


def ago(at: datetime) -> SafeString:
    """
    How long ago it was, with the exact time for whoever points at it.
    """
    local = timezone.localtime(at)
    exact = f"{date_format(local, 'DATETIME_FORMAT')} {local:%Z}"
    is_new = (timezone.now() - at).total_seconds() < 60
    words = _("just now") if is_new else _("%(time)s ago") % {"time": timesince(at, depth=1)}
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.isoformat(timespec="seconds"),
        exact,
        words,
    )


def number(value: int) -> str:
    """
    12 345, with a thin space that does not break.
    """
    return f"{value:,}".replace(",", "\u202f")


def percent(value: float) -> str:
    return f"{value:.1f} %" if 0 < value < 100 else f"{value:.0f} %"


def spark_line(counts: Sequence[int], label: str) -> SafeString:
    """
    One bar for each number, the highest as high as the picture.
    """
    highest = max(counts) or 1
    step = SPARK_WIDTH / len(counts)
    bar = step - 0.5
    bars = []
    for index, count in enumerate(counts):
        if count:
            height = max(1.5, (SPARK_HEIGHT - 1) * count / highest)
            left, top = index * step + 0.25, SPARK_HEIGHT - height
            bars.append(f"M{left:.1f} {top:.1f}h{bar:.1f}v{height:.1f}h-{bar:.1f}z")
    return format_html(
        '<svg class="ls-spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img"'
        ' aria-label="{label}"><path class="ls-base" d="M0 {base}h{w}"/><path d="{bars}"/></svg>',
        w=SPARK_WIDTH,
        h=SPARK_HEIGHT,
        base=SPARK_HEIGHT - 0.5,
        label=label,
        bars="".join(bars) or "M0 0",
    )
