"""
Which door a path leads to. Deployments live at any depth and endpoint names end the path,
so one look from the right tells; Django's resolver is not asked on the hot path.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from runnables.paths import RESERVED

POST = "POST"
GET = "GET"

# Endpoint -> its method, and whether it has a `/c/{config_hash}/` variant.
ENDPOINTS: dict[str, tuple[str, bool]] = {
    "invoke": (POST, True),
    "batch": (POST, True),
    "stream": (POST, True),
    "stream_log": (POST, True),
    "stream_events": (POST, True),
    "astream_events": (POST, True),
    "input_schema": (GET, True),
    "output_schema": (GET, True),
    "config_schema": (GET, True),
}
ALIASES = {"astream_events": "stream_events"}
STREAMS = frozenset({"stream", "stream_log", "stream_events"})


_ROOT_CANCEL = re.compile(r"runs/[^/]+/cancel")


class Match(NamedTuple):
    """
    `path` is the deployment's; `config_hash` is None outside `/c/{hash}/`.
    """

    path: str
    endpoint: str
    config_hash: str | None = None
    run_id: str | None = None


def match(path: str) -> Match | None:
    """
    The door behind a path below the mount point, or None if it is none of ours.
    """
    path = path.strip("/")
    base, _, last = path.rpartition("/")
    # `runs` is reserved too: /runs/{id}/cancel belongs to the deployment at the root.
    if path.partition("/")[0] in RESERVED and not _ROOT_CANCEL.fullmatch(path):
        return None
    if last in ENDPOINTS:
        endpoint = ALIASES.get(last, last)
        above, _, config_hash = base.rpartition("/")
        if above == "c" or above.endswith("/c"):
            return Match(above[:-1].rstrip("/"), endpoint, config_hash)
        return Match(base, endpoint)
    if last == "ws":
        return Match(base, "websocket")
    if last == "cancel":
        above, _, run_id = base.rpartition("/")
        if above == "runs" or above.endswith("/runs"):
            return Match(above[:-4].rstrip("/"), "cancel", run_id=run_id)
    return None
