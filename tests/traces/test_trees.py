"""
Trees equal what `stream_events` reports of the same run, for runnables of every make.
"""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableBranch,
    RunnableLambda,
    RunnablePassthrough,
    chain,
)
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from tests.conftest import Site, events

PROMPT = ChatPromptTemplate.from_template("say {x}")


class Library(BaseRetriever):
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [Document(page_content=query)]


@tool
def shout(x: str) -> str:
    """
    Say it loudly.
    """
    return x.upper()


def _model(*answers: str) -> FakeListChatModel:
    return FakeListChatModel(responses=list(answers or ["fine"]))


def _flaky() -> Runnable[Any, Any]:
    calls = iter([True, False])

    def sometimes(x: Any) -> Any:
        if next(calls):
            raise ValueError("not yet")
        return x

    return RunnableLambda(sometimes).with_retry(
        wait_exponential_jitter=False, stop_after_attempt=3
    ) | RunnableLambda(lambda x: x)


def _fallback() -> Runnable[Any, Any]:
    def boom(_: Any) -> Any:
        raise ValueError("no")

    return RunnableLambda(boom).with_fallbacks([PROMPT | _model() | StrOutputParser()])


@chain
async def nested(value: Any) -> Any:
    first = await (PROMPT | _model("one")).ainvoke(value)
    return await shout.ainvoke({"x": first.content})


class State(TypedDict):
    x: str
    seen: Annotated[list[str], operator.add]


def _graph() -> Any:
    inner = StateGraph(State)
    inner.add_node("ask", lambda state: {"seen": [(PROMPT | _model()).invoke(state).content]})
    inner.add_edge(START, "ask")
    inner.add_edge("ask", END)
    outer = StateGraph(State)
    outer.add_node("before", lambda state: {"seen": ["before"]})
    outer.add_node("within", inner.compile())
    outer.add_node("left", lambda state: {"seen": ["left"]})
    outer.add_node("right", RunnableLambda(lambda state: {"seen": ["right"]}))
    outer.add_edge(START, "before")
    outer.add_edge("before", "within")
    outer.add_conditional_edges("within", lambda state: ["left", "right"], ["left", "right"])
    outer.add_edge("left", END)
    outer.add_edge("right", END)
    return outer.compile()


RUNNABLES: dict[str, Any] = {
    "lambda": lambda: RunnableLambda(lambda value: value["x"]),
    "sequence": lambda: PROMPT | _model() | StrOutputParser(),
    "json": lambda: PROMPT | _model('{"a": 1}') | JsonOutputParser(),
    "text model": lambda: PROMPT | FakeListLLM(responses=["plain"]),
    "parallel": lambda: RunnablePassthrough.assign(
        said=PROMPT | _model(), found=RunnableLambda(lambda value: value["x"]) | Library()
    ),
    "branch": lambda: RunnableBranch(
        (lambda value: value["x"] == "no", RunnableLambda(lambda _: "no")), PROMPT | _model()
    ),
    "tool": lambda: shout,
    "retry": _flaky,
    "fallback": _fallback,
    "nested": lambda: nested,
    "map": lambda: RunnableLambda(lambda value: [value, value]) | (PROMPT | _model()).map(),
    "graph with a subgraph": _graph,
}
KINDS = {"chat_model": "llm"}


@pytest.mark.parametrize("name", RUNNABLES)
def test_tree_is_what_stream_events_reports(site: Site, name: str) -> None:
    runnable = RUNNABLES[name]()
    site.serve("it", runnable, validation="off")
    given = {"x": "it", "seen": []}
    response = site.post("it/stream_events", {"input": given})
    assert response.status_code == 200
    told = [data for kind, data in events(response) if kind == "data"]
    started = [event for event in told if event["event"].endswith("_start")]
    (trace,) = site.traces()
    reported = {
        event["run_id"]: (
            _kind(event["event"]),
            event["name"],
            event["parent_ids"][-1] if event["parent_ids"] else None,
        )
        for event in started
    }
    root = reported.pop(str(trace.pk))
    assert root[1:] == (trace.name, None)
    steps = {str(step.pk): (step.kind, step.name, str(step.parent)) for step in trace.steps.all()}
    assert steps == reported
    ended = {event["run_id"] for event in told if event["event"].endswith("_end")}
    assert {str(step.pk) for step in trace.steps.filter(state="done")} == ended - {str(trace.pk)}


def _kind(event: str) -> str:
    kind = event.removeprefix("on_").removesuffix("_start")
    return KINDS.get(kind, kind)
