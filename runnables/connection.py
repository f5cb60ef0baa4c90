"""
One HTTP connection over ASGI: its body, its answer, and hearing the client leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse

from runnables.exceptions import ClientGone, PayloadRefused, UnsupportedType
from runnables.payload import BadPayload, parse
from runnables.served import Served
from runnables.uploads import payload_of_form

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")

# Quick answers are over before it is worth a task to listen for a disconnect.
LISTEN_AFTER_SECONDS = 0.05
CANCEL_AGAIN_SECONDS = 0.2


async def while_connected(answer: Awaitable[T], receive: Receive) -> T | None:
    """
    The result of `answer`, or None if the client left: then it was cancelled, for as long
    as that took (`astream_log` swallows the first cancel), and has ended.
    """
    listener = _Listener(receive)
    try:
        return await answer
    except asyncio.CancelledError:
        if not listener.gone:
            raise
        while listener.task.cancelling():
            listener.task.uncancel()
        return None
    finally:
        listener.end()


class _Listener:
    """
    Cancels the current task when the client closes the connection.
    """

    __slots__ = ("_ended", "_listening", "_receive", "_timer", "gone", "task")

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we are inside a coroutine
        self.task = task
        self.gone = False
        self._ended = False
        self._receive = receive
        self._listening: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(LISTEN_AFTER_SECONDS, self._start)

    def end(self) -> None:
        self._ended = True
        self._timer.cancel()
        if self._listening:
            self._listening.cancel()

    def _start(self) -> None:
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        while not self._ended:
            self.task.cancel()
            await asyncio.sleep(CANCEL_AGAIN_SECONDS)


async def read_body(receive: Receive, limit: int) -> bytes:
    """
    The request's body; raises PayloadRefused as soon as it is over the limit, ClientGone.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise PayloadRefused(
                f"The body is larger than {limit:,} bytes; send less at once.",
                code="too_large",
                status=413,
            )
        if not message.get("more_body"):
            return part if not parts else b"".join((*parts, part))
        parts.append(part)


def read_payload(request: HttpRequest, body: bytes, served: Served, *, files: bool) -> Any:
    """
    The payload of a body: JSON whatever its Content-Type says, or a multipart form where
    `files` may come. Raises PayloadRefused and UnsupportedType.
    """
    content_type = request.META.get("CONTENT_TYPE", "")
    if content_type.startswith("multipart/"):
        if not files:
            raise UnsupportedType
        meta = {**request.META, "CONTENT_LENGTH": len(body)}
        return payload_of_form(meta, body, served.limits, served.schemas.file_fields)
    try:
        return parse(body, served.limits)
    except BadPayload as error:
        raise PayloadRefused(error.message, code=error.code, status=error.status) from None


async def send_response(response: HttpResponse, send: Send, extra_headers: Headers) -> None:
    """
    A whole Django response over ASGI.
    """
    headers = [
        (name.lower().encode("latin1"), value.encode("latin1")) for name, value in response.items()
    ]
    headers += [(b"content-length", str(len(response.content)).encode()), *extra_headers]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
