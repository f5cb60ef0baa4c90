"""
From JSON to what a runnable takes, by its input schema.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from enum import Enum
from typing import Any, Optional
from uuid import UUID

import pytest
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompt_values import ChatPromptValueConcrete, PromptValue, StringPromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from pydantic import BaseModel, RootModel, create_model, field_validator
from typing_extensions import TypedDict

from runnables import CustomUserType
from runnables.exceptions import InvalidInput
from runnables.schemas import Schemas
from tests.conftest import Site
from tests.fakes import SECRET, Hearing, Words, echo


def accept(annotation: Any, value: Any, *, mode: str = "strict") -> Any:
    """
    What a runnable with this input type gets of a value.
    """
    schemas = Schemas(echo(), config_keys=[], mode=mode, input_schema=annotation)
    return schemas.input_validator({})(value)


def refusal(annotation: Any, value: Any) -> list[dict[str, Any]]:
    with pytest.raises(InvalidInput) as caught:
        accept(annotation, value)
    assert caught.value.status_code == 422
    return list(caught.value.detail)


# Messages

SPELLINGS = [
    ({"type": "human", "content": "x"}, HumanMessage(content="x")),
    ({"type": "ai", "content": "x"}, AIMessage(content="x")),
    ({"type": "system", "content": "x"}, SystemMessage(content="x")),
    ({"type": "chat", "role": "cat", "content": "x"}, ChatMessage(content="x", role="cat")),
    ({"type": "generic", "role": "cat", "content": "x"}, ChatMessage(content="x", role="cat")),
    ({"type": "function", "name": "f", "content": "x"}, FunctionMessage(content="x", name="f")),
    (
        {"type": "tool", "tool_call_id": "1", "content": "x"},
        ToolMessage(content="x", tool_call_id="1"),
    ),
    ({"type": "AIMessageChunk", "content": "x"}, AIMessageChunk(content="x")),
    ({"type": "HumanMessageChunk", "content": "x"}, HumanMessageChunk(content="x")),
    (["human", "x"], HumanMessage(content="x")),
    (["ai", "x"], AIMessage(content="x")),
    ({"role": "user", "content": "x"}, HumanMessage(content="x")),
    ({"role": "assistant", "content": "x"}, AIMessage(content="x")),
    ({"role": "system", "content": "x"}, SystemMessage(content="x")),
    # as LangChain.js sends them
    (
        {"type": "human", "content": "x", "additional_kwargs": {}, "example": False},
        HumanMessage(content="x"),
    ),
    (
        {"type": "ai", "content": "x", "additional_kwargs": {}, "example": False},
        AIMessage(content="x"),
    ),
]


@pytest.mark.parametrize("annotation", [list[AnyMessage], list[BaseMessage]])
@pytest.mark.parametrize(("spelling", "message"), SPELLINGS)
def test_every_spelling_of_a_message_becomes_its_class(
    annotation: Any, spelling: Any, message: BaseMessage
) -> None:
    [decoded] = accept(annotation, [spelling])
    assert type(decoded) is type(message)
    assert decoded == message


def test_fields_of_a_message_survive() -> None:
    sent = {
        "type": "ai",
        "content": [{"type": "text", "text": "x"}],
        "id": "7",
        "name": "cat",
        "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "1", "type": "tool_call"}],
        "usage_metadata": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        "response_metadata": {"a": 1},
        "mine": 3,
    }
    [decoded] = accept(list[AnyMessage], [sent])
    assert isinstance(decoded, AIMessage)
    assert decoded.tool_calls[0]["args"] == {"a": 1}
    assert decoded.usage_metadata == sent["usage_metadata"]
    assert (decoded.id, decoded.name, decoded.mine) == ("7", "cat", 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "annotation",
    [
        HumanMessage | AIMessage | ToolMessage,
        list[HumanMessage | ToolMessage],
        list[AnyMessage],
        list[BaseMessage],
        AnyMessage,
    ],
)
@pytest.mark.parametrize(
    "message",
    [
        {"type": "tool", "content": SECRET},
        {"type": "cat", "content": SECRET},
        {"content": None, "type": "human"},
        {"type": "ai", "content": "x", "tool_calls": "no"},
        {"role": "cat"},
        {"type": ["human"]},
        ["cat", SECRET],
        SECRET,
        5,
        None,
    ],
)
def test_what_is_no_message_is_refused_without_an_echo(annotation: Any, message: Any) -> None:
    is_list = str(annotation).startswith("list")
    errors = refusal(annotation, [message] if is_list else message)
    assert errors
    assert SECRET not in str(errors)


def test_union_of_messages_takes_no_other_class() -> None:
    annotation = list[HumanMessage | AIMessage]
    [decoded] = accept(annotation, [{"type": "human", "content": "x"}])
    assert type(decoded) is HumanMessage
    assert refusal(annotation, [{"type": "system", "content": "x"}])


def test_union_of_a_text_and_messages_takes_both() -> None:
    annotation = str | list[AnyMessage]
    assert accept(annotation, "x") == "x"
    assert accept(annotation, [{"type": "ai", "content": "x"}]) == [AIMessage(content="x")]


def test_message_in_a_place_for_anything_stays_a_dict() -> None:
    message = {"type": "human", "content": "x"}
    assert accept(Any, message) == message
    assert accept(dict[str, Any], {"m": message}) == {"m": message}
    assert accept(list[Any], [message]) == [message]


def test_remove_message_is_known() -> None:
    [decoded] = accept(list[BaseMessage], [{"type": "remove", "id": "1", "content": ""}])
    assert isinstance(decoded, RemoveMessage)


class Talk(TypedDict):
    messages: list[BaseMessage]
    topic: str


class Nested(BaseModel):
    history: list[AnyMessage]
    last: Optional[HumanMessage] = None  # noqa: UP045 - as people write it


def test_messages_are_decoded_wherever_the_schema_has_them() -> None:
    human = {"type": "human", "content": "x"}
    assert accept(Talk, {"messages": [human], "topic": "t"})["messages"] == [
        HumanMessage(content="x")
    ]
    nested = accept(Nested, {"history": [human], "last": human})
    assert nested == {"history": [HumanMessage(content="x")], "last": HumanMessage(content="x")}


def test_prompt_with_a_placeholder_takes_messages(site: Site) -> None:
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{q}")])
    site.serve("it", prompt)
    history = [{"type": "system", "content": "s"}, ["ai", "a"]]
    output = site.invoke("/it", {"history": history, "q": "?"})
    assert [message["type"] for message in output["messages"]] == ["system", "ai", "human"]


@pytest.mark.parametrize(
    ("given", "heard"),
    [
        ("x", [HumanMessage(content="x")]),
        ([{"type": "human", "content": "x"}], [HumanMessage(content="x")]),
        ([["human", "x"], ["ai", "y"]], [HumanMessage(content="x"), AIMessage(content="y")]),
        ([{"role": "user", "content": "x"}], [HumanMessage(content="x")]),
        ({"text": "x", "type": "StringPromptValue"}, [HumanMessage(content="x")]),
        (
            {"messages": [{"type": "ai", "content": "x"}], "type": "ChatPromptValueConcrete"},
            [AIMessage(content="x")],
        ),
        (  # as LangChain.js sends it
            {
                "lc_serializable": True,
                "lc_kwargs": {"messages": []},
                "lc_namespace": ["langchain_core", "prompt_values"],
                "messages": [{"type": "human", "content": "x", "example": False}],
            },
            [HumanMessage(content="x")],
        ),
    ],
)
def test_chat_model_hears_every_spelling(site: Site, given: Any, heard: list[Any]) -> None:
    model = Hearing(heard=[])
    site.serve("it", model)
    site.invoke("/it", given)
    assert model.heard == [heard]


@pytest.mark.parametrize("given", [5, None, {"a": 1}, [{"type": "tool", "content": "x"}]])
def test_chat_model_refuses_what_is_no_prompt(site: Site, given: Any) -> None:
    site.serve("it", Words())
    response = site.post("/it/invoke", {"input": given})
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], list)


# Documents and prompt values


@pytest.mark.parametrize("key", ["page_content", "pageContent"])
def test_documents_in_both_spellings(key: str) -> None:
    [decoded] = accept(list[Document], [{key: "x", "metadata": {"a": 1}}])
    assert decoded == Document(page_content="x", metadata={"a": 1})


def test_bad_document_is_refused() -> None:
    assert refusal(list[Document], [{"metadata": {}}])


def test_document_in_a_place_for_anything_stays_a_dict() -> None:
    assert accept(Any, {"pageContent": "x"}) == {"pageContent": "x"}


def test_prompt_values_tagged_or_not() -> None:
    assert accept(PromptValue, {"text": "x"}) == StringPromptValue(text="x")
    decoded = accept(PromptValue, {"messages": [["human", "x"]]})
    assert decoded == ChatPromptValueConcrete(messages=[HumanMessage(content="x")])
    assert accept(StringPromptValue, {"text": "x"}) == StringPromptValue(text="x")


# Models


class Point(BaseModel):
    x: int
    y: int = 2


class Line(BaseModel):
    points: list[Point]
    by_name: dict[str, Point] = {}


class Upload(CustomUserType):
    name: str
    point: Point | None = None


class Holder(BaseModel):
    upload: Upload


class Points(RootModel[list[Point]]):
    pass


def test_ordinary_model_arrives_as_a_dict_all_the_way_down() -> None:
    given = {"points": [{"x": 1}], "by_name": {"a": {"x": 3, "y": 4}}}
    expected = {"points": [{"x": 1, "y": 2}], "by_name": {"a": {"x": 3, "y": 4}}}
    assert accept(Line, given) == expected
    assert accept(list[Point], [{"x": 1}]) == [{"x": 1, "y": 2}]
    assert accept(Points, [{"x": 1}]) == [{"x": 1, "y": 2}]


def test_model_in_a_tuple_arrives_as_a_dict() -> None:
    assert accept(tuple[Point, int], [{"x": 1}, 5]) == ({"x": 1, "y": 2}, 5)


def test_custom_user_type_arrives_as_the_model() -> None:
    decoded = accept(Upload, {"name": "x"})
    assert decoded == Upload(name="x")
    assert accept(list[Upload], [{"name": "x"}]) == [Upload(name="x")]


def test_custom_user_type_in_an_ordinary_model_stays_a_model() -> None:
    assert accept(Holder, {"upload": {"name": "x"}}) == {"upload": Upload(name="x")}


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (
            UUID,
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            UUID(int=0x0F8FAD5BD9CB469FA16570867728950E),
        ),
        (datetime, "2030-01-02T03:04:05Z", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (date, "2030-01-02", date(2030, 1, 2)),
        (time, "03:04:05", time(3, 4, 5)),
        (Colour, "red", Colour.RED),
        (list[UUID], ["0f8fad5b-d9cb-469f-a165-70867728950e"], None),
        (int | None, None, None),
    ],
)
def test_scalars_become_python_objects(annotation: Any, given: Any, expected: Any) -> None:
    decoded = accept(annotation, given)
    assert decoded == expected if expected is not None else type(decoded) is not str


@pytest.mark.parametrize(
    ("annotation", "given"), [(UUID, "x"), (datetime, "x"), (Colour, "blue"), (int, "x")]
)
def test_bad_scalars_are_refused(annotation: Any, given: str) -> None:
    [error] = refusal(annotation, given)
    assert set(error) == {"type", "loc", "msg"}
    assert error["loc"] == []


# Modes


def test_strict_drops_unknown_keys() -> None:
    assert accept(Point, {"x": 1, "z": 3}) == {"x": 1, "y": 2}


def test_lenient_keeps_unknown_keys_and_passes_misfits_on() -> None:
    assert accept(Point, {"x": 1, "z": 3}, mode="lenient") == {"x": 1, "y": 2, "z": 3}
    assert accept(Point, {"x": "no"}, mode="lenient") == {"x": "no"}
    assert accept(Point, 5, mode="lenient") == 5


def test_lenient_keeps_unknown_keys_in_lists() -> None:
    decoded = accept(Line, {"points": [{"x": 1, "z": 3}]}, mode="lenient")
    assert decoded["points"] == [{"x": 1, "y": 2, "z": 3}]


def test_lenient_still_decodes() -> None:
    given = {"messages": [{"type": "human", "content": "x"}], "topic": "t", "more": 1}
    decoded = accept(Talk, given, mode="lenient")
    assert decoded == {"messages": [HumanMessage(content="x")], "topic": "t", "more": 1}


def test_off_passes_everything_as_it_was_sent() -> None:
    assert accept(Point, {"z": 3}, mode="off") == {"z": 3}
    assert accept(int, "x", mode="off") == "x"


@pytest.mark.parametrize(("mode", "status"), [("strict", 422), ("lenient", 200), ("off", 200)])
def test_mode_is_the_deployments_and_can_be_changed(site: Site, mode: str, status: int) -> None:
    site.serve("it", echo(), input_type=int)
    site.change("it", validation=mode)
    assert site.post("/it/invoke", {"input": "x"}).status_code == status


# Errors


class Grumpy(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def refuse(cls, value: str) -> str:
        if value == "value":
            raise ValueError("not this name")
        raise KeyError(value)


def test_validator_of_the_user_says_why() -> None:
    [error] = refusal(Grumpy, {"name": "value"})
    assert error["loc"] == ["name"]
    assert "not this name" in error["msg"]


def test_validator_that_raises_anything_is_a_refusal() -> None:
    errors = refusal(Grumpy, {"name": SECRET})
    assert SECRET not in str(errors)


def test_errors_name_places_and_do_not_echo_input() -> None:
    errors = refusal(Line, {"points": [{"x": 1}, {"x": SECRET}]})
    assert errors == [
        {
            "type": "int_parsing",
            "loc": ["points", 1, "x"],
            "msg": "Input should be a valid integer, unable to parse string as an integer",
        }
    ]


def test_errors_are_counted_in_the_message() -> None:
    many = create_model("Many", a=(int, ...), b=(int, ...))
    with pytest.raises(InvalidInput) as caught:
        accept(many, {})
    assert caught.value.message == "a: Field required (and 1 more)"


class Tree(BaseModel):
    name: str
    children: list[Tree] = []
    said: BaseMessage | None = None


def test_models_that_hold_themselves_are_decoded() -> None:
    leaf = {"name": "leaf", "said": {"type": "ai", "content": "x"}}
    decoded = accept(Tree, {"name": "root", "children": [leaf]})
    assert decoded["children"][0]["said"] == AIMessage(content="x")
    assert decoded["children"][0]["name"] == "leaf"
