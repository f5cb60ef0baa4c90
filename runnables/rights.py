"""
The access matrix of one deployment as a form has it: row -> what that audience may do.

A row is named "public", "authenticated", "staff", "group:3" or "user:7".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError

from runnables.models import Deployment, Grant
from runnables.permissions import NOTHING, PERMISSIONS, Permissions

Rights = Mapping[str, Permissions]

PUBLISH = "langserve.publish_deployment"
WIDE = ("public", "authenticated", "staff")


def rights_of(deployment: Deployment) -> dict[str, Permissions]:
    """
    Its rows, the three wide ones always among them; one query unless the grants are prefetched.
    """
    found = {row_of(grant): grant.permissions for grant in deployment.grants.all()}
    return {**dict.fromkeys(WIDE, NOTHING), **found}


def row_of(grant: Grant) -> str:
    if grant.group_id is not None:
        return f"group:{grant.group_id}"
    if grant.user_id is not None:
        return f"user:{grant.user_id}"
    return str(grant.audience)


def named(rows: Iterable[str]) -> dict[str, str]:
    """
    Row -> whom it is for, in words. Rows whose group or user is gone are left out.
    """
    rows = list(rows)
    names = {row: str(Grant.Audience(row).label) for row in rows if row in WIDE}
    kinds: Any = (("group", Group), ("user", get_user_model()))
    for kind, model in kinds:
        if found := _keys(model, kind, rows):
            objects = model._default_manager.filter(pk__in=found.values())
            known = {str(one.pk): str(one) for one in objects}
            label = Grant.Audience(kind).label
            names |= {row: f"{label} {known[key]}" for row, key in found.items() if key in known}
    return {row: names[row] for row in rows if row in names}


def store(deployment: Deployment, wanted: Rights) -> None:
    """
    Make its rows these; a row without a right is not kept.
    """
    rows = {row_of(grant): grant for grant in deployment.grants.all()}
    for row, grant in rows.items():
        if not wanted.get(row):
            grant.delete()
    for row, permissions in wanted.items():
        if permissions:
            grant = rows.get(row) or _grant(deployment, row)
            for name in PERMISSIONS:
                setattr(grant, name, name in permissions)
            grant.save()


def opened_to_everybody(before: Rights, after: Rights) -> Permissions:
    """
    What everybody may do after, and might not before.
    """
    return after.get("public", NOTHING) - before.get("public", NOTHING)


def described(before: Rights, after: Rights) -> list[str]:
    """
    What differs, in words: "Staff may now see traces".
    """
    rows = [row for row in {**before, **after} if before.get(row) != after.get(row)]
    names = named(rows)
    texts = []
    for row in rows:
        old, new = before.get(row, NOTHING), after.get(row, NOTHING)
        for verb, which in (("may now", new - old), ("may no longer", old - new)):
            if which:
                texts.append(f"{names.get(row, row)} {verb} {in_words(which)}")
    return texts


def in_words(permissions: Permissions) -> str:
    """
    Names of permissions as a text, in their usual order.
    """
    labels = [
        str(Grant._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
        for name in PERMISSIONS
        if name in permissions
    ]
    return ", ".join(labels)


def _keys(model: Any, kind: str, rows: Iterable[str]) -> dict[str, str]:
    """
    Row -> primary key, of the rows of one kind whose key can be one.
    """
    pairs = ((row, row.partition(":")) for row in rows)
    keys = {row: key for row, (found, _, key) in pairs if found == kind}
    return {row: key for row, key in keys.items() if _may_be_key(model, key)}


def _may_be_key(model: Any, key: str) -> bool:
    try:
        parsed = model._meta.pk.to_python(key)
    except ValidationError:
        return False
    return not isinstance(parsed, int) or 0 <= parsed < 2**63


def _grant(deployment: Deployment, row: str) -> Grant:
    audience, _, key = row.partition(":")
    whom = {f"{audience}_id": key} if key else {}
    return Grant(deployment=deployment, audience=audience, **whom)
