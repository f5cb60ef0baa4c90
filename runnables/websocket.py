"""
The WebSocket door: `/{path}/ws`, many runs on one socket. docs/websocket.md is its contract.

A command is `{"id", "method", "params"}`; its reply has type `success` or `error`, and a
stream's reply is followed by frames of type `event`, numbered by `seq`. What is inside is
what the HTTP doors send.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from io import BytesIO
from typing import Any, TypeGuard
from uuid import UUID

import orjson
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest

from runnables import access, problems, running, snapshot
from runnables.conf import conf
from runnables.exceptions import (
    ClientGone,
    HttpsRequired,
    InvalidInput,
    InvalidRequest,
    NotAuthenticated,
    ReaderStuck,
    ServingError,
    UnknownEndpoint,
    UnknownRun,
)
from runnables.identity import CallerRequest, identify_socket
from runnables.payload import DEFAULT, BadPayload, Limits, parse
from runnables.routing import STREAMS
from runnables.served import ServedDeployment
from runnables.socket_runs import CommandId, SocketRun, error_frame

logger = logging.getLogger(__name__)

SUBPROTOCOL = "langserve"
TOKEN_PREFIX = "bearer."  # noqa: S105 - what a token is announced by, not one
RUN_METHODS = frozenset({"invoke", "batch", *STREAMS})
CLOSE_SECONDS = 2.0

# Close codes of RFC 6455.
UNSUPPORTED_DATA = 1003
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009
# An id is repeated in every frame of its run.
MAX_ID_LENGTH = 128
# daphne sends none of them: there 1008 becomes 4008.
DAPHNE_OFFSET = 3000


class Closing(Exception):
    """
    The socket ends: a close code, and a reason of at most 123 bytes.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason.encode()[:123].decode(errors="ignore")


