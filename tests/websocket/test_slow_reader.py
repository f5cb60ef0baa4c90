"""
A reader that stops reading pauses its runs, costs no memory, and is closed at the deadline.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.live import LiveSite
from tests.websocket.conftest import SEND_SECONDS
from tests.websocket.sockets import SOON, becomes, is_at_rest, ledger, log_of, noted, talk

# 80 MB of frames, of which buffers of the two ends may hold a few.
MUCH = {"upto": 1300}
FEW_CHUNKS = 100
FEW_BYTES = 16 * 1024 * 1024
BYTES_OF_A_RUN = 4 * 1024 * 1024
# The end of a close frame: its code and its reason.
GOODBYE = (1008).to_bytes(2) + b"frames are not being read"


class RawCaller:
    """
    A client on a bare TCP connection, so that nothing reads behind the test's back.
    """

    def __init__(self, site: LiveSite, path: str) -> None:
        address = urlsplit(site.url)
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.tcp.settimeout(SOON)
        self.tcp.connect((address.hostname, address.port))
        lines = [
            f"GET {path}/ws HTTP/1.1",
            f"Host: {address.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}",
        ]
        self.tcp.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.tcp.recv(1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def send(self, command_id: int, method: str, params: object) -> None:
        text = json.dumps({"id": command_id, "method": method, "params": params}).encode()
        length = len(text)
        size = (
            bytes([0x80 | length])
            if length < 126
            else b"\xfe" + length.to_bytes(2)
            if length < 65_536
            else b"\xff" + length.to_bytes(8)
        )
        # A mask of zeros leaves the text as it is.
        self.tcp.sendall(b"\x81" + size + bytes(4) + text)

    def rest(self) -> bytes:
        """
        What still comes, up to the server's goodbye or the end of the connection.
        """
        data = bytearray()
        while not data.endswith(GOODBYE) and (part := self.tcp.recv(65_536)):
            data += part
        return bytes(data)


@contextmanager
def raw(site: LiveSite, path: str) -> Iterator[RawCaller]:
    caller = RawCaller(site, path)
    with caller.tcp:
        yield caller


def are_over(site: LiveSite, keys: list[str]) -> bool:
    """
    Whether all that began are over: some cannot even send that they would.
    """
    begun = [notes for key in keys if (notes := ledger(site, key))]
    return bool(begun) and all("finally" in notes for notes in begun)


def resident_bytes(site: LiveSite) -> int:
    assert site.process is not None
    status = Path(f"/proc/{site.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def assert_quiet(log: str) -> None:
    """
    A client that does not read is nobody's failure.
    """
    assert "Exception in ASGI application" not in log
    assert "of gush failed" not in log


async def test_a_reader_that_stops_is_paused_then_closed(site: LiveSite, key: str) -> None:
    async with talk(site, "/gush") as warm:
        await warm.call(1, "stream", input={"key": f"{key}-warm", "upto": 50})
    before, log = resident_bytes(site), len(log_of(site))
    with raw(site, "/gush") as caller:
        caller.send(1, "stream", {"input": {"key": key, **MUCH}})
        await noted(site, key, "started")
        await becomes(lambda: is_at_rest(site, [key]))
        assert "finally" not in ledger(site, key)
        assert resident_bytes(site) - before < FEW_BYTES
        await noted(site, key, "finally", SEND_SECONDS + SOON)
        assert ledger(site, key).count("chunk") < FEW_CHUNKS
        assert resident_bytes(site) - before < FEW_BYTES
        # What was on its way comes, then the goodbye.
        rest = caller.rest()
    assert len(rest) < FEW_BYTES
    assert rest.endswith(GOODBYE)
    assert_quiet(log_of(site)[log:])


async def test_many_runs_of_a_stopped_reader_are_all_closed(site: LiveSite, key: str) -> None:
    keys = [f"{key}-{number}" for number in range(20)]
    before, log = resident_bytes(site), len(log_of(site))
    with raw(site, "/gush") as caller:
        for number, one in enumerate(keys):
            caller.send(number, "stream", {"input": {"key": one, **MUCH}})
        await becomes(lambda: are_over(site, keys), SEND_SECONDS + SOON)
        assert resident_bytes(site) - before < len(keys) * BYTES_OF_A_RUN
        assert len(caller.rest()) < len(keys) * BYTES_OF_A_RUN
    assert sum(ledger(site, one).count("chunk") for one in keys) < FEW_CHUNKS
    assert_quiet(log_of(site)[log:])


async def test_a_reply_that_nobody_reads_closes_the_socket_too(site: LiveSite, key: str) -> None:
    log, quiet = len(log_of(site)), f"{key}-quiet"
    with raw(site, "/gush") as caller:
        # One run that sends nothing, one whose output fills every buffer; then a ping waits.
        caller.send(1, "invoke", {"input": {"key": quiet, "upto": 0, "hold": 60}})
        caller.send(2, "invoke", {"input": {"key": key, "upto": 130}})
        await noted(site, key, "finally")
        caller.send(3, "ping", {})
        await noted(site, quiet, "finally", SEND_SECONDS + SOON)
        # Then the server gives the goodbye two seconds, and its connection up.
        assert len(caller.rest()) < FEW_BYTES
    assert_quiet(log_of(site)[log:])


async def test_a_reader_that_pauses_loses_nothing(site: LiveSite, key: str) -> None:
    upto = 200
    async with talk(site, "/gush", compression=None) as caller:
        await caller.send(1, "stream", input={"key": key, "upto": upto})
        await noted(site, key, "started")
        # Nothing takes from its queue now, so the client library stops reading.
        await becomes(lambda: is_at_rest(site, [key]))
        assert ledger(site, key).count("chunk") < upto
        run = await caller.over(1)
    assert run.names == ["metadata", *["data"] * upto, "end"]


async def test_others_are_served_while_a_reader_is_stopped(site: LiveSite, key: str) -> None:
    with raw(site, "/gush") as caller:
        caller.send(1, "stream", {"input": {"key": key, **MUCH}})
        await becomes(lambda: (site.ledger / key).exists() and is_at_rest(site, [key]))
        async with talk(site, "/spell") as other:
            assert (await other.call(1, "stream", input="cat")).data == ["c", "a", "t"]
        await noted(site, key, "finally", SEND_SECONDS + SOON)
