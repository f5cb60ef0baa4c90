"""
What a run leaves behind, called through the doors as callers do.
"""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel, FakeListLLM, GenericFakeChatModel
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


def test_runs_on_a_socket_leave_traces_too(site: Site) -> None:
    site.serve("it", RunnableLambda(lambda x: x) | RunnableLambda(lambda x: x))

    async def talk() -> list[Any]:
        socket = WebsocketCommunicator(
            site.application, "/it/ws", headers=[(b"host", b"localhost")]
        )
        assert (await socket.connect())[0]
        frames = []
        for method in ("invoke", "stream"):
            await socket.send_json_to({"id": method, "method": method, "params": {"input": 1}})
            while True:
                frame = await socket.receive_json_from(timeout=10)
                frames.append(frame)
                if method == "invoke" or frame.get("event") == "end":
                    break
        await socket.disconnect()
        return frames

    frames = asyncio.run(talk())
    streamed, invoked = site.traces()
    assert (invoked.endpoint, streamed.endpoint) == ("invoke", "stream")
    assert {invoked.transport, streamed.transport} == {"websocket"}
    assert str(invoked.pk) == frames[0]["result"]["metadata"]["run_id"]
    assert [trace.steps.count() for trace in (invoked, streamed)] == [2, 2]


def test_views_of_ones_own_leave_traces_of_no_deployment(site: Site, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.runnables.test_own"
    answer = site.post("/mine/invoke", {"input": "plan"}, headers=site.token(site.user("alice")))
    assert answer.status_code == 200
    (trace,) = site.traces()
    assert (trace.deployment, trace.state) == (None, "done")
    assert trace.principal


def test_each_try_of_a_step_is_one_of_its_own(site: Site) -> None:
    answers = iter([ValueError("not yet"), "fine"])

    def sometimes(_: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    flaky = RunnableLambda(sometimes).with_retry(wait_exponential_jitter=False)
    site.serve("it", flaky | RunnableLambda(lambda x: x))
    site.invoke("/it", 1)
    (trace,) = site.traces()
    tries = trace.steps.filter(name="sometimes")
    # The retry itself, and what it tried.
    assert sorted(step.state for step in tries) == ["done", "done", "failed"]


def test_what_a_later_step_adds_is_not_in_what_was_given_before(site: Site) -> None:
    def add(value: dict[str, Any]) -> dict[str, Any]:
        value["more"] = 1
        return value

    site.serve("it", RunnableLambda(lambda x: x) | RunnableLambda(add), validation="off")
    site.invoke("/it", {"a": 0})
    (trace,) = site.traces()
    assert json.loads(trace.steps.first().output) == {"a": 0}  # type: ignore[union-attr]
    assert json.loads(trace.output) == {"a": 0, "more": 1}


def test_plain_models_are_heard_of_by_all_who_listen(site: Site) -> None:
    heard: list[str] = []

    class Listener(BaseCallbackHandler):
        def on_llm_start(self, *_: Any, **__: Any) -> None:
            heard.append("start")

        def on_llm_end(self, *_: Any, **__: Any) -> None:
            heard.append("end")

    site.serve("it", FakeListLLM(responses=["x"]), callbacks=lambda _: [Listener()])
    site.invoke("/it", "hello")
    (trace,) = site.traces()
    assert (heard, trace.output) == (["start", "end"], '"x"')
