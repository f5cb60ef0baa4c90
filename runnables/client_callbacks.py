"""
What happened inside a run on the server, told to the caller's own handlers.

The events come after the fact, as a flat list. Each start becomes a run below the local
one, so tracers see one tree; the server's run ids are replaced by new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
)
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from pydantic import ValidationError

from runnables.client_decoding import decode

# Kind of event -> the key of what it is about.
STARTS = {
    "on_chain_start": "inputs",
    "on_chat_model_start": "messages",
    "on_llm_start": "prompts",
    "on_tool_start": "input_str",
    "on_retriever_start": "query",
}
ENDS = {
    "on_chain_end": "outputs",
    "on_llm_end": "response",
    "on_tool_end": "output",
    "on_retriever_end": "documents",
}
ANYTHING = frozenset({"on_chain_start", "on_chain_end"})


def replay(run: CallbackManagerForChainRun, events: Any) -> None:
    """
    Tell the handlers of this run; what cannot be read is left out.
    """
    told = _Replay(run)
    for event, subject in told.readable(events):
        told.remember(event, told.tell(event, subject))


async def areplay(run: AsyncCallbackManagerForChainRun, events: Any) -> None:
    told = _Replay(run)
    for event, subject in told.readable(events):
        told.remember(event, await told.tell(event, subject))


class _Replay:
    """
    `tell` returns what the run manager's method returns: with an asynchronous manager,
    something to await.
    """

    def __init__(self, run: Any) -> None:
        self._root = run
        self._runs: dict[str, Any] = {}

    def readable(self, events: Any) -> Iterator[tuple[dict[str, Any], Any]]:
        """
        Each event that a handler can understand, with what it is about.
        """
        if not self._root.inheritable_handlers or not isinstance(events, list):
            return
        for event in events:
            if not isinstance(event, dict) or not isinstance(event.get("run_id"), str):
                continue
            kind = str(event.get("type"))
            if kind in STARTS or (kind in ENDS and hasattr(self._runs.get(event["run_id"]), kind)):
                subject = _subject(kind, event)
                if subject is not None or kind in ANYTHING:
                    yield event, subject

    def tell(self, event: dict[str, Any], subject: Any) -> Any:
        kind = event["type"]
        if kind in ENDS:
            return getattr(self._runs.pop(event["run_id"]), kind)(subject)
        parent = self._runs.get(str(event.get("parent_run_id")), self._root)
        # A model's run has no children.
        manager = (parent if hasattr(parent, "get_child") else self._root).get_child()
        manager.add_tags(_list_of(str, event.get("tags")) or [], inherit=False)
        manager.add_metadata(_object(event.get("metadata")), inherit=False)
        name = _object(event.get("kwargs")).get("name")
        named = {"name": name} if isinstance(name, str) else {}
        return getattr(manager, kind)(_object(event.get("serialized")), subject, **named)

    def remember(self, event: dict[str, Any], outcome: Any) -> None:
        if event["type"] in STARTS:
            # Models have a run for each prompt; a recorded start has one prompt.
            self._runs[event["run_id"]] = outcome[0] if isinstance(outcome, list) else outcome


def _subject(kind: str, event: dict[str, Any]) -> Any:
    """
    What the event is about as the handlers expect it, or None if it is something else.
    """
    value = decode(event.get(STARTS.get(kind) or ENDS[kind]))
    match kind:
        case "on_chat_model_start":
            first = value[0] if isinstance(value, list) and value else None
            return [first] if _list_of(BaseMessage, first) else None
        case "on_llm_start":
            return _list_of(str, value[:1]) or None if isinstance(value, list) else None
        case "on_llm_end":
            return _llm_result(value)
        case "on_retriever_end":
            return _list_of(Document, value)
        case "on_tool_start" | "on_retriever_start" | "on_tool_end":
            return value if isinstance(value, str) else None
    return value


def _llm_result(value: Any) -> LLMResult | None:
    if not isinstance(value, dict):
        return value if isinstance(value, LLMResult) else None
    try:
        return LLMResult.model_validate(value)
    except ValidationError:
        return None


def _list_of(kind: type, value: Any) -> Any:
    """
    The value if it is a list of these, else None.
    """
    fits = isinstance(value, list) and all(isinstance(item, kind) for item in value)
    return value if fits else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
