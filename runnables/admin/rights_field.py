"""
The access matrix as one field of a form: a table of check boxes, a row for each audience.

The wide audiences are always there, and what has no tick is not kept. A group is added by
choosing it, users by their names: a list of all users would be long, and secret to some.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from runnables import rights
from runnables.models import Grant
from runnables.permissions import NOTHING, PERMISSIONS, Permissions

NEW_GROUP, NEW_USERS = "new_group", "new_users"


@dataclass(frozen=True, slots=True)
class Sent:
    """
    The matrix as a browser sent it, not yet looked at.
    """

    rows: Mapping[str, Permissions]
    group: str = ""
    users: str = ""
    of_group: Permissions = NOTHING
    of_users: Permissions = NOTHING
    unknown: frozenset[str] = field(default_factory=frozenset)


class RightsMatrix(forms.Widget):
    template_name = "admin/langserve/deployment/rights.html"

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Sent:
        def ticked(row: str) -> Permissions:
            return frozenset(one for one in PERMISSIONS if f"{name}:{row}:{one}" in data)

        return Sent(
            rows={row: ticked(row) for row in data.getlist(f"{name}:row")},
            group=data.get(f"{name}:{NEW_GROUP}", "").strip(),
            users=data.get(f"{name}:{NEW_USERS}", "").strip(),
            of_group=ticked(NEW_GROUP),
            of_users=ticked(NEW_USERS),
        )

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return f"{name}:row" not in data

    def id_for_label(self, id_: str | None) -> str:
        return ""

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        sent = value if isinstance(value, Sent) else Sent(rows=value or {})
        rows = {**dict.fromkeys(rights.WIDE, NOTHING), **sent.rows}
        names = rights.named(rows)
        drawn = [
            {"row": row, "name": label, "cells": _cells(name, row, label, rows[row])}
            for row, label in names.items()
        ]
        context = super().get_context(name, "", attrs)
        context["widget"] |= {
            "columns": columns(),
            "rows": drawn,
            "groups": [
                group for group in Group.objects.order_by("name") if f"group:{group.pk}" not in rows
            ],
            "sent": sent,
            "new_group": _cells(name, NEW_GROUP, _("the group to add"), sent.of_group),
            "new_users": _cells(name, NEW_USERS, _("the users to add"), sent.of_users),
        }
        return context


class RightsField(forms.Field):
    """
    Row -> permissions, as in `runnables.rights`; rows without any are not in it.
    """

    widget = RightsMatrix

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, "label": gettext_lazy("rights"), **options})

    def clean(self, value: Any) -> dict[str, Permissions]:
        sent = value if isinstance(value, Sent) else Sent(rows={})
        found = {row: may for row, may in sent.rows.items() if may}
        known = rights.named(found)
        if unknown := [row for row in found if row not in known]:
            raise ValidationError(
                _("There is no such audience any more: %(rows)s."),
                params={"rows": ", ".join(unknown)},
            )
        errors: list[ValidationError] = []
        for row, may in _added(sent, errors):
            if row in sent.rows:
                text = _("%(name)s has a row already: set the ticks there.")
                errors.append(ValidationError(text, params={"name": rights.named([row])[row]}))
            found[row] = may
        if errors:
            raise ValidationError(errors)
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        if not isinstance(data, Sent) or data.group or data.users:
            return True
        before = {row: may for row, may in (initial or {}).items() if may}
        return before != {row: may for row, may in data.rows.items() if may}


def columns() -> list[dict[str, Any]]:
    """
    A heading and its meaning for each permission.
    """
    fields = {field.name: field for field in Grant._meta.concrete_fields}
    return [
        {"name": name, "label": fields[name].verbose_name, "meaning": meaning}
        for name, meaning in PERMISSIONS.items()
    ]


def _cells(name: str, row: str, audience: str, may: Permissions) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{name}:{row}:{column['name']}",
            "is_ticked": column["name"] in may,
            "label": f"{audience}: {column['label']}",
            "column": column["label"],
        }
        for column in columns()
    ]


def _added(sent: Sent, errors: list[ValidationError]) -> Iterable[tuple[str, Permissions]]:
    """
    The rows that were added; what is wrong with them goes to `errors`.
    """
    if sent.group:
        yield from _added_group(sent, errors)
    elif sent.of_group:
        errors.append(ValidationError(_("Choose the group that these rights are for.")))
    if sent.users:
        yield from _added_users(sent, errors)
    elif sent.of_users:
        errors.append(ValidationError(_("Name the users that these rights are for.")))


def _added_group(sent: Sent, errors: list[ValidationError]) -> Iterable[tuple[str, Permissions]]:
    group = Group.objects.filter(pk=sent.group).first() if sent.group.isdecimal() else None
    if group is None:
        errors.append(ValidationError(_("There is no such group.")))
    elif not sent.of_group:
        text = _("Tick at least one right for the group %(name)s.")
        errors.append(ValidationError(text, params={"name": group.name}))
    else:
        yield f"group:{group.pk}", sent.of_group


def _added_users(sent: Sent, errors: list[ValidationError]) -> Iterable[tuple[str, Permissions]]:
    names = list(dict.fromkeys(sent.users.replace(",", " ").split()))
    model: Any = get_user_model()
    found = model._default_manager.filter(**{f"{model.USERNAME_FIELD}__in": names})
    known = {user.get_username(): user.pk for user in found}
    for name in names:
        if name not in known:
            errors.append(ValidationError(_("There is no user %(name)s."), params={"name": name}))
    if not sent.of_users:
        errors.append(ValidationError(_("Tick at least one right for the users you named.")))
        return
    for key in known.values():
        yield f"user:{key}", sent.of_users
