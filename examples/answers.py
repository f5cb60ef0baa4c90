"""
A finished answer, and how a model hands it over: as it is, or in chunks.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage, ToolCall
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk

from examples.words import tokens


@dataclass(frozen=True)
class Answer:
    """
    A whole answer, before it is cut into chunks or put into one message.
    """

    words: Sequence[str]
    tool_calls: Sequence[ToolCall]
    usage: UsageMetadata
    metadata: dict[str, Any]


def offered(tools: Sequence[dict[str, Any]], tool_choice: str | None) -> frozenset[str]:
    names = frozenset(tool["function"]["name"] for tool in tools if "function" in tool)
    if tool_choice == "none":
        return frozenset()
    return names & {tool_choice} if tool_choice in names else names


def cut_at(text: str, stop: Sequence[str]) -> str:
    places = [text.find(word) for word in stop if word]
    return text[: min((place for place in places if place >= 0), default=len(text))]


def usage(
    messages: Sequence[BaseMessage], words: Sequence[str], calls: Sequence[ToolCall]
) -> UsageMetadata:
    read = sum(len(tokens(str(message.text))) for message in messages)
    written = len(words) + sum(len(tokens(json.dumps(call["args"]))) + 1 for call in calls)
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)


def chunks_of(answer: Answer) -> Iterator[AIMessageChunk]:
    for word in answer.words:
        yield AIMessageChunk(content=word)
    for index, call in enumerate(answer.tool_calls):
        yield from tool_chunks(call, index)
    yield AIMessageChunk(
        content="",
        usage_metadata=answer.usage,
        response_metadata=answer.metadata,
        chunk_position="last",
    )


def tool_chunks(call: ToolCall, index: int) -> Iterator[AIMessageChunk]:
    """
    A tool call as providers stream it: first the name and the id, then the arguments piece by piece.
    """
    pieces = [tool_call_chunk(name=call["name"], args="", id=call["id"], index=index)]
    pieces += [tool_call_chunk(args=part, index=index) for part in tokens(json.dumps(call["args"]))]
    for piece in pieces:
        yield AIMessageChunk(content="", tool_call_chunks=[piece])
