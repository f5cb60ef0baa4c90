"""
PyPI langserve's RemoteRunnable, unchanged, over every kind of runnable.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompt_values import ChatPromptValueConcrete, StringPromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableMap

Remote = Callable[..., Any]

pytestmark = [
    pytest.mark.contract,
    pytest.mark.xdist_group("contract-python"),
    # The client itself reads a model's fields the old way when it replays callback events.
    pytest.mark.filterwarnings(
        "ignore:Accessing the 'model_fields' attribute:pydantic.warnings.PydanticDeprecatedSince211"
    ),
]

SECRET = "swordfish"  # part of what the failing runnables say to themselves
CATS = {"topic": "cats"}
TOLD = "You said: Tell me about cats"
# {"tags": ["t"], "configurable": {"template": "X {name} {y}"}}
TEMPLATE_HASH = (
    "N4IgLghg5gziBcACA2uEBdANIkBjA9gHYBmAllAK4BOEARgDYCmCioYjAtgA70TssgAGq0IQOjAL6sAnhJASJQA"
)


@dataclass(frozen=True)
class Kind:
    """
    A runnable, one call of it, and what comes back: whole, and in chunks where it streams.
    """

    path: str
    input: Any
    output: Any
    chunks: tuple[Any, ...] | None = None

    @property
    def stream(self) -> list[Any]:
        return [self.output] if self.chunks is None else list(self.chunks)


def human(text: str) -> tuple[str, str]:
    return ("HumanMessage", text)


def ai(text: str) -> tuple[str, str]:
    return ("AIMessage", text)


def plain(value: Any) -> Any:
    """
    Objects as (class, content), so that ids do not matter when comparing.
    """
    if isinstance(value, BaseMessage):
        return (type(value).__name__, value.content)
    if isinstance(value, Document):
        return ("Document", value.page_content, value.metadata)
    if isinstance(value, StringPromptValue | ChatPromptValueConcrete):
        return (type(value).__name__, plain(value.to_messages()))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def said(*words: str) -> tuple[Any, ...]:
    return tuple(("AIMessageChunk", word) for word in (*words, ""))


def page(number: int, text: str) -> tuple[str, str, dict[str, int]]:
    return ("Document", text, {"page": number})


PAGES = [page(1, "cats purr"), page(3, "cats and dogs")]
MULTIPLIED = [human("6 times 7"), ai(""), ("ToolMessage", "42"), ai("It is 42.")]

KINDS = [
    Kind("joke", CATS, TOLD, ("You", " said:", " Tell", " me", " about", " cats", "")),
    Kind("model", "hi", ai("You said: hi"), said("You", " said:", " hi")),
    Kind("model", [HumanMessage("hi")], ai("You said: hi"), said("You", " said:", " hi")),
    Kind(
        "model",
        [SystemMessage("Be brief"), HumanMessage("hi")],
        ai("You said: hi"),
        said("You", " said:", " hi"),
    ),
    Kind(
        "model",
        StringPromptValue(text="hi"),
        ai("You said: hi"),
        said("You", " said:", " hi"),
    ),
    Kind(
        "model",
        ChatPromptValueConcrete(messages=[HumanMessage("hi")]),
        ai("You said: hi"),
        said("You", " said:", " hi"),
    ),
    Kind("plain_model", "hi", ai("You said: hi")),
    Kind("prompt", CATS, ("ChatPromptValueConcrete", [human("Tell me about cats")])),
    Kind("retriever", "cats", PAGES),
    Kind("multiply", {"a": 6, "b": 7}, 42),
    Kind("add_one", 1, 2),
    Kind("add_one_later", 1, 2),
    Kind("made/by/factory", 1, 2),
    Kind("letters", "abc", "abc", ("a", "b", "c")),
    Kind("letters_later", "abc", "abc", ("a", "b", "c")),
    Kind("shout", "abc", "ABC", ("A", "B", "C")),
    Kind("shout_later", "abc", "ABC", ("A", "B", "C")),
    Kind("greeting", {"name": "Ann"}, ("StringPromptValue", [human("Hello Ann")])),
    Kind("animal", {"verb": "sleeps"}, ("StringPromptValue", [human("The cat sleeps")])),
    Kind(
        "graph",
        {"messages": [HumanMessage("hi")]},
        {"messages": [human("hi"), ai("You said: hi")]},
        ({"talk": {"messages": [ai("You said: hi")]}},),
    ),
    Kind(
        "agent",
        {"messages": [HumanMessage("6 times 7")]},
        {"messages": MULTIPLIED},
        tuple(
            {step: {"messages": [message]}}
            for step, message in zip(("model", "tools", "model"), MULTIPLIED[1:], strict=True)
        ),
    ),
    Kind("chain", {"phrase": "abc"}, {"phrase": "abc", "reversed": "cba"}),
    Kind("person", {"name": "Ann", "age": 7}, "Person Ann is 7"),
    Kind("point", {"x": 1, "y": 2}, {"is": "dict", "sum": 3}),
    Kind("typed", 2, 4),
    Kind(
        "any_messages",
        [HumanMessage("a"), AIMessage("b"), SystemMessage("c")],
        ["HumanMessage", "AIMessage", "SystemMessage"],
    ),
    Kind("any_messages", [ToolMessage("a", tool_call_id="1")], ["ToolMessage"]),
    Kind(
        "base_messages",
        [HumanMessage("a"), AIMessage("b")],
        ["HumanMessage", "AIMessage"],
    ),
    Kind(
        "union_messages",
        [HumanMessage("a"), AIMessage("b")],
        ["HumanMessage", "AIMessage"],
    ),
    Kind("texts", [Document(page_content="a"), Document(page_content="b")], ["a", "b"]),
    Kind("sources", "why", {"answer": "why", "sources": ["page 1"]}),
    Kind(
        "halves",
        "abcd",
        {"first": "ab", "second": "cd"},
        ({"first": "ab"}, {"second": "cd"}),
    ),
    Kind("documents", "cats", {"answer": "cats", "sources": PAGES}),
    Kind("pair", 1, [1, "1"]),
    Kind("rooted", 1, {"root": 1, "b": 2}),
    Kind("infinite", 1, [1.0, None, None]),
    Kind("passthrough", {"a": [1, None, "ü"]}, {"a": [1, None, "ü"]}),
]


def rows(kinds: list[Kind], better: dict[str, str]) -> list[Any]:
    """
    One test row for each kind; `better` says where LangServe itself is wrong.
    """
    return [row(kind, better) for kind in kinds]


def row(kind: Kind, better: dict[str, str]) -> Any:
    marks = [pytest.mark.better(better[kind.path])] if kind.path in better else []
    return pytest.param(kind, marks=marks, id=f"{kind.path}-{type(kind.input).__name__}")


SYNC_ONLY = {
    "shout": "a generator with sync methods only is a 500",
}
WHOLE = SYNC_ONLY | {
    "chain": "outputs are validated again and lose their input keys",
    "sources": "outputs are validated again and lose keys",
    "base_messages": "every item becomes a bare BaseMessage",
    "union_messages": "the ToolMessage arm raises what nobody catches, which is a 500",
    "rooted": "a key `root` replaces the whole output",
}
EVENTS = SYNC_ONLY | {
    "letters": "a sync generator function cannot be streamed",
    "base_messages": WHOLE["base_messages"],
    "union_messages": WHOLE["union_messages"],
}
CHUNKS = EVENTS | {
    "prompt": "a chunk is untagged and stays a dict",
}
LOGS = CHUNKS | {
    "multiply": "a log entry of type `tool` without a tool_call_id crashes the client",
    "agent": "a log entry of type `tool` without a tool_call_id crashes the client",
}

# LangChain tells of no chunks where these are the whole run; their end carries the output.
WITHOUT_CHUNK_EVENTS = {
    "plain_model",
    "prompt",
    "retriever",
    "multiply",
    "greeting",
    "animal",
    "chain",
}

whole = pytest.mark.parametrize("kind", rows(KINDS, WHOLE))
in_chunks = pytest.mark.parametrize("kind", rows(KINDS, CHUNKS))
in_events = pytest.mark.parametrize("kind", rows(KINDS, EVENTS))
in_logs = pytest.mark.parametrize("kind", rows(KINDS, LOGS))


class TestEveryKind:
    @whole
    def test_invoke(self, remote: Remote, kind: Kind) -> None:
        assert plain(remote(kind.path).invoke(kind.input)) == kind.output

    @whole
    async def test_ainvoke(self, remote: Remote, kind: Kind) -> None:
        assert plain(await remote(kind.path).ainvoke(kind.input)) == kind.output

    @whole
    def test_batch(self, remote: Remote, kind: Kind) -> None:
        assert plain(remote(kind.path).batch([kind.input, kind.input])) == [
            kind.output,
            kind.output,
        ]

    @whole
    async def test_abatch(self, remote: Remote, kind: Kind) -> None:
        assert plain(await remote(kind.path).abatch([kind.input, kind.input])) == [
            kind.output,
            kind.output,
        ]

    @in_chunks
    def test_stream(self, remote: Remote, kind: Kind) -> None:
        assert [plain(chunk) for chunk in remote(kind.path).stream(kind.input)] == kind.stream

    @in_chunks
    async def test_astream(self, remote: Remote, kind: Kind) -> None:
        assert [
            plain(chunk) async for chunk in remote(kind.path).astream(kind.input)
        ] == kind.stream

    @in_logs
    async def test_astream_log(self, remote: Remote, kind: Kind) -> None:
        patches = [patch async for patch in remote(kind.path).astream_log(kind.input)]
        state = sum(patches[1:], patches[0] + type(patches[0])()).state
        assert plain(state["streamed_output"]) == kind.stream

    @in_events
    async def test_astream_events(self, remote: Remote, kind: Kind) -> None:
        events = [event async for event in remote(kind.path).astream_events(kind.input)]
        own = [event for event in events if not event["parent_ids"]]
        chunks = [event["data"]["chunk"] for event in own if event["event"].endswith("_stream")]
        assert plain(chunks) == ([] if kind.path in WITHOUT_CHUNK_EVENTS else kind.stream)
        assert "output" in own[-1]["data"]


class TestTypes:
    def test_scalars_arrive_as_python_objects(self, remote: Remote) -> None:
        sent = {
            "id": uuid4(),
            "at": datetime(2030, 1, 2, 3, 4),
            "day": date(2030, 1, 2),
            "color": "red",
        }
        output = remote("scalars").invoke(sent)
        assert output["types"] == {
            "id": "UUID",
            "at": "datetime",
            "day": "date",
            "color": "Color",
        }
        assert output["values"] == {
            "id": str(sent["id"]),
            "at": "2030-01-02T03:04:00",
            "day": "2030-01-02",
            "color": "red",
        }

    def test_a_union_takes_a_tool_message(self, remote: Remote) -> None:
        assert remote("union_messages").invoke([ToolMessage("a", tool_call_id="1")]) == [
            "ToolMessage"
        ]

    def test_missing_fields_take_their_defaults(self, remote: Remote) -> None:
        assert remote("point").invoke({"x": 1}) == {"is": "dict", "sum": 1}

    def test_tool_calls_and_usage_survive_the_way_back(self, remote: Remote) -> None:
        messages = remote("agent").invoke({"messages": [HumanMessage("6 times 7")]})["messages"]
        assert [call["args"] for call in messages[1].tool_calls] == [{"a": 6, "b": 7}]
        assert remote("plain_model").invoke("hi").usage_metadata["output_tokens"] == 3

    def test_chunks_of_a_model_add_up_to_a_message(self, remote: Remote) -> None:
        first, *rest = remote("model").stream("hi")
        assert sum(rest, first).content == "You said: hi"

    def test_chunks_that_are_dicts_add_up(self, remote: Remote) -> None:
        first, second = remote("halves").stream("abcd")
        assert first + second == {"first": "ab", "second": "cd"}

    def test_nothing_streamed_is_an_empty_stream(self, remote: Remote) -> None:
        assert list(remote("nothing").stream("x")) == []

    def test_an_empty_batch_asks_nothing(self, remote: Remote) -> None:
        assert remote("add_one").batch([]) == []


SPECIAL = [
    "next\u0085line",
    "line\u2028separator",
    "paragraph\u2029separator",
    "two\r\nlines",
    "über 🦜",
]


class TestSpecialCharacters:
    def test_they_survive_invoke(self, remote: Remote) -> None:
        assert remote("special").invoke("x") == "".join(SPECIAL)

    def test_they_survive_the_way_there(self, remote: Remote) -> None:
        assert remote("passthrough").invoke(SPECIAL) == SPECIAL

    @pytest.mark.better("line separators are not escaped and cut the JSON")
    def test_they_survive_a_stream(self, remote: Remote) -> None:
        assert list(remote("special").stream("x")) == SPECIAL

    @pytest.mark.better("line separators are not escaped and cut the JSON")
    async def test_they_survive_events(self, remote: Remote) -> None:
        events = [event async for event in remote("special").astream_events("x")]
        assert [
            event["data"]["chunk"] for event in events if event["event"] == "on_chain_stream"
        ] == SPECIAL

    @pytest.mark.better("line separators are not escaped and cut the JSON")
    async def test_they_survive_a_log(self, remote: Remote) -> None:
        patches = [patch async for patch in remote("special").astream_log("x")]
        assert streamed(patches) == SPECIAL


def streamed(patches: list[Any]) -> list[Any]:
    return [
        op["value"] for patch in patches for op in patch.ops if op["path"] == "/streamed_output/-"
    ]


class TestLocalChains:
    def test_a_local_prompt_feeds_a_remote_model(self, remote: Remote) -> None:
        chain = ChatPromptTemplate.from_template("Tell me about {topic}") | remote("model")
        assert chain.invoke(CATS).content == TOLD

    async def test_a_local_prompt_streams_a_remote_model(self, remote: Remote) -> None:
        chain = ChatPromptTemplate.from_template("Tell me about {topic}") | remote("model")
        assert "".join([chunk.content async for chunk in chain.astream(CATS)]) == TOLD

    def test_a_prompt_feeds_a_map_of_two_remote_models_in_a_batch(self, remote: Remote) -> None:
        prompt = ChatPromptTemplate.from_messages(
            [("system", "Tell me a long story about {topic}")]
        )
        chain = prompt | RunnableMap({"streaming": remote("model"), "plain": remote("plain_model")})
        stories = chain.batch([{"topic": "parrots"}, {"topic": "cats"}])
        assert [story["streaming"].content for story in stories] == [
            "You said: Tell me a long story about parrots",
            "You said: Tell me a long story about cats",
        ]
        assert [story["plain"].content for story in stories] == [
            story["streaming"].content for story in stories
        ]

    async def test_a_remote_step_in_the_middle(self, remote: Remote) -> None:
        chain = RunnableLambda(lambda x: x * 2) | remote("add_one") | RunnableLambda(str)
        assert await chain.ainvoke(2) == "5"
        assert await chain.abatch([1, 2]) == ["3", "5"]

    async def test_local_events_go_on_through_a_remote_step(self, remote: Remote) -> None:
        chain = RunnableLambda(lambda x: x * 2) | remote("add_one")
        events = [event async for event in chain.astream_events(2, version="v2")]
        assert events[-1]["data"]["output"] == 5

    def test_a_path_may_end_with_a_slash(self, remote: Remote) -> None:
        assert remote("add_one/").invoke(1) == 2
        assert list(remote("add_one/").stream(1)) == [2]


class TestConfig:
    def test_a_configurable_field_is_set_for_one_call(self, remote: Remote) -> None:
        config = {"configurable": {"template": "Bye {name}"}}
        assert remote("greeting").invoke({"name": "Ann"}, config).text == "Bye Ann"

    def test_the_fields_of_a_new_template_join_the_input(self, remote: Remote) -> None:
        config = {"configurable": {"template": "{verb} {name}"}}
        assert remote("greeting").invoke({"verb": "Bye", "name": "Ann"}, config).text == "Bye Ann"

    def test_a_bound_config_is_sent(self, remote: Remote) -> None:
        bound = remote("greeting").with_config(configurable={"template": "Bye {name}"})
        assert bound.invoke({"name": "Ann"}).text == "Bye Ann"
        assert [value.text for value in bound.stream({"name": "Ann"})] == ["Bye Ann"]

    def test_an_alternative_is_chosen(self, remote: Remote) -> None:
        config = {"configurable": {"animal": "dog"}}
        assert remote("animal").invoke({"verb": "barks"}, config).text == "The dog barks"

    @pytest.mark.better("the defaults of fields that were not sent win over the path")
    def test_a_config_in_the_path_is_used(self, remote: Remote) -> None:
        assert (
            remote(f"greeting/c/{TEMPLATE_HASH}").invoke({"name": "Ann", "y": "Y"}).text
            == "X Ann Y"
        )
        assert [
            value.text
            for value in remote(f"greeting/c/{TEMPLATE_HASH}").stream({"name": "Ann", "y": "Y"})
        ] == ["X Ann Y"]

    def test_the_body_wins_over_the_path(self, remote: Remote) -> None:
        config = {"configurable": {"template": "Bye {name}"}}
        assert (
            remote(f"greeting/c/{TEMPLATE_HASH}").invoke({"name": "Ann"}, config).text == "Bye Ann"
        )

    def test_a_batch_takes_a_config_for_each_input(self, remote: Remote) -> None:
        configs = [{"configurable": {"animal": animal}} for animal in ("dog", "cat")]
        values = remote("animal").batch([{"verb": "eats"}, {"verb": "eats"}], configs)
        assert [value.text for value in values] == ["The dog eats", "The cat eats"]

    def test_a_batch_takes_one_config_for_all(self, remote: Remote) -> None:
        config = {"configurable": {"animal": "dog"}}
        values = remote("animal").batch([{"verb": "eats"}, {"verb": "sleeps"}], config)
        assert [value.text for value in values] == ["The dog eats", "The dog sleeps"]

    def test_open_keys_reach_the_runnable(self, remote: Remote) -> None:
        seen = remote("open_config").invoke(1, {"tags": ["b", "a"], "metadata": {"who": "ann"}})
        assert (seen["tags"], seen["metadata"]) == (["a", "b"], {"who": "ann"})

    def test_open_keys_differ_within_a_batch(self, remote: Remote) -> None:
        configs = [
            {"tags": ["a"], "metadata": {"n": 1}},
            {"tags": ["b"], "metadata": {"n": 2}},
        ]
        seen = remote("open_config").batch([1, 2], configs)
        assert [(one["x"], one["tags"], one["metadata"]) for one in seen] == [
            (1, ["a"], {"n": 1}),
            (2, ["b"], {"n": 2}),
        ]

    def test_closed_keys_are_dropped(self, remote: Remote) -> None:
        seen = remote("closed_config").invoke(1, {"tags": ["a"], "metadata": {"who": "ann"}})
        assert (seen["tags"], seen["metadata"]) == ([], {})

    def test_undeclared_configurable_ids_are_dropped(self, remote: Remote) -> None:
        assert remote("add_one").invoke(1, {"configurable": {"nobody": "declared me"}}) == 2

    @pytest.mark.better("the empty `configurable` this client always sends is refused")
    def test_closed_configurable_matters_only_when_sent(self, remote: Remote) -> None:
        assert remote("tags_only").invoke({"name": "Ann"}).text == "Hello Ann"

    def test_closed_configurable_is_refused_when_sent(self, remote: Remote) -> None:
        with pytest.raises(httpx.HTTPStatusError, match="configurable") as caught:
            remote("tags_only").invoke(
                {"name": "Ann"}, {"configurable": {"template": "Bye {name}"}}
            )
        assert caught.value.response.status_code == 422

    def test_a_session_remembers(self, remote: Remote) -> None:
        config = {"configurable": {"session_id": uuid4().hex}}
        chat = remote("history")
        assert chat.invoke({"question": "one"}, config).content == "1: one"
        assert chat.invoke({"question": "two"}, config).content == "3: two"
        assert (
            "".join(chunk.content for chunk in chat.stream({"question": "three"}, config))
            == "5: three"
        )

    def test_sessions_are_apart(self, remote: Remote) -> None:
        configs = [{"configurable": {"session_id": uuid4().hex}} for _ in range(2)]
        answers = remote("history").batch([{"question": "a"}, {"question": "b"}], configs)
        assert [answer.content for answer in answers] == ["1: a", "1: b"]


class TestRunIds:
    async def test_a_stream_runs_under_the_id_it_was_given(self, remote: Remote) -> None:
        run_id = str(uuid4())
        (seen,) = [chunk async for chunk in remote("open_config").astream(1, {"run_id": run_id})]
        assert seen["run_id"] == run_id

    async def test_events_carry_the_id_they_were_given(self, remote: Remote) -> None:
        run_id = str(uuid4())
        events = [
            event async for event in remote("open_config").astream_events(1, {"run_id": run_id})
        ]
        assert events[0]["run_id"] == run_id

    def test_every_run_of_a_batch_has_its_own(self, remote: Remote) -> None:
        seen = remote("open_config").batch([1, 2, 3])
        assert len({UUID(one["run_id"]) for one in seen}) == 3

    def test_the_reply_names_the_run(self, remote: Remote) -> None:
        reply = remote("open_config").sync_client.post("/invoke", json={"input": 1}).json()
        assert reply["metadata"]["run_id"] == reply["output"]["run_id"]

    def test_the_reply_to_a_batch_names_its_runs(self, remote: Remote) -> None:
        reply = remote("open_config").sync_client.post("/batch", json={"inputs": [1, 2]}).json()
        assert reply["metadata"]["run_ids"] == [one["run_id"] for one in reply["output"]]


class TestEvents:
    async def test_the_first_and_last_are_the_deployment_s_own(self, remote: Remote) -> None:
        events = [event async for event in remote("joke").astream_events(CATS)]
        ends = [
            (event["event"], event["name"], event["parent_ids"])
            for event in (events[0], events[-1])
        ]
        assert ends == [("on_chain_start", "/joke", []), ("on_chain_end", "/joke", [])]
        assert events[-1]["data"]["output"] == TOLD

    async def test_inner_runs_name_their_parents(self, remote: Remote) -> None:
        events = [event async for event in remote("joke").astream_events(CATS)]
        root = events[0]["run_id"]
        inner = {event["name"]: event["parent_ids"] for event in events if event["run_id"] != root}
        assert inner == {
            "ChatPromptTemplate": [root],
            "StreamingEcho": [root],
            "StrOutputParser": [root],
        }

    async def test_the_model_s_words_are_messages(self, remote: Remote) -> None:
        events = [event async for event in remote("joke").astream_events(CATS)]
        words = [
            event["data"]["chunk"] for event in events if event["event"] == "on_chat_model_stream"
        ]
        assert "".join(word.content for word in words) == TOLD

    async def test_names_are_filtered(self, remote: Remote) -> None:
        events = [
            event
            async for event in remote("joke").astream_events(CATS, include_names=["StreamingEcho"])
        ]
        assert {event["name"] for event in events} == {"StreamingEcho"}

    async def test_types_are_filtered(self, remote: Remote) -> None:
        events = [
            event
            async for event in remote("joke").astream_events(CATS, exclude_types=["chat_model"])
        ]
        assert "StreamingEcho" not in {event["name"] for event in events}

    async def test_the_server_s_own_metadata_stays_there(self, remote: Remote) -> None:
        events = [event async for event in remote("joke").astream_events(CATS)]
        assert [key for event in events for key in event["metadata"] if key.startswith("__")] == []

    async def test_a_deployment_may_speak_the_first_version(self, remote: Remote) -> None:
        events = [event async for event in remote("events_v1").astream_events(CATS)]
        assert (events[0]["event"], events[0]["name"]) == (
            "on_chain_start",
            "/events_v1",
        )
        assert events[-1]["data"]["output"] == TOLD

    async def test_a_tool_of_a_graph_is_seen(self, remote: Remote) -> None:
        asked = {"messages": [HumanMessage("6 times 7")]}
        events = [event async for event in remote("agent").astream_events(asked)]
        names = {(event["event"], event["name"]) for event in events}
        assert {
            ("on_tool_start", "multiply"),
            ("on_chat_model_end", "Calculator"),
            ("on_chain_end", "/agent"),
        } <= names

    @pytest.mark.better("one value without JSON kills the stream")
    async def test_a_value_without_json_does_not_end_them(self, remote: Remote) -> None:
        events = [event async for event in remote("set_inside").astream_events(1)]
        assert events[-1]["data"]["output"] == 2


class TestLogs:
    async def test_the_log_names_its_steps(self, remote: Remote) -> None:
        patches = [patch async for patch in remote("joke").astream_log(CATS)]
        state = sum(patches[1:], patches[0] + type(patches[0])()).state
        assert set(state["logs"]) == {
            "ChatPromptTemplate",
            "StreamingEcho",
            "StrOutputParser",
        }
        assert state["final_output"] == TOLD

    async def test_steps_are_filtered(self, remote: Remote) -> None:
        patches = [
            patch
            async for patch in remote("joke").astream_log(CATS, include_names=["StreamingEcho"])
        ]
        state = sum(patches[1:], patches[0] + type(patches[0])()).state
        assert set(state["logs"]) == {"StreamingEcho"}

    async def test_a_deployment_may_keep_its_log_to_itself(self, remote: Remote) -> None:
        assert [patch async for patch in remote("quiet_log").astream_log(1)] == []
        assert streamed([patch async for patch in remote("loud_log").astream_log(1)]) == [2]

    @pytest.mark.better("one value without JSON kills the stream")
    async def test_a_value_without_json_does_not_end_it(self, remote: Remote) -> None:
        assert streamed([patch async for patch in remote("set_inside").astream_log(1)]) == [2]


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.runs: dict[str, tuple[UUID, UUID | None]] = {}
        self.tokens = 0

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        self.heard.append("chain start")
        self.runs[str(kwargs.get("name"))] = (run_id, parent_run_id)

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.heard.append("chain end")

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        assert isinstance(messages[0][0], HumanMessage)
        self.heard.append("model start")

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.heard.append("model end")
        self.tokens += response.generations[0][0].message.usage_metadata["output_tokens"]

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self.heard.append("tool start")

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        self.heard.append(f"tool said {output}")

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.heard.append(f"looked for {query}")

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.heard.append(f"found {len(documents)}")


class AsyncListener(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[str] = []

    async def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.heard.append("chain start")


OBSERVED = {
    "model start",
    "model end",
    "tool start",
    "tool said 42",
    "looked for cats",
    "found 2",
}


class TestCallbackEvents:
    def test_local_handlers_hear_the_remote_chain(self, remote: Remote) -> None:
        listener = Listener()
        assert remote("observed_add_one").invoke(1, {"callbacks": [listener]}) == 2
        assert listener.heard == [
            "chain start",
            "chain start",
            "chain end",
            "chain end",
        ]

    def test_the_remote_run_hangs_under_the_local_one(self, remote: Remote) -> None:
        listener = Listener()
        remote("observed_add_one").invoke(1, {"callbacks": [listener]})
        (local, nobody), (_, parent) = (
            listener.runs["RemoteRunnable"],
            listener.runs["/observed_add_one"],
        )
        assert (nobody, parent) == (None, local)

    def test_every_run_of_a_batch_is_heard(self, remote: Remote) -> None:
        listener = Listener()
        remote("observed_add_one").batch([1, 2], {"callbacks": [listener]})
        assert listener.heard.count("chain end") == 4

    async def test_async_handlers_hear_a_batch(self, remote: Remote) -> None:
        listener = AsyncListener()
        await remote("observed_add_one").abatch([1, 2], {"callbacks": [listener]})
        assert listener.heard == ["chain start"] * 4

    def test_a_client_may_not_want_them(self, remote: Remote) -> None:
        listener = Listener()
        remote("observed_add_one", use_server_callback_events=False).invoke(
            1, {"callbacks": [listener]}
        )
        assert listener.heard == ["chain start", "chain end"]

    @pytest.mark.better("a chat model, a tool or a fallback makes it a 500")
    def test_a_model_a_tool_and_a_retriever_are_heard(self, remote: Remote) -> None:
        listener = Listener()
        output = remote("observed").invoke(CATS, {"callbacks": [listener]})
        assert (output["answer"], output["product"]) == (TOLD, 42)
        assert set(listener.heard) >= OBSERVED

    @pytest.mark.better("a chat model, a tool or a fallback makes it a 500")
    def test_tokens_can_be_counted(self, remote: Remote) -> None:
        listener = Listener()
        remote("observed").invoke(CATS, {"callbacks": [listener]})
        assert listener.tokens == 6

    @pytest.mark.better("a chat model, a tool or a fallback makes it a 500")
    def test_a_batch_of_them_is_heard(self, remote: Remote) -> None:
        listener = Listener()
        remote("observed").batch([CATS, CATS], {"callbacks": [listener]})
        assert listener.heard.count("tool said 42") == 2

    def test_local_handlers_hear_a_stream(self, remote: Remote) -> None:
        listener = Listener()
        list(remote("joke").stream(CATS, {"callbacks": [listener]}))
        assert listener.heard == ["chain start", "chain end"]


class TestErrors:
    @pytest.mark.parametrize(
        ("path", "sent", "status"),
        [
            ("nobody", 1, 404),
            ("fails", "x", 500),
            ("refuses", "x", 429),
            ("add_one", "not a number", 422),
            ("any_messages", [{"type": "human"}], 422),
            ("private", CATS, 401),
        ],
    )
    def test_invoke_raises_the_status(
        self, remote: Remote, path: str, sent: Any, status: int
    ) -> None:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            remote(path).invoke(sent)
        assert caught.value.response.status_code == status

    @pytest.mark.better(WHOLE["union_messages"])
    def test_a_bad_message_in_a_union_is_a_422(self, remote: Remote) -> None:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            remote("union_messages").invoke([{"type": "tool", "content": "no call id"}])
        assert caught.value.response.status_code == 422

    @pytest.mark.parametrize(
        ("path", "sent", "status"),
        [
            ("nobody", 1, 404),
            ("add_one", "not a number", 422),
            ("private", CATS, 401),
            ("invoke_only", 1, 404),
        ],
    )
    async def test_a_refused_stream_raises_the_status(
        self, remote: Remote, path: str, sent: Any, status: int
    ) -> None:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            await anext(remote(path).astream(sent))
        assert caught.value.response.status_code == status

    @pytest.mark.parametrize("path", ["no_batch", "invoke_only"])
    def test_a_door_that_is_closed_is_a_404(self, remote: Remote, path: str) -> None:
        assert remote(path).invoke(1) == 2
        with pytest.raises(httpx.HTTPStatusError) as caught:
            remote(path).batch([1])
        assert caught.value.response.status_code == 404

    def test_the_message_says_what_is_wrong_with_the_input(self, remote: Remote) -> None:
        with pytest.raises(httpx.HTTPStatusError, match="valid integer"):
            remote("add_one").invoke("not a number")

    def test_the_message_of_a_refusal_is_shown(self, remote: Remote) -> None:
        with pytest.raises(httpx.HTTPStatusError, match="Come back tomorrow"):
            remote("refuses").invoke("x")

    def test_what_a_runnable_says_to_itself_is_not_shown(self, remote: Remote) -> None:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            remote("fails").invoke("x")
        assert SECRET not in str(caught.value)

    @pytest.mark.better("the body is not JSON and does not name the run")
    def test_a_failure_names_its_run(self, remote: Remote) -> None:
        body = remote("fails").sync_client.post("/invoke", json={"input": "x"}).json()
        assert UUID(body["run_id"])
        assert body["detail"]
        assert body["message"]

    def test_one_failure_fails_the_batch(self, remote: Remote) -> None:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            remote("fails_on_zero").batch([5, 0])
        assert caught.value.response.status_code == 500

    @pytest.mark.better("an invalid item of a batch is a 500")
    def test_an_invalid_item_of_a_batch_is_a_422(self, remote: Remote) -> None:
        with pytest.raises(httpx.HTTPStatusError, match="valid integer") as caught:
            remote("add_one").batch([1, "not a number"])
        assert caught.value.response.status_code == 422

    def test_a_refusal_fails_the_batch_with_its_status(self, remote: Remote) -> None:
        with pytest.raises(httpx.HTTPStatusError, match="Come back tomorrow") as caught:
            remote("refuses").batch(["x"])
        assert caught.value.response.status_code == 429


def stream_of(runnable: Any, sent: Any) -> Any:
    return runnable.astream(sent)


def log_of(runnable: Any, sent: Any) -> Any:
    return runnable.astream_log(sent)


def events_of(runnable: Any, sent: Any) -> Any:
    return runnable.astream_events(sent)


every_stream = pytest.mark.parametrize("stream", [stream_of, log_of, events_of])
generic = pytest.mark.better("whatever the exception, a stream says 500")


class TestFailingStreams:
    @every_stream
    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("fails", 500),
            ("fails_midway", 500),
            pytest.param("refuses", 429, marks=generic),
            pytest.param("refuses_midway", 429, marks=generic),
        ],
    )
    async def test_the_status_is_raised(
        self, remote: Remote, stream: Any, path: str, status: int
    ) -> None:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            [chunk async for chunk in stream(remote(path), "x")]
        assert caught.value.response.status_code == status

    @pytest.mark.parametrize("path", ["fails_midway", "refuses_midway"])
    def test_what_came_before_is_kept(self, remote: Remote, path: str) -> None:
        stream = remote(path).stream("x")
        assert next(stream) == "x"
        with pytest.raises(httpx.HTTPStatusError):
            next(stream)

    @generic
    def test_the_message_of_a_refusal_midway_is_shown(self, remote: Remote) -> None:
        with pytest.raises(httpx.HTTPStatusError, match="Come back tomorrow"):
            list(remote("refuses_midway").stream("x"))

    @every_stream
    async def test_what_a_runnable_says_to_itself_is_not_shown(
        self, remote: Remote, stream: Any
    ) -> None:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            [chunk async for chunk in stream(remote("fails_midway"), "x")]
        assert SECRET not in f"{caught.value}{caught.value.response.text}"

    @pytest.mark.better("a failure before the first chunk is a 200 and an error event")
    def test_a_failure_at_once_is_a_real_status(self, remote: Remote) -> None:
        assert remote("fails").sync_client.post("/stream", json={"input": "x"}).status_code == 500

    @pytest.mark.better("after the error event the body is cut off")
    def test_the_body_ends_cleanly(self, remote: Remote) -> None:
        body = remote("fails_midway").sync_client.post("/stream", json={"input": "x"}).text
        assert body.rstrip().splitlines()[-2] == "event: error"


class TestHeaders:
    def test_a_token_opens_every_sync_door(self, remote: Remote, token: str) -> None:
        private = remote("private", headers={"Authorization": f"Bearer {token}"})
        assert private.invoke(CATS) == TOLD
        assert private.batch([CATS]) == [TOLD]
        assert "".join(private.stream(CATS)) == TOLD

    async def test_a_token_opens_every_async_door(self, remote: Remote, token: str) -> None:
        private = remote("private", headers={"Authorization": f"Bearer {token}"})
        assert await private.ainvoke(CATS) == TOLD
        assert "".join([chunk async for chunk in private.astream(CATS)]) == TOLD
        assert [event async for event in private.astream_events(CATS)][-1]["data"]["output"] == TOLD
        assert "".join(streamed([patch async for patch in private.astream_log(CATS)])) == TOLD

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer no-such-token"}])
    @every_stream
    async def test_nothing_is_open_without_one(
        self, remote: Remote, stream: Any, headers: dict[str, str]
    ) -> None:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            await anext(stream(remote("private", headers=headers), CATS))
        assert caught.value.response.status_code == 401

    def test_a_modifier_reads_them(self, remote: Remote) -> None:
        tenant = remote("tenant", headers={"X-Tenant": "acme"})
        assert tenant.invoke(1)["metadata"] == {"tenant": "acme"}
        assert [chunk["metadata"] for chunk in tenant.stream(1)] == [{"tenant": "acme"}]

    @pytest.mark.better("what a modifier adds is lost in a batch")
    def test_a_modifier_reads_them_for_a_batch(self, remote: Remote) -> None:
        tenant = remote("tenant", headers={"X-Tenant": "acme"})
        assert [one["metadata"] for one in tenant.batch([1, 2])] == [{"tenant": "acme"}] * 2


runs_on = pytest.mark.better("invoke and batch run on when the client has gone")


class TestHangUps:
    def test_leaving_a_stream_ends_the_run(self, remote: Remote, ledger: Any) -> None:
        stream = remote("slow").stream(ledger.key)
        assert next(stream) == "0"
        stream.close()
        ledger.wait_for("finally")

    @every_stream
    async def test_leaving_an_async_stream_ends_the_run(
        self, remote: Remote, ledger: Any, stream: Any
    ) -> None:
        async with aclosing(stream(remote("slow"), ledger.key)) as chunks:
            await anext(chunks)
        await asyncio.to_thread(ledger.wait_for, "finally")

    @runs_on
    def test_a_client_s_timeout_cancels_an_invoke(self, remote: Remote, ledger: Any) -> None:
        with pytest.raises(httpx.ReadTimeout):
            remote("slow_invoke", timeout=2).invoke(ledger.key)
        ledger.wait_for("cancelled")

    @runs_on
    def test_a_client_s_timeout_cancels_a_batch(self, remote: Remote, new_ledger: Any) -> None:
        first, second = new_ledger(), new_ledger()
        with pytest.raises(httpx.ReadTimeout):
            remote("slow_invoke", timeout=2).batch([first.key, second.key])
        first.wait_for("cancelled")
        second.wait_for("cancelled")

    @runs_on
    async def test_cancelling_an_ainvoke_cancels_the_run(self, remote: Remote, ledger: Any) -> None:
        call = asyncio.create_task(remote("slow_invoke").ainvoke(ledger.key))
        await asyncio.to_thread(ledger.wait_for, "started")
        call.cancel()
        await asyncio.wait([call])
        await asyncio.to_thread(ledger.wait_for, "cancelled")

    async def test_one_caller_s_leaving_does_not_end_another_s_run(
        self, remote: Remote, new_ledger: Any
    ) -> None:
        leaving, staying = new_ledger(), new_ledger()
        async with aclosing(remote("slow").astream(staying.key)) as stays:
            await anext(stays)
            async with aclosing(remote("slow").astream(leaving.key)) as leaves:
                await anext(leaves)
            await asyncio.to_thread(leaving.wait_for, "finally")
            await anext(stays)
            assert not staying.holds("finally")


class TestTogether:
    async def test_fifty_calls_at_once(self, remote: Remote) -> None:
        add_one = remote("add_one")
        assert await asyncio.gather(*(add_one.ainvoke(x) for x in range(50))) == list(range(1, 51))

    async def test_twenty_streams_at_once(self, remote: Remote) -> None:
        letters = remote("letters_later")

        async def spelt(word: str) -> str:
            return "".join([letter async for letter in letters.astream(word)])

        words = [f"word {number}" for number in range(20)]
        assert await asyncio.gather(*map(spelt, words)) == words

    async def test_blocking_runnables_do_not_wait_for_each_other(self, remote: Remote) -> None:
        blocking = remote("blocking")
        async with asyncio.timeout(5):
            assert await asyncio.gather(*(blocking.ainvoke(x) for x in range(8))) == list(range(8))

    async def test_a_blocking_runnable_does_not_hold_up_the_others(self, remote: Remote) -> None:
        blocked = asyncio.create_task(remote("blocking").ainvoke(1))
        assert await remote("add_one_later").ainvoke(1) == 2
        assert not blocked.done()
        assert await blocked == 1
