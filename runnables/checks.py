"""
System checks; ids are stable and listed in docs/checks.md.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core import checks

from runnables.conf import DEFAULTS, conf
from runnables.registry import RegistrationError, default_registry

TAG = "langserve"
PAYLOADS = ("full", "redacted", "shape")


def _at_least(lowest: float) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and value >= lowest
    )


# Setting -> what its value has to be.
_TRACING: dict[str, tuple[Callable[[Any], bool], str]] = {
    "TRACE_PAYLOADS": (PAYLOADS.__contains__, f"it should be one of {', '.join(PAYLOADS)}"),
    **{
        name: (_at_least(1), "it should be a number of at least 1")
        for name in ("TRACE_DAYS", "TRACE_QUEUE", "TRACE_STEPS", "TRACE_BYTES")
    },
    "TRACE_SECONDS": (_at_least(0), "it should be a number of seconds"),
}


@checks.register(TAG)
def check_registrations(**_: Any) -> list[checks.CheckMessage]:
    """
    Everything that a module registered wrongly, or could not register at all.
    """
    return [*registration_errors(), *_unbuilt_modules()]


@checks.register(TAG)
def check_sqlite(**_: Any) -> list[checks.CheckMessage]:
    """
    SQLite on Django's defaults fails under concurrent writers.
    """
    warnings: list[checks.CheckMessage] = []
    databases: dict[str, dict[str, Any]] = settings.DATABASES
    for alias, config in databases.items():
        options: Any = config.get("OPTIONS", {})
        if config.get("ENGINE") != "django.db.backends.sqlite3":
            continue
        if (
            options.get("transaction_mode") != "IMMEDIATE"
            or "WAL" not in str(options.get("init_command", "")).upper()
        ):
            warnings.append(
                checks.Warning(
                    f"Database {alias!r} is SQLite without WAL and IMMEDIATE transactions.",
                    hint="Set OPTIONS: transaction_mode IMMEDIATE, timeout 20, init_command 'PRAGMA journal_mode=WAL;'.",
                    id="langserve.W002",
                )
            )
    return warnings


@checks.register(TAG, deploy=True)
def check_public_origin(**_: Any) -> list[checks.CheckMessage]:
    """
    A wildcard host lets any site name itself ours.
    """
    if "*" in settings.ALLOWED_HOSTS:
        return [
            checks.Error(
                "ALLOWED_HOSTS allows every host.",
                hint="Name the hosts that this site is served under.",
                id="langserve.E010",
            )
        ]
    return []


@checks.register(TAG)
def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """
    `LANGSERVE` with a key that means nothing, or a value that cannot be read.
    """
    given = getattr(settings, "LANGSERVE", {})
    found: list[checks.CheckMessage] = [
        checks.Error(
            f"LANGSERVE has no setting {name!r}.",
            hint=f"Known are {', '.join(sorted(DEFAULTS))}.",
            id="langserve.E006",
        )
        for name in sorted(set(given) - set(DEFAULTS))
    ]
    for name in DEFAULTS:
        try:
            getattr(conf, name.lower())
        except (ImportError, TypeError, ValueError) as error:
            found.append(
                checks.Error(f"LANGSERVE[{name!r}] cannot be used: {error}", id="langserve.E007")
            )
    return found


@checks.register(TAG)
def check_tracing(**_: Any) -> list[checks.CheckMessage]:
    """
    Values about traces that would keep more, less or nothing.
    """
    given = getattr(settings, "LANGSERVE", {})
    found: list[checks.CheckMessage] = [
        checks.Error(f"LANGSERVE[{name!r}] is {given[name]!r}: {wanted}.", id="langserve.E008")
        for name, (is_right, wanted) in _TRACING.items()
        if name in given and not is_right(given[name])
    ]
    if given.get("OTEL") and not _has_opentelemetry():
        found.append(
            checks.Error(
                'LANGSERVE["OTEL"] is on, and OpenTelemetry is not installed.',
                hint="pip install 'django-langserve[otel]'",
                id="langserve.E009",
            )
        )
    return found


def registration_errors() -> list[checks.CheckMessage]:
    """
    The registrations that cannot stand; a server with any of these does not start.
    """
    return [
        checks.Error(f"{problem.module}: {problem.error}", id=problem.error.check_id)
        for problem in default_registry.problems
        if isinstance(problem.error, RegistrationError)
    ]


def _unbuilt_modules() -> list[checks.CheckMessage]:
    return [
        checks.Warning(
            f"{problem.module} could not be imported: {type(problem.error).__name__}: {problem.error}",
            hint='The rest of the site is served. Build what may fail in a factory: @register("name").',
            id="langserve.W001",
        )
        for problem in default_registry.problems
        if not isinstance(problem.error, RegistrationError)
    ]


def _has_opentelemetry() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
