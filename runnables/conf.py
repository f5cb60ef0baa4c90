"""
Our settings: one dict, `LANGSERVE`, read lazily and typed.

A value is looked up at each use and cached until Django says that settings have
changed, so tests may override `LANGSERVE` as they do any other setting.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

MIB = 1024 * 1024

DEFAULTS: dict[str, Any] = {
    "PREFIX": "",
    "MODULES": (),
    "INLINE_PARSERS": True,
    "SYNC_WORKERS": 64,
    "DATABASE_WORKERS": 4,
    "POLL_SECONDS": 0.5,
    "PING_SECONDS": 15.0,
    "FIRST_CHUNK_SECONDS": 0.1,
    "MAX_INPUT_BYTES": MIB,
    "MAX_FILE_INPUT_BYTES": 10 * MIB,
    "SEND_SECONDS": 30.0,
    "SOCKET_RUNS": 100,
    "SOCKET_FRAMES_PER_SECOND": 200,
    "SOCKET_CHECK_SECONDS": 30.0,
    "SOCKET_SIGN_IN_SECONDS": 10.0,
    "ACCESS_CHECK_SECONDS": 30.0,
    "FIGURES_SECONDS": 5.0,
    "TRUSTED_PROXIES": 0,
    "TENANT": "",
    "CHAT_HISTORY_DAYS": None,
    "TRACES": True,
    "TRACE_PAYLOADS": "redacted",
    "TRACE_DAYS": 30,
    "TRACE_QUEUE": 20_000,
    "TRACE_STEPS": 20_000,
    "TRACE_BYTES": MIB,
    "TRACE_SECONDS": 0.5,
    "FEEDBACK_TOKEN_SECONDS": 3 * 3600,
    "FEEDBACK_KEYS_ONLY": False,
    "METRICS_TOKEN": "",
    "OTEL": False,
    "OTEL_CONTENT": False,
    "TRACE_LINK_DAYS": 7,
    "TRACE_LINK_MAX_DAYS": None,
    "TRACE_LINK_VIEWS_PER_MINUTE": 60,
    "TRACE_LINK_REPORT_EMAIL": "",
    "SITE_NAME": "langserve",
    "ADMIN_BASE": "django.contrib.admin.ModelAdmin",
    "CALLBACKS": (),
    "RUN_METADATA": (),
}


class Conf:
    """
    The `LANGSERVE` settings with their defaults, one typed property each.
    """

    def _value(self, name: str) -> Any:
        return getattr(settings, "LANGSERVE", {}).get(name, DEFAULTS[name])

    @cached_property
    def prefix(self) -> str:
        """
        Where the site's URLconf mounts `runnables.urls`, without slashes at the ends.
        """
        return str(self._value("PREFIX")).strip("/")

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """
        Modules that register runnables, beside the `runnables.py` of installed apps.
        """
        return tuple(self._value("MODULES"))

    @cached_property
    def inline_parsers(self) -> bool:
        """
        Run the pure stock output parsers without a thread per token.
        """
        return bool(self._value("INLINE_PARSERS"))

    @cached_property
    def sync_workers(self) -> int:
        """
        Threads for synchronous runnables, per process.
        """
        return int(self._value("SYNC_WORKERS"))

    @cached_property
    def database_workers(self) -> int:
        """
        Threads, each with one connection, that look callers up, per process.
        """
        return int(self._value("DATABASE_WORKERS"))

    @cached_property
    def poll_seconds(self) -> float:
        """
        How often a process looks for changed deployments and cancel requests; 0 never.
        """
        return float(self._value("POLL_SECONDS"))

    @cached_property
    def ping_seconds(self) -> float:
        """
        The longest silence on an SSE stream before a comment is sent.
        """
        return float(self._value("PING_SECONDS"))

    @cached_property
    def first_chunk_seconds(self) -> float:
        """
        How long a stream waits for its first chunk before it commits to status 200.
        """
        return float(self._value("FIRST_CHUNK_SECONDS"))

    @cached_property
    def max_input_bytes(self) -> int:
        """
        The largest request body of a deployment that names no limit of its own.
        """
        return int(self._value("MAX_INPUT_BYTES"))

    @cached_property
    def max_file_input_bytes(self) -> int:
        """
        The same, where the input has a file widget.
        """
        return int(self._value("MAX_FILE_INPUT_BYTES"))

    @cached_property
    def send_seconds(self) -> float:
        """
        How long a WebSocket's reader may leave a frame unread before the socket is closed.
        """
        return float(self._value("SEND_SECONDS"))

    @cached_property
    def socket_runs(self) -> int:
        """
        Runs at a time on one WebSocket.
        """
        return int(self._value("SOCKET_RUNS"))

    @cached_property
    def socket_frames_per_second(self) -> int:
        """
        Frames that a WebSocket's client may send within a second.
        """
        return int(self._value("SOCKET_FRAMES_PER_SECOND"))

    @cached_property
    def socket_check_seconds(self) -> float:
        """
        How often an open WebSocket's caller is asked again who they are.
        """
        return float(self._value("SOCKET_CHECK_SECONDS"))

    @cached_property
    def socket_sign_in_seconds(self) -> float:
        """
        How long a WebSocket may stay open before its caller has signed in.
        """
        return float(self._value("SOCKET_SIGN_IN_SECONDS"))

    @cached_property
    def access_check_seconds(self) -> float:
        """
        How often the caller of a run that goes on is asked again whether they may; 0 never.
        """
        return float(self._value("ACCESS_CHECK_SECONDS"))

    @cached_property
    def figures_seconds(self) -> float:
        """
        How often a process adds what it has counted to the figures in the database; 0 never.
        """
        return float(self._value("FIGURES_SECONDS"))

    @cached_property
    def trusted_proxies(self) -> int:
        """
        Proxies in front that each add to X-Forwarded-For; with 0 that header counts for nothing.
        """
        return int(self._value("TRUSTED_PROXIES"))

    @cached_property
    def tenant(self) -> Callable[[Any], Any] | None:
        """
        A function `(request) -> text or None`, sync or async, that names a caller's tenant.
        """
        path = self._value("TENANT")
        return import_string(path) if path else None

    @cached_property
    def chat_history_days(self) -> int | None:
        """
        Days after its last message that a chat session is kept; None is for ever.
        """
        days = self._value("CHAT_HISTORY_DAYS")
        return None if days is None else int(days)

    @cached_property
    def traces(self) -> bool:
        """
        Record runs, where a deployment says nothing else.
        """
        return bool(self._value("TRACES"))

    @cached_property
    def trace_payloads(self) -> str:
        """
        What is kept of inputs and outputs, where a deployment says nothing else: full,
        redacted or shape.
        """
        return str(self._value("TRACE_PAYLOADS"))

    @cached_property
    def trace_days(self) -> int:
        """
        Days that a trace is kept, where a deployment says nothing else.
        """
        return int(self._value("TRACE_DAYS"))

    @cached_property
    def trace_queue(self) -> int:
        """
        Steps of finished runs that may wait to be written, per process; a run beyond is dropped.
        """
        return int(self._value("TRACE_QUEUE"))

    @cached_property
    def trace_steps(self) -> int:
        """
        Steps of one run that are recorded; those beyond are counted.
        """
        return int(self._value("TRACE_STEPS"))

    @cached_property
    def trace_bytes(self) -> int:
        """
        The longest input or output that is kept whole, in bytes of JSON.
        """
        return int(self._value("TRACE_BYTES"))

    @cached_property
    def trace_seconds(self) -> float:
        """
        How often a process writes the runs that have ended; 0 only when asked to, for tests.
        """
        return float(self._value("TRACE_SECONDS"))

    @cached_property
    def feedback_token_seconds(self) -> int:
        """
        How long a feedback token counts.
        """
        return int(self._value("FEEDBACK_TOKEN_SECONDS"))

    @cached_property
    def feedback_keys_only(self) -> bool:
        """
        Take feedback under the keys that staff have defined, and under no others.
        """
        return bool(self._value("FEEDBACK_KEYS_ONLY"))

    @cached_property
    def metrics_token(self) -> str:
        """
        What Prometheus may send as a bearer token instead of a user's; none if empty.
        """
        return str(self._value("METRICS_TOKEN"))

    @cached_property
    def otel(self) -> bool:
        """
        Make OpenTelemetry spans of traces as well; needs the extra `otel`.
        """
        return bool(self._value("OTEL"))

    @cached_property
    def otel_content(self) -> bool:
        """
        With inputs, outputs and the texts of errors, redacted as in traces.
        """
        return bool(self._value("OTEL_CONTENT"))

    @cached_property
    def trace_link_days(self) -> int | None:
        """
        Days that a link to a trace opens, where nobody says else; None is for ever.
        """
        days = self._value("TRACE_LINK_DAYS")
        return None if days is None else int(days)

    @cached_property
    def trace_link_max_days(self) -> int | None:
        """
        The most days that a link may open; None is no limit.
        """
        days = self._value("TRACE_LINK_MAX_DAYS")
        return None if days is None else int(days)

    @cached_property
    def trace_link_views_per_minute(self) -> int:
        """
        How many links one address may open in a minute; 0 is no limit.
        """
        return int(self._value("TRACE_LINK_VIEWS_PER_MINUTE"))

    @cached_property
    def trace_link_report_email(self) -> str:
        """
        Where readers of a shared trace may write to about it; empty for nowhere.
        """
        return str(self._value("TRACE_LINK_REPORT_EMAIL"))

    @cached_property
    def site_name(self) -> str:
        """
        How the site is called where strangers read it.
        """
        return str(self._value("SITE_NAME"))

    @cached_property
    def admin_base(self) -> Any:
        """
        The class that our pages in the admin are made of.
        """
        return import_string(self._value("ADMIN_BASE"))

    @cached_property
    def callbacks(self) -> tuple[Callable[[Any], Any], ...]:
        """
        Functions `(call) -> handler | None` whose handlers join every run.
        """
        return tuple(import_string(path) for path in self._value("CALLBACKS"))

    @cached_property
    def run_metadata(self) -> tuple[Callable[[Any], dict[str, Any]], ...]:
        """
        Functions `(call) -> dict` whose results join every run's metadata.
        """
        return tuple(import_string(path) for path in self._value("RUN_METADATA"))


conf = Conf()


def _forget(*, setting: str, **_: object) -> None:
    if setting == "LANGSERVE":
        conf.__dict__.clear()


setting_changed.connect(_forget)
