"""
Two server processes on one database: what staff change in one counts in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.live import LiveSite, live_site, serving, wait_until
from tests.needs import POSTGRES_URL, REDIS_URL, require
from tests.servers.conftest import await_ledger, post
from tests.servers.people import make_person, shell

CALLERS = 100
QUOTA = 50


@dataclass(frozen=True)
class Pair:
    """
    Two processes, and within how many seconds each obeys the other.
    """

    one: LiveSite
    other: LiveSite
    seconds: float

    def status(self, path: str = "/pair/invoke") -> tuple[int, int]:
        statuses = [post(site, path, {"input": 1}).status_code for site in (self.one, self.other)]
        return statuses[0], statuses[1]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp(request.param)
    env = {"DJANGO_SETTINGS_MODULE": "tests.servers.quick_settings"}
    if request.param == "sqlite":
        yield from _pair(folder, env, 2.0)
        return
    require("postgres")
    require("redis")
    name = f"langserve_{uuid4().hex}"
    with psycopg.connect(POSTGRES_URL, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        env |= {
            "DATABASE_URL": f"{POSTGRES_URL.rpartition('/')[0]}/{name}",
            "REDIS_URL": REDIS_URL,
        }
        yield from _pair(folder, env, 1.0)
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _pair(folder: Path, env: dict[str, str], seconds: float) -> Iterator[Pair]:
    with live_site(folder, env=env) as one, serving(one.env, folder / "other.log") as other:
        yield Pair(one, other, seconds)


def change(pair: Pair, statement: str) -> None:
    """
    As the admin of one process does; `row` is the deployment /pair.
    """
    shell(pair.one, f"row = Deployment.objects.get(name='pair')\n{statement}")


CHANGES = {
    "switched off": ("deployments.switch(row, on=False, by='a test')", 404),
    "an endpoint is switched off": (
        "deployments.switch(row, on=False, endpoints=['invoke'], by='a test')",
        404,
    ),
    "in maintenance": ("deployments.set_maintenance(row, on=True, by='a test')", 503),
    "rights taken away": (
        "row.grants.update(run=False); deployments.announce_change()",
        401,
    ),
    "a limit is set": (
        "row.daily_quota = 0; row.save(); deployments.announce_change()",
        429,
    ),
}
UNDO = """
deployments.switch(row, on=True, by='a test')
deployments.switch(row, on=True, endpoints=['invoke'], by='a test')
deployments.set_maintenance(row, on=False, by='a test')
row.grants.update(run=True)
row.daily_quota = None
row.save()
deployments.announce_change()
"""


@pytest.mark.parametrize(("statement", "status"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_obeyed_by_both(pair: Pair, statement: str, status: int) -> None:
    assert pair.status() == (200, 200)
    change(pair, statement)
    wait_until(lambda: pair.status() == (status, status), pair.seconds)
    change(pair, UNDO)
    wait_until(lambda: pair.status() == (200, 200), pair.seconds)


def test_a_new_version_answers_from_both(pair: Pair) -> None:
    def versions() -> set[str]:
        answers = [post(site, "/pair/invoke", {"input": 1}) for site in (pair.one, pair.other)]
        return {answer.headers["X-Deployment-Version"] for answer in answers}

    [before] = versions()
    save = (
        "versions.save_version(row, row.version.content, by='a test', based_on=row.version.number)"
    )
    change(pair, save)
    wait_until(lambda: versions() == {str(int(before) + 1)}, pair.seconds)


def test_a_hundred_parallel_callers_at_a_quota_of_fifty_are_fifty(pair: Pair) -> None:
    alice = make_person(pair.one, f"alice-{uuid4().hex[:8]}")
    change(pair, f"row.daily_quota = {QUOTA}; row.save(); deployments.announce_change()")
    sites = [pair.one, pair.other] * (CALLERS // 2)

    def call(site: LiveSite) -> int:
        return post(site, "/pair/invoke", {"input": 1}, headers=alice.bearer).status_code

    wait_until(lambda: _knows_quota(pair), pair.seconds + 1)
    with ThreadPoolExecutor(CALLERS) as pool:
        statuses = list(pool.map(call, sites))
    change(pair, UNDO)
    assert (statuses.count(200), statuses.count(429)) == (QUOTA, CALLERS - QUOTA)


def _knows_quota(pair: Pair) -> bool:
    """
    Whether a batch larger than the quota is refused by both.
    """
    batch = {"inputs": [1] * (QUOTA + 1)}
    return all(
        post(site, "/pair/batch", batch).status_code == 429 for site in (pair.one, pair.other)
    )


def test_figures_of_both_are_added_up(pair: Pair) -> None:
    def counted() -> int:
        code = (
            "from django.db.models import Sum; from runnables.models import Figures;"
            "rows = Figures.objects.filter(deployment__name='letters', endpoint='invoke');"
            "print('SAID', json.dumps(rows.aggregate(n=Sum('requests'))['n'] or 0))"
        )
        return int(shell(pair.one, code))

    before = counted()
    with ThreadPoolExecutor(8) as pool:
        calls = [
            pool.submit(post, site, "/letters/invoke", {"input": "ab"})
            for site in (pair.one, pair.other) * 20
        ]
        assert {call.result().status_code for call in calls} == {200}
    wait_until(lambda: counted() == before + 40, 10)


def test_runs_going_on_are_known_of_both(pair: Pair) -> None:
    keys = [uuid4().hex for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for site, key in zip((pair.one, pair.other), keys, strict=True):
            pool.submit(_leave_running, site, key)
            await_ledger(site, key, "started")
        code = (
            "from runnables import processes;"
            "pk = Deployment.objects.get(name='slow').pk;"
            "print('SAID', json.dumps(processes.running_now().get(pk, 0)))"
        )
        wait_until(lambda: shell(pair.one, code) == 2, 10)
        for site, key in zip((pair.one, pair.other), keys, strict=True):
            assert post(site, f"/slow/runs/{_run_id(key)}/cancel", None).status_code == 200


def _run_id(key: str) -> str:
    return f"{key[:8]}-{key[8:12]}-4{key[13:16]}-8{key[17:20]}-{key[20:]}"


def _leave_running(site: LiveSite, key: str) -> None:
    headers = {"X-Run-Id": _run_id(key)}
    with httpx.stream(
        "POST", f"{site.url}/slow/stream", json={"input": key}, headers=headers, timeout=60
    ) as response:
        for _ in response.iter_lines():
            pass


def test_a_process_that_ends_is_no_longer_counted(pair: Pair, tmp_path: Path) -> None:
    code = (
        "from runnables.models import ServerProcess;"
        "print('SAID', json.dumps(ServerProcess.objects.count()))"
    )
    with serving(pair.one.env, tmp_path / "third.log"):
        wait_until(lambda: shell(pair.one, code) == 3, 10)
    wait_until(lambda: shell(pair.one, code) == 2, 10)
