"""
Path -> deployment, as this process serves it now.

The hot path asks no database: it reads this snapshot. A thread looks at a one-row
counter every half second and rebuilds the snapshot when a row has changed, in whatever
process that happened; the same look picks up cancel requests.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from langchain_core.runnables import Runnable

from runnables import database, running
from runnables.adapt import adapted
from runnables.codec import Encoder
from runnables.conf import conf
from runnables.exceptions import Unavailable, UnknownDeployment
from runnables.models import CancelRequest, Deployment, Revision
from runnables.payload import Limits
from runnables.problems import ErrorPolicy
from runnables.registry import Options, Registration, default_registry
from runnables.schemas import Schemas

logger = logging.getLogger(__name__)

# A factory that failed is tried again, but not by every call.
BUILD_AGAIN_SECONDS = 10.0
CANCEL_REQUEST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """
    A runnable ready to be called, with all that was compiled for it.
    """

    runnable: Runnable[Any, Any]
    schemas: Schemas
    encoder: Encoder
    event_encoder: Encoder
    limits: Limits


class ServedDeployment:
    """
    A Deployment row as plain values, and its runnable once somebody needs it.
    """

    def __init__(self, values: Mapping[str, Any], registration: Registration | None) -> None:
        self.values = values
        self.registration = registration
        self.options: Options = registration.options if registration else Options()
        self.name: str = values["name"]
        self.path: str = values["path"]
        self.listed: bool = values["listed"]
        self.access: str = values["access"]
        self.group_ids: frozenset[int] = values["group_ids"]
        self.endpoints: frozenset[str] = frozenset(values["endpoints"])
        self.config_keys: frozenset[str] = frozenset(values["config_keys"])
        self.extra_configurable: frozenset[str] = frozenset(values["extra_configurable"])
        self.open_configurable: frozenset[str] = frozenset(values["open_configurable"])
        self.strict_config: bool = values["strict_config"]
        self.include_callback_events: bool = values["include_callback_events"]
        self.name_allow_list: list[str] | None = values["stream_log_name_allow_list"]
        self.events_version: str = values["astream_events_version"]
        self.errors = ErrorPolicy(self.name, values["error_detail"], self.options.translate_error)
        self.max_batch_size: int = values["max_batch_size"]
        self.batch_concurrency: int = values["batch_concurrency"]
        self.timeout: float = values["timeout"]
        self.run_name: str = _run_name(self.path)
        self._served: Served | None = None
        self._failed_at = -BUILD_AGAIN_SECONDS

    @property
    def served(self) -> Served | None:
        return self._served

    async def ready(self) -> Served:
        """
        The runnable, built if need be; raises Unavailable if it cannot be.
        """
        if self._served:
            return self._served
        return await asyncio.get_running_loop().run_in_executor(None, self.build)

    def build(self) -> Served:
        if self.registration is None:
            raise Unavailable("The code of this deployment is not installed on this server.")
        if time.monotonic() - self._failed_at < BUILD_AGAIN_SECONDS:
            raise Unavailable("This deployment could not be built. The server's log says why.")
        try:
            served = self._served = self._serve(self.registration.build())
        except Exception as error:
            self._failed_at = time.monotonic()
            logger.exception("deployment %s could not be built", self.name)
            raise Unavailable(
                "This deployment could not be built. The server's log says why."
            ) from error
        return served

    def _serve(self, runnable: Runnable[Any, Any]) -> Served:
        options = self.options
        types = {
            name: value
            for name, value in (
                ("input_type", options.input_type),
                ("output_type", options.output_type),
            )
            if not (isinstance(value, str) and value == "auto")
        }
        if types:
            runnable = runnable.with_types(**types)
        runnable = adapted(runnable, inline_parsers=conf.inline_parsers)
        schemas = Schemas(
            runnable,
            config_keys=self.values["config_keys"],
            mode=self.values["validation"],
            input_schema=options.input_schema,
            output_schema=options.output_schema,
        )
        return Served(
            runnable=runnable,
            schemas=schemas,
            encoder=options.serializer or Encoder(options.encoders),
            event_encoder=options.serializer or Encoder(options.encoders, tolerant=True),
            limits=Limits(size=self.values["max_input_bytes"] or _default_input_bytes(schemas)),
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    revision: int
    by_path: Mapping[str, ServedDeployment]


_current: Snapshot | None = None
_refreshing = threading.Lock()
_watcher: threading.Thread | None = None


def find(path: str) -> ServedDeployment:
    """
    The enabled deployment at this path; raises UnknownDeployment.
    """
    deployment = _current.by_path.get(path) if _current else None
    if deployment is None:
        raise UnknownDeployment
    return deployment


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
        old = {served.name: served for served in all_deployments()}
        by_path = {}
        for values in _rows():
            registration = default_registry.find(values["name"])
            kept = old.get(values["name"])
            if not kept or kept.values != values or kept.registration is not registration:
                kept = ServedDeployment(values, registration)
            by_path[kept.path] = kept
        _current = Snapshot(revision, MappingProxyType(by_path))


def forget() -> None:
    """
    Serve nothing until the next `refresh`; for tests.
    """
    global _current
    _current = None


def watch() -> None:
    """
    Start the thread that follows changes made by other processes; once per process.
    """
    global _watcher
    if conf.poll_seconds and (_watcher is None or not _watcher.is_alive()):
        _watcher = threading.Thread(target=_follow, name="langserve-watch", daemon=True)
        _watcher.start()


def _follow() -> None:
    while True:
        time.sleep(conf.poll_seconds)
        try:
            if _current is not None and _revision() != _current.revision:
                refresh()
            _obey_cancel_requests()
        except Exception:
            # The database may be away for a while; the last snapshot serves on.
            logger.exception("could not look for changed deployments")
            connection.close()
            time.sleep(2)


def _obey_cancel_requests() -> None:
    wanted = running.all_run_ids()
    if not wanted:
        return
    since = timezone.now() - timedelta(seconds=CANCEL_REQUEST_SECONDS)
    for request in CancelRequest.objects.filter(done=False, created_at__gt=since)[:1000]:
        call = running.find(request.run_id)
        if call is None or call.principal != request.principal:
            continue
        call.cancel()
        CancelRequest.objects.filter(pk=request.pk).update(done=True)


def _revision() -> int:
    return Revision.objects.filter(pk=1).values_list("number", flat=True).first() or 0


def _rows() -> list[dict[str, Any]]:
    rows = Deployment.objects.enabled().prefetch_related("groups")
    with transaction.atomic():
        return [
            {
                **{
                    field.attname: getattr(row, field.attname)
                    for field in row._meta.concrete_fields
                },
                "group_ids": frozenset(group.pk for group in row.groups.all()),
                "updated_at": None,
            }
            for row in rows
        ]


def _run_name(path: str) -> str:
    parts = [part for part in (conf.prefix, path) if part]
    return f"/{'/'.join(parts)}" if parts else ""


def _default_input_bytes(schemas: Schemas) -> int:
    try:
        has_files = b'"base64file"' in schemas.input_schema({})
    except Exception:
        # A schema that cannot be drawn as JSON must not keep the runnable from being called.
        logger.warning("the input schema cannot be drawn as JSON Schema", exc_info=True)
        has_files = False
    return conf.max_file_input_bytes if has_files else conf.max_input_bytes
