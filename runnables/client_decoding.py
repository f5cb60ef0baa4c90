"""
JSON -> LangChain objects anywhere in an answer, and the caller's objects -> JSON.

A table says which class a `type` tag means. Nothing in an answer is looked up, imported
or constructed beyond it: LangChain's own constructor notation stays plain data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
from langchain_core.agents import AgentAction, AgentActionMessageLog, AgentFinish
from langchain_core.documents import Document
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, LLMResult
from langchain_core.prompt_values import ChatPromptValueConcrete, StringPromptValue
from pydantic import BaseModel

from runnables.codec import MAX_DEPTH, MESSAGES, Encoder, NotSerializable, decode_message

# `generic` is how LangChain.js sends a ChatMessage; no server does.
_BY_TAG: dict[str, Callable[[dict[str, Any]], Any]] = {
    tag: decode_message for tag in MESSAGES if tag != "generic"
}
_MODELS: tuple[type[BaseModel], ...] = (
    Document,
    StringPromptValue,
    ChatPromptValueConcrete,
    AgentAction,
    AgentActionMessageLog,
    AgentFinish,
    Generation,
    ChatGeneration,
    ChatGenerationChunk,
    LLMResult,
)
_BY_TAG |= {model.__name__: model.model_validate for model in _MODELS}


def decode(value: Any, depth: int = 0) -> Any:
    """
    The value with every tagged object in it turned into its class, from the leaves up.

    What does not validate stays a dict; so does what is nested deeper than anything a
    runnable puts out. Never raises.
    """
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, list):
        return [decode(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {key: decode(item, depth + 1) for key, item in value.items()}
    tag = fields.get("type")
    make = _BY_TAG.get(tag) if isinstance(tag, str) else None
    if make is None:
        return fields
    try:
        return make(fields)
    except Exception:  # noqa: BLE001 - validators of langchain-core raise what they like
        return fields


def parse(text: str | bytes) -> Any:
    """
    Plain values from JSON, integers of any size as they are. Raises ValueError.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


class InputEncoder(Encoder):
    """
    The caller's input as JSON bytes; raises `NotSerializable`.

    Without what the server's encoder adds for LangServe's client: input stays as it is.
    """

    def dumps(self, value: Any) -> bytes:
        try:
            return orjson.dumps(value, default=self._simpler)
        except TypeError as error:
            if isinstance(error.__cause__, NotSerializable):
                raise error.__cause__ from None
            return json.dumps(self.plain(value)).encode()
