"""
LangChain objects to JSON: strict for outputs, tolerant for logs and events.
"""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict, namedtuple
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from langchain_core import agents, messages, outputs, prompt_values
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.log_stream import RunLogPatch
from pydantic import BaseModel, RootModel, SecretStr

from runnables.codec import Encoder, NotSerializable, strict, tolerant
from tests.conftest import Site, events
from tests.fakes import SECRET, echo, returning


def sent(value: Any, encoder: Encoder = strict) -> Any:
    """
    What a client reads.
    """
    return json.loads(encoder.dumps(value))


def tags() -> list[tuple[Any, dict[str, Any]]]:
    human = HumanMessage(content="x")
    return [
        (AIMessage(content="x"), {"type": "ai", "tool_calls": [], "invalid_tool_calls": []}),
        (human, {"type": "human", "additional_kwargs": {}, "response_metadata": {}}),
        (messages.SystemMessage(content="x"), {"type": "system", "name": None, "id": None}),
        (messages.ChatMessage(content="x", role="r"), {"type": "chat", "role": "r"}),
        (messages.FunctionMessage(content="x", name="n"), {"type": "function", "name": "n"}),
        (
            messages.ToolMessage(content="x", tool_call_id="1", artifact={"a": 1}),
            {"type": "tool", "tool_call_id": "1", "artifact": {"a": 1}, "status": "success"},
        ),
        (messages.AIMessageChunk(content="x"), {"type": "AIMessageChunk", "tool_call_chunks": []}),
        (messages.HumanMessageChunk(content="x"), {"type": "HumanMessageChunk"}),
        (messages.SystemMessageChunk(content="x"), {"type": "SystemMessageChunk"}),
        (
            messages.ChatMessageChunk(content="x", role="r"),
            {"type": "ChatMessageChunk", "role": "r"},
        ),
        (messages.FunctionMessageChunk(content="x", name="n"), {"type": "FunctionMessageChunk"}),
        (messages.ToolMessageChunk(content="x", tool_call_id="1"), {"type": "ToolMessageChunk"}),
        (
            Document(page_content="x", metadata={"a": 1}, id="7"),
            {"type": "Document", "page_content": "x", "metadata": {"a": 1}, "id": "7"},
        ),
        (prompt_values.StringPromptValue(text="x"), {"type": "StringPromptValue", "text": "x"}),
        (
            prompt_values.ChatPromptValueConcrete(messages=[human]),
            {"type": "ChatPromptValueConcrete"},
        ),
        (prompt_values.ChatPromptValue(messages=[human]), {"type": "ChatPromptValueConcrete"}),
        (
            agents.AgentAction("t", {"a": 1}, "l"),
            {"type": "AgentAction", "tool": "t", "tool_input": {"a": 1}, "log": "l"},
        ),
        (
            agents.AgentActionMessageLog(tool="t", tool_input="i", log="l", message_log=[human]),
            {"type": "AgentActionMessageLog"},
        ),
        (
            agents.AgentFinish({"output": "x"}, "l"),
            {"type": "AgentFinish", "return_values": {"output": "x"}, "log": "l"},
        ),
        (outputs.Generation(text="x"), {"type": "Generation", "generation_info": None}),
        (outputs.ChatGeneration(message=human), {"type": "ChatGeneration", "text": "x"}),
        (
            outputs.ChatGenerationChunk(message=messages.AIMessageChunk(content="x")),
            {"type": "ChatGenerationChunk"},
        ),
        (
            outputs.LLMResult(generations=[[outputs.Generation(text="x")]]),
            {"type": "LLMResult", "llm_output": None, "run": None},
        ),
    ]


@pytest.mark.parametrize(("value", "fields"), tags(), ids=lambda v: type(v).__name__)
def test_well_known_objects_are_tagged_with_all_their_fields(value: Any, fields: Any) -> None:
    found = sent(value)
    assert {key: found[key] for key in fields} == fields


def test_nested_objects_keep_what_their_own_class_has() -> None:
    action = agents.AgentActionMessageLog(
        tool="t", tool_input="i", log="l", message_log=[AIMessage(content="x", id="1")]
    )
    assert sent(action)["message_log"][0]["tool_calls"] == []
    generation = outputs.ChatGeneration(message=AIMessage(content="x"))
    found = sent(outputs.LLMResult(generations=[[generation]]))
    assert found["generations"][0][0]["message"]["type"] == "ai"
    prompt = prompt_values.ChatPromptValueConcrete(messages=[AIMessage(content="x")])
    assert sent(prompt)["messages"][0]["invalid_tool_calls"] == []


def test_extra_fields_of_a_message_are_kept() -> None:
    assert sent(AIMessage(content="x", mine=3))["mine"] == 3


class Point(BaseModel):
    x: int
    y: int | None = None


class Base(BaseModel):
    pass


class Derived(Base):
    more: int = 1


class Holder(BaseModel):
    held: Base


class Points(RootModel[list[int]]):
    pass


@dataclass
class Pair:
    one: int
    two: Any = None


