"""
The load: closed loops over keep-alive connections. It knows just enough HTTP/1.1 to see where an answer
ends, so that it needs a fraction of what the server needs and the server is what gets measured.
"""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

try:
    import uvloop
except ImportError:
    new_event_loop = asyncio.new_event_loop
else:
    new_event_loop = uvloop.new_event_loop

DATA_EVENT = b"event: data"
ERROR_EVENT = b"event: error"
# An event's own chunk ends in a blank line, so nothing but the last chunk can look like this.
LAST_CHUNK = b"\r\n0\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CONNECTION_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
PATIENCE = 60


class BadAnswer(Exception):
    """
    A server answered with something else than success.
    """


class Connection(asyncio.Protocol):
    """
    One keep-alive connection, one request at a time.
    """

    def __init__(self) -> None:
        self.received = bytearray()
        self.size: int | None = None
        self.is_chunked = False
        self.is_spent = False
        self.first_event_at: float | None = None
        self.answer: asyncio.Future[bytes] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_spent = True
        if self.answer and not self.answer.done():
            self.answer.set_exception(BadAnswer(f"closed after {bytes(self.received[-300:])!r}"))

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.first_event_at is None and DATA_EVENT in self.received:
            self.first_event_at = time.perf_counter()
        if self.is_complete() and self.answer and not self.answer.done():
            self.answer.set_result(bytes(self.received))

    def is_complete(self) -> bool:
        if self.size is None and not self.is_chunked:
            self.read_head()
        if self.is_chunked:
            return self.received.endswith(LAST_CHUNK)
        return self.size is not None and len(self.received) >= self.size

    def read_head(self) -> None:
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = CONTENT_LENGTH.search(self.received, 0, end)
        self.is_spent = CONNECTION_CLOSE.search(self.received, 0, end) is not None
        self.is_chunked = length is None
        self.size = end + 4 + int(length[1]) if length else None

    async def exchange(self, request: bytes) -> bytes:
        assert self.transport is not None
        self.received = bytearray()
        self.size, self.is_chunked, self.first_event_at = None, False, None
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answer

    def close(self) -> None:
        if self.transport:
            self.transport.close()


async def connect(port: int) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
    return connection


def request_bytes(
    port: int, path: str, payload: object, headers: Mapping[str, str] | None = None
) -> bytes:
    body = json.dumps(payload).encode()
    lines = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@dataclass
class Tally:
    """
    What the connections of one slice got done.
    """

    requests: int = 0
    events: int = 0
    seconds: float = 0.0
    client_cpu: float = 0.0
    first_events: list[float] = field(default_factory=list)

    def add(self, raw: bytes, first_event: float | None) -> None:
        if not raw.startswith(b"HTTP/1.1 200") or ERROR_EVENT in raw:
            raise BadAnswer(raw[:400].decode(errors="replace"))
        self.requests += 1
        if first_event is not None:
            self.events += raw.count(DATA_EVENT)
            self.first_events.append(first_event)


async def run_load(port: int, request: bytes, *, connections: int, seconds: float) -> Tally:
    """
    Ask on every connection until the time is over, at least once; what was begun is finished.
    """
    tally = Tally()
    async with asyncio.timeout(PATIENCE + seconds):
        opened = await asyncio.gather(*(connect(port) for _ in range(connections)))
        started, cpu = time.perf_counter(), time.process_time()
        await keep_all_asking(opened, port, request, tally, started + seconds)
        tally.seconds = time.perf_counter() - started
        tally.client_cpu = time.process_time() - cpu
    return tally


async def keep_all_asking(
    opened: list[Connection], port: int, request: bytes, tally: Tally, until: float
) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            for connection in opened:
                tasks.create_task(keep_asking(connection, port, request, tally, until))
    except ExceptionGroup as failures:
        # One is enough to know, and the caller need not know how many connections there were.
        raise failures.exceptions[0] from None


async def keep_asking(
    connection: Connection, port: int, request: bytes, tally: Tally, until: float
) -> None:
    try:
        while True:
            started = time.perf_counter()
            raw = await connection.exchange(request)
            first = connection.first_event_at
            tally.add(raw, None if first is None else first - started)
            if time.perf_counter() >= until:
                return
            if connection.is_spent:
                connection.close()
                connection = await connect(port)
    finally:
        connection.close()


async def ask_once(port: int, request: bytes) -> tuple[int, bytes]:
    """
    Status and body of one answer, its chunks joined.
    """
    connection = await connect(port)
    try:
        async with asyncio.timeout(PATIENCE):
            raw = await connection.exchange(request)
    finally:
        connection.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split(maxsplit=2)[1]), joined(body) if connection.is_chunked else body


def joined(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(rest[:length])
        body = rest[length + 2 :] if length else b""
    return b"".join(parts)
