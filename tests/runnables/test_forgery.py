"""
Five hundred ways to be somebody else, or to set what is closed: none of them works.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import httpx
import lzstring
import pytest

from tests.conftest import Site
from tests.fakes import Declaring
from tests.runnables.asgi import connected

DOORS = ("invoke", "batch", "stream", "stream_log", "stream_events")
FORGED = "somebody else"
OWNED = ("user_id", "username", "groups", "tenant")
CLOSED = (
    "openai_api_key",
    "apiKey",
    "base_url",
    "default_headers",
    "proxy",
    "service_endpoint",
    "locked",
)
RESERVED = ("checkpoint_id", "checkpoint_ns", "checkpoint_map", "__pregel_send", "__user")
# What a careless comparison would take for another key.
SPELLINGS = (
    "USER_ID",
    "User_Id",
    "user_id ",
    " user_id",
    "user_id\u200b",
    "\uff55ser_id",
    "userId",
)


class Attempt(NamedTuple):
    """
    One request: whether by body, by hash or by both, with what config.
    """

    door: str
    how: str
    config: dict[str, Any]


def configs() -> Iterator[dict[str, Any]]:
    for name in (*OWNED, *CLOSED, *RESERVED, *SPELLINGS):
        yield {"configurable": {name: FORGED}}
        yield {"configurable": {"mood": "good", name: FORGED}}
    for name in OWNED:
        # Beside `configurable`, where LangChain would copy some of it to.
        yield {"configurable": {}, "metadata": {name: FORGED}}
        yield {name: FORGED}
        yield {"configurable": {"configurable": {name: FORGED}}}
        yield {"configurable": {"mood": {name: FORGED}}}


def attempts() -> Iterator[Attempt]:
    for number, config in enumerate(configs()):
        for door in DOORS:
            ways = ["body", "hash", "both", *(["list"] if door == "batch" else [])]
            # Every door sees every config, each by half of the ways.
            for way in ways:
                if (number + ways.index(way)) % 2 == 0 or way == "list":
                    yield Attempt(door, way, config)


def hashed(config: Any) -> str:
    text: str = lzstring.LZString().compressToEncodedURIComponent(json.dumps(config))
    return text


async def make(client: httpx.AsyncClient, attempt: Attempt, headers: Any) -> httpx.Response:
    door, how, config = attempt
    in_path = f"c/{hashed(config)}/" if how in ("hash", "both") else ""
    body: dict[str, Any] = {"inputs": [1]} if door == "batch" else {"input": 1}
    if how in ("body", "both"):
        body["config"] = config
    if how == "list":
        body["config"] = [config]
    return await client.post(f"/it/{in_path}{door}", json=body, headers=headers)


def tenant(request: Any) -> str:
    return f"tenant of {request.user.get_username()}"


@pytest.mark.parametrize("is_declared", [True, False])
def test_no_caller_becomes_somebody_else_or_sets_what_is_closed(
    site: Site, settings: Any, is_declared: bool
) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "TENANT": "tests.runnables.test_forgery.tenant"}
    names = ("mood", "locked", *(OWNED + CLOSED + RESERVED + SPELLINGS if is_declared else ()))
    spy = Declaring(**dict.fromkeys(names, object))
    site.serve(
        "it",
        spy,
        config_keys=["configurable", "metadata", "tags"],
        extra_configurable=[*OWNED, *RESERVED],
        locked_configurable=["locked"],
    )
    alice = site.user("alice")
    headers = site.token(alice)
    truth = {
        "user_id": str(alice.pk),
        "username": "alice",
        "groups": [],
        "tenant": "tenant of alice",
    }
    tried = list(attempts())

    async def all_of_them(client: httpx.AsyncClient) -> list[int]:
        return [(await make(client, attempt, headers)).status_code for attempt in tried]

    statuses = asyncio.run(connected(site, all_of_them))

    assert len(tried) > 500
    assert set(statuses) <= {200, 422}
    for config in spy.configs:
        configurable = config["configurable"]
        assert {name: configurable[name] for name in OWNED} == truth
        assert not set(configurable) & {*CLOSED, *RESERVED}
    for attempt, status in zip(tried, statuses, strict=True):
        sent = attempt.config.get("configurable", {})
        if set(sent) & {*OWNED, *RESERVED} or (is_declared and set(sent) & {*CLOSED}):
            assert status == 422, attempt


def test_anonymous_callers_have_no_identity_to_forge(site: Site) -> None:
    spy = Declaring(user_id=str)
    site.serve("it", spy)
    config = {"configurable": {"user_id": FORGED}}
    for how in ("body", "hash", "both"):
        attempt = Attempt("invoke", how, config)
        response = asyncio.run(connected(site, partial(make, attempt=attempt, headers={})))
        assert response.status_code == 422
    assert site.invoke("/it", 1) == 1
    assert spy.configurable.get("user_id") is None
