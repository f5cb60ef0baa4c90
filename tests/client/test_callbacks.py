"""
Handlers of the caller: of the call itself, and of what the server tells of its inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    BaseCallbackHandler,
    UsageMetadataCallbackHandler,
)
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda

from runnables.client import RemoteError
from tests.client.conftest import Remote, answering

CATS = {"topic": "cats"}
TOLD = "You said: Tell me about cats"


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.parents: dict[UUID, UUID | None] = {}
        self.names: dict[UUID, str] = {}
        self.ends: dict[UUID, Any] = {}
        self.tokens = 0

    def _start(self, what: str, kwargs: dict[str, Any]) -> None:
        self.heard.append(what)
        self.parents[kwargs["run_id"]] = kwargs["parent_run_id"]
        self.names[kwargs["run_id"]] = kwargs.get("name") or ""

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self._start("chain start", kwargs)

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.heard.append("chain end")
        self.ends[kwargs["run_id"]] = outputs

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.heard.append(type(error).__name__)

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        assert isinstance(messages[0][0], HumanMessage)
        self._start("model start", kwargs)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.heard.append("model end")
        self.tokens += response.generations[0][0].message.usage_metadata["output_tokens"]

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self._start("tool start", kwargs)

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        self.heard.append(f"tool said {output}")

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self._start(f"looked for {query}", kwargs)

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.heard.append(f"found {len(documents)}")


class AsyncListener(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[str] = []

    async def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.heard.append("chain start")

    async def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.heard.append("model start")


OBSERVED = {
    "model start",
    "model end",
    "tool start",
    "tool said 42",
    "looked for cats",
    "found 2",
}


class TestReplay:
    def test_handlers_hear_the_remote_runs(self, remote: Remote) -> None:
        listener = Listener()
        output = remote("observed").invoke(CATS, {"callbacks": [listener]})
        assert (output["answer"], output["product"]) == (TOLD, 42)
        assert set(listener.heard) >= OBSERVED
        assert listener.tokens == 6

    async def test_they_do_so_in_async_code(self, remote: Remote) -> None:
        listener, async_listener = Listener(), AsyncListener()
        await remote("observed").ainvoke(CATS, {"callbacks": [listener, async_listener]})
        assert set(listener.heard) >= OBSERVED
        assert async_listener.heard.count("model start") == listener.heard.count("model start")

    async def test_they_hear_every_run_of_a_batch(self, remote: Remote) -> None:
        listener, async_listener = Listener(), AsyncListener()
        remote("observed").batch([CATS, CATS], {"callbacks": [listener]})
        await remote("observed_add_one").abatch([1, 2], {"callbacks": [async_listener]})
        assert listener.heard.count("tool said 42") == 2
        assert async_listener.heard == ["chain start"] * 4

    def test_the_runs_are_one_tree_below_the_local_run(self, remote: Remote) -> None:
        listener = Listener()
        client = remote("observed")
        client.invoke(CATS, {"callbacks": [listener]})
        (root,) = [run for run, parent in listener.parents.items() if parent is None]
        assert listener.names[root] == "RemoteRunnable"
        below = [run for run, parent in listener.parents.items() if parent == root]
        assert [listener.names[run] for run in below] == ["/observed"]
        assert set(listener.parents.values()) - {None} <= set(listener.parents)
        assert client.last_run_id not in listener.parents

    def test_handlers_of_a_surrounding_chain_hear_them(self, remote: Remote) -> None:
        listener = Listener()
        chain: Any = RunnableLambda(lambda topic: {"topic": topic}) | remote("observed")
        chain.invoke("cats", {"callbacks": [listener]})
        assert set(listener.heard) >= OBSERVED

    def test_a_client_may_not_want_them(self, remote: Remote) -> None:
        listener = Listener()
        client = remote("observed_add_one", use_server_callback_events=False)
        client.invoke(1, {"callbacks": [listener]})
        assert listener.heard == ["chain start", "chain end"]


def event(kind: Any, run_id: Any = "a", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "run_id": run_id, "kwargs": {}, **fields}


MESSAGE = {"type": "human", "content": "hi"}
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
ANSWER = {
    "type": "ai",
    "content": "hi",
    "usage_metadata": USAGE,
    "response_metadata": {"model_name": "echo"},
}
GENERATIONS = [[{"type": "ChatGeneration", "text": "hi", "message": ANSWER}]]


def telling(events: Any) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(200, json={"output": 1, "callback_events": events})


class TestUsage:
    @pytest.mark.parametrize("tag", [{}, {"type": "LLMResult"}])
    async def test_langchain_s_own_counter_counts(self, tag: dict[str, str]) -> None:
        client = answering(
            telling(
                [
                    event("on_chat_model_start", messages=[[MESSAGE]]),
                    event("on_llm_end", response={"generations": GENERATIONS, "run": None, **tag}),
                ]
            )
        )
        usage = UsageMetadataCallbackHandler()
        client.invoke(1, {"callbacks": [usage]})
        assert usage.usage_metadata["echo"]["output_tokens"] == 2
        await client.ainvoke(1, {"callbacks": [usage]})
        assert usage.usage_metadata["echo"]["output_tokens"] == 4


class TestOddEvents:
    @pytest.mark.parametrize(
        "events",
        [
            None,
            "many",
            {"a": 1},
            [None, 1, "x", []],
            [{}],
            [event("on_chain_error", error={"status_code": 500})],
            [event("on_chain_start", run_id=None)],
            [event("on_chain_start", run_id=[1])],
            [event("on_chain_end", outputs=1)],
            [event("on_llm_start", prompts=[]), event("on_llm_end", response={})],
            [event("on_llm_start", prompts=[1])],
            [event("on_chat_model_start", messages=[["hi"]])],
            [event("on_chat_model_start", messages=[])],
            [event("on_tool_start", input_str={"a": 1})],
            [event("on_retriever_start", query="a"), event("on_retriever_end", documents=["a"])],
            [event("on_retriever_start", query="a"), event("on_chain_end", outputs=1)],
            [event(["on_chain_start"])],
            [event("__class__")],
            [{"type": "on_tool_start", "run_id": "a", "kwargs": None, "input_str": "x"}],
            [event("on_tool_start", input_str="x", tags="t", metadata=[1], serialized=3)],
        ],
        ids=str,
    )
    async def test_they_do_not_spoil_a_call_that_went_well(self, events: Any) -> None:
        client = answering(telling(events))
        assert client.invoke(1, {"callbacks": [Listener()]}) == 1
        assert await client.ainvoke(1, {"callbacks": [AsyncListener()]}) == 1

    def test_a_null_input_is_one_too(self) -> None:
        listener = Listener()
        told = [event("on_chain_start", inputs=None), event("on_chain_end", outputs=None)]
        answering(telling(told)).invoke(1, {"callbacks": [listener]})
        assert listener.heard.count("chain end") == 2


class TestLocalRuns:
    async def test_every_call_is_a_run_of_its_own(self, remote: Remote) -> None:
        joke = remote("joke")

        def fresh() -> tuple[Listener, Any]:
            listener = Listener()
            return listener, {"callbacks": [listener], "run_name": "asked"}

        heard = []
        listener, config = fresh()
        joke.invoke(CATS, config)
        heard.append(listener)
        listener, config = fresh()
        list(joke.stream(CATS, config))
        heard.append(listener)
        listener, config = fresh()
        [chunk async for chunk in joke.astream(CATS, config)]
        heard.append(listener)
        listener, config = fresh()
        [each async for each in joke.astream_events(CATS, config)]
        heard.append(listener)
        listener, config = fresh()
        [each async for each in joke.astream_log(CATS, config)]
        heard.append(listener)

        for listener in heard:
            assert listener.heard == ["chain start", "chain end"]
            assert list(listener.names.values()) == ["asked"]
            assert list(listener.ends.values()) == [TOLD]

    async def test_a_failure_is_told(self, remote: Remote) -> None:
        listener = Listener()
        config: Any = {"callbacks": [listener]}
        client = remote("fails_midway")
        with pytest.raises(RemoteError):
            list(client.stream("x", config))
        with pytest.raises(RemoteError):
            [each async for each in client.astream_events("x", config)]
        assert listener.heard == ["chain start", "RemoteError"] * 2

    def test_the_failed_run_of_a_batch_is_told(self, remote: Remote) -> None:
        listener = Listener()
        config: Any = {"callbacks": [listener]}
        remote("fails_on_zero").batch([5, 0], config, return_exceptions=True)
        assert sorted(listener.heard) == ["RemoteError", "chain end", "chain start", "chain start"]
