"""
How much one caller may have of a deployment, and what is said to who wants more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.core.cache import cache
from django.db import connections
from django.utils import timezone

from runnables import limits
from runnables.identity import CallerRequest
from runnables.limits import Line, _hit
from runnables.models import QuotaUse
from tests.conftest import Site, events
from tests.fakes import Counter, Spy, Waiting, echo, failing
from tests.runnables.asgi import connected

DOORS = ("invoke", "batch", "stream", "stream_log", "stream_events")
BODY = {"input": 1, "inputs": [1]}


def status(site: Site, door: str = "invoke", **options: Any) -> int:
    return site.post(f"/it/{door}", BODY, **options).status_code


def refused(response: httpx.Response, code: str) -> dict[str, Any]:
    """
    The body of a 429 that says when to come back.
    """
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (429, code)
    assert int(response.headers["Retry-After"]) >= body["retry_after"] > 0
    assert body["detail"] == body["message"]
    return body


# Until somebody sets one


def test_nothing_is_limited_until_somebody_sets_a_limit(site: Site) -> None:
    row = site.serve("it", echo())
    assert row.requests_per_minute is row.anonymous_requests_per_minute is None
    assert row.daily_quota is row.max_concurrent_runs is row.max_recursion is None
    assert (row.max_batch_size, row.batch_concurrency, row.timeout) == (100, 8, 600)
    assert {status(site) for _ in range(50)} == {200}
    assert not QuotaUse.objects.exists()


# Calls a minute


@pytest.mark.parametrize("door", DOORS)
def test_anonymous_callers_have_a_minute_per_address(site: Site, door: str) -> None:
    site.serve("it", echo(), anonymous_requests_per_minute=2)
    assert [status(site, door) for _ in range(3)] == [200, 200, 429]
    refused(site.post(f"/it/{door}", BODY), "rate_limited")


def test_users_have_a_minute_each_however_they_call(site: Site) -> None:
    site.serve("it", echo(), requests_per_minute=2)
    alice, bob = site.user("alice"), site.user("bob")
    assert status(site, headers=site.token(alice)) == 200
    assert status(site, headers=site.session(alice)) == 200
    assert status(site, headers=site.token(alice)) == 429
    assert status(site, headers=site.token(bob)) == 200
    # Anonymous callers have a limit of their own, and here none.
    assert {status(site) for _ in range(5)} == {200}


def test_a_minute_is_of_one_deployment(site: Site) -> None:
    site.serve("it", echo(), anonymous_requests_per_minute=1)
    site.serve("other", echo(), anonymous_requests_per_minute=1)
    assert [status(site), status(site)] == [200, 429]
    assert site.invoke("/other", 1) == 1


def test_a_limit_counts_from_the_moment_it_is_set(site: Site) -> None:
    site.serve("it", echo())
    assert status(site) == 200
    site.change("it", anonymous_requests_per_minute=1)
    assert [status(site), status(site)] == [200, 429]
    site.change("it", anonymous_requests_per_minute=None)
    assert status(site) == 200


def test_schemas_do_not_count(site: Site) -> None:
    site.serve("it", echo(), anonymous_requests_per_minute=1)
    assert {site.get("/it/input_schema").status_code for _ in range(5)} == {200}
    assert status(site) == 200


@pytest.mark.parametrize(("second", "wait"), [(0, 90), (30, 60), (59, 31)])
def test_a_full_minute_has_room_again_when_it_is_over(second: int, wait: float) -> None:
    now = 60_000.0 + second
    assert [_hit("full", 2, now) for _ in range(2)] == [None, None]
    told = _hit("full", 2, now)
    assert told is not None
    assert told == pytest.approx(wait)
    assert _hit("full", 2, now + told + 0.01) is None


def test_the_minute_before_weighs_in_by_how_near_it_is() -> None:
    assert [_hit("near", 10, 60_059) for _ in range(10)] == [None] * 10
    # A second later nine tenths and more of those still count.
    told = _hit("near", 10, 60_060)
    assert told is not None
    assert 0 < told <= 6
    assert _hit("near", 10, 60_060 + told + 0.01) is None


def test_who_keeps_trying_gets_in_as_soon_as_who_waits() -> None:
    assert [_hit("keen", 1, 60_000) for _ in range(100)][1:] == [_hit("keen", 1, 60_000)] * 99
    assert _hit("keen", 1, 60_121) is None


@pytest.fixture(autouse=True)
def no_counts() -> Any:
    cache.clear()
    yield
    cache.clear()


# The address of an anonymous caller


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        (0, "203.0.113.9", "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "10.0.0.1, 203.0.113.9", "203.0.113.9"),
        (2, "6.6.6.6, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (3, "203.0.113.9", "203.0.113.9"),
        (1, "", "127.0.0.1"),
        (1, "not an address", "unknown"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
    ],
)
def test_address_is_what_the_nearest_trusted_proxy_saw(
    site: Site, settings: Any, proxies: int, forwarded: str, seen: str
) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "TRUSTED_PROXIES": proxies}
    found: list[str] = []

    def note(request: CallerRequest) -> list[Any]:
        found.append(request.address)
        return []

    site.serve("it", echo(), callbacks=note)
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert status(site, headers=headers) == 200
    assert found == [seen]


def test_a_forged_address_is_no_way_round_a_limit(site: Site) -> None:
    site.serve("it", echo(), anonymous_requests_per_minute=1)
    statuses = [
        status(site, headers={"X-Forwarded-For": f"203.0.113.{number}"}) for number in range(3)
    ]
    assert statuses == [200, 429, 429]


# Runs a day


@pytest.mark.parametrize("door", DOORS)
def test_a_quota_is_used_up_on_every_door(site: Site, door: str) -> None:
    site.serve("it", echo(), daily_quota=2)
    headers = site.token(site.user("alice"))
    assert [status(site, door, headers=headers) for _ in range(2)] == [200, 200]
    body = refused(site.post(f"/it/{door}", BODY, headers=headers), "quota_exceeded")
    assert body["retry_after"] <= 24 * 3600
    assert status(site, door, headers=site.token(site.user("bob"))) == 200


def test_a_batch_uses_one_run_for_each_input_or_none(site: Site) -> None:
    site.serve("it", echo(), daily_quota=5)
    assert site.post("/it/batch", {"inputs": [1, 2, 3]}).status_code == 200
    refused(site.post("/it/batch", {"inputs": [1, 2, 3]}), "quota_exceeded")
    assert site.post("/it/batch", {"inputs": [1, 2]}).status_code == 200
    assert status(site) == 429


def test_what_was_never_run_uses_no_quota(site: Site) -> None:
    site.serve("it", echo(), daily_quota=1, input_type=int)
    assert site.post("/it/invoke", {"input": "no number"}).status_code == 422
    assert site.post("/it/invoke", {}).status_code == 422
    assert [status(site), status(site)] == [200, 429]


def test_a_run_that_failed_was_run(site: Site) -> None:
    site.serve("it", failing(), daily_quota=1)
    assert [status(site), status(site)] == [500, 429]


def test_a_new_day_has_a_new_quota(site: Site) -> None:
    site.serve("it", echo(), daily_quota=1)
    assert [status(site), status(site)] == [200, 429]
    QuotaUse.objects.update(day=timezone.localdate() - timedelta(days=1))
    assert status(site) == 200


def test_a_quota_of_nothing_lets_nobody_run(site: Site) -> None:
    site.serve("it", echo())
    site.change("it", daily_quota=0)
    assert status(site) == 429


def test_a_hundred_at_once_at_a_quota_of_fifty_are_fifty(site: Site) -> None:
    site.serve("it", echo(), daily_quota=50)
    headers = site.token(site.user("alice"))

    async def all_at_once(client: httpx.AsyncClient) -> list[int]:
        calls = [client.post("/it/invoke", json=BODY, headers=headers) for _ in range(100)]
        return [response.status_code for response in await asyncio.gather(*calls)]

    statuses = asyncio.run(connected(site, all_at_once))
    assert (statuses.count(200), statuses.count(429)) == (50, 50)
    assert QuotaUse.objects.get().count == 50


def test_quota_is_exact_where_many_processes_take_of_it(site: Site) -> None:
    row = site.serve("it", echo())
    today = timezone.localdate()

    def take(number: int) -> bool:
        try:
            return limits._take(row.pk, "u1", today, 1 + number % 2, 50)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(16) as pool:
        passed = list(pool.map(take, range(100)))
    taken = sum(1 + number % 2 for number, may in enumerate(passed) if may)
    assert taken == QuotaUse.objects.get().count
    # Only a pair may be left without room for it.
    assert 49 <= taken <= 50


# Runs at a time


def test_runs_wait_for_their_turn_and_never_exceed_the_limit(site: Site) -> None:
    counter = Counter()
    site.serve("it", counter, max_concurrent_runs=2)

    async def many(client: httpx.AsyncClient) -> list[int]:
        calls = [client.post("/it/invoke", json=BODY) for _ in range(30)]
        return [response.status_code for response in await asyncio.gather(*calls)]

    assert set(asyncio.run(connected(site, many))) == {200}
    assert (counter.calls, counter.most) == (30, 2)


def test_a_batch_runs_no_more_at_a_time_than_the_deployment(site: Site) -> None:
    counter = Counter()
    site.serve("it", counter, max_concurrent_runs=3, batch_concurrency=8)
    assert site.post("/it/batch", {"inputs": list(range(20))}).status_code == 200
    assert (counter.calls, counter.most) == (20, 3)


async def turns(predicate: Callable[[], bool], most: int = 10_000) -> None:
    """
    Let the loop turn until the predicate holds, or so often.
    """
    for _ in range(most):
        if predicate():
            return
        await asyncio.sleep(0)


async def cancelled(client: httpx.AsyncClient, run_id: str) -> None:
    """
    Cancel a run as soon as it can be found.
    """
    for _ in range(1000):
        if (await client.post(f"/it/runs/{run_id}/cancel")).status_code == 200:
            return
    raise AssertionError(f"{run_id} never came")


async def while_running(
    client: httpx.AsyncClient, waiting: Waiting, talk: Callable[[], Awaitable[Any]]
) -> Any:
    """
    What `talk` returns, said while one run of /it goes on.
    """
    run_id = "00000000-0000-4000-8000-000000000001"
    call = asyncio.create_task(client.post("/it/invoke", json=BODY, headers={"X-Run-Id": run_id}))
    async with asyncio.timeout(10):
        await waiting.begun.wait()
        said = await talk()
        assert (await client.post(f"/it/runs/{run_id}/cancel")).status_code == 200
        assert (await call).status_code == 499
    return said


@pytest.mark.parametrize("door", DOORS)
def test_who_finds_the_line_full_is_told_to_come_back(site: Site, door: str) -> None:
    waiting = Waiting()
    site.serve("it", waiting, max_concurrent_runs=1)
    site.change("it", max_queued_runs=0)

    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        return await while_running(  # type: ignore[no-any-return]
            client, waiting, lambda: client.post(f"/it/{door}", json=BODY)
        )

    refused(asyncio.run(connected(site, talk)), "queue_full")


def test_who_leaves_the_line_gives_quota_and_place_back(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting, max_concurrent_runs=1, daily_quota=10)
    second = "00000000-0000-4000-8000-000000000002"

    async def talk(client: httpx.AsyncClient) -> None:
        async def leave() -> None:
            call = asyncio.create_task(
                client.post("/it/invoke", json=BODY, headers={"X-Run-Id": second})
            )
            await cancelled(client, second)
            assert (await call).status_code == 499

        await while_running(client, waiting, leave)

    asyncio.run(connected(site, talk))
    assert QuotaUse.objects.get().count == 1
    assert limits._lines["it"].running == 0


def test_a_stream_in_line_is_told_how_many_are_ahead(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "FIRST_CHUNK_SECONDS": 0}
    waiting = Waiting()
    site.serve("it", waiting, max_concurrent_runs=1)
    first, second = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))

    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        one = asyncio.create_task(client.post("/it/invoke", json=BODY, headers={"X-Run-Id": first}))
        await waiting.begun.wait()
        two = asyncio.create_task(
            client.post("/it/stream", json=BODY, headers={"X-Run-Id": second})
        )
        await turns(lambda: bool(limits._lines["it"]._waiting))
        await turns(lambda: False, most=20)  # for its headers and the comment
        await client.post(f"/it/runs/{first}/cancel")
        assert (await one).status_code == 499
        await cancelled(client, second)
        return await two

    async def in_time(client: httpx.AsyncClient) -> httpx.Response:
        async with asyncio.timeout(10):
            return await talk(client)

    response = asyncio.run(connected(site, in_time))
    assert ": queued, 0 ahead" in response.text
    assert events(response)[0][0] == "metadata"


def test_a_line_is_first_come_first_served() -> None:
    async def scene() -> list[int]:
        line, done = Line(), []
        await line.enter(1, 1, 10, None)

        async def come(number: int) -> None:
            await line.enter(1, 1, 10, None)
            done.append(number)
            line.leave(1, 0.1)

        tasks = [asyncio.create_task(come(number)) for number in range(5)]
        await asyncio.sleep(0)
        line.leave(1, 0.1)
        await asyncio.gather(*tasks)
        assert line.running == 0
        return done

    assert asyncio.run(scene()) == [0, 1, 2, 3, 4]


def test_a_place_whose_turn_came_as_it_left_is_not_lost() -> None:
    async def scene() -> int:
        line = Line()
        await line.enter(1, 1, 10, None)
        task = asyncio.create_task(line.enter(1, 1, 10, None))
        await asyncio.sleep(0)
        line.leave(1, 0.1)  # its turn comes …
        task.cancel()  # … in the moment it leaves
        with pytest.raises(asyncio.CancelledError):
            await task
        return line.running

    assert asyncio.run(scene()) == 0


# Depth


def test_recursion_is_capped_where_staff_say_so(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, config_keys=["recursion_limit"], max_recursion=10)
    assert status(site) == 200
    assert spy.last_config["recursion_limit"] == 10
    low = {**BODY, "config": {"recursion_limit": 5}}
    assert site.post("/it/invoke", low).status_code == 200
    assert spy.last_config["recursion_limit"] == 5
    high = site.post("/it/invoke", {**BODY, "config": {"recursion_limit": 11}})
    assert high.status_code == 422
    assert "between 1 and 10" in high.text
