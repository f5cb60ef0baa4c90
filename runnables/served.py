"""
A deployment as a process serves it: its row as plain values, and the versions of it that
answer callers, each with the runnable and all that was compiled for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from langchain_core.runnables import Runnable

from runnables import database
from runnables.adapt import adapted
from runnables.codec import Encoder
from runnables.conf import conf
from runnables.error_log import logger_for_errors
from runnables.exceptions import Unavailable, UnknownVersion
from runnables.models import Canary, Deployment, DeploymentVersion
from runnables.payload import Limits
from runnables.permissions import OF_CALLERS, Matrix
from runnables.problems import ErrorPolicy
from runnables.registry import Options, Registration, options_of
from runnables.schemas import Schemas

logger = logger_for_errors(__name__)

# A factory that failed is tried again, but not by every call.
BUILD_AGAIN_SECONDS = 10.0


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


class ServedVersion:
    """
    A DeploymentVersion as plain values, and the runnable under it once somebody needs it.
    """

    def __init__(self, deployment: ServedDeployment, values: Mapping[str, Any]) -> None:
        self._deployment = deployment
        self.values = values
        self.pk: int = values["pk"]
        self.number: int = values["number"]
        self.defaults: Mapping[str, Any] = values["defaults"]
        self.locked: frozenset[str] = frozenset(values["locked"])
        self.config_keys: frozenset[str] = frozenset(values["config_keys"])
        self.extra_configurable: frozenset[str] = frozenset(values["extra_configurable"])
        self.open_configurable: frozenset[str] = frozenset(values["open_configurable"])
        self.strict_config: bool = values["strict_config"]
        self._served: Served | None = None

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

    def adopt(self, same: ServedVersion) -> None:
        self._served = same.served

    def build(self) -> Served:
        if self._served is None:
            self._served = self._deployment.serve(self)
        return self._served


class ServedDeployment:
    """
    A Deployment row as plain values, and the versions that answer its callers.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        registration: Registration | None,
        *,
        replaces: ServedDeployment | None = None,
    ) -> None:
        self.values = values
        self.registration = registration
        self.options: Options = registration.options if registration else Options()
        self.pk: int | None = values["pk"]
        self.name: str = values["name"]
        self.path: str = values["path"]
        self.listed: bool = values["listed"]
        self.matrix: Matrix = values["matrix"]
        self.endpoints: frozenset[str] = frozenset(values["endpoints"])
        self.maintenance: tuple[str, float] | None = (
            (values["maintenance_message"], values["maintenance_retry_after"])
            if values["in_maintenance"]
            else None
        )
        self.include_callback_events: bool = values["include_callback_events"]
        self.name_allow_list: list[str] | None = values["stream_log_name_allow_list"]
        self.events_version: str = values["astream_events_version"]
        self.errors = ErrorPolicy(self.name, values["error_detail"], self.options.translate_error)
        self.limits = DeploymentLimits.of(values)
        # Whether calls are counted against their caller's minute, and runs ask before they begin.
        self.counts_calls = not (
            self.limits.requests_per_minute is self.limits.anonymous_requests_per_minute is None
        )
        self.bounds_runs = not (self.limits.daily_quota is self.limits.max_concurrent_runs is None)
        self.run_name: str = _run_name(self.path)
        self.version = ServedVersion(self, values["version"])
        canary = values["canary"]
        self.canary = (
            ServedCanary.of(canary, ServedVersion(self, canary["version"])) if canary else None
        )
        self._pinned: dict[int, ServedVersion] = {}
        self._failed_at = -BUILD_AGAIN_SECONDS
        if replaces:
            self._take_over(replaces)

    @property
    def served(self) -> Served | None:
        return self.version.served

    async def ready(self) -> Served:
        return await self.version.ready()

    def build(self) -> Served:
        return self.version.build()

    def _take_over(self, old: ServedDeployment) -> None:
        """
        Keep what is compiled for versions that stay: a switch must not cost a rebuild.
        """
        if old.registration is not self.registration or any(
            old.values[name] != self.values[name] for name in ("path", "max_input_bytes")
        ):
            return
        known = {one.pk: one for one in (old.version, old.canary and old.canary.version) if one}
        for version in (self.version, self.canary and self.canary.version):
            same = known.get(version.pk) if version else None
            if version and same and same.values == version.values:
                version.adopt(same)

    async def numbered(self, number: int) -> ServedVersion:
        """
        Any version of this deployment; raises UnknownVersion. They never change, so those
        that were asked for are kept.
        """
        for known in (self.version, self.canary and self.canary.version, self._pinned.get(number)):
            if known and known.number == number:
                return known
        rows = DeploymentVersion.objects.filter(deployment=self.pk, number=number)
        row = await database.query(rows.first)
        if row is None:
            raise UnknownVersion
        return self._pinned.setdefault(number, ServedVersion(self, _version_values(row)))

    def serve(self, version: ServedVersion) -> Served:
        """
        The runnable under one version; raises Unavailable if it cannot be built.
        """
        if self.registration is None:
            raise Unavailable("The code of this deployment is not installed on this server.")
        if time.monotonic() - self._failed_at < BUILD_AGAIN_SECONDS:
            raise Unavailable("This deployment could not be built. The server's log says why.")
        try:
            return self._serve(self.registration.build(), version)
        except Exception as error:
            self._failed_at = time.monotonic()
            logger.exception("deployment %s could not be built", self.name)
            raise Unavailable(
                "This deployment could not be built. The server's log says why."
            ) from error

    def _serve(self, runnable: Runnable[Any, Any], version: ServedVersion) -> Served:
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
            config_keys=version.values["config_keys"],
            mode=version.values["validation"],
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
class DeploymentLimits:
    """
    What staff allow of a deployment; None is no limit. Seconds, counts.
    """

    timeout: float
    max_concurrent_runs: int | None
    max_queued_runs: int
    requests_per_minute: int | None
    anonymous_requests_per_minute: int | None
    daily_quota: int | None
    max_batch_size: int
    batch_concurrency: int
    max_recursion: int | None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> DeploymentLimits:
        return cls(**{limit.name: values[limit.name] for limit in fields(cls)})


