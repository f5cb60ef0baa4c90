"""
Path -> deployment, as this process serves it now.

The hot path asks no database: it reads this snapshot, which `runnables.watcher` has made
again whenever a row has changed, in whatever process that happened.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from django.db import DatabaseError, transaction

from runnables import database, hooks, served
from runnables.conf import conf
from runnables.exceptions import Unavailable, UnknownDeployment
from runnables.models import Canary, Deployment, Revision
from runnables.registry import default_registry
from runnables.served import ServedDeployment

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    revision: int
    by_path: Mapping[str, ServedDeployment]


_current: Snapshot | None = None
_refreshing = threading.Lock()


def find(path: str) -> ServedDeployment:
    """
    The enabled deployment at this path; raises UnknownDeployment.
    """
    deployment = _current.by_path.get(path) if _current else None
    if deployment is None:
        raise UnknownDeployment
    return deployment


def serves(path: str) -> bool:
    """
    Whether a deployment is served at this path.
    """
    return _current is not None and path in _current.by_path


def largest_body(path: str) -> int:
    """
    How much of a body to read before its deployment is asked, which may take less.
    """
    deployment = _current.by_path.get(path) if _current else None
    own = deployment.values["max_input_bytes"] if deployment else None
    return max(own or 0, conf.max_file_input_bytes)


def all_deployments() -> list[ServedDeployment]:
    return list(_current.by_path.values()) if _current else []


async def loaded() -> None:
    """
    Wait until there is a snapshot; raises Unavailable while the database cannot be read.
    """
    if _current is None:
        try:
            await database.query(refresh)
        except DatabaseError as error:
            logger.exception("deployments could not be read")
            raise Unavailable(
                "The deployments cannot be read from the database now.", retry_after=5
            ) from error


def refresh() -> None:
    """
    Read the rows again. What has not changed stays as it is, with all it has compiled.
    """
    global _current
    with _refreshing:
        revision = _revision()
        old = {deployment.name: deployment for deployment in all_deployments()}
        by_path = {}
        for values in _rows():
            registration = default_registry.find(values["name"])
            kept = old.get(values["name"])
            if not kept or kept.values != values or kept.registration is not registration:
                kept = ServedDeployment(values, registration, replaces=kept)
            by_path[kept.path] = kept
        for hook in hooks.refreshed:
            hook()
        _current = Snapshot(revision, MappingProxyType(by_path))


def forget() -> None:
    """
    Serve nothing until the next `refresh`; for tests.
    """
    global _current
    _current = None


def is_outdated() -> bool:
    """
    Whether a row has changed since the snapshot was made.
    """
    return _current is not None and _revision() != _current.revision


def _revision() -> int:
    return Revision.objects.filter(pk=1).values_list("number", flat=True).first() or 0


def _rows() -> list[dict[str, Any]]:
    rows = Deployment.objects.enabled().filter(version__isnull=False).select_related("version")
    running = Canary.objects.filter(outcome=Canary.Outcome.RUNNING).select_related("version")
    with transaction.atomic():
        canaries = {canary.deployment_id: canary for canary in running}
        return [
            served.row_values(row, canaries.get(row.pk)) for row in rows.prefetch_related("grants")
        ]
