"""
`callback_events` of invoke and batch: what the Python client can replay, and nothing else.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun, dispatch_custom_event
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool

from tests.conftest import Site
from tests.fakes import SECRET, Words, add_one, echo, failing

FIELDS = {
    "on_chain_start": {"serialized", "inputs"},
    "on_chain_end": {"outputs"},
    "on_chat_model_start": {"serialized", "messages"},
    "on_llm_start": {"serialized", "prompts"},
    "on_llm_end": {"response"},
    "on_tool_start": {"serialized", "input_str"},
    "on_tool_end": {"output"},
    "on_retriever_start": {"serialized", "query"},
    "on_retriever_end": {"documents"},
}
COMMON = {"type", "run_id", "parent_run_id", "tags", "metadata", "kwargs"}


@tool
def double(n: int) -> int:
    """
    Twice as much.
    """
    return 2 * n


@tool(response_format="content_and_artifact")
def look_up(word: str) -> tuple[str, Any]:
    """
    What it means.
    """
    return f"{word} means {word}", {"page": 1}


class Shelf(BaseRetriever):
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [Document(page_content=query)]


def call_tool(x: Any, config: RunnableConfig) -> Any:
    call = {"name": "look_up", "args": {"word": "cat"}, "id": "1", "type": "tool_call"}
    return look_up.invoke(call, config)


def say_more(x: Any, config: RunnableConfig) -> Any:
    dispatch_custom_event("mine", {"a": 1}, config=config)
    return x


def fail_in_between(x: Any, config: RunnableConfig) -> Any:
    return failing().with_fallbacks([RunnableLambda(add_one)]).invoke(x, config)


KINDS: dict[str, tuple[Any, Any]] = {
    "function": (RunnableLambda(add_one), 1),
    "chain": (PromptTemplate.from_template("{x}") | Words() | StrOutputParser(), {"x": "y"}),
    "chat model": (Words(), "x"),
    "tool": (double, {"n": 2}),
    "tool call": (RunnableLambda(call_tool), 1),
    "retriever": (Shelf(), "x"),
    "fallback": (failing().with_fallbacks([RunnableLambda(add_one)]), 1),
    "fallback within": (RunnableLambda(fail_in_between), 1),
    "retry": (RunnableLambda(add_one).with_retry(), 1),
    "custom events": (RunnableLambda(say_more), 1),
}


def recorded(site: Site, runnable: Any, given: Any, **options: Any) -> list[dict[str, Any]]:
    site.serve("it", runnable, include_callback_events=True, **options)
    response = site.post("/it/invoke", {"input": given})
    assert response.status_code == 200, response.text
    return list(response.json()["callback_events"])


def test_events_are_absent_unless_asked_for(site: Site) -> None:
    site.serve("it", echo())
    assert "callback_events" not in site.post("/it/invoke", {"input": 1}).json()
    assert "callback_events" not in site.post("/it/batch", {"inputs": [1]}).json()


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_is_one_that_the_client_can_replay(site: Site, kind: str) -> None:
    events = recorded(site, *KINDS[kind])
    assert events
    for event in events:
        assert event["type"] in FIELDS
        assert set(event) == COMMON | FIELDS[event["type"]]
        assert isinstance(event["kwargs"], dict)
        assert isinstance(event["tags"], list)
    ids = {event["run_id"] for event in events}
    assert {event["parent_run_id"] for event in events} <= {None, *ids}


def test_one_call_is_the_two_events_of_the_contract(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one), include_callback_events=True)
    body = site.post("/it/invoke", {"input": 1}, headers={"User-Agent": "cat/1"}).json()
    start, end = body["callback_events"]
    run_id = body["metadata"]["run_id"]
    metadata = start.pop("metadata")
    assert start == {
        "type": "on_chain_start",
        "run_id": run_id,
        "parent_run_id": None,
        "tags": [],
        "serialized": None,
        "inputs": 1,
        "kwargs": {"run_type": None, "name": "/it"},
    }
    assert metadata["__useragent"] == "cat/1"
    assert metadata["__langserve_endpoint"] == "invoke"
    assert end == {
        "type": "on_chain_end",
        "run_id": run_id,
        "parent_run_id": None,
        "tags": [],
        "metadata": None,
        "outputs": 2,
        "kwargs": {},
    }


def test_events_stand_in_the_order_in_which_they_happened(site: Site) -> None:
    runnable, given = KINDS["chain"]
    assert [event["type"] for event in recorded(site, runnable, given)] == [
        "on_chain_start",
        "on_chain_start",
        "on_chain_end",
        "on_chat_model_start",
        "on_llm_end",
        "on_chain_start",
        "on_chain_end",
        "on_chain_end",
    ]


def test_end_of_a_model_has_no_type_but_its_generations_do(site: Site) -> None:
    [end] = [e for e in recorded(site, Words(reply="hi"), "x") if e["type"] == "on_llm_end"]
    assert set(end["response"]) == {"generations", "llm_output", "run"}
    [[generation]] = end["response"]["generations"]
    assert generation["type"] == "ChatGeneration"
    assert generation["message"]["content"] == "hi"


def test_start_of_a_model_has_its_messages(site: Site) -> None:
    events = recorded(site, Words(), "x")
    [start] = [e for e in events if e["type"] == "on_chat_model_start"]
    [[message]] = start["messages"]
    assert (message["type"], message["content"]) == ("human", "x")


@pytest.mark.parametrize(("kind", "output"), [("tool", "4"), ("tool call", "cat means cat")])
def test_output_of_a_tool_is_a_text(site: Site, kind: str, output: str) -> None:
    events = recorded(site, *KINDS[kind])
    assert [e["output"] for e in events if e["type"] == "on_tool_end"] == [output]


def test_documents_of_a_retriever(site: Site) -> None:
    start, end = recorded(site, Shelf(), "cats")
    assert start["query"] == "cats"
    assert end["documents"][0]["page_content"] == "cats"
    assert end["documents"][0]["type"] == "Document"


@pytest.mark.parametrize("kind", ["fallback", "fallback within"])
def test_failure_that_a_fallback_caught_is_not_told(site: Site, kind: str) -> None:
    events = recorded(site, *KINDS[kind])
    assert not [event for event in events if event["type"].endswith("_error")]
    assert SECRET not in str(events)


def test_objects_that_json_cannot_carry_do_no_harm_to_the_events(site: Site) -> None:
    inner: Any = RunnableLambda(lambda x: {"object": object()}) | RunnableLambda(lambda x: 5)
    events = recorded(site, inner, 1)
    assert "not_serializable" in str(events)


def test_batch_has_a_list_of_events_for_each_input(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one), include_callback_events=True)
    body = site.post("/it/batch", {"inputs": [1, 2]}).json()
    per_input = body["callback_events"]
    assert [events[0]["inputs"] for events in per_input] == [1, 2]
    assert [events[-1]["outputs"] for events in per_input] == [2, 3]
    assert [events[0]["run_id"] for events in per_input] == body["metadata"]["run_ids"]


def test_empty_batch_has_an_empty_list_of_events(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one), include_callback_events=True)
    assert site.post("/it/batch", {"inputs": []}).json()["callback_events"] == []


def test_events_of_two_calls_do_not_mix(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one), include_callback_events=True)
    counts = [
        len(site.post("/it/invoke", {"input": 1}).json()["callback_events"]) for _ in range(3)
    ]
    assert counts == [2, 2, 2]


@pytest.mark.parametrize("door", ["stream", "stream_log", "stream_events"])
def test_streams_have_no_callback_events(site: Site, door: str) -> None:
    site.serve("it", RunnableLambda(add_one), include_callback_events=True)
    assert "callback_events" not in site.post(f"/it/{door}", {"input": 1}).text


def test_tool_that_returns_a_message_ends_with_its_text(site: Site) -> None:
    @tool
    def answer(word: str) -> ToolMessage:
        """
        An answer.
        """
        return ToolMessage("text", tool_call_id="1")

    events = recorded(site, answer, {"word": "x"})
    assert events[-1]["output"] == "text"


def test_messages_in_events_are_tagged(site: Site) -> None:
    events = recorded(site, RunnableLambda(lambda x: AIMessage(x)), "x")
    assert events[-1]["outputs"]["type"] == "ai"
