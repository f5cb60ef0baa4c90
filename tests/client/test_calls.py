"""
Every way to call every kind of runnable, on the servers people run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import ChatPromptValueConcrete, StringPromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tracers.log_stream import RunLog, RunLogPatch
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from runnables.client import RemoteError, RemoteRunnable
from tests.client.conftest import Remote, answering, connecting, saying
from tests.live import LiveSite

CATS = {"topic": "cats"}
TOLD = "You said: Tell me about cats"
SPECIAL = ["next\u0085line", "line\u2028separator", "paragraph\u2029separator", "two\r\nlines"]


@dataclass(frozen=True)
class Kind:
    """
    A runnable, one call of it, and what comes back: whole, and in chunks where it streams.
    """

    path: str
    input: Any
    output: Any
    chunks: list[Any] | None = None

    @property
    def stream(self) -> list[Any]:
        return [self.output] if self.chunks is None else self.chunks


as_state: Any = RunnableLambda(lambda message: {"messages": [message]})


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


def state_of(patches: list[RunLogPatch]) -> Any:
    """
    What the patches of a log add up to.
    """
    nothing: Any = None
    log: Any = RunLog(state=nothing)
    for patch in patches:
        log += patch
    return log.state


PAGES = [("Document", "cats purr", {"page": 1}), ("Document", "cats and dogs", {"page": 3})]
SAID = [("AIMessageChunk", word) for word in ("You", " said:", " hi", "")]
MULTIPLIED = [human("6 times 7"), ai(""), ("ToolMessage", "42"), ai("It is 42.")]

KINDS = [
    Kind("joke", CATS, TOLD, ["You", " said:", " Tell", " me", " about", " cats", ""]),
    Kind("model", "hi", ai("You said: hi"), SAID),
    Kind("model", [HumanMessage("hi")], ai("You said: hi"), SAID),
    Kind("model", ChatPromptValueConcrete(messages=[HumanMessage("hi")]), ai("You said: hi"), SAID),
    Kind("prompt", CATS, ("ChatPromptValueConcrete", [human("Tell me about cats")])),
    Kind("greeting", {"name": "Ann"}, ("StringPromptValue", [human("Hello Ann")])),
    Kind("retriever", "cats", PAGES),
    Kind("multiply", {"a": 6, "b": 7}, 42),
    Kind("add_one", 1, 2),
    Kind("made/by/factory/", 1, 2),
    Kind("letters_later", "abc", "abc", ["a", "b", "c"]),
    Kind("shout", "abc", "ABC", ["A", "B", "C"]),
    Kind(
        "agent",
        {"messages": [HumanMessage("6 times 7")]},
        {"messages": MULTIPLIED},
        [
            {step: {"messages": [message]}}
            for step, message in zip(("model", "tools", "model"), MULTIPLIED[1:], strict=True)
        ],
    ),
    Kind("any_messages", [ToolMessage("a", tool_call_id="1")], ["ToolMessage"]),
    Kind("texts", [Document("a"), Document("b")], ["a", "b"]),
    Kind("documents", "cats", {"answer": "cats", "sources": PAGES}),
    Kind(
        "halves",
        "abcd",
        {"first": "ab", "second": "cd"},
        [{"first": "ab"}, {"second": "cd"}],
    ),
    Kind("special", "x", "".join([*SPECIAL, "über 🦜"]), [*SPECIAL, "über 🦜"]),
    Kind("pair", 1, [1, "1"]),
    Kind("infinite", 1, [1.0, None, None]),
    Kind("passthrough", {"a": [1, None, "ü"]}, {"a": [1, None, "ü"]}),
]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.path)


class TestEveryKind:
    @every_kind
    def test_invoke(self, remote: Remote, kind: Kind) -> None:
        assert plain(remote(kind.path).invoke(kind.input)) == kind.output

    @every_kind
    async def test_ainvoke(self, remote: Remote, kind: Kind) -> None:
        assert plain(await remote(kind.path).ainvoke(kind.input)) == kind.output

    @every_kind
    def test_batch(self, remote: Remote, kind: Kind) -> None:
        both = [kind.input, kind.input]
        assert plain(remote(kind.path).batch(both)) == [kind.output, kind.output]

    @every_kind
    async def test_abatch(self, remote: Remote, kind: Kind) -> None:
        both = [kind.input, kind.input]
        assert plain(await remote(kind.path).abatch(both)) == [kind.output, kind.output]

    @every_kind
    def test_stream(self, remote: Remote, kind: Kind) -> None:
        assert plain(list(remote(kind.path).stream(kind.input))) == kind.stream

    @every_kind
    async def test_astream(self, remote: Remote, kind: Kind) -> None:
        chunks = [chunk async for chunk in remote(kind.path).astream(kind.input)]
        assert plain(chunks) == kind.stream

    @every_kind
    async def test_astream_log(self, remote: Remote, kind: Kind) -> None:
        patches = [patch async for patch in remote(kind.path).astream_log(kind.input)]
        assert plain(state_of(patches)["streamed_output"]) == kind.stream

    @every_kind
    async def test_astream_events(self, remote: Remote, kind: Kind) -> None:
        events = [event async for event in remote(kind.path).astream_events(kind.input)]
        assert events[0]["parent_ids"] == events[-1]["parent_ids"] == []
        assert "output" in events[-1]["data"]


class TestOnDaphne:
    @pytest.fixture
    def remote(self, daphne: LiveSite) -> Iterator[Remote]:
        yield from connecting(daphne)

    async def test_every_call(self, remote: Remote) -> None:
        joke = remote("joke")

        assert await joke.ainvoke(CATS) == joke.invoke(CATS) == TOLD
        assert await joke.abatch([CATS]) == joke.batch([CATS]) == [TOLD]
        assert "".join([chunk async for chunk in joke.astream(CATS)]) == TOLD
        assert "".join(joke.stream(CATS)) == TOLD
        events = [event async for event in joke.astream_events(CATS, version="v2")]
        assert events[-1]["data"]["output"] == TOLD
        logs = [log async for log in joke.astream_log(CATS, diff=False)]
        assert logs[-1].state["final_output"] == TOLD

    async def test_special_characters(self, remote: Remote) -> None:
        assert list(remote("special").stream("x"))[:4] == SPECIAL


class TestStreams:
    def test_chunks_come_while_the_run_goes_on(self, remote: Remote, key: str) -> None:
        # It would go on for half a minute.
        with closing(remote("slow").stream(key)) as chunks:
            assert [next(chunks), next(chunks)] == ["0", "1"]

    def test_chunks_of_a_model_add_up(self, remote: Remote) -> None:
        first, *rest = remote("model").stream("hi")
        assert sum(rest, first).content == "You said: hi"

    def test_chunks_that_are_dicts_add_up(self, remote: Remote) -> None:
        first, second = remote("halves").stream("abcd")
        assert first + second == {"first": "ab", "second": "cd"}

    def test_nothing_streamed_is_an_empty_stream(self, remote: Remote) -> None:
        assert list(remote("nothing").stream("x")) == []

    async def test_steps_are_filtered(self, remote: Remote) -> None:
        stream = remote("joke").astream_events(CATS, include_types=["chat_model"])
        assert {event["name"] async for event in stream} == {"StreamingEcho"}

        stream = remote("joke").astream_log(CATS, include_names=["StreamingEcho"], diff=False)
        logs = [log async for log in stream]
        assert set(logs[-1].state["logs"]) == {"StreamingEcho"}

    async def test_a_log_can_leave_out_the_chunks(self, remote: Remote) -> None:
        stream = remote("joke").astream_log(CATS, with_streamed_output_list=False, diff=False)
        logs = [log async for log in stream]
        state = logs[-1].state
        assert (state["streamed_output"], state["final_output"]) == ([], TOLD)

    async def test_a_third_version_of_events_is_not_to_be_had(self, remote: Remote) -> None:
        with pytest.raises(NotImplementedError, match="v3"):
            await anext(remote("joke").astream_events(CATS, version="v3"))


class TestLocalChains:
    def test_a_local_prompt_feeds_two_remote_models_in_a_batch(self, remote: Remote) -> None:
        prompt = ChatPromptTemplate.from_template("Tell me about {topic}")
        chain = prompt | RunnableParallel(one=remote("model"), two=remote("plain_model"))
        stories = chain.batch([CATS, {"topic": "dogs"}])
        assert [(story["one"].content, story["two"].content) for story in stories] == [
            (TOLD, TOLD),
            ("You said: Tell me about dogs", "You said: Tell me about dogs"),
        ]

    async def test_a_remote_model_streams_through_a_chain(self, remote: Remote) -> None:
        prompt = ChatPromptTemplate.from_template("Tell me about {topic}")
        chain = prompt | remote("model") | StrOutputParser()
        chunks = [chunk async for chunk in chain.astream(CATS)]
        assert ("".join(chunks), len(chunks)) == (TOLD, 7)

    async def test_a_remote_step_in_the_middle(self, remote: Remote) -> None:
        chain: Any = RunnableLambda(lambda x: x * 2) | remote("add_one") | RunnableLambda(str)
        assert await chain.ainvoke(2) == "5"
        assert await chain.abatch([1, 2]) == chain.batch([1, 2]) == ["3", "5"]

    async def test_local_events_tell_of_the_remote_step(self, remote: Remote) -> None:
        chain: Any = RunnableLambda(lambda x: x * 2) | remote("add_one")
        events = [event async for event in chain.astream_events(2, version="v2")]
        told = {event["event"]: event for event in events if event["name"] == "RemoteRunnable"}
        assert told["on_chain_stream"]["data"]["chunk"] == 5
        assert told["on_chain_end"]["data"] == {"input": 4, "output": 5}

    async def test_a_local_log_tells_of_the_remote_step(self, remote: Remote) -> None:
        chain: Any = RunnableLambda(lambda x: x * 2) | remote("add_one")
        logs = [log async for log in chain.astream_log(2, diff=False)]
        assert logs[-1].state["logs"]["RemoteRunnable"]["final_output"] == {"output": 5}

    def test_a_chain_with_a_remote_step_can_be_drawn_without_asking(self) -> None:
        chain: Any = RunnableLambda(str) | RemoteRunnable[Any, Any]("http://127.0.0.1:9/nobody")
        assert "RemoteRunnable" in chain.get_graph().draw_mermaid()
        assert chain.get_output_jsonschema() == {"title": "RemoteRunnableOutput"}

    async def test_a_remote_step_is_a_node_of_a_local_graph(self, remote: Remote) -> None:
        model = remote("model")

        async def talk(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await model.ainvoke(state["messages"])]}

        graph = StateGraph(MessagesState)
        graph.add_node("talk", talk)
        graph.add_node("again", RunnableLambda(lambda state: state["messages"]) | model | as_state)
        graph.add_edge(START, "talk")
        graph.add_edge("talk", "again")
        local: Any = graph.compile(checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        state = await local.ainvoke({"messages": [HumanMessage("hi")]}, config)
        assert state["messages"][-1].content == "You said: You said: hi"

    def test_a_fallback_takes_over(self, remote: Remote) -> None:
        assert remote("fails").with_fallbacks([remote("letters")]).invoke("abc") == "abc"


class TestConfig:
    def test_a_configurable_field_is_set_for_one_call(self, remote: Remote) -> None:
        config = {"configurable": {"template": "Bye {name}"}}
        assert remote("greeting").invoke({"name": "Ann"}, config).text == "Bye Ann"

    def test_a_bound_config_is_sent(self, remote: Remote) -> None:
        bound = remote("greeting").with_config(configurable={"template": "Bye {name}"})
        assert bound.invoke({"name": "Ann"}).text == "Bye Ann"
        assert [value.text for value in bound.stream({"name": "Ann"})] == ["Bye Ann"]

    def test_a_batch_takes_a_config_for_each_input(self, remote: Remote) -> None:
        configs: Any = [{"configurable": {"animal": animal}} for animal in ("dog", "cat")]
        values = remote("animal").batch([{"verb": "eats"}, {"verb": "eats"}], configs)
        assert [value.text for value in values] == ["The dog eats", "The cat eats"]

    def test_open_keys_reach_the_runnable(self, remote: Remote) -> None:
        seen = remote("open_config").invoke(1, {"tags": ["a"], "metadata": {"who": "ann"}})
        assert (seen["tags"], seen["metadata"]) == (["a"], {"who": "ann"})

    def test_tags_of_a_surrounding_chain_reach_the_runnable(self, remote: Remote) -> None:
        chain: Any = RunnableLambda(lambda x: x) | remote("open_config")
        assert chain.invoke(1, {"tags": ["outer"]})["tags"] == ["outer"]

    def test_what_says_nothing_is_not_sent(self, remote: Remote) -> None:
        assert remote("tags_only").invoke({"name": "Ann"}).text == "Hello Ann"

    @pytest.mark.parametrize("call", ["invoke", "batch", "stream"])
    def test_keyword_arguments_are_refused_with_the_way_to_go(
        self, remote: Remote, call: str
    ) -> None:
        joke = remote("joke")
        sent = [CATS] if call == "batch" else CATS
        with pytest.raises(NotImplementedError, match=r"temperature .* configurable"):
            list(getattr(joke, call)(sent, temperature=0))

    async def test_streams_of_events_refuse_them_too(self, remote: Remote) -> None:
        with pytest.raises(NotImplementedError, match="temperature"):
            await anext(remote("joke").astream_events(CATS, temperature=0))
        with pytest.raises(NotImplementedError, match="temperature"):
            await anext(remote("joke").astream_log(CATS, temperature=0))


class TestRunIds:
    @pytest.mark.parametrize("as_given", [lambda run_id: run_id, str], ids=["uuid", "text"])
    async def test_the_caller_chooses(self, remote: Remote, as_given: Any) -> None:
        client, chosen = remote("closed_config"), [uuid4() for _ in range(4)]
        first, second, third, fourth = ({"run_id": as_given(run_id)} for run_id in chosen)

        seen = [client.invoke(1, first)["run_id"], (await client.ainvoke(1, second))["run_id"]]
        seen += [chunk["run_id"] for chunk in client.stream(1, third)]
        events = [event async for event in client.astream_events(1, fourth)]

        assert [*seen, events[0]["run_id"]] == [str(run_id) for run_id in chosen]
        assert client.last_run_id == chosen[-1]

    def test_every_run_of_a_batch_where_the_config_is_open(self, remote: Remote) -> None:
        chosen = [uuid4(), uuid4()]
        client = remote("open_config")
        seen = client.batch([1, 2], [{"run_id": run_id} for run_id in chosen])
        assert [one["run_id"] for one in seen] == [str(run_id) for run_id in chosen]
        assert client.last_run_ids == tuple(chosen)
        assert client.last_run_id == chosen[0]

    def test_the_server_s_choice_is_known(self, remote: Remote) -> None:
        client = remote("closed_config")
        assert client.last_run_id is None
        seen = client.invoke(1)
        assert str(client.last_run_id) == seen["run_id"]

    def test_it_is_known_while_the_stream_goes_on(self, remote: Remote, key: str) -> None:
        client = remote("slow")
        with closing(client.stream(key)) as chunks:
            next(chunks)
            assert client.last_run_id is not None

    def test_it_is_known_of_a_remote_step(self, remote: Remote) -> None:
        client = remote("closed_config")
        seen = (RunnableLambda(lambda x: x) | client).invoke(1)
        assert str(client.last_run_id) == seen["run_id"]


class TestSchemas:
    async def test_they_come_from_the_server(self, remote: Remote) -> None:
        joke = remote("joke")
        wanted = joke.get_input_jsonschema()
        assert (wanted["required"], await joke.aget_input_jsonschema()) == (["topic"], wanted)
        assert joke.get_output_jsonschema() == await joke.aget_output_jsonschema()
        assert joke.get_output_jsonschema()["type"] == "string"
        config = remote("greeting").get_config_jsonschema()
        assert config == await remote("greeting").aget_config_jsonschema()
        assert "configurable" in config["properties"]

    def test_the_config_counts(self, remote: Remote) -> None:
        config: Any = {"configurable": {"template": "{verb} {name}"}}
        schema = remote("greeting").get_input_jsonschema(config)
        assert set(schema["properties"]) == {"verb", "name"}


class TestTogether:
    async def test_fifty_calls_and_twenty_streams_at_once(self, remote: Remote) -> None:
        add_one, letters = remote("add_one"), remote("letters_later")

        async def spelt(word: str) -> str:
            return "".join([letter async for letter in letters.astream(word)])

        words = [f"word {number}" for number in range(20)]
        sums, spelled = await asyncio.gather(
            asyncio.gather(*(add_one.ainvoke(x) for x in range(50))),
            asyncio.gather(*map(spelt, words)),
        )
        assert (sums, spelled) == (list(range(1, 51)), words)

    async def test_leaving_one_stream_does_not_end_another(self, remote: Remote, key: str) -> None:
        slow = remote("slow")
        async with aclosing(slow.astream(key)) as stays:
            async with aclosing(slow.astream(f"{key}-2")) as leaves:
                await anext(leaves)
            assert [await anext(stays), await anext(stays)] == ["0", "1"]


async def test_the_final_answer_alone_can_be_asked_for(remote: Remote) -> None:
    events = [e async for e in remote("joke").astream_events(CATS, preset="final_answer")]
    assert {e["event"] for e in events[:-1]} == {"on_chat_model_stream"}
    assert "".join(e["data"]["chunk"].content for e in events[:-1]) == TOLD
    assert (events[-1]["event"], events[-1]["data"]["output"]) == ("on_chain_end", TOLD)


async def test_the_final_answer_of_a_graph_is_the_words_of_its_model(remote: Remote) -> None:
    asked = {"messages": [HumanMessage("hi")]}
    stream = remote("graph").astream_events(asked, preset="final_answer")
    *words, end = [event async for event in stream]
    assert [plain(event["data"]["chunk"]) for event in words] == SAID[:-1]
    assert {event["event"] for event in words} == {"on_chat_model_stream"}
    assert (end["event"], end["parent_ids"]) == ("on_chain_end", [])
    assert plain(end["data"]["output"]) == {"messages": [human("hi"), ai("You said: hi")]}


async def test_of_a_model_that_does_not_stream_only_the_output_comes(remote: Remote) -> None:
    asked = {"messages": [HumanMessage("6 times 7")]}
    (end,) = [e async for e in remote("agent").astream_events(asked, preset="final_answer")]
    assert (end["event"], end["parent_ids"]) == ("on_chain_end", [])
    assert plain(end["data"]["output"]) == {"messages": MULTIPLIED}


async def test_an_unknown_preset_is_refused(remote: Remote) -> None:
    with pytest.raises(RemoteError, match="first_answer") as caught:
        await anext(remote("joke").astream_events(CATS, preset="first_answer"))
    assert (caught.value.status_code, caught.value.code) == (422, "validation_error")


@pytest.mark.parametrize(
    ("query", "options", "sent"),
    [
        ("", {}, ""),
        ("", {"preset": "final_answer"}, "preset=final_answer"),
        ("?a=1", {}, "a=1"),
        ("?a=1", {"preset": "final_answer"}, "a=1&preset=final_answer"),
    ],
)
async def test_the_preset_joins_the_query(query: str, options: Any, sent: str) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return saying(b"event: end\n\n")(request)

    client = answering(answer, url=f"http://server/thing{query}")
    assert [event async for event in client.astream_events(1, **options)] == []
    assert [(url.path, url.query.decode()) for url in asked] == [("/thing/stream_events", sent)]
