"""
Inputs and outputs as a reviewer reads them: chat messages one below the other, a text as it
is, other JSON indented.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

MOST_CHARACTERS = 64 * 1024
ROLES = {
    "human": gettext_lazy("Human"),
    "ai": gettext_lazy("Assistant"),
    "AIMessageChunk": gettext_lazy("Assistant"),
    "system": gettext_lazy("System"),
    "tool": gettext_lazy("Tool"),
    "function": gettext_lazy("Function"),
    "developer": gettext_lazy("Developer"),
    "chat": gettext_lazy("Message"),
}


@dataclass(frozen=True, slots=True)
class Message:
    """
    One of a chat. `calls` are those of tools, as text.
    """

    kind: str
    role: str
    text: str
    calls: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shown:
    """
    `messages` where there are any, else `text`; `is_code` for JSON, `is_cut` for a beginning.
    """

    text: str = ""
    messages: list[Message] = field(default_factory=list)
    is_code: bool = False
    is_cut: bool = False

    def __bool__(self) -> bool:
        return bool(self.text or self.messages)


def shown(text: str, size: int = 0, most: int = MOST_CHARACTERS) -> Shown:
    """
    JSON as it was kept, `size` bytes before it was cut.
    """
    is_cut = size > len(text.encode()) or len(text) > most
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:  # only its beginning was kept
        return Shown(text[:most], is_code=True, is_cut=is_cut)
    if messages := list(_messages(value)):
        return Shown(messages=[_cut(message, most) for message in messages], is_cut=is_cut)
    plain = plain_text(value)
    if plain is not None:
        return Shown(plain[:most], is_cut=is_cut)
    return Shown(
        json.dumps(value, indent=2, ensure_ascii=False)[:most], is_code=True, is_cut=is_cut
    )


def plain_text(value: Any) -> str | None:
    """
    The text that a value is, or that its only member is; None for other values.
    """
    if isinstance(value, Mapping) and len(value) == 1:
        value = next(iter(value.values()))
    return value if isinstance(value, str) else None


def answer_text(value: Any) -> str | None:
    """
    The text of what a run said, if it is one: that of a message, too.
    """
    if _is_message(value):
        return _content(value["content"])
    return plain_text(value)


def _messages(value: Any) -> Iterator[Message]:
    if _is_message(value):
        yield _message(value)
        return
    if isinstance(value, Mapping):
        listed = [one for one in value.values() if _is_chat(one)]
        # Only where the rest of it is not hidden by that.
        value = listed[0] if len(listed) == len(value) == 1 else None
    if _is_chat(value):
        for one in value:
            yield _message(one)


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: Any) -> bool:
    if isinstance(value, Mapping):
        return value.get("type") in ROLES and isinstance(value.get("content"), str | list)
    # ["human", "hello"], as callers may write it.
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(one, str) for one in value)
        and value[0] in ROLES
    )


def _message(value: Any) -> Message:
    if isinstance(value, list):
        value = {"type": value[0], "content": value[1]}
    kind = "ai" if value["type"] == "AIMessageChunk" else value["type"]
    name = value.get("name")
    role = f"{ROLES[kind]} · {name}" if isinstance(name, str) and name else str(ROLES[kind])
    calls = value.get("tool_calls")
    return Message(
        kind,
        role,
        _content(value["content"]),
        [_call(one) for one in calls if isinstance(one, Mapping)]
        if isinstance(calls, list)
        else [],
    )


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_part(part) for part in content)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, Mapping) else None
    return f"[{kind}]" if isinstance(kind, str) else json.dumps(part, ensure_ascii=False)


def _call(call: Mapping[str, Any]) -> str:
    arguments = json.dumps(call.get("args", {}), ensure_ascii=False)
    return _("calls %(name)s %(arguments)s") % {
        "name": call.get("name", "?"),
        "arguments": arguments,
    }


def _cut(message: Message, most: int) -> Message:
    return Message(message.kind, message.role, message.text[:most], message.calls)
