"""
Deployments as a JSON file, to be read, kept or compared: no secrets, and rights by names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.contrib import admin
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from runnables import changes
from runnables.config import looks_like_credential
from runnables.models import Deployment
from runnables.permissions import PERMISSIONS

NOT_EXPORTED = ("id", "version_id", "created_at")


@admin.action(description=_("Export as JSON"), permissions=["change"])
def export(modeladmin: Any, request: HttpRequest, chosen: QuerySet[Deployment]) -> HttpResponse:
    rows = chosen.select_related("version").prefetch_related("grants__group", "grants__user")
    now = timezone.now()
    document = {"exported_at": now, "deployments": [exported(row) for row in rows]}
    response = HttpResponse(
        json.dumps(document, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2),
        content_type="application/json",
    )
    name = f"deployments-{now:%Y-%m-%d}.json"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def exported(row: Deployment) -> dict[str, Any]:
    values = changes.values_of(row)
    version = row.version
    content = version.content if version else {}
    return {
        **{name: value for name, value in values.items() if name not in NOT_EXPORTED},
        "rights": [
            {
                "audience": grant.audience,
                **({"group": grant.group.name} if grant.group else {}),
                **({"user": grant.user.get_username()} if grant.user else {}),
                "may": [name for name in PERMISSIONS if name in grant.permissions],
            }
            for grant in row.grants.all()
        ],
        "version": {"number": version.number, "note": version.note, **without_secrets(content)}
        if version
        else None,
        "left_out": sorted(secrets_in(content)),
    }


def without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {k: v for k, v in value.items() if not looks_like_credential(k)}
        return {name: without_secrets(below) for name, below in kept.items()}
    if isinstance(value, list):
        return [without_secrets(one) for one in value]
    return value


def secrets_in(value: Any, where: str = "") -> Iterator[str]:
    """
    Dotted names of what `without_secrets` leaves out.
    """
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for name, below in items:
        path = f"{where}.{name}" if where else str(name)
        if isinstance(name, str) and looks_like_credential(name):
            yield path
        else:
            yield from secrets_in(below, path)
