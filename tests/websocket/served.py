"""
Runnables for what only a WebSocket can go through, served beside those of `tests.served`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from langchain_core.runnables import Runnable, RunnableLambda

from runnables import register
from tests.served import note

# Frames of this size fill every buffer between the two ends after a few.
GUSH = "x" * 65_536


async def count(order: dict[str, Any]) -> AsyncIterator[str]:
    """
    `upto` numbers, each behind its run's key, so that a stray one is known. A `pause` of 0
    between them makes the run ready to send whenever anything happens.
    """
    note(order["key"], "started")
    try:
        for number in range(order["upto"]):
            yield f"{order['key']}:{number} "
            await asyncio.sleep(order.get("pause", 0.005))
    finally:
        note(order["key"], "finally")


async def gush(order: dict[str, Any]) -> AsyncIterator[str]:
    """
    Much more than anybody reads at once, with a note of every chunk that was taken; then it
    may `hold` on for some seconds.
    """
    note(order["key"], "started")
    try:
        for _ in range(order["upto"]):
            yield GUSH
            note(order["key"], "chunk")
            await asyncio.sleep(0)
        await asyncio.sleep(order.get("hold", 0))
    finally:
        note(order["key"], "finally")


class BreakableDoor:
    """
    A permission that lets everybody in, and breaks while the file of its header exists.
    """

    def has_permission(self, request: Any, view: Any) -> bool:
        switch = request.headers.get("x-switch")
        if switch and Path(switch).exists():
            raise RuntimeError("the permission is broken")
        return True


def length(text: str) -> int:
    return len(text)


counter = RunnableLambda(count)

register("count", counter, access="public", input_type=dict[str, Any])
register("private_count", counter, access="authenticated", input_type=dict[str, Any])
register("group_count", counter, access=["readers"], input_type=dict[str, Any])
register("hidden", counter, access="authenticated", listed=False, input_type=dict[str, Any])
register("closable", counter, access="public", input_type=dict[str, Any])
register("switchable", counter, access="public", input_type=dict[str, Any])
register("gush", RunnableLambda(gush), access="public", input_type=dict[str, Any])
for method in ("invoke", "batch", "stream", "stream_log", "stream_events"):
    register(
        f"two_a_minute_{method}",
        counter,
        access="public",
        input_type=dict[str, Any],
        anonymous_requests_per_minute=2,
    )
register("two_a_day", counter, access="public", input_type=dict[str, Any], daily_quota=2)
register(
    "one_at_a_time",
    counter,
    access="public",
    input_type=dict[str, Any],
    max_concurrent_runs=1,
    max_queued_runs=1,
)
register(
    "breakable",
    counter,
    access="public",
    input_type=dict[str, Any],
    permission_classes=[BreakableDoor],
)


@register("roomy", access="public", max_input_bytes=3 * 1024 * 1024)
def roomy() -> Runnable[Any, Any]:
    """
    Takes more than others do; a factory, which nobody has called before the first frame.
    """
    return RunnableLambda(length)
