"""
A frame's `result`, `data` or `error` is what the HTTP doors send for the same call.
"""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import httpx
import lzstring
import pytest

from tests.live import LiveSite
from tests.websocket.sockets import USER_AGENT, ask, talk

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:\+00:00|Z)?")

TOPIC = {"topic": "cats"}
HELLO = [{"type": "human", "content": "Hello you"}]
CALLS: dict[str, dict[str, Any]] = {
    "/joke": {"input": TOPIC},
    "/model": {"input": "Hello there"},
    "/prompt": {"input": TOPIC},
    "/retriever": {"input": "cats"},
    "/multiply": {"input": {"a": 6, "b": 7}},
    "/special": {"input": "a"},
    "/nothing": {"input": "a"},
    "/halves": {"input": "abcdef"},
    "/greeting": {"input": {"name": "Ann"}, "config": {"configurable": {"template": "Hi {name}"}}},
    "/open_config": {"input": 1, "config": {"tags": ["a"], "metadata": {"b": 1}}},
    "/infinite": {"input": 1},
    "/graph": {"input": {"messages": HELLO}},
    "/agent": {"input": {"messages": [{"type": "human", "content": "what is 6 times 7"}]}},
    "/made/by/factory": {"input": 1},
    "/observed_add_one": {"input": 1},
    "/events_v1": {"input": TOPIC},
}
FAILING: list[tuple[str, str, dict[str, Any]]] = [
    ("/joke", "invoke", {}),
    ("/joke", "invoke", {"input": {"topic": 1}}),
    ("/joke", "stream", {"input": 5}),
    ("/joke", "stream_log", {"input": TOPIC, "include_names": "joke"}),
    ("/joke", "batch", {"inputs": [TOPIC, {}]}),
    ("/joke", "batch", {"inputs": 5}),
    ("/joke", "batch", {"inputs": [TOPIC] * 101}),
    ("/joke", "batch", {"inputs": [TOPIC], "config": [{}, {}]}),
    ("/joke", "invoke", {"input": TOPIC, "config": 5}),
    ("/joke", "invoke", {"input": TOPIC, "config": {"configurable": {"user_id": "me"}}}),
    ("/refuses", "invoke", {"input": "a"}),
    ("/refuses", "batch", {"inputs": ["a"]}),
    ("/fails", "invoke", {"input": "a"}),
    ("/fails", "batch", {"inputs": ["a"]}),
    ("/fails_on_zero", "batch", {"inputs": [1, 0]}),
    ("/no_batch", "batch", {"inputs": [1]}),
]


def alike(value: Any) -> str:
    """
    JSON in which ids are numbered as they appear and times are left out.
    """
    seen: dict[str, str] = {}
    text = json.dumps(value, sort_keys=True)
    text = UUID.sub(lambda found: seen.setdefault(found[0], f"id-{len(seen)}"), text)
    return TIME.sub("a time", text)


def post(site: LiveSite, path: str, body: Any, run_id: str) -> httpx.Response:
    headers = {"X-Run-Id": run_id, "User-Agent": USER_AGENT}
    return httpx.post(f"{site.url}{path}", json=body, headers=headers, timeout=30)


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    found = []
    for block in response.text.split("\r\n\r\n"):
        lines = [line for line in block.split("\r\n") if line and not line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines)
        if fields:
            found.append((fields["event"], json.loads(fields.get("data", "null"))))
    return found


@pytest.mark.parametrize("path", CALLS)
async def test_invoke_answers_what_http_answers(site: LiveSite, path: str) -> None:
    run_id = str(uuid4())
    expected = post(site, f"{path}/invoke", CALLS[path], run_id)
    run = await ask(site, path, "invoke", **CALLS[path], run_id=run_id)
    assert expected.status_code == 200
    assert alike(run.result) == alike(expected.json())
    assert run.result["metadata"]["run_id"] == run_id


@pytest.mark.parametrize("path", CALLS)
async def test_batch_answers_what_http_answers(site: LiveSite, path: str) -> None:
    body: dict[str, Any] = {
        "inputs": [CALLS[path]["input"]] * 2,
        "config": CALLS[path].get("config"),
    }
    run_id = str(uuid4())
    expected = post(site, f"{path}/batch", body, run_id)
    run = await ask(site, path, "batch", **body, run_id=run_id)
    assert expected.status_code == 200
    assert alike(run.result) == alike(expected.json())
    assert run.result["metadata"]["run_ids"][0] == run_id


