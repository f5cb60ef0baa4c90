"""
A deployment's limits, maintenance and versions hold on a socket as they do elsewhere.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.live import LiveSite
from tests.websocket.conftest import Person
from tests.websocket.sockets import ONE, Talk, noted, talk

METHODS = ("invoke", "batch", "stream", "stream_log", "stream_events")


async def refused(caller: Talk, command_id: str, method: str = "invoke", **params: Any) -> Any:
    run = await caller.call(command_id, method, input=ONE, inputs=[ONE], **params)
    assert not run.events
    return run.error


@pytest.mark.parametrize("method", METHODS)
async def test_calls_a_minute_are_those_of_the_caller_not_of_the_socket(
    site: LiveSite, method: str
) -> None:
    path = f"/two_a_minute_{method}"
    async with talk(site, path) as one, talk(site, path) as other:
        for caller in (one, other):
            assert (await caller.call("first", method, input=ONE, inputs=[ONE])).reply
        error = await refused(other, "third", method)
    assert (error["status_code"], error["code"]) == (429, "rate_limited")
    assert 0 < error["retry_after"] <= 120


async def test_a_quota_is_used_up_on_a_socket_too(site: LiveSite) -> None:
    async with talk(site, "/two_a_day") as caller:
        assert (await caller.call("both", "batch", inputs=[ONE, ONE])).result["output"]
        error = await refused(caller, "third")
    assert (error["status_code"], error["code"]) == (429, "quota_exceeded")


async def test_runs_of_one_socket_wait_for_their_turn(site: LiveSite, key: str) -> None:
    async with talk(site, "/one_at_a_time") as caller:
        await caller.send("long", "stream", input={"key": key, "upto": 100_000})
        await noted(site, key, "started")
        await caller.send("waits", "invoke", input=ONE)
        error = await refused(caller, "too many")
        assert (error["status_code"], error["code"]) == (429, "queue_full")
        await caller.send("stop", "cancel", id="long")
        await caller.until(lambda: "waits" in caller.runs and caller.runs["waits"].is_over)
        assert caller.runs["waits"].result["output"] == "x:0 "


async def test_a_version_is_chosen_by_who_may(site: LiveSite, people: dict[str, Person]) -> None:
    async with talk(site, "/count") as anybody:
        assert (await refused(anybody, "a", version=1))["code"] == "not_authenticated"
    async with talk(site, "/count", headers=people["alice"].bearer) as alice:
        error = await refused(alice, "b", version=1)
        assert error["code"] == "not_permitted"
        assert "pin_version" in error["message"]


async def test_the_version_of_a_handshake_is_not_that_of_every_run(site: LiveSite) -> None:
    async with talk(site, "/count", headers={"X-Deployment-Version": "1"}) as caller:
        assert (await caller.call("a", "invoke", input=ONE)).result["output"] == "x:0 "
