from __future__ import annotations

import os
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.agents import AgentAction, AgentActionMessageLog, AgentFinish
from langchain_core.documents import Document
from langchain_core.load import dumpd
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
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
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    LLMResult,
    RunInfo,
)
from langchain_core.prompt_values import ChatPromptValueConcrete, StringPromptValue
from langchain_core.prompts import PromptTemplate
from pydantic import BaseModel

from runnables.client_config import sendable
from runnables.client_decoding import InputEncoder, decode, parse
from runnables.codec import MAX_DEPTH, MESSAGES, NotSerializable, strict

RUN = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
asked = AIMessage(
    content="",
    id="m1",
    tool_calls=[{"name": "multiply", "args": {"a": 6}, "id": "c1", "type": "tool_call"}],
    usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    response_metadata={"model_name": "echo"},
)

OBJECTS = [
    asked,
    AIMessage("hi", reasoning="extra fields are kept"),
    AIMessage([{"type": "text", "text": "hi"}]),
    HumanMessage("hi", name="ann"),
    SystemMessage("hi"),
    ChatMessage(content="hi", role="critic"),
    FunctionMessage(content="42", name="multiply"),
    ToolMessage("42", tool_call_id="c1", artifact={"raw": 42}, status="error"),
    RemoveMessage("m1"),
    AIMessageChunk(
        content="",
        tool_call_chunks=[tool_call_chunk(name="multiply", args='{"a', id="c1", index=0)],
        chunk_position="last",
    ),
    HumanMessageChunk(content="hi"),
    SystemMessageChunk(content="hi"),
    ChatMessageChunk(content="hi", role="critic"),
    FunctionMessageChunk(content="42", name="multiply"),
    ToolMessageChunk(content="42", tool_call_id="c1"),
    Document("cats purr", id="d1", metadata={"page": 1}),
    StringPromptValue(text="hi"),
    ChatPromptValueConcrete(messages=[SystemMessage("a"), HumanMessage("b")]),
    AgentAction("multiply", {"a": 6}, "I multiply"),
    AgentActionMessageLog(tool="multiply", tool_input="6", log="I multiply", message_log=[asked]),
    AgentFinish({"output": "42"}, "done"),
    Generation(text="hi", generation_info={"finish_reason": "stop"}),
    ChatGeneration(message=asked),
    ChatGenerationChunk(message=AIMessageChunk(content="hi")),
    LLMResult(
        generations=[[ChatGeneration(message=asked)], [Generation(text="hi")]],
        llm_output={"tokens": 3},
        run=[RunInfo(run_id=RUN)],
    ),
]


def received(value: Any) -> Any:
    return decode(parse(strict.dumps(value)))


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_what_the_server_encodes_comes_back(value: Any) -> None:
    assert received(value) == value
    assert type(received(value)) is type(value)


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_it_comes_back_from_any_depth(value: Any) -> None:
    assert received({"a": [{"b": [value, 1]}]}) == {"a": [{"b": [value, 1]}]}


def test_every_message_that_a_server_sends_is_among_them() -> None:
    assert {type(value) for value in OBJECTS} >= set(MESSAGES.values())


