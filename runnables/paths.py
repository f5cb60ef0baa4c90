"""
Which paths a deployment may have: the rules of the registry, the model and the admin.
"""

from __future__ import annotations

import re

# First segments of the site's fixed routes, now and to come.
RESERVED = frozenset(
    {
        *("admin", "accounts", "static", "media", "deployments", "docs", "openapi.json"),
        *("traces", "dashboard", "review", "s", "tokens", "health", "metrics"),
        *("ok", "info", "assistants", "threads", "runs", "store", "mcp", "a2a", "ui", "v1"),
    }
)
# Words that mean something inside a deployment's own URL space.
ENDPOINT_WORDS = frozenset(
    {
        *("invoke", "batch", "stream", "stream_log", "stream_events", "astream_events"),
        *("input_schema", "output_schema", "config_schema"),
        *("feedback", "token_feedback", "public_trace_link", "playground"),
        *("c", "ws", "runs", "docs"),
    }
)
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.~-]*")


def normalize(path: str) -> str:
    """
    The path as we store it, without slashes at the ends; raises ValueError saying what is wrong.
    """
    stored = path.strip("/")
    segments = stored.split("/") if stored else []
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            raise ValueError(
                f"path {path!r}: a segment may hold letters, digits and _ . ~ - and not begin with "
                f"a mark, got {segment!r}"
            )
        if segment in ENDPOINT_WORDS:
            raise ValueError(f"path {path!r}: {segment!r} is the name of an endpoint")
    if segments and segments[0] in RESERVED:
        raise ValueError(f"path {path!r}: {segments[0]!r} is a route of the site itself")
    return stored
