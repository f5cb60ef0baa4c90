"""
What a run leaves behind, called through the doors as callers do.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from runnables import figures
from runnables.models import Figures
from tests.conftest import Site
from tests.fakes import echo
from traces.models import ModelPrice, Trace


def _tree(trace: Trace) -> list[tuple[str, str]]:
    return list(trace.steps.values_list("kind", "name"))


def test_invoke_leaves_one_trace_with_its_input_and_output(site: Site) -> None:
    site.serve("echo", echo)
    answer = site.post("echo/invoke", {"input": "hello"})
    (trace,) = site.traces()
    assert str(trace.pk) == answer.json()["metadata"]["run_id"]
    assert (trace.state, trace.endpoint, trace.deployment_name) == ("done", "invoke", "echo")
    assert (trace.input, trace.output) == ('"hello"', '"hello"')
    assert trace.input_shape == "text, 5 characters"
    assert (trace.version, trace.principal, trace.user) == (1, "", None)
    assert trace.duration_ms is not None
    assert trace.ended_at is not None


def test_chain_leaves_a_step_for_each_of_its_parts(site: Site) -> None:
    prompt = ChatPromptTemplate.from_template("say {x}")
    site.serve("chain", prompt | FakeListChatModel(responses=["hi"]) | StrOutputParser())
    site.invoke("chain", {"x": "it"})
    (trace,) = site.traces()
    assert _tree(trace) == [
        ("prompt", "ChatPromptTemplate"),
        ("llm", "FakeListChatModel"),
        ("parser", "StrOutputParser"),
    ]
    assert {step.parent for step in trace.steps.all()} == {trace.pk}
    model = trace.steps.get(kind="llm")
    assert json.loads(model.input)[0]["content"] == "say it"
    assert json.loads(model.output)["content"] == "hi"
    assert json.loads(trace.input) == {"x": "it"}
    assert json.loads(trace.output) == "hi"


@pytest.mark.parametrize("door", ["stream", "stream_log", "stream_events"])
def test_streams_leave_the_same_tree_as_invoke(site: Site, door: str) -> None:
    prompt = ChatPromptTemplate.from_template("say {x}")
    site.serve("chain", prompt | FakeListChatModel(responses=["hi"]) | StrOutputParser())
    response = site.post(f"chain/{door}", {"input": {"x": "it"}})
    assert response.status_code == 200
    (trace,) = site.traces()
    assert str(trace.pk) == response.headers["x-run-id"]
    assert (trace.endpoint, trace.state) == (door, "done")
    assert [kind for kind, _ in _tree(trace)] == ["prompt", "llm", "parser"]
    assert json.loads(trace.input) == {"x": "it"}
    assert json.loads(trace.output) == "hi"
    assert trace.steps.get(kind="llm").first_token_ms is not None
    if door == "stream":
        assert trace.first_chunk_ms is not None


def test_runs_of_a_batch_are_traces_of_which_one_stands_for_the_request(site: Site) -> None:
    site.serve("echo", echo)
    answer = site.post("echo/batch", {"inputs": [1, 2, 3]}).json()
    traces = site.traces()
    assert {str(trace.pk) for trace in traces} == set(answer["metadata"]["run_ids"])
    assert sorted(trace.input for trace in traces) == ["1", "2", "3"]
    assert [trace.request_state for trace in traces if trace.request_state] == ["done"]


def test_failure_is_explained_where_it_arose(site: Site) -> None:
    def boom(_: Any) -> None:
        raise ValueError("no such thing")

    site.serve("boom", RunnableLambda(lambda x: x) | RunnableLambda(boom))
    assert site.post("boom/invoke", {"input": 1}).status_code == 500
    (trace,) = site.traces()
    assert (trace.state, trace.error_class) == ("failed", "ValueError")
    step = trace.steps.get(name="boom")
    assert (step.state, step.error_class) == ("failed", "ValueError")
    assert 'raise ValueError("no such thing")' in step.error
    assert trace.error == "no such thing"
    assert trace.steps.exclude(name="boom").get().state == "done"


def test_tokens_and_cost_are_of_the_models_that_told(site: Site) -> None:
    told = AIMessage(
        "hi",
        usage_metadata={"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200},
        response_metadata={"model_name": "small-1"},
    )
    ModelPrice.objects.create(pattern="small*", input_price=2, output_price=10)
    site.serve("model", GenericFakeChatModel(messages=iter([told])))
    assert site.post("model/invoke", {"input": "x"}).status_code == 200
    (trace,) = site.traces()
    assert (trace.input_tokens, trace.output_tokens) == (1000, 200)
    assert trace.cost == Decimal("0.004")
    figures.flush()
    row = Figures.objects.get()
    assert (row.input_tokens, row.output_tokens, row.requests) == (1000, 200, 1)
    assert row.cost == trace.cost
