"""
Numbers of the dashboard in its templates.
"""

from __future__ import annotations

from typing import Any

from django import template

from traces import formats
from traces.dashboard import Group

register = template.Library()


def _or_dash(text: Any) -> Any:
    return lambda value: formats.NOTHING if value is None else text(value)


register.filter("count", _or_dash(formats.count))
register.filter("percent", _or_dash(formats.percent))
register.filter("money", _or_dash(formats.money))
register.filter("duration", _or_dash(formats.duration))


@register.filter
def p50(group: Group) -> float | None:
    return group.total.duration(0.5)


@register.filter
def p95(group: Group) -> float | None:
    return group.total.duration(0.95)


@register.filter
def first_p95(group: Group) -> float | None:
    return group.total.first_chunk(0.95)