HOSTILE = [
    {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": "true"}},
    {"lc": 1, "type": "secret", "id": ["PATH"]},
    {"lc": 1, "type": "not_implemented", "id": ["os"], "repr": "x"},
    dumpd(PromptTemplate.from_template("{secret}")),
    {"type": "constructor", "id": ["langchain_core", "messages", "HumanMessage"], "kwargs": {}},
    {"type": "ai", "content": {"lc": 1, "type": "secret", "id": ["PATH"]}},
    {"type": ["ai"], "content": "hi"},
    {"type": {"type": "ai"}, "content": "hi"},
    {"type": "__class__", "content": "hi"},
    {"type": "tool"},
    {"type": "tool", "content": "x"},
    {"type": "tool", "content": "x", "tool_call_id": None},
    {"type": "tool", "function": {"name": "f"}, "tool_call_id": None},
    {"type": "human"},
    {"type": "human", "content": 7},
    {"type": "ai", "content": "x", "tool_calls": "none"},
    {"type": "ai", "content": "x", "additional_kwargs": [1]},
    {"type": "AIMessageChunk", "content": "x", "tool_call_chunks": [1]},
    {"type": "chat", "content": "no role"},
    {"type": "remove", "path": "/a"},
    {"type": "generic", "content": "x", "role": "y"},
    {"type": "Document"},
    {"type": "Document", "page_content": None},
    {"type": "StringPromptValue", "text": ["a"]},
    {"type": "ChatPromptValueConcrete", "messages": [{"type": "tool"}]},
    {"type": "ChatPromptValueConcrete", "messages": "hello"},
    {"type": "AgentAction", "tool": 1},
    {"type": "AgentFinish"},
    {"type": "ChatGeneration"},
    {"type": "LLMResult", "generations": 3},
    {"type": "unheard of", "content": "x"},
    {"messages": [1], "text": "no type"},
]


@pytest.mark.parametrize("value", HOSTILE, ids=str)
def test_what_is_no_object_of_ours_stays_a_dict(value: dict[str, Any]) -> None:
    assert decode(value) == value


def test_a_secret_is_never_looked_up() -> None:
    found = decode({"content": {"lc": 1, "type": "secret", "id": ["PATH"]}})

    assert os.environ["PATH"] not in str(found)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "content",
                    "messages",
                    "message",
                    "text",
                    "generations",
                    "tool",
                    "log",
                    "tool_call_id",
                    "tool_calls",
                    "page_content",
                    "role",
                    "id",
                    "name",
                ]
            ),
            inner | st.sampled_from([*MESSAGES, "Document", "LLMResult", "ChatGeneration"]),
            max_size=4,
        )
    ),
)


@given(plain)
def test_nothing_raises(value: Any) -> None:
    decode(value)


def test_deep_json_is_left_alone() -> None:
    depth = 3 * MAX_DEPTH
    value = parse('{"a":' * depth + "1" + "}" * depth)

    assert decode(value) == value


@pytest.mark.parametrize("text", ["", "{", "nope", "[" * 100_000])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever of the parser's
        parse(text)


def test_large_integers_stay_exact() -> None:
    assert received({"n": 2**80}) == {"n": 2**80}


class Celsius:
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


class Point(BaseModel):
    x: int


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ({"type": "tool", "name": "f"}, {"type": "tool", "name": "f"}),
        ({"id": RUN, "n": 2**80}, {"id": str(RUN), "n": 2**80}),
        ((1, {2}, float("nan")), [1, [2], None]),
        (Point(x=1), {"x": 1}),
    ],
)
def test_input_is_sent_as_it_is(value: Any, sent: Any) -> None:
    assert parse(InputEncoder().dumps(value)) == sent


def test_messages_in_the_input_keep_their_fields() -> None:
    assert decode(parse(InputEncoder().dumps({"messages": [asked]}))) == {"messages": [asked]}


def test_an_input_without_json_is_refused_by_name() -> None:
    with pytest.raises(NotSerializable, match="Celsius"):
        InputEncoder().dumps({"at": Celsius(3)})


def test_own_types_have_own_encoders() -> None:
    encoder = InputEncoder({Celsius: lambda value: value.degrees})

    assert encoder.dumps({"at": Celsius(3)}) == b'{"at":3}'


class TestConfig:
    def test_only_what_says_something_is_sent(self) -> None:
        assert sendable({"tags": [], "metadata": {}, "recursion_limit": 25, "callbacks": []}) == {}

    def test_every_key_but_callbacks_is_sent(self) -> None:
        config = {
            "tags": ["a"],
            "metadata": {"n": 1},
            "run_name": "mine",
            "run_id": RUN,
            "max_concurrency": 2,
            "recursion_limit": 3,
            "configurable": {"a": [1]},
        }

        assert sendable({**config, "callbacks": [print]}) == config

    def test_local_objects_stay_here(self) -> None:
        config = {"configurable": {"history": Point(x=1), "f": print, "id": RUN, 3: 4}}

        assert sendable(config) == {"configurable": {"id": RUN}}

    def test_the_machinery_of_a_local_graph_stays_here(self) -> None:
        local = {"__pregel_task_id": "t", "checkpoint_ns": "a", "thread_id": "1"}

        assert sendable({"configurable": local}) == {"configurable": {"thread_id": "1"}}

    def test_a_checkpoint_that_the_caller_names_is_sent(self) -> None:
        named = {"configurable": {"checkpoint_id": "c", "thread_id": "1"}}

        assert sendable(named) == named
