"""
POST stream, stream_log and stream_events: Server-Sent Events, byte by byte.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableLambda
from rest_framework.exceptions import PermissionDenied

from runnables import PublicError, config_hash
from tests.conftest import Site, events
from tests.fakes import (
    SECRET,
    Spy,
    Waiting,
    Words,
    add_one,
    chunks,
    echo,
    failing,
    failing_midway,
)
from tests.runnables.asgi import connected, hang_up

GOLDEN = Path(__file__).parent.parent / "golden"
RUN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
NAMED = {"X-Run-Id": RUN_ID, "User-Agent": "cat/1"}
DOORS = ("stream", "stream_log", "stream_events")
FILTERS = (
    "include_names",
    "include_types",
    "include_tags",
    "exclude_names",
    "exclude_types",
    "exclude_tags",
)


def talk() -> Runnable[Any, Any]:
    return PromptTemplate.from_template("{x}") | Words(reply="a b") | StrOutputParser()


def data_of(response: httpx.Response) -> list[Any]:
    return [data for name, data in events(response) if name == "data"]


# The whole stream, as it stands on the wire


# langchain-core warns of v1; LangServe's users still have it.


@pytest.mark.parametrize(
    ("golden", "runnable", "door", "body", "options"),
    [
        ("stream_number", RunnableLambda(add_one), "stream", {"input": 1}, {}),
        ("stream_words", talk(), "stream", {"input": {"x": "y"}}, {}),
        ("stream_line_breaks", chunks("a\u2028b\u2029c\x85d\r\ne"), "stream", {"input": 1}, {}),
        ("stream_empty", chunks(), "stream", {"input": 1}, {}),
        ("stream_log_number", RunnableLambda(add_one), "stream_log", {"input": 1}, {}),
        ("stream_events_number", RunnableLambda(add_one), "stream_events", {"input": 1}, {}),
        (
            "stream_events_number_v1",
            RunnableLambda(add_one),
            "stream_events",
            {"input": 1},
            {"astream_events_version": "v1"},
        ),
        ("stream_failing_midway", failing_midway(), "stream", {"input": 1}, {}),
        (
            "stream_public_error",
            failing_midway(PublicError("No more cats.", status=429, retry_after=7)),
            "stream",
            {"input": 1},
            {},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_stream_is_byte_for_byte(
    site: Site, golden: str, runnable: Any, door: str, body: Any, options: Any
) -> None:
    site.serve("it", runnable, **options)
    response = site.post(f"/it/{door}", body, headers=NAMED)
    assert response.status_code == 200
    assert response.content == (GOLDEN / f"{golden}.txt").read_bytes()


@pytest.mark.parametrize("door", DOORS)
def test_headers_are_those_of_an_event_stream(site: Site, door: str) -> None:
    site.serve("it", echo())
    headers = site.post(f"/it/{door}", {"input": 1}, headers=NAMED).headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] in ("no-store", "no-cache")
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-run-id"] == RUN_ID


def test_metadata_comes_once_and_first_and_end_last(site: Site) -> None:
    site.serve("it", chunks(1, 2, 3))
    names = [name for name, _ in events(site.post("/it/stream", {"input": 1}))]
    assert names == ["metadata", "data", "data", "data", "end"]


@pytest.mark.parametrize("door", ["stream_log", "stream_events"])
def test_log_and_events_have_no_metadata_event(site: Site, door: str) -> None:
    site.serve("it", echo())
    names = {name for name, _ in events(site.post(f"/it/{door}", {"input": 1}))}
    assert names == {"data", "end"}


@pytest.mark.parametrize("door", DOORS)
def test_streams_carry_no_ids_and_no_retry(site: Site, door: str) -> None:
    site.serve("it", talk())
    text = site.post(f"/it/{door}", {"input": {"x": "y"}}).text
    assert not [line for line in text.split("\r\n") if line.startswith(("id:", "retry:"))]


@pytest.mark.parametrize("door", DOORS)
def test_line_breaks_of_unicode_are_escaped(site: Site, door: str) -> None:
    site.serve("it", echo())
    response = site.post(f"/it/{door}", {"input": "a\u2028b\u2029c\x85d"})
    assert not {"\u2028", "\u2029", "\x85"} & set(response.text)
    assert "a\\u2028b\\u2029c\\u0085d" in response.text


def test_messages_stream_as_tagged_chunks(site: Site) -> None:
    site.serve("it", Words(reply="a b"))
    found = data_of(site.post("/it/stream", {"input": "x"}))
    assert {chunk["type"] for chunk in found} == {"AIMessageChunk"}
    assert "".join(chunk["content"] for chunk in found) == "a b"


def test_hash_variant_streams_too(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, config_keys=["tags"])
    hashed = config_hash.encode({"tags": ["h"]})
    response = site.post(f"/it/c/{hashed}/stream", {"input": 1})
    assert data_of(response) == [1]
    assert spy.last_config["tags"] == ["h"]


# Refused before the headers


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/it/{}", {}, 422),
        ("/it/{}", {"input": {"x": 1}}, 422),
        ("/it/{}", {"input": {"x": "y"}, "config": 3}, 422),
        ("/it/{}", [], 422),
        ("/it/c/!/{}", {"input": {"x": "y"}}, 400),
        ("/other/{}", {"input": {"x": "y"}}, 404),
    ],
)
def test_bad_call_is_a_json_error_and_no_stream(
    site: Site, door: str, path: str, body: Any, status: int
) -> None:
    site.serve("it", talk())
    response = site.post(
        path.format(door), body, headers={"Accept": "text/event-stream", "X-Run-Id": RUN_ID}
    )
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert isinstance(response.json()["message"], str)
    assert "detail" in response.json()


@pytest.mark.parametrize("door", DOORS)
def test_body_that_is_not_json_is_refused(site: Site, door: str) -> None:
    site.serve("it", echo())
    response = site.post(f"/it/{door}", content=b"{")
    assert (response.status_code, response.json()["detail"]) == (422, ["Invalid JSON body"])


@pytest.mark.parametrize("door", ["stream_log", "stream_events"])
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("value", [[[]], "x", {}, [1], 3])
def test_filters_of_a_wrong_kind_are_refused(site: Site, door: str, name: str, value: Any) -> None:
    site.serve("it", echo())
    response = site.post(f"/it/{door}", {"input": 1, name: value})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][0] == name


def test_stream_itself_does_not_look_at_filters(site: Site) -> None:
    site.serve("it", echo())
    assert data_of(site.post("/it/stream", {"input": 1, "include_names": 3})) == [1]


# Failing


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError(SECRET), 500),
        (PublicError("Too many cats.", status=429), 429),
        (PermissionDenied("no"), 403),
    ],
)
def test_failure_at_once_is_a_real_status(
    site: Site, door: str, error: Exception, status: int
) -> None:
    site.serve("it", failing(error))
    response = site.post(f"/it/{door}", {"input": 1}, headers=NAMED)
    if door == "stream":
        assert response.status_code == status
        assert response.json()["run_id"] == RUN_ID
    else:  # the first event says that the run has begun
        assert events(response)[-1][1]["status_code"] == status
    assert SECRET not in response.text


@pytest.mark.parametrize("door", DOORS)
def test_failure_midway_is_an_error_event_and_a_clean_end(site: Site, door: str) -> None:
    site.serve("it", failing_midway())
    response = site.post(f"/it/{door}", {"input": 1}, headers=NAMED)
    name, data = events(response)[-1]
    assert response.status_code == 200
    assert name == "error"
    assert data["status_code"] == 500
    assert data["message"] == "Internal Server Error"
    assert data["run_id"] == RUN_ID
    assert SECRET not in response.text


@pytest.mark.parametrize("door", DOORS)
def test_public_error_midway_keeps_its_status_and_text(site: Site, door: str) -> None:
    site.serve("it", failing_midway(PublicError("Out of cats.", status=429, code="no_cats")))
    name, data = events(site.post(f"/it/{door}", {"input": 1}))[-1]
    assert name == "error"
    assert (data["status_code"], data["message"], data["code"]) == (429, "Out of cats.", "no_cats")


def test_chunk_that_json_cannot_carry_is_an_error_event(site: Site) -> None:
    site.serve("it", chunks(1, object()))
    found = events(site.post("/it/stream", {"input": 1}))
    assert [name for name, _ in found] == ["metadata", "data", "error"]
    assert found[-1][1]["code"] == "output_not_serializable"


@pytest.mark.parametrize("door", ["stream_log", "stream_events"])
def test_object_that_json_cannot_carry_does_not_stop_logs(site: Site, door: str) -> None:
    site.serve("it", chunks({"a": object()}))
    response = site.post(f"/it/{door}", {"input": 1})
    assert events(response)[-1][0] == "end"
    assert '{"type":"not_serializable","class":"builtins.object"}' in response.text


@pytest.mark.parametrize("door", DOORS)
def test_run_over_its_time_ends_with_an_error_event(site: Site, door: str) -> None:
    site.serve("it", Waiting(), timeout=0.05)
    name, data = events(site.post(f"/it/{door}", {"input": 1}))[-1]
    assert (name, data["status_code"], data["code"]) == ("error", 504, "timed_out")


# The client, and time


@pytest.mark.parametrize("door", DOORS)
def test_run_of_a_client_that_left_is_cancelled(site: Site, door: str) -> None:
    waiting = Waiting()
    site.serve("it", waiting)
    asyncio.run(hang_up(site, f"/it/{door}", {"input": 1}, when=waiting.begun))
    assert waiting.ended


@pytest.mark.parametrize("door", DOORS)
def test_stream_is_cancelled_by_its_id(site: Site, door: str) -> None:
    waiting = Waiting()
    site.serve("it", waiting)

    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        call = asyncio.create_task(client.post(f"/it/{door}", json={"input": 1}, headers=NAMED))
        await waiting.begun.wait()
        await client.post(f"/it/runs/{RUN_ID}/cancel")
        return await call

    name, data = events(asyncio.run(connected(site, ask)))[-1]
    assert (name, data["status_code"], data["code"]) == ("error", 499, "cancelled")
    assert waiting.ended


def slow_to_begin(until: float) -> Runnable[Any, Any]:
    async def silent(_: AsyncIterator[Any]) -> AsyncIterator[int]:
        await asyncio.sleep(until)
        yield 1

    return RunnableGenerator(silent)


def test_metadata_does_not_wait_for_a_slow_first_chunk(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {"FIRST_CHUNK_SECONDS": 0.0}
    waiting = Waiting()
    site.serve("it", RunnableGenerator(_silent(waiting)))
    sent = asyncio.run(hang_up(site, "/it/stream", {"input": 1}, when=waiting.begun))
    assert sent[0]["status"] == 200
    assert sent[1]["body"].startswith(b"event: metadata\r\n")


def _silent(waiting: Waiting) -> Any:
    async def silent(_: AsyncIterator[Any]) -> AsyncIterator[int]:
        # The stream begins on its own; only then may the client leave.
        asyncio.get_running_loop().call_later(0.05, waiting.begun.set)
        await asyncio.Event().wait()
        yield 1

    return silent


def test_silent_stream_is_kept_alive_by_comments(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {"FIRST_CHUNK_SECONDS": 0.0, "PING_SECONDS": 0.01}
    site.serve("it", slow_to_begin(0.1))
    response = site.post("/it/stream", {"input": 1})
    assert ": ping" in response.text
    assert [name for name, _ in events(response)] == ["metadata", "data", "end"]


# stream_log


def ops_of(response: httpx.Response) -> list[dict[str, Any]]:
    return [op for data in data_of(response) for op in data["ops"]]


def test_log_begins_with_the_empty_state_and_builds_the_output(site: Site) -> None:
    site.serve("it", talk())
    response = site.post("/it/stream_log", {"input": {"x": "y"}}, headers=NAMED)
    first, *others = ops_of(response)
    assert all(set(data) == {"ops"} for data in data_of(response))
    assert (first["op"], first["path"]) == ("replace", "")
    assert {"id", "streamed_output", "final_output", "logs"} <= set(first["value"])
    assert first["value"]["id"] == RUN_ID
    assert first["value"]["name"] == "/it"
    streamed = [op["value"] for op in others if op["path"] == "/streamed_output/-"]
    assert "".join(streamed) == "a b"
    assert [op["value"] for op in others if op["path"] == "/final_output"][-1] == "a b"


def test_log_names_the_steps(site: Site) -> None:
    site.serve("it", talk())
    paths = [op["path"] for op in ops_of(site.post("/it/stream_log", {"input": {"x": "y"}}))]
    steps = {path.split("/")[2] for path in paths if path.startswith("/logs/")}
    assert {"PromptTemplate", "Words", "StrOutputParser"} <= steps


@pytest.mark.parametrize("diff", [True, False, None])
def test_log_is_always_a_diff(site: Site, diff: Any) -> None:
    site.serve("it", echo())
    assert ops_of(site.post("/it/stream_log", {"input": 1, "diff": diff}))


@pytest.mark.parametrize(
    ("filters", "steps"),
    [
        ({"include_names": ["Words"]}, {"Words"}),
        ({"exclude_names": ["Words"]}, {"PromptTemplate", "StrOutputParser"}),
        ({"include_types": ["llm"]}, {"Words"}),
        ({"exclude_types": ["llm"]}, {"PromptTemplate", "StrOutputParser"}),
        ({"include_tags": ["mine"]}, {"Words"}),
        ({"exclude_tags": ["mine"]}, {"PromptTemplate", "StrOutputParser"}),
        ({"include_names": None}, {"PromptTemplate", "Words", "StrOutputParser"}),
    ],
)
def test_log_is_filtered(site: Site, filters: dict[str, Any], steps: set[str]) -> None:
    site.serve("it", tagged())
    ops = ops_of(site.post("/it/stream_log", {"input": {"x": "y"}, **filters}))
    assert {op["path"].split("/")[2] for op in ops if op["path"].startswith("/logs/")} == steps


def tagged() -> Runnable[Any, Any]:
    model = Words(reply="a b").with_config(tags=["mine"])
    return PromptTemplate.from_template("{x}") | model | StrOutputParser()


# stream_events


@pytest.mark.parametrize("door", ["stream_events", "astream_events"])
def test_events_have_names_ids_and_public_metadata(site: Site, door: str) -> None:
    site.serve("it", talk(), config_keys=["metadata", "tags"])
    config = {"metadata": {"cat": 1}, "tags": ["t"]}
    body = {"input": {"x": "y"}, "config": config}
    found = data_of(site.post(f"/it/{door}", body, headers=NAMED))
    first, last = found[0], found[-1]
    assert set(first) == {"event", "name", "run_id", "tags", "metadata", "data", "parent_ids"}
    assert (first["event"], last["event"]) == ("on_chain_start", "on_chain_end")
    assert first["name"] == "/it"
    assert first["run_id"] == last["run_id"] == RUN_ID
    assert first["parent_ids"] == []
    assert first["tags"] == ["t"]
    assert first["metadata"] == {"cat": 1}
    assert last["data"]["output"] == "a b"
    assert not [key for event in found for key in event["metadata"] if key.startswith("__")]


def test_events_of_steps_name_their_parents(site: Site) -> None:
    site.serve("it", talk())
    found = data_of(site.post("/it/stream_events", {"input": {"x": "y"}}, headers=NAMED))
    model = [event for event in found if event["name"] == "Words"]
    assert {event["event"] for event in model} == {
        "on_chat_model_start",
        "on_chat_model_stream",
        "on_chat_model_end",
    }
    assert {tuple(event["parent_ids"]) for event in model} == {(RUN_ID,)}


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"include_names": ["Words"]}, {"Words"}),
        ({"exclude_names": ["Words", "/it"]}, {"PromptTemplate", "StrOutputParser"}),
        ({"include_types": ["chat_model"]}, {"Words"}),
        ({"exclude_types": ["chat_model"]}, {"/it", "PromptTemplate", "StrOutputParser"}),
        ({"include_tags": ["mine"]}, {"Words"}),
        ({"exclude_tags": ["mine"]}, {"/it", "PromptTemplate", "StrOutputParser"}),
        ({"include_names": None}, {"/it", "PromptTemplate", "Words", "StrOutputParser"}),
    ],
)
def test_events_are_filtered(site: Site, filters: dict[str, Any], names: set[str]) -> None:
    site.serve("it", tagged())
    found = data_of(site.post("/it/stream_events", {"input": {"x": "y"}, **filters}))
    assert {event["name"] for event in found} == names


def test_version_is_the_deployments_whatever_the_caller_says(site: Site) -> None:
    site.serve("it", talk(), astream_events_version="v1")
    body = {"input": {"x": "y"}, "kwargs": {"version": "v2"}, "diff": False}
    found = data_of(site.post("/it/stream_events", body))
    assert {event["event"] for event in found} >= {"on_prompt_start", "on_parser_end"}
    site.change("it", astream_events_version="v2")
    found = data_of(site.post("/it/stream_events", body))
    assert "on_prompt_start" in {event["event"] for event in found}
    assert found[0]["parent_ids"] == []


@pytest.mark.parametrize("door", ["stream_log", "stream_events"])
@pytest.mark.parametrize(
    ("allowed", "run_name", "is_sent"),
    [(None, "cat", True), (["cat"], "cat", True), (["cat"], "dog", False), ([], "cat", False)],
)
def test_allow_list_is_of_the_runnables_own_run_name(
    site: Site, door: str, allowed: Any, run_name: str, is_sent: bool
) -> None:
    runnable = echo().with_config(run_name=run_name)
    site.serve("it", runnable, stream_log_name_allow_list=allowed)
    found = events(site.post(f"/it/{door}", {"input": 1}))
    assert found[-1] == ("end", None)
    assert (len(found) > 1) is is_sent


def test_events_are_json_one_line_each(site: Site) -> None:
    site.serve("it", talk())
    text = site.post("/it/stream_events", {"input": {"x": "line\nbreak"}}).text
    lines = [line for line in text.split("\r\n") if line.startswith("data: ")]
    assert lines
    assert all(isinstance(json.loads(line[6:]), dict) for line in lines)
