"""
LangChain objects <-> JSON; the only such place.

Outwards: what `Encoder.dumps` makes is what LangServe's clients read. Its fast path is
one orjson pass; only when orjson gives up is the object walked in Python.

Inwards: plain JSON becomes a message, document or prompt value only where the schema
asks for one (`runnables.schemas` calls the `decode_*` functions). A table says which
class a `type` tag means: nothing in the data is ever looked up, imported or unpickled.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import orjson
from langchain_core.agents import AgentAction, AgentFinish
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
    convert_to_messages,
)
from langchain_core.outputs import Generation, LLMResult
from langchain_core.prompt_values import (
    ChatPromptValue,
    ChatPromptValueConcrete,
    PromptValue,
    StringPromptValue,
)
from langchain_core.runnables import Runnable
from langchain_core.tracers.log_stream import RunLogPatch
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

Encode = Callable[[Any], Any]

MESSAGES: dict[str, type[BaseMessage]] = {
    "ai": AIMessage,
    "human": HumanMessage,
    "system": SystemMessage,
    "chat": ChatMessage,
    "generic": ChatMessage,  # LangChain.js calls a ChatMessage so
    "function": FunctionMessage,
    "tool": ToolMessage,
    "remove": RemoveMessage,
    "AIMessageChunk": AIMessageChunk,
    "HumanMessageChunk": HumanMessageChunk,
    "SystemMessageChunk": SystemMessageChunk,
    "ChatMessageChunk": ChatMessageChunk,
    "FunctionMessageChunk": FunctionMessageChunk,
    "ToolMessageChunk": ToolMessageChunk,
}

# Fields of these go over the wire as they are; a nested subclass keeps its own fields,
# which `model_dump()` would cut down to those of the declared class.
WELL_KNOWN = (
    BaseMessage,
    Document,
    Generation,
    LLMResult,
    AgentAction,
    AgentFinish,
    StringPromptValue,
)

MAX_DEPTH = 200
_TOOL = b'"type":"tool"'


class NotSerializable(TypeError):
    """
    No encoder knows this object; `kind` is its class as `module.Name`.
    """

    def __init__(self, value: object) -> None:
        self.kind = f"{type(value).__module__}.{type(value).__qualname__}"
        super().__init__(f"{self.kind} cannot be sent as JSON")


class Encoder:
    """
    Python objects to JSON bytes.

    `encoders` maps own types to functions that return something simpler. A tolerant
    encoder (events, logs) puts a placeholder where a strict one (outputs) raises
    `NotSerializable`.
    """

    def __init__(
        self, encoders: Mapping[type, Encode] | None = None, *, tolerant: bool = False
    ) -> None:
        self._own = dict(encoders or {})
        self._tolerant = tolerant
        self._by_type: dict[type, Encode] = {}

    def dumps(self, value: Any) -> bytes:
        try:
            data = orjson.dumps(value, default=self._simpler)
        except TypeError as error:
            cause = error.__cause__
            if isinstance(cause, NotSerializable) and not self._tolerant:
                raise cause from None
            # Keys that are no strings, integers over 64 bits, lone surrogates, very deep or
            # cyclic objects: all that orjson refuses. Rare, so it may be slow.
            data = _json(self.plain(value))
        if _TOOL in data:
            return _json(_with_tool_call_ids(json.loads(data)))
        return data

    def plain(self, value: Any, depth: int = 0) -> Any:
        """
        The same as dicts, lists, strings, numbers, booleans and None.
        """
        if value is None or isinstance(value, bool | int):
            return value if not isinstance(value, int) or isinstance(value, bool) else int(value)
        if isinstance(value, str):
            return str(value).encode("utf-8", "replace").decode()
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if depth > MAX_DEPTH:
            return self._refuse(value)
        if isinstance(value, Mapping):
            return {self._key(key): self.plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(item, depth + 1) for item in value]
        try:  # what orjson does by itself: dataclasses, enums, dates, UUIDs
            return orjson.loads(orjson.dumps(value))
        except TypeError:
            return self.plain(self._simpler(value), depth + 1)

    def _key(self, key: Any) -> str:
        simple = self.plain(key)
        return simple if isinstance(simple, str) else json.dumps(simple)

    def _simpler(self, value: Any) -> Any:
        kind = type(value)
        encode = self._by_type.get(kind)
        if encode is None:
            encode = self._by_type[kind] = self._encode_for(value)
        return encode(value)

    def _encode_for(self, value: Any) -> Encode:
        for kind in type(value).__mro__:
            if kind in self._own:
                return self._own[kind]
        return _standard_encode(value) or self._refuse

    def _refuse(self, value: Any) -> Any:
        error = NotSerializable(value)
        if not self._tolerant:
            raise error
        return {"type": "not_serializable", "class": error.kind}


def _json(plain: Any) -> bytes:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


def _with_tool_call_ids(plain: Any) -> Any:
    """
    LangServe's Python client takes any `{"type": "tool"}` for a message and dies of a
    KeyError where `tool_call_id` is missing, as in every log entry of a tool.
    """
    if isinstance(plain, list):
        return [_with_tool_call_ids(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    fixed = {key: _with_tool_call_ids(item) for key, item in plain.items()}
    if fixed.get("type") == "tool":
        fixed.setdefault("tool_call_id", None)
    return fixed


def _standard_encode(value: Any) -> Encode | None:
    if isinstance(value, WELL_KNOWN):
        return _fields
    if isinstance(value, ChatPromptValue):
        return lambda prompt: {"messages": list(prompt.messages), "type": "ChatPromptValueConcrete"}
    if isinstance(value, RunLogPatch):
        return lambda patch: {"ops": patch.ops}
    if isinstance(value, Runnable | SecretStr | SecretBytes | type):
        return None
    if isinstance(value, BaseModel):
        return lambda model: model.model_dump(serialize_as_any=True, warnings=False)
    if isinstance(value, set | frozenset | tuple):
        return list
    if isinstance(value, Decimal):
        return str
    if isinstance(value, bytes | bytearray | memoryview):
        return lambda data: base64.b64encode(data).decode()
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return lambda array: array.tolist()
    return None


def _fields(model: BaseModel) -> dict[str, Any]:
    own = model.__dict__
    names = type(model).model_fields
    # A cached property would be in `__dict__` too.
    fields = own if len(own) == len(names) else {name: getattr(model, name) for name in names}
    return {**fields, **model.__pydantic_extra__} if model.__pydantic_extra__ else fields


strict = Encoder()
tolerant = Encoder(tolerant=True)


def decode_message(value: Any) -> BaseMessage:
    """
    A message from any spelling that clients use: a tagged dict, `{"role", "content"}`,
    or a `[role, text]` pair. Raises ValueError for everything else.
    """
    if isinstance(value, BaseMessage):
        return value
    if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str):
        return _convert((value[0], value[1]))
    if not isinstance(value, Mapping):
        raise ValueError("a message is an object with `type` and `content`")
    tag = value.get("type")
    if isinstance(tag, str) and tag in MESSAGES:
        return _message(MESSAGES[tag], value)
    if "role" in value:
        return _convert(dict(value))
    raise ValueError(f"unknown message type {tag!r}; known are {', '.join(sorted(MESSAGES))}")


def _message(cls: type[BaseMessage], value: Mapping[str, Any]) -> BaseMessage:
    fields = dict(value)
    if "type" in cls.model_fields:
        fields["type"] = cls.model_fields["type"].default
    if fields.get("example") is False:
        del fields["example"]  # LangChain.js sends it with every message
    try:
        return cls.model_validate(fields)
    except ValidationError as error:
        # Its own text would echo what was sent.
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"not a valid {cls.__name__}: {wrong}") from None
    except (KeyError, TypeError, AttributeError) as error:
        # Some validators of langchain-core raise these on missing or odd fields.
        raise ValueError(f"not a valid {cls.__name__}: {error}") from error


def _convert(value: Any) -> BaseMessage:
    try:
        return convert_to_messages([value])[0]
    except (KeyError, TypeError, AttributeError, NotImplementedError, ValueError):
        raise ValueError("not a valid message: unknown role, or content of a wrong kind") from None


def decode_document(value: Any) -> Any:
    """
    LangChain.js spells `page_content` as `pageContent`; anything else is left to pydantic.
    """
    if isinstance(value, Mapping) and "pageContent" in value and "page_content" not in value:
        fields = dict(value)
        return {"page_content": fields.pop("pageContent"), **fields}
    return value


def decode_prompt_value(value: Any) -> PromptValue:
    """
    A prompt value, tagged or not: `{"messages": […]}` or `{"text": …}`.
    """
    if isinstance(value, PromptValue):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("messages"), list):
        messages: Any = [decode_message(message) for message in value["messages"]]
        return ChatPromptValueConcrete(messages=messages)
    # LangChain.js keeps the text of a StringPromptValue under `value`.
    if (
        isinstance(value, Mapping)
        and "lc_namespace" in value
        and isinstance(value.get("value"), str)
    ):
        return StringPromptValue(text=value["value"])
    if (
        isinstance(value, Mapping)
        and value.get("type", "StringPromptValue") == "StringPromptValue"
        and isinstance(value.get("text"), str)
    ):
        return StringPromptValue(text=value["text"])
    raise ValueError("a prompt value is an object with `messages` or `text`")
