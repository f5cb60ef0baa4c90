"""
POST invoke: one input, the whole output.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any
from uuid import UUID

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import RunnableGenerator, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from rest_framework.exceptions import APIException, NotFound, Throttled
from typing_extensions import TypedDict

from runnables import PublicError
from tests.conftest import Site
from tests.fakes import SECRET, Spy, Waiting, Words, add_one, chunks, echo, failing, returning
from tests.runnables.asgi import connected, hang_up

RUN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@tool
def double(n: int) -> int:
    """
    Twice as much.
    """
    return 2 * n


async def add_one_later(x: int) -> int:
    return x + 1


class Count(TypedDict):
    n: int


def graph() -> Any:
    builder = StateGraph(Count)
    builder.add_node("add", lambda state: {"n": state["n"] + 1})
    builder.add_edge(START, "add")
    builder.add_edge("add", END)
    return builder.compile()


KINDS = {
    "sync function": (RunnableLambda(add_one), 1, 2),
    "async function": (RunnableLambda(add_one_later), 1, 2),
    "generator": (chunks("a", "b"), 1, "ab"),
    "prompt and model": (
        PromptTemplate.from_template("{x}") | Words(reply="a b") | StrOutputParser(),
        {"x": "y"},
        "a b",
    ),
    "tool": (double, {"n": 3}, 6),
    "parallel": (RunnableParallel(a=RunnableLambda(add_one), b=echo()), 1, {"a": 2, "b": 1}),
    "graph": (graph(), {"n": 1}, {"n": 2}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_runnable_answers(site: Site, kind: str) -> None:
    runnable, given, expected = KINDS[kind]
    site.serve("it", runnable)
    assert site.invoke("/it", given) == expected


def test_reply_has_output_and_metadata_and_nothing_else(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one))
    response = site.post("/it/invoke", {"input": 1}, headers={"X-Run-Id": RUN_ID})
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "output": 2,
        "metadata": {"run_id": RUN_ID, "feedback_tokens": []},
    }


def test_every_call_has_a_fresh_run_id_in_body_and_header(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one))
    first, second = (site.post("/it/invoke", {"input": 1}) for _ in range(2))
    assert first.headers["X-Run-Id"] == first.json()["metadata"]["run_id"]
    assert UUID(first.headers["X-Run-Id"]).version == 7
    assert first.headers["X-Run-Id"] != second.headers["X-Run-Id"]


def test_input_may_be_null(site: Site) -> None:
    site.serve("it", echo())
    assert site.invoke("/it", None) is None


@pytest.mark.parametrize(
    "extra", [{"kwargs": {"a": [1]}}, {"config": {}}, {"config": None}, {"unknown": 1}]
)
def test_other_fields_do_no_harm(site: Site, extra: dict[str, Any]) -> None:
    site.serve("it", RunnableLambda(add_one))
    response = site.post("/it/invoke", {"input": 1, **extra})
    assert response.json()["output"] == 2


def test_missing_input_is_refused(site: Site) -> None:
    site.serve("it", echo())
    response = site.post("/it/invoke", {})
    assert response.status_code == 422
    assert response.json()["detail"] == [
        {"type": "missing", "loc": ["input"], "msg": "Field required"}
    ]


@pytest.mark.parametrize("body", [[], "text", 3, True])
def test_body_that_is_no_object_is_refused(site: Site, body: Any) -> None:
    site.serve("it", echo())
    response = site.post("/it/invoke", body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == []


@pytest.mark.parametrize("config", ["x", 3, [{}], [], "", 0, False])
def test_config_that_is_no_object_is_refused(site: Site, config: Any) -> None:
    site.serve("it", echo())
    assert site.post("/it/invoke", {"input": 1, "config": config}).status_code == 422


def test_bad_input_names_the_place_and_does_not_echo_it(site: Site) -> None:
    site.serve("it", PromptTemplate.from_template("{a} {b}"))
    response = site.post("/it/invoke", {"input": {"a": {"secret": SECRET}, "b": "x"}})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["a"]
    assert response.json()["code"] == "validation_error"
    assert SECRET not in response.text


def test_failure_is_a_json_500_with_the_run_id_and_no_reason(site: Site) -> None:
    site.serve("it", failing())
    response = site.post("/it/invoke", {"input": 1}, headers={"X-Run-Id": RUN_ID})
    assert response.status_code == 500
    assert response.headers["X-Run-Id"] == RUN_ID
    assert response.json()["run_id"] == RUN_ID
    assert response.json()["message"] == "Internal Server Error"
    assert SECRET not in response.text


def test_failure_is_in_the_log_under_its_run_id(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.serve("it", failing())
    site.post("/it/invoke", {"input": 1}, headers={"X-Run-Id": RUN_ID})
    record = next(r for r in caplog.records if RUN_ID in r.getMessage())
    assert record.exc_info
    assert SECRET in str(record.exc_info[1])


def test_public_error_reaches_the_caller(site: Site) -> None:
    error = PublicError("Come back later.", status=503, code="rebuilding", retry_after=1.5)
    site.serve("it", failing(error))
    response = site.post("/it/invoke", {"input": 1})
    body = response.json()
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "2"
    assert (body["detail"], body["message"]) == ("Come back later.", "Come back later.")
    assert (body["code"], body["retry_after"]) == ("rebuilding", 1.5)


@pytest.mark.parametrize(
    ("error", "status"), [(NotFound("no cat"), 404), (Throttled(3), 429), (APIException(), 500)]
)
def test_error_of_rest_framework_keeps_its_status(
    site: Site, error: APIException, status: int
) -> None:
    site.serve("it", failing(error))
    response = site.post("/it/invoke", {"input": 1})
    assert response.status_code == status
    assert isinstance(response.json()["message"], str)


def test_output_that_json_cannot_carry_is_a_500_with_its_own_code(site: Site) -> None:
    site.serve("it", returning(object()))
    response = site.post("/it/invoke", {"input": 1})
    assert response.status_code == 500
    assert response.json()["code"] == "output_not_serializable"
    assert response.json()["run_id"] == response.headers["X-Run-Id"]


@pytest.mark.parametrize(
    "output",
    [{"root": 1, "b": 2}, {"root": 1}, [], "", 0, None, {"type": "human"}, {"é\u2028": "\x85"}],
)
def test_output_arrives_as_it_is(site: Site, output: Any) -> None:
    site.serve("it", returning(output))
    assert site.invoke("/it", 1) == output


def test_output_is_not_checked_against_the_output_type(site: Site) -> None:
    site.serve("it", returning({"answer": 1, "sources": []}), output_type=int)
    assert site.invoke("/it", 1) == {"answer": 1, "sources": []}


def test_message_has_all_the_keys_that_clients_look_for(site: Site) -> None:
    site.serve("it", Words(reply="hi"))
    output = site.invoke("/it", "hello")
    assert output["type"] == "ai"
    assert output["content"] == "hi"
    assert output["additional_kwargs"] == {}


def test_documents_and_prompt_values_are_tagged(site: Site) -> None:
    site.serve("documents", returning([Document(page_content="x")]))
    site.serve("prompt", ChatPromptTemplate.from_template("{a}"))
    assert site.invoke("/documents", 1)[0]["type"] == "Document"
    assert site.invoke("/prompt", {"a": "b"})["type"] == "ChatPromptValueConcrete"


def test_bound_runnable_is_called_with_its_config_second(site: Site) -> None:
    seen: list[Any] = []

    class Inner(RunnableLambda[Any, Any]):
        async def ainvoke(self, *args: Any, **kwargs: Any) -> Any:
            seen.append((args, kwargs))
            return 5

    site.serve("it", Inner(add_one), input_type=int)
    assert site.invoke("/it", 1) == 5
    [(args, kwargs)] = seen
    assert args[0] == 1
    assert args[1]["metadata"]["__langserve_endpoint"] == "invoke"
    assert kwargs == {}


def test_server_says_in_metadata_who_called_and_where(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy)
    site.post("/it/invoke", {"input": 1}, headers={"User-Agent": "cat/1"})
    metadata = spy.last_config["metadata"]
    assert metadata["__useragent"] == "cat/1"
    assert metadata["__langserve_endpoint"] == "invoke"
    assert metadata["__langserve_version"]


@pytest.mark.parametrize(("path", "name"), [("/talk", "/talk"), ("/a/b", "/a/b"), ("/", "Lambda")])
def test_run_is_named_after_its_path(site: Site, path: str, name: str) -> None:
    def named(x: Any) -> Any:
        return x

    site.serve("it", RunnableLambda(named, name="Lambda"), path=path, include_callback_events=True)
    body = site.post(f"{path.rstrip('/')}/invoke", {"input": 1}).json()
    assert body["callback_events"][0]["kwargs"]["name"] == name


def test_nothing_is_known_at_other_paths(site: Site) -> None:
    site.serve("it", echo())
    response = site.post("/other/invoke", {"input": 1})
    assert response.status_code == 404
    assert response.json()["detail"] == "Not Found"


def test_run_over_its_time_is_stopped(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting, timeout=0.01)
    response = site.post("/it/invoke", {"input": 1})
    assert response.status_code == 504
    assert response.json()["code"] == "timed_out"
    assert waiting.ended


def test_run_of_a_client_that_left_is_cancelled(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting)
    asyncio.run(hang_up(site, "/it/invoke", {"input": 1}, when=waiting.begun))
    assert waiting.ended


def test_run_is_cancelled_by_its_id(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting)

    async def talk(client: httpx.AsyncClient) -> tuple[httpx.Response, httpx.Response]:
        call = asyncio.create_task(
            client.post("/it/invoke", json={"input": 1}, headers={"X-Run-Id": RUN_ID})
        )
        await waiting.begun.wait()
        return await client.post(f"/it/runs/{RUN_ID}/cancel"), await call

    cancel, call = asyncio.run(connected(site, talk))
    assert cancel.json() == {"run_id": RUN_ID, "status": "cancelled"}
    assert call.status_code == 499
    assert call.json()["code"] == "cancelled"
    assert waiting.ended


def test_run_of_somebody_else_cannot_be_cancelled(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting)
    alice, charlie = (site.token(site.user(name)) for name in ("alice", "charlie"))

    async def talk(client: httpx.AsyncClient) -> list[httpx.Response]:
        url = f"/it/runs/{RUN_ID}/cancel"
        call = asyncio.create_task(
            client.post("/it/invoke", json={"input": 1}, headers={"X-Run-Id": RUN_ID, **alice})
        )
        await waiting.begun.wait()
        refused = [await client.post(url), await client.post(url, headers=charlie)]
        await client.post(url, headers=alice)
        return [*refused, await call]

    anonymous, other, call = asyncio.run(connected(site, talk))
    assert [anonymous.status_code, other.status_code, call.status_code] == [404, 404, 499]
    assert other.json()["code"] == "unknown_run"


@pytest.mark.parametrize("run_id", ["x", RUN_ID])
def test_run_that_is_not_going_on_cannot_be_cancelled(
    site: Site, settings: Any, run_id: str
) -> None:
    settings.LANGSERVE = {"POLL_SECONDS": 0.01}
    site.serve("it", echo())
    response = site.post(f"/it/runs/{run_id}/cancel")
    assert response.status_code == 404
    assert response.json()["code"] == "unknown_run"


def test_run_id_of_a_running_call_is_refused(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting)
    headers = {"X-Run-Id": RUN_ID}

    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        call = asyncio.create_task(client.post("/it/invoke", json={"input": 1}, headers=headers))
        await waiting.begun.wait()
        second = await client.post("/it/invoke", json={"input": 1}, headers=headers)
        await client.post(f"/it/runs/{RUN_ID}/cancel")
        await call
        return second

    second = asyncio.run(connected(site, talk))
    assert second.status_code == 422
    assert second.json()["code"] == "run_id_in_use"


def test_sync_functions_run_beside_each_other(site: Site) -> None:
    meeting = threading.Barrier(12, timeout=20)
    site.serve("it", RunnableLambda(lambda x: bool(meeting.wait() >= 0)))

    async def talk(client: httpx.AsyncClient) -> list[httpx.Response]:
        calls = [client.post("/it/invoke", json={"input": 1}) for _ in range(12)]
        return await asyncio.gather(*calls)

    responses = asyncio.run(connected(site, talk))
    assert [json.loads(response.text)["output"] for response in responses] == [True] * 12


def test_generator_gives_the_sum_of_its_chunks(site: Site) -> None:
    async def words(_: Any) -> Any:
        yield AIMessage(content="a")

    site.serve("it", RunnableGenerator(words))
    assert site.invoke("/it", 1)["content"] == "a"
