from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.conftest import Site, events

THINKING = [
    AIMessageChunk(content="Let me see. "),
    AIMessageChunk(
        content="", tool_call_chunks=[{"name": "add", "args": '{"a": 1}', "id": "1", "index": 0}]
    ),
]
ANSWER = [AIMessageChunk(content=word) for word in ("The ", "answer ", "is ", "2.")]


class Agent(BaseChatModel):
    """
    Calls its tool first and answers then, streaming both.
    """

    @property
    def _llm_type(self) -> str:
        return "agent"

    def _chunks(self, messages: list[BaseMessage]) -> list[AIMessageChunk]:
        return ANSWER if isinstance(messages[-1], ToolMessage) else THINKING

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        whole = AIMessageChunk(content="")
        for chunk in self._chunks(messages):
            whole += chunk
        message = AIMessage(content=whole.content, tool_calls=whole.tool_calls)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[Any]:
        for chunk in self._chunks(messages):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        for chunk in self._chunks(messages):
            yield ChatGenerationChunk(message=chunk)


@tool
async def add(a: int) -> str:
    """
    Add one, asking a model of its own.
    """
    thought = await Agent().ainvoke([ToolMessage("x", tool_call_id="1")])
    return f"{a + 1} {thought.content}"


async def talk(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Agent().ainvoke(state["messages"])]}


def agent() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("talk", talk)
    graph.add_node("tools", ToolNode([add]))
    graph.set_entry_point("talk")
    graph.add_conditional_edges("talk", tools_condition)
    graph.add_edge("tools", "talk")
    return graph.compile()


QUESTION = {"input": {"messages": [{"role": "user", "content": "1 + 1?"}]}}


def test_only_the_words_of_the_answer_and_the_output_come(site: Site) -> None:
    site.serve("agent", agent())
    sent = events(site.post("/agent/stream_events?preset=final_answer", QUESTION))
    found = [data for name, data in sent if name == "data"]
    words = [e["data"]["chunk"]["content"] for e in found if e["event"] == "on_chat_model_stream"]
    # What is said before a tool is called cannot be told from an answer until it is.
    assert words == ["Let me see. ", "The ", "answer ", "is ", "2."]
    assert [e["event"] for e in found if e["event"] != "on_chat_model_stream"] == ["on_chain_end"]
    assert found[-1]["data"]["output"]["messages"][-1]["content"] == "The answer is 2."
    assert sent[-1] == ("end", None)


def test_without_the_preset_every_event_comes(site: Site) -> None:
    site.serve("agent", agent())
    kinds = {
        data["event"] for name, data in events(site.post("/agent/stream_events", QUESTION)) if data
    }
    assert {"on_tool_start", "on_tool_end", "on_chain_start"} <= kinds


def test_an_unknown_preset_is_refused(site: Site) -> None:
    site.serve("echo", RunnableLambda(lambda x: x))
    answer = site.post("/echo/stream_events?preset=first_answer", {"input": 1})
    assert answer.status_code == 422
    assert "final_answer" in answer.json()["message"]
