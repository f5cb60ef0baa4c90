"""
Server-Sent Events, read from bytes as they come.

Lines end in CRLF, LF or CR and nothing else: JSON may hold U+2028 and its kind, which
`str.splitlines` would cut it at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    name: str
    data: str


class EventParser:
    """
    Feed it the body piece by piece, cut anywhere; each piece yields the events it ends.

    Unlike a browser it also yields an event without data: so ends a LangServe stream.
    """

    def __init__(self) -> None:
        self._unfinished: list[bytes] = []
        self._after_cr = False
        self._at_start = True
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        if not piece:
            return
        if self._after_cr and piece.startswith(b"\n"):
            # The second half of a CRLF; its first half has ended the line already.
            self._after_cr = False
            piece = piece[1:]
        if not piece:
            return
        self._after_cr = piece.endswith(b"\r")
        *lines, unfinished = _LINE_END.split(piece)
        if lines:
            lines[0] = b"".join([*self._unfinished, lines[0]])
            self._unfinished.clear()
        self._unfinished.append(unfinished)
        for line in lines:
            if event := self._read(line):
                yield event

    def _read(self, line: bytes) -> ServerSentEvent | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value
        elif field == b"data":
            self._data.append(value)
        # `id`, `retry`, comments and what nobody knows mean nothing to us.
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        if not self._name and not self._data:
            return None
        name = self._name.decode(errors="replace") or "message"
        event = ServerSentEvent(name, b"\n".join(self._data).decode(errors="replace"))
        self._name = b""
        self._data.clear()
        return event