@dataclass(frozen=True, slots=True)
class ServedCanary:
    """
    A trial under way: `version` answers the callers whose place on the ring is below `percent`.
    """

    pk: int
    version: ServedVersion
    percent: float
    sticky_by: str

    @classmethod
    def of(cls, values: Mapping[str, Any], version: ServedVersion) -> ServedCanary:
        return cls(values["pk"], version, values["percent"], values["sticky_by"])


def row_values(row: Deployment, canary: Canary | None = None) -> dict[str, Any]:
    """
    All that serving a deployment needs to know, as values that can be compared.
    """
    assert row.version is not None  # noqa: S101 - `sync` makes the first with the row
    return {
        **{field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields},
        "pk": row.pk,
        "updated_at": None,
        "matrix": row.matrix if row.pk else Matrix(),
        "version": _version_values(row.version),
        "canary": {
            "pk": canary.pk,
            "percent": canary.percent,
            "sticky_by": canary.sticky_by,
            "version": _version_values(canary.version),
        }
        if canary
        else None,
    }


def own_deployment(
    name: str, runnable: Runnable[Any, Any], given: Mapping[str, Any]
) -> ServedDeployment:
    """
    A deployment that no row knows, with the options of `register`; raises BadOption.
    """
    options = options_of(name, given)
    row = first_row(Registration(name, runnable, path="", options=options))
    row.version = first_version(options)
    may = frozenset(OF_CALLERS)
    named: dict[str, Any] = (
        {options.access: may}
        if isinstance(options.access, str)
        else {"groups": dict.fromkeys(options.access, may)}
    )
    values = {**row_values(row), "matrix": Matrix(**named)}
    return ServedDeployment(values, Registration(name, runnable, path="", options=options))


def first_row(registration: Registration) -> Deployment:
    """
    The row of a registration as it is made, not saved: its options are the first values.
    """
    options = registration.options
    allowed = options.stream_log_name_allow_list
    return Deployment(
        name=registration.name,
        path=registration.path,
        description=options.description,
        listed=options.listed,
        endpoints=list(options.endpoints()),
        stream_log_name_allow_list=None if allowed is None else list(allowed),
        **{name: getattr(options, name) for name in _AS_THEY_ARE},
    )


def first_version(options: Options) -> DeploymentVersion:
    return DeploymentVersion(
        number=1,
        note="as registered",
        defaults=dict(options.default_config),
        locked=list(options.locked_configurable),
        config_keys=list(options.config_keys),
        extra_configurable=list(options.extra_configurable),
        open_configurable=list(options.open_configurable),
        strict_config=options.strict_config,
        validation=options.validation,
    )


# Options whose names and values are those of the row.
_AS_THEY_ARE = (
    "include_callback_events",
    "playground_type",
    "astream_events_version",
    "max_batch_size",
    "batch_concurrency",
    "max_input_bytes",
    "timeout",
    "max_concurrent_runs",
    "max_queued_runs",
    "requests_per_minute",
    "anonymous_requests_per_minute",
    "daily_quota",
    "max_recursion",
)


def _version_values(version: DeploymentVersion) -> dict[str, Any]:
    return {"pk": version.pk, "number": version.number, **version.content}


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
