"""
Every change of a deployment that is not a form in the admin: one function each.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import F

from runnables import snapshot
from runnables.models import Deployment, Revision
from runnables.registry import Registration, Registry


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


def switch(deployment: Deployment, *, on: bool, endpoint: str | None = None) -> None:
    """
    Switch a deployment, or one of its endpoints, on or off.
    """
    with transaction.atomic():
        if endpoint is None:
            deployment.is_enabled = on
        else:
            others = [name for name in deployment.endpoints if name != endpoint]
            deployment.endpoints = [*others, endpoint] if on else others
        deployment.save(update_fields=["is_enabled", "endpoints", "updated_at"])
        announce_change()


def _create(registration: Registration) -> Deployment:
    options = registration.options
    allowed = options.stream_log_name_allow_list
    groups = () if isinstance(options.access, str) else options.access
    path = _free_path(registration.path)
    deployment = Deployment.objects.create(
        name=registration.name,
        path=path,
        is_enabled=path == registration.path,
        description=options.description,
        listed=options.listed,
        access=options.access if isinstance(options.access, str) else Deployment.Access.GROUPS,
        endpoints=list(options.endpoints()),
        config_keys=list(options.config_keys),
        extra_configurable=list(options.extra_configurable),
        open_configurable=list(options.open_configurable),
        strict_config=options.strict_config,
        validation=options.validation,
        include_callback_events=options.include_callback_events,
        stream_log_name_allow_list=None if allowed is None else list(allowed),
        playground_type=options.playground_type,
        astream_events_version=options.astream_events_version,
        max_batch_size=options.max_batch_size,
        batch_concurrency=options.batch_concurrency,
        max_input_bytes=options.max_input_bytes,
        timeout=options.timeout,
    )
    deployment.groups.set(Group.objects.get_or_create(name=name)[0] for name in groups)
    return deployment


def _free_path(wanted: str) -> str:
    """
    The path, or one beside it where an admin has moved another deployment to it.
    """
    path, number = wanted, 1
    while Deployment.objects.filter(path=path).exists():
        number += 1
        path = f"{wanted or 'root'}-{number}"
    return path
