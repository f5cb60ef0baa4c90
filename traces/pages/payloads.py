"""
Inputs and outputs as people read them: messages as a conversation, other JSON indented, and of
what is long the first part with a link to all of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from runnables.pages import secret_page
from traces.models import Step, Trace
from traces.viewers import Viewer

SHOWN_BYTES = 64 * 1024
PARTS = ("input", "output", "error")
_ROLES = frozenset(
    ("human", "ai", "system", "tool", "function", "chat", "generic", "remove", "developer")
)
_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Message:
    """
    One of a chat. `calls` are those of tools: name and arguments.
    """

    role: str
    text: str
    name: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Payload:
    """
    What a page shows of one. `size` is what it had when it was kept, in bytes; `kept` what is
    stored; `is_begun` where the text is only its first part.
    """

    text: str = ""
    messages: list[Message] = field(default_factory=list)
    size: int = 0
    kept: int = 0
    is_begun: bool = False

    @property
    def was_cut(self) -> bool:
        return self.size > self.kept > 0


NOTHING = Payload()


def shown(text: str, size: int) -> Payload:
    if not text:
        return NOTHING
    kept = len(text.encode())
    if kept > SHOWN_BYTES:
        return Payload(text[:SHOWN_BYTES], size=size, kept=kept, is_begun=True)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:  # it was cut
        return Payload(text, size=size, kept=kept)
    return Payload(pretty(value), messages_of(value) or [], size=size, kept=kept)


def pretty(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False)


def messages_of(value: Any, depth: int = 0) -> list[Message] | None:
    """
    The chat messages that a value consists of, however it holds them; None for other values.
    """
    if depth > _DEPTH:
        return None
    if isinstance(value, list) and value:
        found = [messages_of(one, depth + 1) for one in value]
        return [one for some in found if some for one in some] if all(found) else None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("kwargs"), dict) and value.get("type") == "constructor":
        value = value["kwargs"]  # as LangChain serializes objects
    role = str(value.get("type") or value.get("role") or "")
    plain = role.removesuffix("MessageChunk").lower()
    if "content" in value and plain in _ROLES:
        return [_message(plain, value)]
    for name in ("messages", "generations", "message"):
        if len(value) <= 3 and name in value:
            return messages_of(value[name], depth + 1)
    return None


def _message(role: str, value: dict[str, Any]) -> Message:
    calls = value.get("tool_calls")
    return Message(
        role=role,
        text=_content(value["content"]),
        name=str(value.get("name") or ""),
        calls=[
            (str(call.get("name", "")), pretty(call.get("args", {})))
            for call in (calls if isinstance(calls, list) else ())
            if isinstance(call, dict)
        ],
    )


def _content(content: Any) -> str:
    if not isinstance(content, list):
        return pretty(content)
    return "\n".join(_block(block) for block in content)


def _block(block: Any) -> str:
    if isinstance(block, dict) and isinstance(block.get("text"), str):
        return str(block["text"])
    return pretty(block)


@secret_page
@login_required
@require_safe
def payload(request: HttpRequest, run_id: UUID, node: UUID, part: str) -> HttpResponse:
    """
    All that is kept of an input, output or error: text, which no browser takes for a page.
    """
    viewer = Viewer(request.user)
    trace = viewer.traces().filter(pk=run_id).only(*_ASKED).first()
    if part not in PARTS or trace is None or not viewer.may_see_payloads(trace):
        raise Http404
    rows: Any = Trace.objects if node == run_id else Step.objects.filter(trace=run_id)
    text = rows.filter(pk=node).values_list(part, flat=True).first()
    if not text:
        raise Http404
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    kind = "attachment" if "download" in request.GET else "inline"
    suffix = "txt" if part == "error" else "json"
    response["Content-Disposition"] = f'{kind}; filename="{node}-{part}.{suffix}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


_ASKED = ("deployment", "principal")
