"""
One run on a WebSocket: from its command to the last of its frames.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import orjson

from runnables import problems, running, runtime
from runnables.bodies import answer_metadata, batch_body, empty_batch_body, invoke_body
from runnables.events import escape_line_breaks
from runnables.exceptions import ClientGone, ReaderStuck, RunCancelled, UnknownRun
from runnables.invocation import Invocation, decode_hash, prepare, prepare_batch
from runnables.views import cancel_run

if TYPE_CHECKING:
    from runnables.identity import CallerRequest
    from runnables.served import ServedDeployment

CommandId = str | int


class Socket(Protocol):
    """
    What a run needs of its socket.
    """

    deployment: ServedDeployment

    async def caller(self, method: str, params: dict[str, Any]) -> CallerRequest: ...

    async def send_frame(self, frame: bytes) -> None: ...


class SocketRun:
    """
    Performs one command in a task of its own; whatever happens becomes a frame.
    """

    def __init__(
        self, socket: Socket, command_id: CommandId, method: str, params: dict[str, Any]
    ) -> None:
        self.task: asyncio.Task[None] | None = None
        self._socket = socket
        self._id = orjson.dumps(command_id)
        self._method = method
        self._params = params
        self._call: Invocation | None = None
        self._seq = 0
        self._has_begun = False
        self._is_cancelled = False
        self._is_streaming = False

    async def perform(self) -> None:
        self._has_begun = True
        try:
            if self._is_cancelled:
                raise RunCancelled
            await self._perform()
        except (ReaderStuck, ClientGone):
            return
        except asyncio.CancelledError:
            # By its command before it was under way; otherwise the socket is closing.
            if not self._is_cancelled:
                raise
            await self._fail(RunCancelled())
        except Exception as error:  # noqa: BLE001 - translated in one place
            await self._fail(error)

    async def _perform(self) -> None:
        if self._method == "invoke":
            await self._invoke()
        elif self._method == "batch":
            await self._batch()
        elif self._method == "cancel":
            await self._cancel_by_run_id()
        else:
            await self._stream()

    def cancel(self) -> None:
        """
        End the run as a cancel by its run id does, or its preparation.
        """
        self._is_cancelled = True
        under_way = running.find(self._call.run_id) if self._call else None
        if under_way:
            under_way.cancel()
        elif self._has_begun and self.task:
            self.task.cancel()

    async def _cancel_by_run_id(self) -> None:
        caller = await self._socket.caller(self._method, self._params)
        if caller.run_id is None:
            raise UnknownRun
        await cancel_run(caller.run_id, caller.principal)
        await self._succeed(b'{"status":"cancelled"}')

    async def _invoke(self) -> None:
        call = await self._prepare()
        await self._succeed(invoke_body(call, await runtime.invoke(call)))

    async def _batch(self) -> None:
        caller = await self._socket.caller(self._method, self._params)
        calls = await prepare_batch(
            self._socket.deployment,
            self._params,
            caller=caller,
            hash_config=self._hash_config(),
            version=self._version(),
        )
        if not calls:
            await self._succeed(empty_batch_body(self._socket.deployment))
            return
        self._call = calls[0]
        partial = self._params.get("return_exceptions") is True
        outputs = await runtime.batch(calls, return_exceptions=partial)
        await self._succeed(batch_body(calls, outputs, partial=partial))

    async def _stream(self) -> None:
        call = await self._prepare()
        async with runtime.under_way(call):
            more = answer_metadata(call)
            metadata = orjson.dumps({"run_id": str(call.run_id), **more})
            await self._succeed(metadata)
            self._is_streaming = True
            if self._method == "stream" or "feedback_tokens" in more:
                await self._event("metadata", metadata)
            async with aclosing(runtime.STREAMS[self._method](call)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    await self._event("data", chunk)
            await self._event("end")

    async def _prepare(self) -> Invocation:
        caller = await self._socket.caller(self._method, self._params)
        self._call = await prepare(
            self._socket.deployment,
            self._method,
            self._params,
            caller=caller,
            hash_config=self._hash_config(),
            preset=str(self._params.get("preset") or ""),
            version=self._version(),
        )
        return self._call

    def _version(self) -> str:
        wanted = self._params.get("version")
        return "" if wanted is None else str(wanted)

    def _hash_config(self) -> Any:
        return decode_hash(str(self._params.get("config_hash") or ""))

    async def _succeed(self, result: bytes) -> None:
        await self._socket.send_frame(
            b'{"type":"success","id":' + self._id + b',"result":' + result + b"}"
        )

    async def _event(self, name: str, data: bytes = b"") -> None:
        head = f',"seq":{self._seq},"event":"{name}"'.encode()
        self._seq += 1
        tail = b',"data":' + escape_line_breaks(data) + b"}" if data else b"}"
        await self._socket.send_frame(b'{"type":"event","id":' + self._id + head + tail)

    async def _fail(self, error: Exception) -> None:
        run_id: UUID | None = self._call.run_id if self._call else None
        public = self._socket.deployment.errors.report(error, run_id)
        data = orjson.dumps(problems.stream_event(public, run_id), default=str)
        try:
            if self._is_streaming:
                await self._event("error", data)
            else:
                await self._socket.send_frame(error_frame(self._id, data))
        except (ReaderStuck, ClientGone):
            return


def error_frame(command_id: bytes, error: bytes) -> bytes:
    """
    The reply to a command that failed; both are JSON already.
    """
    return b'{"type":"error","id":' + command_id + b',"error":' + error + b"}"