class SocketConsumer(AsyncWebsocketConsumer):
    """
    One socket of one caller at one deployment. `scope["langserve"]` is the path's Match.
    """

    deployment: ServedDeployment

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.base_send = scope, send
        self.path: str = scope["langserve"].path
        self.runs: dict[CommandId, SocketRun] = {}
        self._frames: deque[float] = deque(maxlen=conf.socket_frames_per_second)
        self._closing: Closing | None = None
        self._main = asyncio.current_task()
        if (await receive())["type"] != "websocket.connect":
            return
        try:
            await self._open()
        except ServingError as error:
            await self._deny(error)
            return
        await self._until_closed(receive)

    async def caller(self, method: str, params: dict[str, Any]) -> CallerRequest:
        """
        The caller, asked again for every run: rights may have changed since the last.
        """
        self.deployment = snapshot.find(self.path)
        caller = await self._admit()
        config_hash = params.get("config_hash")
        await access.let_in(
            caller, self.deployment, method, str(config_hash) if config_hash else None
        )
        # The handshake's own X-Run-Id would be that of every run.
        chosen = params.get("run_id")
        caller.run_id = _uuid(chosen) if chosen else None
        return caller

    async def send_frame(self, frame: bytes) -> None:
        """
        Wait until the frame is on its way; raises ReaderStuck, and closes, if that takes too long.
        """
        try:
            async with asyncio.timeout(conf.send_seconds):
                await self.base_send({"type": "websocket.send", "text": frame.decode()})
        except TimeoutError:
            self._close(POLICY_VIOLATION, "frames are not being read")
            raise ReaderStuck from None
        except OSError:
            # As ASGI has it for a send after the client has left.
            raise ClientGone from None

    async def _open(self) -> None:
        """
        Let the caller in, or raise; who may still sign in by a first frame is let in.
        """
        await snapshot.loaded()
        self.request = _as_http(self.scope)
        if settings.SECURE_SSL_REDIRECT and not self.request.is_secure():
            raise HttpsRequired
        self.deployment = snapshot.find(self.path)
        offered: list[str] = self.scope.get("subprotocols") or []
        tokens = [
            name.removeprefix(TOKEN_PREFIX) for name in offered if name.startswith(TOKEN_PREFIX)
        ]
        if tokens:
            self.request.META["HTTP_AUTHORIZATION"] = f"Bearer {tokens[0]}"
        with access.hidden(self.deployment):
            caller = await identify_socket(self.request)
        self.principal = caller.principal
        self.signed_in = caller.user.is_authenticated or not access.refusal(caller, self.deployment)
        # Who may still sign in is let in, but not to a deployment nobody is told of.
        if self.signed_in or not self.deployment.listed:
            await access.let_in(caller, self.deployment, "websocket")
        elif "websocket" not in self.deployment.endpoints:
            raise UnknownEndpoint
        chosen = SUBPROTOCOL if SUBPROTOCOL in offered else None
        await self.base_send({"type": "websocket.accept", "subprotocol": chosen})

    async def _deny(self, error: ServingError) -> None:
        """
        Refuse the handshake, with the error's status and body where the server can say it.
        """
        if not self._can_say_more:
            await self.base_send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        body = orjson.dumps(problems.body(error), default=str)
        named = {"Content-Type": "application/json", **problems.headers(error)}
        headers = [(name.lower().encode(), value.encode("latin1")) for name, value in named.items()]
        response = "websocket.http.response"
        await self.base_send(
            {"type": f"{response}.start", "status": error.status_code, "headers": headers}
        )
        await self.base_send({"type": f"{response}.body", "body": body})

    @property
    def _can_say_more(self) -> bool:
        """
        Whether the server can refuse with a body, as uvicorn can and daphne cannot.
        """
        return "websocket.http.response" in (self.scope.get("extensions") or {})

    async def _until_closed(self, receive: Any) -> None:
        checking = asyncio.create_task(self._check_again())
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                await self._take(message)
        except Closing as closing:
            self._closing = closing
        except (ReaderStuck, ClientGone):
            pass  # `_closing` is set, or nobody is there any more
        except asyncio.CancelledError:
            if self._closing is None:
                raise
        finally:
            checking.cancel()
            await self._end_runs()
        if self._closing:
            await self._say_goodbye(self._closing)

    async def _end_runs(self) -> None:
        while self._main and self._main.cancelling():
            self._main.uncancel()
        tasks = [run.task for run in self.runs.values() if run.task]
        while pending := [task for task in tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=running.CANCEL_AGAIN_SECONDS)

    async def _say_goodbye(self, closing: Closing) -> None:
        code = closing.code if self._can_say_more else closing.code + DAPHNE_OFFSET
        # A client that reads nothing would not take this either.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.base_send(
                    {"type": "websocket.close", "code": code, "reason": closing.reason}
                )

    def _close(self, code: int, reason: str) -> None:
        """
        End the socket from one of its tasks.
        """
        if self._closing is None:
            self._closing = Closing(code, reason)
            # The main task itself raises ReaderStuck: a cancel would hit its goodbye.
            if self._main and asyncio.current_task() is not self._main:
                self._main.cancel()

    async def _check_again(self) -> None:
        """
        Close the socket of a caller who may not any more: signed out, revoked, switched off.
        """
        if not self.signed_in:
            await asyncio.sleep(conf.socket_sign_in_seconds)
            if not self.signed_in:
                self._close(POLICY_VIOLATION, "nobody signed in")
        while True:
            await asyncio.sleep(conf.socket_check_seconds)
            try:
                self.deployment = snapshot.find(self.path)
                await self._admit()
            except ServingError as error:
                self._close(POLICY_VIOLATION, f"access has ended: {error.code}")
            except Exception:
                # The database may be away for a while; every new run is refused meanwhile.
                logger.exception("the caller of an open socket could not be checked")

    async def _admit(self) -> CallerRequest:
        caller = await identify_socket(self.request)
        # The socket is looked after as a whole.
        caller.is_asked_again = False
        caller.transport = "websocket"
        await access.let_in(caller, self.deployment, "websocket")
        if caller.principal != self.principal:
            # Signed out: a public deployment would let the socket go on for nobody.
            raise NotAuthenticated
        return caller

    async def _take(self, message: Any) -> None:
        """
        One frame: a run is started and replies when it can, anything else replies at once.
        """
        frame = self._frame(message, await self._limits())
        command_id, method, params = _command(frame)
        if not self.signed_in and method not in ("authenticate", "ping"):
            raise Closing(POLICY_VIOLATION, "the first frame must be authenticate")
        try:
            if method in RUN_METHODS or (method == "cancel" and "run_id" in params):
                self._start(command_id, method, params)
                return
            result = await self._perform(method, params)
        except ServingError as error:
            data = orjson.dumps(problems.stream_event(error), default=str)
            await self.send_frame(error_frame(orjson.dumps(command_id), data))
            if method == "authenticate":
                raise Closing(POLICY_VIOLATION, f"not let in: {error.code}") from None
            return
        await self.send_frame(orjson.dumps({"type": "success", "id": command_id, "result": result}))

    async def _limits(self) -> Limits:
        """
        Those of the deployment, which is built if need be; not for who has not signed in.
        """
        if not self.signed_in:
            return DEFAULT
        try:
            return (self.deployment.served or await self.deployment.ready()).limits
        except ServingError:
            return DEFAULT  # the run will say why

    def _frame(self, message: Any, limits: Limits) -> Any:
        text = message.get("text")
        if text is None:
            raise Closing(UNSUPPORTED_DATA, "frames are JSON text")
        now = time.monotonic()
        if len(self._frames) == self._frames.maxlen and now - self._frames[0] < 1:
            raise Closing(POLICY_VIOLATION, "too many frames a second")
        self._frames.append(now)
        try:
            return parse(text.encode("utf-8", "surrogatepass"), limits)
        except BadPayload as error:
            code = TOO_BIG if error.status == 413 else INVALID_DATA
            raise Closing(code, error.message) from None

    def _start(self, command_id: CommandId, method: str, params: dict[str, Any]) -> None:
        if command_id in self.runs:
            raise _bad_command("id", "a run with this id is going on")
        if len(self.runs) >= conf.socket_runs:
            raise _TooManyRuns(f"This socket runs {conf.socket_runs} things at a time, no more.")
        run = self.runs[command_id] = SocketRun(self, command_id, method, params)
        run.task = asyncio.create_task(run.perform())
        run.task.add_done_callback(lambda _: self.runs.pop(command_id, None))

    async def _perform(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "ping":
            return {}
        if method == "authenticate":
            return await self._authenticate(params)
        if method == "cancel":
            return self._cancel(params)
        raise _bad_command("method", "there is no such method")

    async def _authenticate(self, params: dict[str, Any]) -> dict[str, Any]:
        self.request.META["HTTP_AUTHORIZATION"] = f"Bearer {params.get('token')}"
        caller = await identify_socket(self.request)
        await access.let_in(caller, self.deployment, "websocket")
        self.signed_in, self.principal = True, caller.principal
        return {"status": "authenticated"}

    def _cancel(self, params: dict[str, Any]) -> dict[str, Any]:
        """
        A run of this socket by its `id`; one by its `run_id`, in whatever process, is a task.
        """
        command_id = params.get("id")
        run = self.runs.get(command_id) if _is_id(command_id) else None
        if run is None:
            raise UnknownRun
        run.cancel()
        return {"status": "cancelled"}


class _TooManyRuns(ServingError):
    status_code = 429
    code = "too_many_runs"


def _as_http(scope: Any) -> ASGIRequest:
    """
    The handshake as the request that it is, for the gate.
    """
    schemes = {"ws": "http", "wss": "https"}
    scheme = schemes.get(scope.get("scheme", "ws"), "http")
    request = ASGIRequest({**scope, "type": "http", "method": "GET", "scheme": scheme}, BytesIO())
    try:
        request.get_host()
    except DisallowedHost:
        raise InvalidRequest(
            "This site is not served under that host name.", code="disallowed_host"
        ) from None
    return request


def _command(frame: Any) -> tuple[CommandId, str, dict[str, Any]]:
    """
    Id, method and params; raises Closing where no reply could be addressed.
    """
    command_id = frame.get("id") if isinstance(frame, dict) else None
    if not _is_id(command_id):
        raise Closing(POLICY_VIOLATION, "a frame is an object with an id, a text or an integer")
    params = frame.get("params")
    if params is None:
        params = {}
    if not isinstance(frame.get("method"), str) or not isinstance(params, dict):
        raise Closing(POLICY_VIOLATION, "a frame has a method, a text, and params, an object")
    return command_id, frame["method"], params


def _is_id(value: Any) -> TypeGuard[CommandId]:
    """
    A text, or an integer that JSON carries everywhere.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return -(1 << 63) <= value < 1 << 63
    return isinstance(value, str) and len(value) <= MAX_ID_LENGTH


def _bad_command(where: str, message: str) -> InvalidInput:
    return InvalidInput([{"type": "value_error", "loc": [where], "msg": message}])


def _uuid(value: Any) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise _bad_command("run_id", "run_id should be a UUID") from None
