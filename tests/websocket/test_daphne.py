"""
daphne, which `runserver` is: the same frames, and close codes of its own.
"""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import InvalidStatus

from tests.live import LiveSite
from tests.websocket import crowd
from tests.websocket.conftest import Person
from tests.websocket.sockets import ONE, Talk, ask, noted, opens, talk

LONG = 100_000


async def test_a_stream_arrives_whole(daphne: LiveSite) -> None:
    run = await ask(daphne, "/spell", "stream", input="cat")
    assert run.names == ["metadata", "data", "data", "data", "end"]
    assert run.data == ["c", "a", "t"]


async def test_an_output_arrives(daphne: LiveSite) -> None:
    assert (await ask(daphne, "/spell", "invoke", input="cat")).result["output"] == "cat"


async def test_a_stream_that_fails_midway_ends_with_an_error(daphne: LiveSite) -> None:
    run = await ask(daphne, "/fails_midway", "stream", input="a")
    assert run.names == ["metadata", "data", "error"]


@pytest.mark.parametrize("is_polite", [True, False])
async def test_a_run_whose_client_leaves_is_cancelled(
    daphne: LiveSite, key: str, is_polite: bool
) -> None:
    async with talk(daphne, "/count") as caller:
        await caller.send(1, "stream", input={"key": key, "upto": LONG})
        await noted(daphne, key, "started")
        if not is_polite:
            caller.connection.transport.abort()
    await noted(daphne, key, "finally")


async def test_runs_are_cancelled_in_between(daphne: LiveSite) -> None:
    orders = crowd.crowd()[:20]
    async with talk(daphne, "/count") as caller:
        for one in orders:
            await caller.send(one.id, one.method, **one.params)
        for one in orders:
            if one.is_cancelled:
                await noted(daphne, one.key, "started")
                await caller.call(f"cancel {one.id}", "cancel", **one.cancel_params)
        await caller.all_over(one.id for one in orders)
    crowd.check_all(orders, caller.runs)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"{}", 4003),
        ("{", 4007),
        ('{"id": 1, "id": 2, "method": "ping"}', 4007),
        ('{"id": 1}', 4008),
    ],
)
async def test_a_wrong_frame_closes_with_a_code_of_its_own(
    daphne: LiveSite, key: str, frame: str | bytes, code: int
) -> None:
    async with talk(daphne, "/count") as caller:
        await caller.send("run", "invoke", input={"key": key, "upto": LONG})
        await noted(daphne, key, "started")
        await caller.connection.send(frame)
        assert (await caller.closed())[0] == code
    await noted(daphne, key, "finally")


async def test_a_handshake_is_refused_with_403(daphne: LiveSite, people: dict[str, Person]) -> None:
    alice = people["alice"]
    foreign = {**alice.cookie, "Origin": "http://evil.example.org"}
    for path, headers in (("/not/there", None), ("/count", foreign)):
        with pytest.raises(InvalidStatus) as refused:
            async with talk(daphne, path, headers=headers):
                pass
        assert refused.value.response.status_code == 403


async def test_callers_are_told_apart(daphne: LiveSite, people: dict[str, Person]) -> None:
    alice, bob = people["alice"], people["bob"]
    own = {**alice.cookie, "Origin": daphne.url}
    assert (await ask(daphne, "/private_count", "invoke", headers=own, input=ONE)).result
    offered = ["langserve", f"bearer.{bob.token}"]
    async with talk(daphne, "/private_count", subprotocols=offered) as caller:
        assert caller.connection.subprotocol == "langserve"
        assert (await caller.call(1, "invoke", input=ONE)).result
    async with talk(daphne, "/private_count") as stranger:
        await stranger.send(1, "invoke", input=ONE)
        assert (await stranger.closed())[0] == 4008


@pytest.mark.parametrize("second", ["http://evil.example.org", "the same"])
async def test_two_origins_are_refused(
    daphne: LiveSite, people: dict[str, Person], second: str
) -> None:
    last = daphne.url if second == "the same" else second
    both = [("Origin", daphne.url), ("Origin", last)]
    for one, two in (both, both[::-1]):
        headers: list[tuple[str, str]] = [*people["alice"].cookie.items(), one, two]
        assert not await opens(daphne, "/private_count", headers)  # type: ignore[arg-type]


async def test_a_flood_is_closed(daphne: LiveSite) -> None:
    async with talk(daphne, "/spell") as caller:
        await flood(caller)
        assert (await caller.closed())[0] == 4008


async def flood(caller: Talk) -> None:
    for number in range(300):
        await caller.send_text(json.dumps({"id": number, "method": "ping"}))