async def test_a_partial_batch_answers_what_http_answers(site: LiveSite) -> None:
    body: dict[str, Any] = {"inputs": [1, 0], "return_exceptions": True}
    run_id = str(uuid4())
    expected = post(site, "/fails_on_zero/batch", body, run_id)
    run = await ask(site, "/fails_on_zero", "batch", **body, run_id=run_id)
    assert alike(run.result) == alike(expected.json())
    assert run.result["output"] == [10, None]


async def test_an_empty_batch_answers_what_http_answers(site: LiveSite) -> None:
    expected = post(site, "/joke/batch", {"inputs": []}, "")
    run = await ask(site, "/joke", "batch", inputs=[])
    assert run.result == expected.json()


@pytest.mark.parametrize("method", ["stream", "stream_log", "stream_events"])
@pytest.mark.parametrize("path", CALLS)
async def test_a_stream_sends_the_events_that_sse_sends(
    site: LiveSite, path: str, method: str
) -> None:
    run_id = str(uuid4())
    expected = post(site, f"{path}/{method}", CALLS[path], run_id)
    run = await ask(site, path, method, **CALLS[path], run_id=run_id)
    assert expected.status_code == 200
    found = [(event["event"], event.get("data")) for event in run.events]
    assert alike(found) == alike(events(expected))
    assert run.result == {"run_id": run_id}
    assert run.names[-1] == "end"
    assert ("metadata" in run.names) == (method == "stream")


async def test_filters_are_those_of_http(site: LiveSite) -> None:
    body: dict[str, Any] = {"input": TOPIC, "include_types": ["chat_model"]}
    expected = post(site, "/joke/stream_events", body, str(uuid4()))
    run = await ask(site, "/joke", "stream_events", **body)
    assert alike(run.data) == alike([data for name, data in events(expected) if name == "data"])
    assert run.data


async def test_a_config_hash_is_that_of_the_path(site: LiveSite) -> None:
    config_hash = hash_of({"configurable": {"template": "Bye {name}"}})
    expected = post(site, f"/greeting/c/{config_hash}/invoke", {"input": {"name": "Ann"}}, "")
    run = await ask(site, "/greeting", "invoke", input={"name": "Ann"}, config_hash=config_hash)
    assert alike(run.result) == alike(expected.json())
    assert run.result["output"]["text"] == "Bye Ann"


@pytest.mark.parametrize(("path", "method", "body"), FAILING)
async def test_an_error_is_that_of_http_with_its_status(
    site: LiveSite, path: str, method: str, body: dict[str, Any]
) -> None:
    expected = post(site, f"{path}/{method}", body, str(uuid4()))
    run = await ask(site, path, method, **body)
    assert expected.status_code >= 400
    wanted = {"status_code": expected.status_code, **expected.json()}
    assert alike(run.error) == alike(wanted)


@pytest.mark.parametrize("path", ["/fails_midway", "/refuses_midway"])
@pytest.mark.parametrize("method", ["stream", "stream_log", "stream_events"])
async def test_a_failure_midway_is_that_of_sse(site: LiveSite, path: str, method: str) -> None:
    expected = events(post(site, f"{path}/{method}", {"input": "a"}, str(uuid4())))
    run = await ask(site, path, method, input="a")
    assert run.names[-1] == expected[-1][0] == "error"
    assert alike(run.error) == alike(expected[-1][1])


async def test_a_run_id_in_use_is_refused(site: LiveSite, key: str) -> None:
    run_id = str(uuid4())
    async with talk(site, "/count") as caller:
        await caller.send(1, "stream", input={"key": key, "upto": 10_000}, run_id=run_id)
        await caller.until(lambda: bool(caller.runs.get(1)))
        second = await caller.call(2, "stream", input={"key": key, "upto": 1}, run_id=run_id)
        over_http = post(site, "/count/invoke", {"input": {"key": key, "upto": 1}}, run_id)
    assert second.error["code"] == over_http.json()["code"] == "run_id_in_use"


@pytest.mark.parametrize("run_id", ["one", 5, [1]])
async def test_a_run_id_that_is_none_is_refused(site: LiveSite, run_id: Any) -> None:
    run = await ask(site, "/joke", "invoke", input=TOPIC, run_id=run_id)
    assert run.error["detail"][0]["loc"] == ["run_id"]


def hash_of(config: dict[str, Any]) -> str:
    return str(lzstring.LZString().compressToEncodedURIComponent(json.dumps(config)))
