"""
What a stream is made of, and its spelling as Server-Sent Events.

LangServe's clients need exactly this: CRLF, `event:` before `data:`, no `id:` and no
`retry:` lines, and an `end` without data (LangChain.js takes any other event that has
data for a chunk).
"""

from __future__ import annotations

import json
from typing import Any

PING = b": ping\r\n\r\n"
END = b"event: end\r\n\r\n"
_DATA = b"event: data\r\ndata: "
_STOP = b"\r\n\r\n"

# Python's httpx splits lines at these too, and cuts the JSON in two.
_LINE_BREAKS = (
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
    ("\x85".encode(), b"\\u0085"),
)


def queued(ahead: int) -> bytes:
    """
    A comment that says how many runs are ahead of this one; clients may ignore it.
    """
    return f": queued, {ahead} ahead\r\n\r\n".encode()


def sse(data: bytes) -> bytes:
    """
    One `data` event.
    """
    return _DATA + escape_line_breaks(data) + _STOP


def sse_named(name: str, data: Any) -> bytes:
    """
    Any other event; written with json's own spacing, which LangServe's tests compare.
    """
    text = json.dumps(data, ensure_ascii=True)
    return f"event: {name}\r\ndata: {text}\r\n\r\n".encode()


def escape_line_breaks(data: bytes) -> bytes:
    if data.isascii():
        return data
    for raw, escaped in _LINE_BREAKS:
        if raw in data:
            data = data.replace(raw, escaped)
    return data
