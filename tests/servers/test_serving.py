"""
What only a real server shows: threads, prefixes, proxies, processes, real time.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.live import LiveSite, live_site, serving, wait_until
from tests.servers.conftest import post


def test_fifty_blocking_calls_run_side_by_side(site: LiveSite) -> None:
    # Alone the first call of a second is a second: fifty in a row would be fifty.
    post(site, "/blocking/invoke", {"input": 0})
    with ThreadPoolExecutor(50) as pool:
        started = time.monotonic()
        answers = list(pool.map(lambda n: post(site, "/blocking/invoke", {"input": n}), range(50)))
        seconds = time.monotonic() - started
    assert [answer.json()["output"] for answer in answers] == list(range(50))
    assert seconds < 5


def test_a_switch_is_obeyed_by_a_running_server(site: LiveSite) -> None:
    def status() -> int:
        return post(site, "/pair/invoke", {"input": 1}).status_code

    assert status() == 200
    site.manage("langserve", "disable", "/pair", "--endpoint", "invoke")
    wait_until(lambda: status() == 404, 3)
    site.manage("langserve", "enable", "/pair", "--endpoint", "invoke")
    wait_until(lambda: status() == 200, 3)


def test_a_revoked_token_is_refused_at_once(site: LiveSite) -> None:
    token = site.manage("langserve", "token", "create", "carol", "--create-user", "--json")
    headers = {"Authorization": "Bearer " + token.split('"token": "')[1].split('"')[0]}
    body = {"input": {"topic": "cats"}}
    assert post(site, "/private/invoke", body, headers=headers).status_code == 200
    site.manage("langserve", "token", "revoke", "--user", "carol")
    assert post(site, "/private/invoke", body, headers=headers).status_code == 401


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_the_site_works_below_a_prefix(tmp_path: Path, server: str) -> None:
    env = {"FORCE_SCRIPT_NAME": "/pre/fix"}
    with live_site(tmp_path, server=server, env=env) as site:  # type: ignore[arg-type]
        assert post(site, "/pre/fix/add_one/invoke", {"input": 1}).json()["output"] == 2
        assert post(site, "/pre/fix/letters/stream", {"input": "ab"}).text.count("event: data") == 2
        listed = httpx.get(f"{site.url}/pre/fix/deployments/").json()
        assert "/pre/fix/add_one" in [one["path"] for one in listed]
        assert httpx.get(f"{site.url}/pre/fix/admin/login/").status_code == 200


def test_uvicorns_root_path_is_the_prefix(tmp_path: Path) -> None:
    with live_site(tmp_path, args=("--root-path", "/pre")) as site:
        # The proxy in front strips the prefix, as uvicorn expects.
        assert post(site, "/add_one/invoke", {"input": 1}).json()["output"] == 2
        listed = httpx.get(f"{site.url}/deployments/").json()
        assert "/pre/add_one" in [one["path"] for one in listed]


def test_a_site_on_https_takes_no_plain_calls(tmp_path: Path) -> None:
    with live_site(tmp_path, env={"HTTPS": "1", "TRUST_PROXY": "1"}) as site:
        for path in ("/add_one/invoke", "/add_one/stream"):
            plain = post(site, path, {"input": 1})
            assert (plain.status_code, plain.json()["code"]) == (403, "https_required")
            secure = post(site, path, {"input": 1}, headers={"X-Forwarded-Proto": "https"})
            assert secure.status_code == 200
            assert "max-age=31536000" in secure.headers["strict-transport-security"]


def test_a_silent_stream_is_kept_alive(tmp_path: Path) -> None:
    settings = tmp_path / "quick_pings.py"
    settings.write_text(
        "from project.settings import *\nLANGSERVE = {**LANGSERVE, 'PING_SECONDS': 0.2}\n"
    )
    env = {"DJANGO_SETTINGS_MODULE": "quick_pings", "PYTHONPATH": str(tmp_path)}
    with live_site(tmp_path, env=env) as site:
        answer = post(site, "/fails_midway/stream", {"input": "a"})
        assert ": ping\r\n\r\n" in answer.text
        assert answer.text.rstrip().rpartition("\r\n\r\n")[2].startswith("event: error")


def test_a_long_thought_is_announced_before_its_first_chunk(site: LiveSite) -> None:
    started = time.monotonic()
    with httpx.stream("POST", f"{site.url}/blocking/stream", json={"input": 1}) as response:
        first = next(response.iter_lines())
        seconds = time.monotonic() - started
        assert first == "event: metadata"
        assert seconds < 0.9


def test_two_processes_serve_one_database(site: LiveSite, tmp_path: Path) -> None:
    def statuses() -> list[int]:
        return [post(one, "/nothing/invoke", {"input": "a"}).status_code for one in (site, other)]

    with serving(site.env, tmp_path / "other.log") as other:
        assert statuses() == [200, 200]
        site.manage("langserve", "disable", "/nothing")
        wait_until(lambda: statuses() == [404, 404], 3)
    site.manage("langserve", "enable", "/nothing")
