"""
Conversations with the site that take more than one request: in one loop, or cut off.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx

from tests.conftest import Site

T = TypeVar("T")


async def connected(site: Site, talk: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    """
    What `talk` returns, given a client all of whose requests share this loop.
    """
    transport = httpx.ASGITransport(site.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await talk(client)


async def hang_up(
    site: Site, path: str, body: Any, *, when: asyncio.Event | threading.Event
) -> list[dict[str, Any]]:
    """
    Post, leave as soon as `when` is set, and wait until the site has ended with it. The
    messages that the site has sent.
    """
    sent: list[dict[str, Any]] = []
    request = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if request:
            return request.pop()
        if isinstance(when, threading.Event):
            await asyncio.to_thread(when.wait, 10)
        else:
            await when.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    async with asyncio.timeout(10):
        await site.application(scope, receive, send)
    return sent
