"""
Every change of a deployment that takes effect at once: one function each, for the admin,
the command line and whoever else. What changes results is in `runnables.versions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import F

from runnables import audit, snapshot
from runnables.models import Deployment, Grant, Revision
from runnables.permissions import OF_CALLERS
from runnables.registry import ENDPOINTS, Registration, Registry
from runnables.served import first_row, first_version


@dataclass(frozen=True, slots=True)
class Synced:
    """
    What `sync` did: names made, names of rows whose code is gone, and names made on
    another path and switched off, for theirs is taken.
    """

    created: list[str]
    orphaned: list[str]
    moved: list[str]


def announce_change() -> None:
    """
    Tell every process that deployments changed; call it in the changing transaction.
    """
    with transaction.atomic():
        if not Revision.objects.filter(pk=1).update(number=F("number") + 1):
            Revision.objects.create(pk=1, number=1)
        transaction.on_commit(snapshot.refresh)


def sync(registry: Registry) -> Synced:
    """
    Make the missing rows, switched on, with the registered options as their first values.

    A row that is there already belongs to the admin and is left alone.
    """
    with transaction.atomic():
        known = set(Deployment.objects.values_list("name", flat=True))
        missing = [registration for registration in registry if registration.name not in known]
        moved = [r.name for r in missing if _create(r).path != r.path]
        orphaned = Deployment.objects.exclude(
            name__in=[registration.name for registration in registry]
        )
        if missing:
            announce_change()
        return Synced(
            [r.name for r in missing], list(orphaned.values_list("name", flat=True)), moved
        )


def switch(
    deployment: Deployment,
    *,
    on: bool,
    by: audit.Actor,
    endpoints: Sequence[str] = (),
    reason: str = "",
) -> None:
    """
    Switch a deployment, or some of its endpoints, on or off.
    """
    word = "on" if on else "off"
    why = f": {reason}" if reason else ""
    with transaction.atomic():
        if not endpoints:
            deployment.is_enabled = on
            deployment.off_reason = "" if on else reason
            text = f"Switched {word}{why}."
        else:
            wanted = (
                {*deployment.endpoints, *endpoints}
                if on
                else {*deployment.endpoints} - {*endpoints}
            )
            deployment.endpoints = [name for name in ENDPOINTS if name in wanted]
            text = f"Switched {word} {', '.join(endpoints)}{why}."
        _save(deployment, "is_enabled", "off_reason", "endpoints")
        audit.record(deployment, text, by=by)


def set_maintenance(
    deployment: Deployment,
    *,
    on: bool,
    by: audit.Actor,
    message: str = "",
    retry_after: int | None = None,
) -> None:
    """
    Answer calls with 503 and the message, or as ever again. Runs that go on come to their end.
    """
    with transaction.atomic():
        deployment.in_maintenance = on
        if on:
            deployment.maintenance_message = message
            deployment.maintenance_retry_after = retry_after or deployment.maintenance_retry_after
        _save(deployment, "in_maintenance", "maintenance_message", "maintenance_retry_after")
        text = f"Maintenance began{message and f': {message}'}." if on else "Maintenance ended."
        audit.record(deployment, text, by=by)


def set_group_rights(
    deployment: Deployment, groups: Iterable[Group], *, grant: bool, by: audit.Actor
) -> None:
    """
    Let the members of these groups call the deployment, or take away all that they may.
    """
    groups = list(groups)
    names = ", ".join(group.name for group in groups)
    with transaction.atomic():
        for group in groups:
            if grant:
                Grant.objects.update_or_create(
                    deployment=deployment,
                    audience=Grant.Audience.GROUP,
                    group=group,
                    defaults=dict.fromkeys(OF_CALLERS, True),
                )
            else:
                deployment.grants.filter(group=group).delete()
        _save(deployment)
        verb = "Gave the right to call to" if grant else "Took all rights from"
        audit.record(deployment, f"{verb} {names}.", by=by)


def _save(deployment: Deployment, *fields: str) -> None:
    deployment.save(update_fields=[*fields, "updated_at"])
    announce_change()


def _create(registration: Registration) -> Deployment:
    deployment = first_row(registration)
    deployment.path = _free_path(registration.path)
    deployment.is_enabled = deployment.path == registration.path
    deployment.save()
    version = first_version(registration.options)
    version.deployment = deployment
    version.save()
    deployment.version = version
    deployment.save(update_fields=["version"])
    for audience in _audiences(registration.options.access):
        Grant.objects.create(deployment=deployment, **audience, **dict.fromkeys(OF_CALLERS, True))
    return deployment


def _audiences(access: str | Sequence[str]) -> list[dict[str, Any]]:
    if isinstance(access, str):
        return [{"audience": access}]
    groups = [Group.objects.get_or_create(name=name)[0] for name in dict.fromkeys(access)]
    return [{"audience": Grant.Audience.GROUP, "group": group} for group in groups]


def _free_path(wanted: str) -> str:
    """
    The path, or one beside it where an admin has moved another deployment to it.
    """
    path, number = wanted, 1
    while Deployment.objects.filter(path=path).exists():
        number += 1
        path = f"{wanted or 'root'}-{number}"
    return path
