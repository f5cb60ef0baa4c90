"""
Recorded values as they are kept: JSON without secrets, cut to size, and what may be told of it
to those who may not see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue

from runnables.codec import tolerant
from runnables.conf import conf
from traces.models import SHOWN_CHARACTERS, Payloads
from traces.rules import Rules

# Where the text of a payload is looked for, for its preview.
_TELLING = ("content", "text", "question", "input", "output", "answer", "query", "topic", "kwargs")
_SHOWN_KEYS = 12


class Kept(NamedTuple):
    """
    JSON of a payload as far as it is kept, its whole size in bytes, and its shape.
    """

    json: str
    size: int
    shape: str


NOTHING = Kept("", 0, "")


def kept(value: Any, rules: Rules) -> Kept:
    if value is None:
        return NOTHING
    data = tolerant.dumps(value)
    if rules.payloads == Payloads.SHAPE:
        return Kept("", len(data), shape(value, rules))
    if rules.redactor:
        data = rules.redactor.json(data)
    size, most = len(data), conf.trace_bytes
    # Cut in the middle of a character, the rest of it goes.
    text = data.decode() if size <= most else data[:most].decode(errors="ignore")
    return Kept(text, size, shape(value, rules))


def text(value: str, rules: Rules) -> str:
    """
    An error's text as it is kept; PostgreSQL takes no NUL.
    """
    if rules.payloads == Payloads.SHAPE:
        return ""
    if rules.redactor:
        value = rules.redactor.text(value)
    return value.replace("\0", "")


def plain(value: Any, rules: Rules) -> str:
    """
    Tags, metadata or config as JSON: small, and redacted unless all is kept.
    """
    data = tolerant.dumps(value)
    return (rules.redactor.json(data) if rules.redactor else data).decode()


def shape(value: Any, rules: Rules) -> str:
    """
    `question: text, 24 characters; k: number`
    """
    if not isinstance(value, Mapping):
        return _kind(value)
    names = [str(name)[:40] for name in list(value)[:_SHOWN_KEYS]]
    told = "; ".join(
        f"{name}: {_kind(value[key])}" for name, key in zip(names, value, strict=False)
    )
    if len(value) > _SHOWN_KEYS:
        told += f"; {len(value) - _SHOWN_KEYS} more"
    return (rules.redactor.text(told) if rules.redactor else told)[:SHOWN_CHARACTERS]


def preview(json: str) -> str:
    """
    The first characters of a payload, of its text if it has one.
    """
    if json[:1] not in ('"', "{", "["):
        return json  # nothing, a number or a word
    try:
        value = orjson.loads(json)
    except orjson.JSONDecodeError:  # it was cut
        return json[:SHOWN_CHARACTERS]
    return _telling(value, json)[:SHOWN_CHARACTERS].replace("\0", "")


_SIMPLE = {bool: "boolean", int: "number", float: "number", type(None): "null"}


def _telling(value: Any, json: str, depth: int = 0) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and depth < 3:
        return _telling(value[-1], json, depth + 1)
    if isinstance(value, dict) and depth < 3:
        if len(value) == 1:
            return _telling(next(iter(value.values())), json, depth + 1)
        for name in ("messages", *_TELLING):
            if value.get(name):
                return _telling(value[name], json, depth + 1)
    return json


def _kind(value: Any) -> str:
    simple = _SIMPLE.get(type(value))
    if simple:
        return simple
    match value:
        case str():
            return f"text, {len(value)} characters"
        case BaseMessage():
            return f"{value.type} message, {len(str(value.content))} characters"
        case PromptValue():
            return "prompt"
        case list() | tuple():
            return f"list of {len(value)}"
        case dict():
            return f"object with {len(value)} keys"
        case _:
            return type(value).__name__
