"""
What is counted of every call, and what is made of it.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from langchain_core.runnables import RunnableLambda

from runnables import PublicError, figures, health, histogram, hooks, limits, processes
from runnables.health import Status
from runnables.models import Figures, Health, ServerProcess
from tests.conftest import Site
from tests.fakes import Waiting, chunks, echo, failing, failing_midway
from tests.runnables.asgi import connected, hang_up

DOORS = ("invoke", "batch", "stream", "stream_log", "stream_events")
BODY = {"input": 1, "inputs": [1]}
RUN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def counted(endpoint: str = "invoke") -> Figures:
    figures.flush()
    return Figures.objects.get(endpoint=endpoint)


def outcomes(row: Figures) -> dict[str, int]:
    """
    How many calls ended how, but for those that went well.
    """
    return {name: number for name in figures.OUTCOMES if (number := getattr(row, name))}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_counts_its_calls(site: Site, door: str) -> None:
    row = site.serve("it", chunks(1, 2))
    for _ in range(3):
        assert site.post(f"/it/{door}", BODY).status_code == 200
    found = counted(door)
    assert (found.requests, outcomes(found)) == (3, {})
    assert (found.version, found.arm, found.canary_id) == (row.version, "stable", 0)
    assert sum(found.durations) == 3
    assert sum(found.first_chunks) == (3 if door == "stream" else 0)


@pytest.mark.parametrize("door", DOORS)
def test_failures_are_counted_and_the_last_is_known(site: Site, door: str) -> None:
    row = site.serve("it", failing())
    site.post(f"/it/{door}", BODY, headers={"X-Run-Id": RUN_ID})
    found, known = counted(door), Health.objects.get(deployment=row)
    assert (found.requests, outcomes(found)) == (1, {"failed": 1})
    assert (known.last_error_class, str(known.last_error_run_id)) == ("RuntimeError", RUN_ID)
    assert [went_well for _, went_well in known.recent] == [False]


def test_a_stream_that_fails_midway_has_failed(site: Site) -> None:
    site.serve("it", failing_midway())
    site.post("/it/stream", BODY)
    assert outcomes(counted("stream")) == {"failed": 1}


def test_a_refusal_by_the_runnable_is_an_answer(site: Site) -> None:
    site.serve("it", failing(PublicError("Ask something else.", status=400)))
    assert site.post("/it/invoke", BODY).status_code == 400
    assert outcomes(counted()) == {}


def test_what_never_ran_is_not_counted(site: Site) -> None:
    site.serve("it", RunnableLambda(lambda x: x), input_type=int, access="authenticated")
    assert site.post("/it/invoke", BODY).status_code == 401
    bad = site.post("/it/invoke", {"input": "a"}, headers=site.token(site.user("alice")))
    assert bad.status_code == 422
    figures.flush()
    assert not Figures.objects.exists()


def test_a_run_that_took_too_long_has_timed_out(site: Site) -> None:
    site.serve("it", Waiting(), timeout=0.05)
    assert site.post("/it/invoke", BODY).status_code == 504
    assert outcomes(counted()) == {"timed_out": 1}


@pytest.mark.parametrize("door", ["invoke", "stream"])
def test_a_client_that_left_is_nobodys_failure(site: Site, door: str) -> None:
    waiting = Waiting()
    row = site.serve("it", waiting)
    asyncio.run(hang_up(site, f"/it/{door}", BODY, when=waiting.begun))
    assert outcomes(counted(door)) == {"client_gone": 1}
    assert not Health.objects.filter(deployment=row).exists()


def test_a_cancelled_run_is_counted_as_that(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting)

    async def talk(client: Any) -> int:
        async with asyncio.timeout(10):
            headers = {"X-Run-Id": RUN_ID}
            call = asyncio.create_task(client.post("/it/invoke", json=BODY, headers=headers))
            await waiting.begun.wait()
            await client.post(f"/it/runs/{RUN_ID}/cancel")
            return int((await call).status_code)

    assert asyncio.run(connected(site, talk)) == 499
    assert outcomes(counted()) == {"cancelled": 1}


def test_counting_asks_the_database_nothing(site: Site, django_assert_num_queries: Any) -> None:
    site.serve("it", echo())
    assert site.invoke("/it", 1) == 1
    with django_assert_num_queries(0):
        assert site.invoke("/it", 1) == 1


def test_figures_of_several_flushes_add_up(site: Site) -> None:
    site.serve("it", echo())
    for number in (1, 2, 3):
        for _ in range(number):
            site.invoke("/it", 1)
        figures.flush()
    assert counted().requests == 6


def test_figures_of_a_deployment_that_was_deleted_are_dropped(site: Site) -> None:
    row = site.serve("it", echo())
    site.invoke("/it", 1)
    row.delete()
    assert figures.flush() == set()
    assert not Figures.objects.exists()


# Percentiles


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
def test_percentiles_are_within_their_bucket(share: float) -> None:
    counts = [0] * histogram.BUCKETS
    for milliseconds in range(1, 10_001):
        counts[histogram.bucket(milliseconds)] += 1
    found = histogram.percentile(counts, share)
    assert found == pytest.approx(10_000 * share, rel=0.05)


RUNS = 100_000
SHAPES: dict[str, Callable[[random.Random], float]] = {
    "wide": lambda chance: chance.lognormvariate(math.log(300), 1),
    "log-normal": lambda chance: chance.lognormvariate(math.log(800), 0.5),
    "narrow": lambda chance: chance.gauss(1000, 100),
    "bimodal": lambda chance: (
        chance.gauss(120, 15) if chance.random() < 0.7 else chance.gauss(4000, 600)
    ),
    "even": lambda chance: chance.uniform(1, 10_000),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_percentiles_of_many_runs_are_within_five_percent(shape: str) -> None:
    chance = random.Random(5)
    runs = sorted(SHAPES[shape](chance) for _ in range(RUNS))
    counts = [0] * histogram.BUCKETS
    for milliseconds in runs:
        counts[histogram.bucket(milliseconds)] += 1
    for share in (0.5, 0.95, 0.99):
        truth = runs[math.ceil(share * RUNS) - 1]
        assert histogram.percentile(counts, share) == pytest.approx(truth, rel=0.05)


def test_percentiles_of_runs_that_all_take_the_same_are_within_a_bucket() -> None:
    # A bucket does not tell where in it they lie: this is as good as it gets.
    for milliseconds in (900.0, 1000.0, 1100.0):
        counts = [0] * histogram.BUCKETS
        counts[histogram.bucket(milliseconds)] = 1000
        for share in (0.5, 0.95, 0.99):
            found = histogram.percentile(counts, share)
            assert found == pytest.approx(milliseconds, rel=histogram.RATIO - 1)


def test_percentiles_rise_with_the_share() -> None:
    chance = random.Random(6)
    counts = [chance.choice((0, 0, 1, 7, 900)) for _ in range(histogram.BUCKETS)]
    found = [histogram.percentile(counts, share / 500) or 0 for share in range(1, 501)]
    assert found == sorted(found)


def test_percentile_of_nothing_is_none() -> None:
    assert histogram.percentile([0] * histogram.BUCKETS, 0.95) is None


@pytest.mark.parametrize(("milliseconds", "bucket"), [(0, 0), (1, 0), (1.01, 1), (1e9, 63)])
def test_no_duration_is_out_of_bounds(milliseconds: float, bucket: int) -> None:
    assert histogram.bucket(milliseconds) == bucket


# What is past


def test_hours_of_long_ago_are_put_together_without_losing_a_count(site: Site) -> None:
    row = site.serve("it", echo())
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    old = now - timedelta(days=figures.KEPT_DAYS + 2)
    for hour, endpoint in ((old, "invoke"), (old + timedelta(hours=1), "invoke"), (now, "invoke")):
        Figures.objects.create(
            deployment=row,
            version=row.versions.get(),
            endpoint=endpoint,
            hour=hour,
            requests=2,
            failed=1,
            durations=[1, 1] + [0] * 62,
            error_classes={"ValueError": 1},
            input_tokens=5,
            cost=Decimal("0.25"),
        )
    assert figures.prune() == 2
    assert figures.prune() == 0
    past, kept = Figures.objects.order_by("hour")
    assert (past.hour, kept.hour) == (figures.PAST, now)
    assert (past.requests, past.failed, past.error_classes) == (4, 2, {"ValueError": 2})
    assert (past.durations[:3], past.input_tokens, past.cost) == ([2, 2, 0], 10, Decimal("0.5"))
    long_ago = datetime(1960, 1, 1, tzinfo=UTC)
    assert list(figures.between(long_ago, now + timedelta(hours=1))) == [kept]


# What goes on


def test_processes_tell_what_waits_and_what_other_apps_count(site: Site, monkeypatch: Any) -> None:
    waiting = Waiting()
    row = site.serve("it", waiting)
    site.change("it", max_concurrent_runs=1)
    monkeypatch.setattr(hooks, "gauges", [lambda: {"letters": 3}])

    async def talk(client: Any) -> None:
        async with asyncio.timeout(10):
            first, second = (
                asyncio.create_task(client.post("/it/invoke", json=BODY)) for _ in range(2)
            )
            await waiting.begun.wait()
            while not limits.waiting():  # noqa: ASYNC110 - nothing tells when one waits
                await asyncio.sleep(0)
            await asyncio.to_thread(processes.report)
            for call in (first, second):
                call.cancel()
            await asyncio.gather(first, second, return_exceptions=True)

    asyncio.run(connected(site, talk))
    ServerProcess.objects.create(
        boot_id=RUN_ID,
        host="another",
        pid=1,
        seen_at=timezone.now(),
        waiting={str(row.pk): 4},
        gauges={"letters": 2},
    )
    # Those that wait have begun as well.
    assert processes.running_now() == {row.pk: 2}
    assert processes.waiting_now() == {row.pk: 5}
    assert processes.gauges_now() == {"letters": 5}


# How a deployment is doing


def status(site: Site) -> Status:
    figures.flush()
    row = site.row("it")
    known = Health.objects.filter(deployment=row).first()
    return health.verdict(row, known, figures.summed(figures.since().filter(deployment=row))).status


def test_status_follows_what_happens(site: Site) -> None:
    calls = iter([*[None] * 20, *[RuntimeError("no")] * 6, *[None] * 200])

    def sometimes(x: Any) -> Any:
        if error := next(calls):
            raise error
        return x

    site.serve("it", RunnableLambda(sometimes))
    assert status(site) == Status.UNKNOWN

    def call(number: int) -> None:
        for _ in range(number):
            site.post("/it/invoke", BODY)

    call(20)
    assert status(site) == Status.HEALTHY
    call(6)
    assert status(site) == Status.FAILING
    call(1)
    assert status(site) == Status.DEGRADED
    call(150)
    assert status(site) == Status.HEALTHY
    site.change("it", degraded_p95_seconds=0.0001)
    assert status(site) == Status.DEGRADED
    site.change("it", in_maintenance=True)
    assert status(site) == Status.MAINTENANCE
    site.change("it", is_enabled=False)
    assert status(site) == Status.OFF
