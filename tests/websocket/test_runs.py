"""
Streams and calls: whole, refused, failing midway, left; many at once, and cancels between.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.live import LiveSite, serving
from tests.websocket import crowd
from tests.websocket.conftest import RUNS, Person
from tests.websocket.sockets import Talk, ask, becomes, ledger, log_of, noted, talk

STREAMS = ("stream", "stream_log", "stream_events")
LONG = 100_000


def order(key: str, upto: int = LONG) -> dict[str, Any]:
    return {"key": key, "upto": upto}


async def started(site: LiveSite, caller: Talk, key: str, **params: Any) -> None:
    """
    A stream with id 1 that is going on.
    """
    await caller.send(1, "stream", input=order(key), **params)
    await caller.until(lambda: 1 in caller.runs and bool(caller.runs[1].data))


# --- The four tests of a stream ---------------------------------------------------------------


async def test_a_stream_arrives_whole(site: LiveSite) -> None:
    run = await ask(site, "/spell", "stream", input="cat")
    assert run.events == [
        {"type": "event", "id": 1, "seq": 0, "event": "metadata", "data": run.result},
        {"type": "event", "id": 1, "seq": 1, "event": "data", "data": "c"},
        {"type": "event", "id": 1, "seq": 2, "event": "data", "data": "a"},
        {"type": "event", "id": 1, "seq": 3, "event": "data", "data": "t"},
        {"type": "event", "id": 1, "seq": 4, "event": "end"},
    ]


@pytest.mark.parametrize("method", ["invoke", "batch", *STREAMS])
async def test_a_run_is_refused_before_it_starts(site: LiveSite, method: str, key: str) -> None:
    params = {"inputs": [5]} if method == "batch" else {"input": 5}
    async with talk(site, "/spell") as caller:
        refused = await caller.call(1, method, **params)
        after = await caller.call(1 << 40, "invoke", input="a")
    assert refused.error["code"] == "validation_error"
    assert not refused.events
    assert after.result["output"] == "a"


@pytest.mark.parametrize("method", STREAMS)
async def test_a_stream_that_fails_midway_ends_with_an_error(site: LiveSite, method: str) -> None:
    async with talk(site, "/fails_midway") as caller:
        run = await caller.call("a", method, input="b")
        after = await caller.call("c", "ping")
    assert run.names[-1] == "error"
    assert (run.error["status_code"], run.error["code"]) == (500, "run_failed")
    assert run.error["run_id"] == run.result["run_id"]
    assert run.data
    assert after.result == {}


@pytest.mark.parametrize("method", STREAMS)
@pytest.mark.parametrize("is_polite", [True, False])
async def test_a_stream_whose_client_leaves_is_cancelled(
    site: LiveSite, key: str, method: str, is_polite: bool
) -> None:
    async with talk(site, "/count") as caller:
        await caller.send(1, method, input=order(key))
        await caller.until(lambda: 1 in caller.runs and len(caller.runs[1].events) > 2)
        if not is_polite:
            caller.connection.transport.abort()
    await noted(site, key, "finally")


@pytest.mark.parametrize(
    ("method", "params"), [("invoke", {"input": "KEY"}), ("batch", {"inputs": ["KEY"]})]
)
async def test_a_call_whose_client_leaves_is_cancelled(
    site: LiveSite, key: str, method: str, params: dict[str, Any]
) -> None:
    sent = {name: [key] if isinstance(value, list) else key for name, value in params.items()}
    async with talk(site, "/slow_invoke") as caller:
        await caller.send(1, method, **sent)
        await noted(site, key, "started")
    await noted(site, key, "cancelled")


async def test_a_client_that_leaves_makes_no_noise(site: LiveSite) -> None:
    before = len(log_of(site))
    # Whether runs or their socket hear of it first is chance: often enough, and it is both.
    for _ in range(20):
        keys = [uuid4().hex for _ in range(10)]
        async with talk(site, "/count") as caller:
            for number, key in enumerate(keys):
                await caller.send(number, "stream", input={**order(key), "pause": 0})
            await caller.until(lambda: len(caller.runs) == 10 and len(caller.runs[9].events) > 5)
            caller.connection.transport.abort()
        for key in keys:
            await noted(site, key, "finally")
    log = log_of(site)[before:]
    assert "Traceback" not in log
    assert "never retrieved" not in log


# --- Cancels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["invoke", "batch", *STREAMS])
@pytest.mark.parametrize("by", ["id", "run_id"])
async def test_a_cancelled_run_ends_as_cancelled(
    site: LiveSite, key: str, method: str, by: str
) -> None:
    run_id = str(uuid4())
    params = {"inputs": [order(key)]} if method == "batch" else {"input": order(key)}
    async with talk(site, "/count") as caller:
        await caller.send("run", method, **params, run_id=run_id)
        await noted(site, key, "started")
        what = {"id": "run"} if by == "id" else {"run_id": run_id}
        cancel = await caller.call("cancel", "cancel", **what)
        run = await caller.over("run")
    assert cancel.result == {"status": "cancelled"}
    assert (run.error["status_code"], run.error["code"]) == (499, "cancelled")
    assert run.error["run_id"] == run_id
    assert "end" not in run.names
    await noted(site, key, "finally")


@pytest.mark.parametrize("method", ["invoke", "stream"])
async def test_a_run_cancelled_at_once_ends_as_cancelled(
    site: LiveSite, key: str, method: str
) -> None:
    start = {"id": 1, "method": method, "params": {"input": order(key)}}
    cancel = {"id": 2, "method": "cancel", "params": {"id": 1}}
    async with talk(site, "/count") as caller:
        # Both in one packet: nothing happens on the server between them.
        protocol = caller.connection.protocol
        for frame in (start, cancel):
            protocol.send_text(json.dumps(frame).encode())
        caller.connection.transport.write(b"".join(protocol.data_to_send()))
        await caller.until(lambda: {1, 2} <= set(caller.runs) and caller.runs[1].is_over, 3)
    assert caller.runs[1].error["code"] == "cancelled"


async def test_a_run_that_has_ended_is_unknown(site: LiveSite) -> None:
    async with talk(site, "/spell") as caller:
        await caller.call(1, "stream", input="cat")
        cancel = await caller.call(2, "cancel", id=1)
    assert (cancel.error["status_code"], cancel.error["code"]) == (404, "unknown_run")


async def test_a_run_id_that_nobody_has_is_unknown(site: LiveSite) -> None:
    cancel = await ask(site, "/spell", "cancel", run_id=str(uuid4()))
    assert (cancel.error["status_code"], cancel.error["code"]) == (404, "unknown_run")


async def test_a_run_is_cancelled_over_http(site: LiveSite, key: str) -> None:
    async with talk(site, "/count") as caller:
        await started(site, caller, key)
        run_id = caller.runs[1].result["run_id"]
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{site.url}/count/runs/{run_id}/cancel")
        run = await caller.over(1)
    assert answer.status_code == 200
    assert run.error["code"] == "cancelled"


async def test_a_run_of_http_is_cancelled_from_a_socket(site: LiveSite, key: str) -> None:
    run_id = str(uuid4())
    async with httpx.AsyncClient(headers={"X-Run-Id": run_id}) as client:
        url, body = f"{site.url}/count/stream", {"input": order(key)}
        async with client.stream("POST", url, json=body) as response:
            cancel = await ask(site, "/count", "cancel", run_id=run_id)
            text = (await response.aread()).decode()
    assert cancel.result == {"status": "cancelled"}
    assert '"code": "cancelled"' in text


async def test_a_run_of_another_process_is_cancelled(
    site: LiveSite, key: str, tmp_path: Any
) -> None:
    with serving(site.env, tmp_path / "other.log") as other:
        async with talk(site, "/count") as caller:
            await started(site, caller, key)
            run_id = caller.runs[1].result["run_id"]
            cancel = await ask(other, "/count", "cancel", run_id=run_id)
            assert cancel.result == {"status": "cancelled"}
            assert (await caller.over(1)).error["code"] == "cancelled"


async def test_a_run_id_of_the_handshake_is_no_runs(site: LiveSite, key: str) -> None:
    async with talk(site, "/count", headers={"X-Run-Id": str(uuid4())}) as caller:
        await started(site, caller, key)
        second = await caller.call(2, "invoke", input=order("x", 1))
    assert second.result["output"] == "x:0 "


async def test_nobody_else_cancels_a_run(
    site: LiveSite, people: dict[str, Person], key: str
) -> None:
    alice, bob = people["alice"], people["bob"]
    async with talk(site, "/private_count", headers=alice.bearer) as caller:
        await started(site, caller, key)
        run_id = caller.runs[1].result["run_id"]
        theirs = await ask(site, "/private_count", "cancel", headers=bob.bearer, run_id=run_id)
        anonymous = await ask(site, "/count", "cancel", run_id=run_id)
        by_id = await ask(site, "/private_count", "cancel", headers=bob.bearer, id=1)
        assert "finally" not in ledger(site, key)
        own = await ask(site, "/private_count", "cancel", headers=alice.bearer, run_id=run_id)
        run = await caller.over(1)
    assert theirs.error["code"] == anonymous.error["code"] == "unknown_run"
    assert by_id.error["status_code"] in (404, 422)
    assert own.result == {"status": "cancelled"}
    assert run.error["code"] == "cancelled"


# --- Many at once -----------------------------------------------------------------------------


async def test_fifty_runs_share_a_socket_with_cancels_in_between(site: LiveSite) -> None:
    orders = crowd.crowd()
    before = len(log_of(site))
    async with talk(site, "/count") as caller:
        for number, one in enumerate(orders):
            await caller.send(one.id, one.method, **one.params)
            if number % 10 == 9:
                await cancel_started(site, caller, orders[: number + 1])
        await cancel_started(site, caller, orders)
        await caller.all_over(one.id for one in orders)
        again = await caller.call("again", "invoke", input=order(uuid4().hex, 1))
    crowd.check_all(orders, caller.runs)
    assert again.result["output"].endswith(":0 ")
    for one in orders:
        await noted(site, one.key, "finally")
    log = log_of(site)[before:]
    assert not [one for one in orders if one.run_id in log]


async def cancel_started(site: LiveSite, caller: Talk, orders: list[crowd.Order]) -> None:
    for one in orders:
        name = f"cancel {one.id}"
        if one.is_cancelled and name not in caller.runs:
            await noted(site, one.key, "started")
            cancelled = await caller.call(name, "cancel", **one.cancel_params)
            assert cancelled.result == {"status": "cancelled"}


async def test_an_id_is_free_again_when_its_run_has_ended(site: LiveSite) -> None:
    async with talk(site, "/spell") as caller:
        for word in ("cat", "dog", "cow") * 10:
            run = await caller.call(1, "stream", input=word)
            assert run.data == list(word)
            del caller.runs[1]


async def test_too_many_runs_are_refused_and_the_others_go_on(site: LiveSite) -> None:
    keys = [uuid4().hex for _ in range(RUNS)]
    async with talk(site, "/count") as caller:
        for number, key in enumerate(keys):
            await caller.send(number, "invoke", input=order(key))
        refused = await caller.call("one more", "invoke", input=order("x", 1))
        assert (refused.error["status_code"], refused.error["code"]) == (429, "too_many_runs")
        await noted(site, keys[0], "started")
        await caller.call("cancel", "cancel", id=0)
        await caller.over(0)
        allowed = await caller.call("another", "invoke", input=order("x", 1))
        assert allowed.result["output"] == "x:0 "
    await becomes(lambda: not any(ledger(site, key)[-1:] == ["started"] for key in keys))
