"""
The Channels door that streams: Server-Sent Events over HTTP.

Channels looks at the next message only when a handler has returned, and would never hear
the client leave a stream written in one: here somebody listens beside the answer.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from io import BytesIO
from typing import Any
from uuid import UUID

from channels.generic.http import AsyncHttpConsumer
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from runnables import access, problems, runtime, snapshot
from runnables.bodies import answer_metadata
from runnables.conf import conf
from runnables.connection import (
    Headers,
    Receive,
    Send,
    read_body,
    read_payload,
    send_response,
    while_connected,
)
from runnables.events import END, PING, queued, sse, sse_named
from runnables.exceptions import ClientGone, ServingError, UnknownEndpoint, WrongMethod
from runnables.invocation import Invocation, decode_hash, prepare
from runnables.own import OwnDeployment
from runnables.routing import STREAMS, Match, match
from runnables.views import allowed_methods, dropped_header

Made = tuple[ASGIRequest, Match | None, Headers]

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"connection", b"keep-alive"),
]


class CancellableHttpConsumer(AsyncHttpConsumer):
    """
    A consumer whose answer is cancelled when the client goes away.

    Subclasses write `respond`; what it raises surfaces. `scope["langserve"]`, if there,
    is what `runnables.handler` has made already: request, match and response headers.
    """

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.base_send = send
        made: Made = scope.get("langserve") or (
            ASGIRequest(scope, BytesIO()),
            match(scope["path"]),
            [],
        )
        self.http, self.match, self.extra_headers = made
        try:
            body = await read_body(
                receive, snapshot.largest_body(self.match.path if self.match else "")
            )
        except ClientGone:
            return
        except ServingError as error:
            return await self.send_problem(error)
        await while_connected(self.respond(self.http, body), receive)

    async def respond(self, request: HttpRequest, body: bytes) -> None:
        raise NotImplementedError

    async def send_problem(self, error: ServingError, run_id: UUID | None = None) -> None:
        await send_response(problems.response(error, run_id), self.base_send, self.extra_headers)


class StreamConsumer(OwnDeployment, CancellableHttpConsumer):
    """
    `stream`, `stream_log` and `stream_events` of a deployment, as Server-Sent Events.

    Subclass it with `runnable` set for a stream of your own; `endpoint` says which of the
    three it is where the path does not.
    """

    endpoint = "stream"

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        # As Django's views take theirs; Channels would drop them.
        for name, value in attributes.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r} to be given")
            setattr(self, name, value)

    errors = problems.ErrorPolicy()

    async def respond(self, request: HttpRequest, body: bytes) -> None:
        if request.method == "OPTIONS":
            await send_response(
                allowed_methods(("POST", "OPTIONS")), self.base_send, self.extra_headers
            )
            return
        call: Invocation | None = None
        out = EventStream(self.base_send)
        try:
            call = await self._prepare(request, body)
            out.headers = self._headers(call)
            out.preamble = self._preamble(call)
            async with out, runtime.under_way(call, waiting=out.wait_in_line):
                await self._stream(call, out)
        except Exception as error:  # noqa: BLE001 - translated in one place
            await self._fail(error, call, out)

    async def _prepare(self, request: HttpRequest, body: bytes) -> Invocation:
        await snapshot.loaded()
        found = self._found()
        deployment = self.find_deployment(found.path)
        self.errors = deployment.errors
        caller = await access.admit(request, deployment, found.endpoint, found.config_hash)
        if request.method != "POST":
            raise WrongMethod("POST, OPTIONS")
        caller.raw_body = body
        served = deployment.served or await deployment.ready()
        payload = read_payload(request, body, served, files=found.endpoint == "stream")
        self.endpoint = found.endpoint
        return await prepare(
            deployment,
            found.endpoint,
            payload,
            caller=caller,
            hash_config=decode_hash(found.config_hash or ""),
            preset=request.GET.get("preset", ""),
            version=caller.wanted_version,
            modify=self.modify_config,
        )

    def _found(self) -> Match:
        if self.match and self.match.endpoint in STREAMS:
            return self.match
        if self.runnable is None:
            raise UnknownEndpoint
        return Match("", self.endpoint)

    def _headers(self, call: Invocation) -> Headers:
        headers = [
            *STREAM_HEADERS,
            *self.extra_headers,
            (b"x-run-id", str(call.run_id).encode()),
            (b"x-deployment-version", str(call.version.number).encode()),
        ]
        if call.dropped:
            headers.append((b"x-dropped-config", dropped_header(call.dropped).encode()))
        return headers

    def _preamble(self, call: Invocation) -> bytes:
        more = answer_metadata(call)
        # LangServe's Python client logs an error for this event among events, but there it is
        # how their callers get feedback tokens.
        if self.endpoint != "stream" and "feedback_tokens" not in more:
            return b""
        return sse_named("metadata", {"run_id": str(call.run_id), **more})

    async def _stream(self, call: Invocation, out: EventStream) -> None:
        async with aclosing(runtime.STREAMS[self.endpoint](call)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                await out.write(sse(chunk))
            await out.finish(END)

    async def _fail(self, error: Exception, call: Invocation | None, out: EventStream) -> None:
        run_id = call.run_id if call else None
        public = self.errors.report(error, run_id)
        if out.begun:
            await out.finish(sse_named("error", problems.stream_event(public, run_id)))
        else:
            await self.send_problem(public, run_id)


class EventStream:
    """
    The body of one SSE response: begun by the first event or after a short wait, kept
    alive by pings, always ended.
    """

    def __init__(self, send: Send) -> None:
        self.headers: Headers = []
        self.preamble = b""
        self.begun = False
        self._send = send
        self._lock = asyncio.Lock()
        self._written = 0.0
        self._ahead = 0
        self._moved = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> EventStream:
        self._keeper = asyncio.create_task(self._keep_alive())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper

    def wait_in_line(self, ahead: int) -> None:
        """
        Tell the client, by a comment, how many runs are ahead of its own.
        """
        self._ahead = ahead
        self._moved.set()

    async def write(self, data: bytes) -> None:
        if not self.begun:
            await self._begin()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._written = self._loop.time()

    async def finish(self, data: bytes) -> None:
        if not self.begun:
            await self._begin()
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def _begin(self) -> None:
        async with self._lock:
            if self.begun:
                return
            self.begun = True
            await self._send(
                {"type": "http.response.start", "status": 200, "headers": self.headers}
            )
            if self.preamble:
                await self._send(
                    {"type": "http.response.body", "body": self.preamble, "more_body": True}
                )
            self._written = self._loop.time()

    async def _keep_alive(self) -> None:
        await asyncio.sleep(conf.first_chunk_seconds)
        await self._begin()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._written + conf.ping_seconds):
                    await self._moved.wait()
                self._moved.clear()
                await self.write(queued(self._ahead))
            if self._loop.time() - self._written >= conf.ping_seconds:
                await self.write(PING)