class Colour(Enum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Text(str):
    pass


class Whole(int):
    pass


Named = namedtuple("Named", ["a", "b"])

RUN_ID = UUID(int=0x0F8FAD5BD9CB469FA16570867728950E)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("é🐈", "é🐈"),
        ((1, 2), [1, 2]),
        ([(1, "a")], [[1, "a"]]),
        ({"root": 1, "b": 2}, {"root": 1, "b": 2}),
        ({"root": 1}, {"root": 1}),
        (float("nan"), None),
        ([float("inf"), -float("inf")], [None, None]),
        (RUN_ID, str(RUN_ID)),
        (datetime(2030, 1, 2, 3, 4, 5), "2030-01-02T03:04:05"),
        (datetime(2030, 1, 2, tzinfo=UTC), "2030-01-02T00:00:00+00:00"),
        (date(2030, 1, 2), "2030-01-02"),
        (time(3, 4), "03:04:00"),
        (Colour.RED, "red"),
        (Number.ONE, 1),
        (Text("x"), "x"),
        (Whole(5), 5),
        (Pair(1, Colour.RED), {"one": 1, "two": "red"}),
        (Point(x=1), {"x": 1, "y": None}),
        (Holder(held=Derived()), {"held": {"more": 1}}),
        (Points([1, 2]), [1, 2]),
        ({1}, [1]),
        (frozenset({1}), [1]),
        (Decimal("1.10"), "1.10"),
        (b"\x00\xff", "AP8="),
        (bytearray(b"a"), "YQ=="),
        (memoryview(b"a"), "YQ=="),
        ({2: "a", None: "b", True: "c"}, {"2": "a", "null": "b", "true": "c"}),
        ({(1, 2): "a"}, {"[1, 2]": "a"}),
        ({RUN_ID: 1}, {str(RUN_ID): 1}),
        ({Colour.RED: 1}, {"red": 1}),
        (2**70, 2**70),
        ([-(2**70)], [-(2**70)]),
        ("a\ud800b", "a?b"),
        ({"\udc00": 1}, {"?": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(int, a=1), {"a": 1}),
        (Named(1, 2), [1, 2]),
        (
            RunLogPatch({"op": "add", "path": "", "value": 1}),
            {"ops": [{"op": "add", "path": "", "value": 1}]},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("encoder", [strict, tolerant], ids=["strict", "tolerant"])
def test_values_become_json(value: Any, expected: Any, encoder: Encoder) -> None:
    assert sent(value, encoder) == expected


@pytest.mark.parametrize("value", ["x", 2**70, "\ud800", float("nan"), {1: {2}}])
def test_slow_path_and_fast_path_agree_on_what_stands_beside(value: Any) -> None:
    beside = {"m": AIMessage(content="x"), "p": Pair(1), "d": date(2030, 1, 2), "f": 1.0, "s": {1}}
    found = sent({**beside, "odd": value})
    del found["odd"]
    assert found == sent(beside)


def test_numpy_becomes_plain_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    value = {
        "array": numpy.array([[1, 2]]),
        "scalar": numpy.float32(1.5),
        "bool": numpy.bool_(True),
    }
    assert sent(value) == {"array": [[1, 2]], "scalar": 1.5, "bool": True}


def test_numpy_that_is_not_a_number_becomes_null() -> None:
    numpy = pytest.importorskip("numpy")
    assert sent([numpy.float64("nan"), numpy.array([1.0, numpy.inf])]) == [None, [1.0, None]]


class Opaque:
    def __repr__(self) -> str:
        return SECRET


UNKNOWN = [
    object(),
    Opaque(),
    1j,
    RuntimeError(SECRET),
    Opaque,
    len,
    iter([1]),
    PurePosixPath("/x"),
    SecretStr(SECRET),
    echo(),
    {"a": [Opaque()]},
    {"a": SecretStr(SECRET), 1: 2},
    AIMessage(content="x", additional_kwargs={"a": Opaque()}),
    Document(page_content="x", metadata={"a": Opaque()}),
    Pair(1, Opaque()),
]


@pytest.mark.parametrize("value", UNKNOWN, ids=lambda value: type(value).__name__)
def test_strict_refuses_what_it_does_not_know_and_names_its_class(value: Any) -> None:
    with pytest.raises(NotSerializable) as caught:
        strict.dumps(value)
    assert "." in caught.value.kind
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", UNKNOWN, ids=lambda value: type(value).__name__)
def test_tolerant_puts_a_placeholder_without_the_repr(value: Any) -> None:
    text = tolerant.dumps(value).decode()
    assert "not_serializable" in text
    assert SECRET not in text
    assert "0x" not in text


def test_placeholder_says_the_class_and_nothing_else() -> None:
    assert sent({"a": Opaque()}, tolerant) == {
        "a": {"type": "not_serializable", "class": f"{__name__}.Opaque"}
    }


class Settings(BaseModel):
    name: str = "cat"
    key: SecretStr = SecretStr(SECRET)


def test_secret_in_a_model_is_never_shown() -> None:
    with pytest.raises(NotSerializable):
        strict.dumps(Settings())
    assert SECRET.encode() not in tolerant.dumps(Settings())
    assert SECRET.encode() not in tolerant.dumps({1: Settings()})


def test_runnable_in_an_event_is_not_taken_apart() -> None:
    runnable = RunnableLambda(lambda x: x).bind(api_key=SECRET)
    assert SECRET.encode() not in tolerant.dumps({"steps": [runnable]})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> Any:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def cyclic_list() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [cyclic(), cyclic_list()], ids=["dict", "list"])
def test_cycles_are_refused_or_cut(value: Any) -> None:
    with pytest.raises(NotSerializable):
        strict.dumps(value)
    assert b"not_serializable" in tolerant.dumps(value)


@pytest.mark.parametrize("depth", [10, 150])
def test_deep_values_are_sent(depth: int) -> None:
    assert sent(nested(depth)) == nested(depth)


@pytest.mark.parametrize("depth", [300, 5000, 100_000])
def test_very_deep_values_are_refused_or_cut(depth: int) -> None:
    value = nested(depth)
    with suppress(NotSerializable):
        strict.dumps(value)
    assert tolerant.dumps(value)


class Cat:
    def __init__(self, name: str) -> None:
        self.name = name


class Kitten(Cat):
    pass


def test_own_encoders_are_asked_first() -> None:
    encoder = Encoder({Cat: lambda cat: {"name": cat.name, "since": date(2030, 1, 2)}})
    expected = {"name": "Tom", "since": "2030-01-02"}
    assert sent([Cat("Tom"), Kitten("Tom")], encoder) == [expected, expected]
    assert sent({1: Cat("Tom")}, encoder) == {"1": expected}


def test_own_encoder_replaces_ours() -> None:
    assert sent(AIMessage(content="x"), Encoder({AIMessage: lambda message: message.text})) == "x"
    assert sent(Decimal("1.5"), Encoder({Decimal: float})) == 1.5


def test_own_encoder_of_a_base_class_is_used_for_all_messages() -> None:
    encoder = Encoder({messages.BaseMessage: lambda message: message.text})
    assert sent([AIMessage(content="x"), HumanMessage(content="y")], encoder) == ["x", "y"]


def test_object_that_only_looks_like_a_tool_message_does_not_crash_clients() -> None:
    assert sent({"type": "tool", "name": "f"}) == {
        "type": "tool",
        "name": "f",
        "tool_call_id": None,
    }
    log = {"ops": [{"op": "add", "path": "/logs/f", "value": {"type": "tool"}}]}
    assert "tool_call_id" in sent(log, tolerant)["ops"][0]["value"]


def test_numbers_beside_a_tool_stay_what_they_are() -> None:
    value = {"tool": {"type": "tool", "tool_call_id": "1"}, "number": 2**70}
    assert sent(value) == value
    assert isinstance(sent(value)["number"], int)


def test_utf8_is_sent_as_it_is() -> None:
    assert strict.dumps("é🐈") == '"é🐈"'.encode()


# At the doors


def test_own_encoders_of_a_deployment(site: Site) -> None:
    site.serve("it", returning(Cat("Tom")), encoders={Cat: lambda cat: cat.name})
    assert site.invoke("/it", 1) == "Tom"
    assert ("data", "Tom") in events(site.post("/it/stream", {"input": 1}))


def test_encoder_that_fails_is_a_500_with_a_run_id(site: Site) -> None:
    def fail(cat: Any) -> Any:
        raise RuntimeError(SECRET)

    site.serve("it", returning(Cat("Tom")), encoders={Cat: fail})
    response = site.post("/it/invoke", {"input": 1})
    assert response.status_code == 500
    assert response.json()["run_id"]
    assert SECRET not in response.text


@pytest.mark.parametrize("value", [SecretStr(SECRET), Opaque(), {"a": [SecretStr(SECRET)]}])
def test_secrets_never_leave_by_any_door(site: Site, value: Any) -> None:
    site.serve("it", returning(value), include_callback_events=True)
    given = {"input": 1, "inputs": [1]}
    for door in ("invoke", "batch", "stream", "stream_log", "stream_events"):
        assert SECRET not in site.post(f"/it/{door}", given).text


@pytest.mark.parametrize("output", [2**70, {1: 2}, "\ud800", cyclic(), nested(300)])
@pytest.mark.parametrize("door", ["invoke", "batch", "stream"])
def test_odd_outputs_are_sent_or_refused_in_json(site: Site, door: str, output: Any) -> None:
    site.serve("it", returning(output))
    response = site.post(f"/it/{door}", {"input": 1, "inputs": [1]})
    assert response.status_code in (200, 500)
    if response.status_code == 500:
        assert response.json()["code"] == "output_not_serializable"


class Own:
    """
    LangServe's Serializer interface.
    """

    def dumps(self, value: Any) -> bytes:
        return json.dumps({"mine": str(value)}).encode()


def test_serializer_of_a_deployment(site: Site) -> None:
    site.serve("it", returning(5), serializer=Own())
    assert site.invoke("/it", 1) == {"mine": "5"}
    assert ("data", {"mine": "5"}) in events(site.post("/it/stream", {"input": 1}))
