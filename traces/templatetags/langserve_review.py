from __future__ import annotations

from typing import Any

from django import template

from traces.review.models import ReviewQueue
from traces.review.progress import fillable

register = template.Library()


@register.simple_tag(takes_context=True)
def review_queues(context: dict[str, Any]) -> list[ReviewQueue]:
    """
    The queues that who looks at the page may add runs to.
    """
    user = context["request"].user
    return fillable(user) if user.is_authenticated else []


@register.filter
def duration(milliseconds: float | None) -> str:
    """
    850 ms, 1.4 s, 2 m 05 s.
    """
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02d} s"
