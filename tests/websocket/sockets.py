"""
A caller of the WebSocket door, as docs/websocket.md has it, and what it gathers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.live import LiveSite
from tests.served import SECRET

SECONDS = 15
# "At once", and room for a busy host.
SOON = 4.0
# It is in callback events: the same on every door.
USER_AGENT = "tests"
# The least that /count and its like do.
ONE = {"key": "x", "upto": 1}

Frame = dict[str, Any]


@dataclass
class Run:
    """
    What one command was answered: its reply, then its events.
    """

    reply: Frame | None = None
    events: list[Frame] = field(default_factory=list)

    @property
    def result(self) -> Any:
        assert self.reply is not None
        assert self.reply["type"] == "success", self.reply
        return self.reply["result"]

    @property
    def error(self) -> Any:
        """
        Of a command that failed: before its stream began, or after.
        """
        if self.events:
            assert self.events[-1]["event"] == "error", self.events[-1]
            return self.events[-1]["data"]
        assert self.reply is not None
        assert self.reply["type"] == "error", self.reply
        return self.reply["error"]

    @property
    def data(self) -> list[Any]:
        return [event["data"] for event in self.events if event["event"] == "data"]

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.events]

    @property
    def is_over(self) -> bool:
        if self.events:
            return self.events[-1]["event"] in ("end", "error")
        # A stream's success is its beginning: its result is the run id alone.
        return self.reply is not None and (
            self.reply["type"] == "error" or set(self.reply["result"]) != {"run_id"}
        )

    def add(self, frame: Frame) -> None:
        assert not self.is_over, f"more came after the end: {frame}"
        if frame["type"] != "event":
            assert self.reply is None, f"a second reply: {frame}"
            self.reply = frame
            return
        assert self.reply is not None, f"an event before the reply: {frame}"
        assert frame["seq"] == len(self.events), f"a gap before {frame}"
        self.events.append(frame)


class Talk:
    """
    One open socket. Every frame that comes is checked for what may be in none.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.runs: dict[str | int, Run] = {}

    async def send(self, command_id: str | int, method: str, **params: Any) -> None:
        await self.connection.send(
            json.dumps({"id": command_id, "method": method, "params": params})
        )

    async def send_text(self, text: str) -> None:
        await self.connection.send(text)

    async def call(self, command_id: str | int, method: str, **params: Any) -> Run:
        """
        All of one command.
        """
        await self.send(command_id, method, **params)
        return await self.over(command_id)

    async def over(self, command_id: str | int) -> Run:
        await self.until(lambda: command_id in self.runs and self.runs[command_id].is_over)
        return self.runs[command_id]

    async def all_over(self, ids: Iterable[str | int]) -> None:
        wanted = list(ids)
        await self.until(lambda: all(one in self.runs and self.runs[one].is_over for one in wanted))

    async def until(self, holds: Callable[[], bool], seconds: float = SECONDS) -> None:
        """
        Take frames in until this holds.
        """
        async with asyncio.timeout(seconds):
            while not holds():
                await self.take()

    async def take(self) -> Frame:
        text = await self.connection.recv()
        assert isinstance(text, str)
        assert "Traceback" not in text
        assert SECRET not in text
        frame: Frame = json.loads(text)
        self.runs.setdefault(frame["id"], Run()).add(frame)
        return frame

    async def closed(self, seconds: float = SOON) -> tuple[int, str]:
        """
        The code and reason that the server closes the socket with.
        """
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.take()
                except ConnectionClosed as closed:
                    frame = closed.rcvd
                    return (frame.code, frame.reason) if frame else (1006, "")


@asynccontextmanager
async def talk(
    site: LiveSite,
    path: str,
    *,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[Talk]:
    options = {"max_size": None, "proxy": None, "user_agent_header": USER_AGENT, **options}
    url = f"ws{site.url.removeprefix('http')}{path}/ws{query}"
    async with connect(url, additional_headers=headers, **options) as connection:
        yield Talk(connection)


async def ask(
    site: LiveSite,
    path: str,
    method: str,
    *,
    headers: Mapping[str, str] | None = None,
    **params: Any,
) -> Run:
    """
    One command on a socket of its own.
    """
    async with talk(site, path, headers=headers) as caller:
        return await caller.call(1, method, **params)


async def opens(
    site: LiveSite, path: str, headers: Mapping[str, str] | None = None, **options: Any
) -> bool:
    try:
        async with talk(site, path, headers=headers, **options):
            return True
    except InvalidStatus:
        return False


async def refusal(
    site: LiveSite, path: str, headers: Mapping[str, str] | None = None, **options: Any
) -> tuple[int, str]:
    """
    Status and code of a handshake that is refused.
    """
    with pytest.raises(InvalidStatus) as refused:
        async with talk(site, path, headers=headers, **options):
            pass
    response = refused.value.response
    assert response.headers["content-type"] == "application/json"
    body = json.loads(response.body)
    assert set(body) >= {"detail", "message", "code"}
    return response.status_code, body["code"]


async def who(caller: Talk, command_id: str = "who") -> Any:
    """
    Whether a run is allowed now: its output, or its error.
    """
    run = await caller.call(command_id, "invoke", input=ONE)
    assert run.reply is not None
    return run.reply.get("result", run.reply.get("error"))


async def becomes(holds: Callable[[], object], seconds: float = SOON) -> None:
    """
    Poll until this holds, and let the socket live meanwhile.
    """
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.02)


def ledger(site: LiveSite, key: str) -> list[str]:
    path: Path = site.ledger / key
    return path.read_text().split() if path.exists() else []


async def noted(site: LiveSite, key: str, word: str, seconds: float = SOON) -> None:
    """
    Wait until the runnable has noted this word.
    """
    await becomes(lambda: word in ledger(site, key), seconds)


def log_of(site: LiveSite) -> str:
    """
    What the server has logged so far.
    """
    return (site.ledger.parent / "uvicorn.log").read_text()


def is_at_rest(site: LiveSite, keys: list[str], seconds: float = 0.15) -> bool:
    """
    Whether these runs have noted nothing new for a while: they wait for their reader.
    """
    now = time.time()
    return all(now - (site.ledger / key).stat().st_mtime > seconds for key in keys)
