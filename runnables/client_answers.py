"""
Answers of a server, taken apart: whole ones, batches and streams.

LangServe's have less in them than ours: no `errors`, no run id in the headers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from langchain_core.runnables.utils import AddableDict

from runnables.client_decoding import decode, parse
from runnables.client_errors import bad_reply, parse_run_id, told_error
from runnables.client_sse import EventParser

logger = logging.getLogger("runnables.client")


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What `invoke` or `batch` brought. `events` are callback events, not yet checked.
    """

    output: Any
    events: Any
    run_ids: tuple[UUID, ...]


def read_answer(response: httpx.Response) -> Answer:
    """
    The answer to `invoke`; raises RemoteError where it is not one.
    """
    content = _content(response)
    run_id = parse_run_id(response.headers.get("x-run-id")) or parse_run_id(
        _metadata(content).get("run_id")
    )
    return Answer(
        decode(content["output"]), content.get("callback_events"), (run_id,) if run_id else ()
    )


def read_batch(response: httpx.Response, size: int) -> Answer:
    """
    The answer to `batch`: `output` is a list with RemoteErrors where runs have failed,
    `events` a list with one entry for each run.
    """
    content = _content(response)
    outputs = content["output"]
    if not isinstance(outputs, list) or len(outputs) != size:
        raise bad_reply(response, f"Expected a list of {size} outputs.")
    errors = _list_of_size(content.get("errors"), size)
    found = [
        decode(output) if error is None else told_error(error, response)
        for output, error in zip(outputs, errors, strict=True)
    ]
    run_ids = _metadata(content).get("run_ids")
    known = map(parse_run_id, run_ids if isinstance(run_ids, list) else [])
    return Answer(
        found,
        _list_of_size(content.get("callback_events"), size),
        tuple(run_id for run_id in known if run_id),
    )


class StreamReader:
    """
    The values in the body of a stream, read piece by piece; `ended` once it is whole.
    `note` is told the id of the run as soon as it is known.
    """

    def __init__(self, response: httpx.Response, note: Callable[[UUID], None]) -> None:
        self.response = response
        self.ended = False
        self._parser = EventParser()
        self._note = note
        self._note_run(response.headers.get("x-run-id"))

    def values(self, piece: bytes) -> Iterator[Any]:
        """
        What this piece of the body completes; raises RemoteError at an `error` event.
        """
        for event in self._parser.feed(piece):
            if event.name == "data":
                yield decode(self._json(event.data))
            elif event.name == "error":
                raise told_error(self._told(event.data), self.response)
            elif event.name == "end":
                self.ended = True
                return
            elif event.name == "metadata":
                told = self._told(event.data)
                self._note_run(told.get("run_id") if isinstance(told, dict) else None)
            else:
                logger.debug("an event that this client does not know: %s", event.name)

    def _note_run(self, text: Any) -> None:
        if run_id := parse_run_id(text):
            self._note(run_id)

    def _json(self, data: str) -> Any:
        try:
            return parse(data)
        except ValueError:
            raise bad_reply(self.response, "An event's data is not JSON.") from None

    def _told(self, data: str) -> Any:
        try:
            return parse(data)
        except ValueError:
            return data


def read_schema(response: httpx.Response) -> dict[str, Any]:
    """
    The answer to a request for a JSON schema: plain, whatever `type` it speaks of.
    """
    try:
        schema = parse(response.content)
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        raise bad_reply(response, "The answer is not a JSON schema.")
    return schema


def as_chunk(value: Any) -> Any:
    """
    A dict as one that can be added to the next.
    """
    return AddableDict(value) if isinstance(value, dict) else value


def patch_ops(value: Any) -> list[dict[str, Any]]:
    ops = value.get("ops") if isinstance(value, dict) else None
    if not isinstance(ops, list) or not all(isinstance(op, dict) and "path" in op for op in ops):
        raise ValueError("The server's log is not made of JSON patches.")
    return ops


def final_output(ops: list[dict[str, Any]], before: Any) -> Any:
    found = [op.get("value") for op in ops if op["path"] == "/final_output"]
    return found[-1] if found else before


def event_data(event: Any) -> dict[str, Any]:
    data = event.get("data") if isinstance(event, dict) else None
    return data if isinstance(data, dict) else {}


def _content(response: httpx.Response) -> dict[str, Any]:
    try:
        content = parse(response.content)
    except ValueError:
        raise bad_reply(response, "The answer is not JSON.") from None
    if not isinstance(content, dict) or "output" not in content:
        raise bad_reply(response, "The answer has no `output`.")
    return content


def _metadata(content: dict[str, Any]) -> dict[str, Any]:
    metadata = content.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _list_of_size(value: Any, size: int) -> list[Any]:
    return value if isinstance(value, list) and len(value) == size else [None] * size
