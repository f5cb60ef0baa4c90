"""
What was changed of a deployment's row, told in words for its history.

`deployments.edit` has them in English, whatever the language of whoever changed something:
the history is read by all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from runnables.models import Deployment
from runnables.registry import ENDPOINTS

# Told in sentences of their own, or nobody's business.
_APART = frozenset(
    {
        *("id", "name", "version_id", "created_at", "updated_at"),
        *("is_enabled", "off_reason", "in_maintenance", "endpoints"),
    }
)


def values_of(deployment: Deployment) -> dict[str, Any]:
    """
    The columns of the row, to be compared with what they will be.
    """
    return {
        field.attname: getattr(deployment, field.attname)
        for field in deployment._meta.concrete_fields
    }


def described(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """
    What differs between two `values_of`, one text each.
    """
    return [*_switches(before, after), *_endpoints(before, after), *_columns(before, after)]


def shown(name: str, value: Any) -> str:
    """
    The value of a column as people read it.
    """
    field = Deployment._meta.get_field(name)
    choices = dict(getattr(field, "flatchoices", None) or [])
    if value is None or value == "":
        return _("not set")
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return ", ".join(map(str, value)) or _("none")
    if isinstance(value, float):
        return f"{value:g}"
    return str(choices.get(value, value))


def _switches(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    texts = []
    if before["is_enabled"] != after["is_enabled"]:
        texts.append("Switched on" if after["is_enabled"] else f"Switched off{_why(after)}")
    elif before["off_reason"] != after["off_reason"]:
        texts.append(f"Why it is off: {after['off_reason'] or 'not set'}")
    if before["in_maintenance"] != after["in_maintenance"]:
        texts.append("Maintenance began" if after["in_maintenance"] else "Maintenance ended")
    return texts


def _why(values: Mapping[str, Any]) -> str:
    return f" ({values['off_reason']})" if values["off_reason"] else ""


def _endpoints(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old, new = before["endpoints"], after["endpoints"]
    on = [name for name in ENDPOINTS if name in new and name not in old]
    off = [name for name in ENDPOINTS if name in old and name not in new]
    return [
        f"Switched {word} {', '.join(names)}" for word, names in (("on", on), ("off", off)) if names
    ]


def _columns(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    texts = []
    for name, old in before.items():
        new = after[name]
        if name in _APART or old == new:
            continue
        label = str(Deployment._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
        label = label[:1].upper() + label[1:]
        texts.append(f"{label}: {shown(name, old)} → {shown(name, new)}")
    return texts
