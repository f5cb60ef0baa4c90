"""
The same site on PostgreSQL and Redis: nothing but two variables changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.live import LiveSite, live_site, serving, wait_until
from tests.needs import POSTGRES_URL, REDIS_URL, needs
from tests.servers.conftest import await_ledger, bearer, post

pytestmark = [pytest.mark.postgres, pytest.mark.redis, needs("postgres", "redis")]

WAITING = 50


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    name = f"langserve_{uuid4().hex}"
    with psycopg.connect(POSTGRES_URL, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        yield f"{POSTGRES_URL.rpartition('/')[0]}/{name}"
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def site(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    env = {"DATABASE_URL": database, "REDIS_URL": REDIS_URL}
    with live_site(tmp_path_factory.mktemp("postgres"), env=env) as live:
        yield live


def test_every_door_answers(site: LiveSite) -> None:
    token = bearer(site, "alice")
    body = {"input": {"topic": "cats"}}
    assert post(site, "/private/invoke", body).status_code == 401
    assert post(site, "/private/invoke", body, headers=token).status_code == 200
    assert "event: end" in post(site, "/private/stream", body, headers=token).text
    assert post(site, "/add_one/batch", {"inputs": [1, 2]}).json()["output"] == [2, 3]
    assert httpx.get(f"{site.url}/add_one/input_schema").status_code == 200


def test_a_switch_reaches_every_process(site: LiveSite, tmp_path: Path) -> None:
    def statuses() -> list[int]:
        return [post(one, "/pair/invoke", {"input": 1}).status_code for one in (site, other)]

    with serving(site.env, tmp_path / "other.log") as other:
        assert statuses() == [200, 200]
        site.manage("langserve", "disable", "/pair")
        wait_until(lambda: statuses() == [404, 404], 2)
        site.manage("langserve", "enable", "/pair")
        wait_until(lambda: statuses() == [200, 200], 2)


def test_a_run_is_cancelled_from_another_process(site: LiveSite, tmp_path: Path) -> None:
    key, run_id = uuid4().hex, str(uuid4())
    headers = {"X-Run-Id": run_id}
    with serving(site.env, tmp_path / "other.log") as other, ThreadPoolExecutor(1) as pool:
        call = pool.submit(post, site, "/slow_invoke/invoke", {"input": key}, headers=headers)
        await_ledger(site, key, "started")
        assert post(other, f"/slow_invoke/runs/{run_id}/cancel", None).status_code == 200
        assert call.result().status_code == 499


SAY = """
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID
from django.db import connections
from feedback.answers import Answer
from feedback.models import Feedback
from feedback.services import ANONYMOUS, record_feedback

def say(score):
    try:
        record_feedback(run_id=UUID(int=1), trace_id=UUID(int=1), deployment=None, key="k",
            author=ANONYMOUS, answer=Answer(score=score % 2), source_info={})
    finally:
        connections.close_all()

with ThreadPoolExecutor(20) as pool:
    list(pool.map(say, range(100)))
print("ROWS", Feedback.objects.count())
"""


def test_hundred_who_rate_at_once_leave_one_row(site: LiveSite) -> None:
    assert "ROWS 1\n" in site.manage("shell", "-c", SAY)


def test_waiting_calls_hold_no_connection(site: LiveSite, database: str) -> None:
    token = bearer(site, "bob")
    keys = [uuid4().hex for _ in range(WAITING)]

    def wait(key: str) -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{site.url}/slow_invoke/invoke", json={"input": key}, headers=token, timeout=4
            )

    with ThreadPoolExecutor(WAITING) as pool:
        waits = [pool.submit(wait, key) for key in keys]
        for key in keys:
            await_ledger(site, key, "started")
        with psycopg.connect(database) as connection:
            held = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            ).fetchone()
        for waiting in waits:
            waiting.result()
    # Four threads look callers up, one follows changes, one writes traces, and this is ours.
    assert held is not None
    assert held[0] <= 7
