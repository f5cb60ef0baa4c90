from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnables.client_sse import EventParser, ServerSentEvent
from tests.live import ROOT

TOKENS = [
    b"event: data",
    b"event:error",
    b"event",
    b"data: ",
    b"data:",
    b"{}",
    b": ping",
    b"id: 7",
    b"retry: 1",
    b"nonsense",
    b" ",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\xef\xbb\xbf",
    "\u2028".encode(),
    "\u0085".encode(),
    "🦜".encode(),
    b"\xff",
]
bodies = st.lists(st.sampled_from(TOKENS)).map(b"".join)


def parsed(*pieces: bytes) -> list[ServerSentEvent]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


def reference(body: bytes) -> list[ServerSentEvent]:
    """
    The same, of a whole body: slow and plain.
    """
    found, fields = [], []
    for line in re.sub(rb"\r\n?", b"\n", body.removeprefix(b"\xef\xbb\xbf")).split(b"\n")[:-1]:
        if line:
            name, _, value = line.partition(b":")
            fields.append((name, value[1:] if value[:1] == b" " else value))
            continue
        names = [value for name, value in fields if name == b"event"]
        data = [value for name, value in fields if name == b"data"]
        if data or (names and names[-1]):
            found.append(
                ServerSentEvent(
                    (names[-1].decode(errors="replace") if names else "") or "message",
                    b"\n".join(data).decode(errors="replace"),
                )
            )
        fields = []
    return found


@given(bodies, st.lists(st.integers(min_value=0)))
def test_wherever_a_body_is_cut_its_events_are_the_same(body: bytes, places: list[int]) -> None:
    assert parsed(*cut(body, places)) == reference(body)


@given(bodies)
def test_byte_by_byte_is_the_same(body: bytes) -> None:
    assert parsed(*(bytes([byte]) for byte in body)) == reference(body)


@pytest.mark.parametrize("line_end", ["\r\n", "\n", "\r"])
def test_every_line_end_is_one(line_end: str) -> None:
    body = line_end.join(["event: data", "data: 1", "", ": ping", "", "event: end", "", ""])

    assert parsed(body.encode()) == [("data", "1"), ("end", "")]


def test_an_event_comes_before_the_second_half_of_its_last_line_end() -> None:
    assert parsed(b"data: 1\r\n\r") == [("message", "1")]


def test_data_of_several_lines_is_joined() -> None:
    assert parsed(b"data: [1,\ndata: 2]\n\n") == [("message", "[1,\n2]")]


def test_line_separators_of_unicode_do_not_end_a_line() -> None:
    data = '"a\u2028b\u2029c\u0085d\x0be\x0cf"'

    assert parsed(f"event: data\r\ndata: {data}\r\n\r\n".encode()) == [("data", data)]


def test_an_event_that_is_cut_off_does_not_count() -> None:
    assert parsed(b"data: 1\n\nevent: end\n") == [("message", "1")]


@pytest.mark.parametrize("path", sorted((ROOT / "tests/golden").glob("stream_*.txt")))
def test_what_our_server_sends_is_understood(path: object) -> None:
    body = (ROOT / "tests/golden" / str(path)).read_bytes()

    names = [event.name for event in parsed(body)]
    assert names[-1] in ("end", "error")
    assert set(names) <= {"metadata", "data", "error", "end"}
