"""
A run ends when its client leaves or somebody cancels it, on every door and server.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.live import LiveSite, serving, wait_until
from tests.servers.conftest import await_ledger, bearer, ledger, post

# "Within a second", and room for a busy host.
SOON = 3.0


class Caller(threading.Thread):
    """
    A call made beside the test; `response` once it is over.
    """

    def __init__(self, site: LiveSite, path: str, body: object, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.call = (site, path, body, headers)
        self.response: httpx.Response | None = None
        self.start()

    def run(self) -> None:
        site, path, body, headers = self.call
        self.response = post(site, path, body, headers=headers)

    def answer(self) -> httpx.Response:
        self.join(SOON + 10)
        assert self.response is not None
        return self.response


@contextmanager
def streaming(site: LiveSite, endpoint: str, key: str) -> Iterator[httpx.Response]:
    url = f"{site.url}/slow/{endpoint}"
    with httpx.stream("POST", url, json={"input": key}, timeout=30) as response:
        await_ledger(site, key, "started")
        yield response


@pytest.fixture(params=["uvicorn", "daphne"])
def server(request: pytest.FixtureRequest) -> LiveSite:
    name = {"uvicorn": "site", "daphne": "daphne"}[request.param]
    live: LiveSite = request.getfixturevalue(name)
    return live


@pytest.mark.parametrize("endpoint", ["stream", "stream_log", "stream_events"])
def test_a_stream_whose_reader_leaves_is_cancelled(
    server: LiveSite, endpoint: str, key: str
) -> None:
    with streaming(server, endpoint, key) as response:
        next(response.iter_lines())
    await_ledger(server, key, "finally", SOON)
    assert ledger(server, key) == ["started", "finally"]


@pytest.mark.parametrize(
    ("endpoint", "body"), [("invoke", {"input": "KEY"}), ("batch", {"inputs": ["KEY"]})]
)
def test_a_call_whose_caller_leaves_is_cancelled(
    server: LiveSite, endpoint: str, body: dict[str, object], key: str
) -> None:
    sent = {name: [key] if isinstance(value, list) else key for name, value in body.items()}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/slow_invoke/{endpoint}", json=sent, timeout=1)
    await_ledger(server, key, "cancelled", SOON)


def test_a_run_is_cancelled_by_its_id(site: LiveSite, key: str) -> None:
    run_id = str(uuid4())
    caller = Caller(site, "/slow_invoke/invoke", {"input": key}, {"X-Run-Id": run_id})
    await_ledger(site, key, "started")
    answer = post(site, f"/slow_invoke/runs/{run_id}/cancel", None)
    assert (answer.status_code, answer.json()) == (200, {"run_id": run_id, "status": "cancelled"})
    await_ledger(site, key, "cancelled", SOON)
    cancelled = caller.answer()
    assert (cancelled.status_code, cancelled.json()["code"]) == (499, "cancelled")
    assert cancelled.json()["run_id"] == run_id


@pytest.mark.parametrize("endpoint", ["stream", "stream_log", "stream_events"])
def test_a_cancelled_stream_ends_with_an_error_event(
    site: LiveSite, endpoint: str, key: str
) -> None:
    with streaming(site, endpoint, key) as response:
        run_id = response.headers["x-run-id"]
        assert post(site, f"/slow/runs/{run_id}/cancel", None).status_code == 200
        text = "".join(response.iter_text())
    assert text.rstrip().rpartition("\r\n\r\n")[2].startswith("event: error")
    assert '"status_code": 499' in text
    assert "event: end" not in text
    await_ledger(site, key, "finally", SOON)


def test_a_run_is_cancelled_from_another_process(site: LiveSite, tmp_path: Path, key: str) -> None:
    with (
        serving(site.env, tmp_path / "other.log") as other,
        streaming(site, "stream", key) as response,
    ):
        run_id = response.headers["x-run-id"]
        assert post(other, f"/slow/runs/{run_id}/cancel", None).status_code == 200
        await_ledger(site, key, "finally", SOON)


def test_nobody_else_cancels_a_run(site: LiveSite, tmp_path: Path, key: str) -> None:
    alice, bob = bearer(site, "alice"), bearer(site, "bob")
    run_id = str(uuid4())
    caller = Caller(site, "/slow_invoke/invoke", {"input": key}, {**alice, "X-Run-Id": run_id})
    await_ledger(site, key, "started")
    path = f"/slow_invoke/runs/{run_id}/cancel"
    assert post(site, path, None, headers=bob).status_code == 404
    assert post(site, path, None).status_code == 404
    with serving(site.env, tmp_path / "other.log") as other:
        assert post(other, path, None, headers=bob).status_code == 404
        assert "cancelled" not in ledger(site, key)
        assert post(other, path, None, headers=alice).status_code == 200
    assert caller.answer().status_code == 499


@pytest.mark.parametrize("run_id", ["0f8fad5b-d9cb-469f-a165-70867728950e", "not-a-uuid", "1"])
def test_an_unknown_run_cannot_be_cancelled(site: LiveSite, run_id: str) -> None:
    answer = post(site, f"/slow/runs/{run_id}/cancel", None)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_run")


def test_a_run_id_that_is_in_use_is_refused(site: LiveSite, key: str) -> None:
    with streaming(site, "stream", key) as response:
        run_id = response.headers["x-run-id"]
        second = post(site, "/add_one/invoke", {"input": 1}, headers={"X-Run-Id": run_id})
        assert (second.status_code, second.json()["code"]) == (422, "run_id_in_use")


def test_a_run_over_its_time_is_stopped(site: LiveSite, key: str) -> None:
    shell = (
        "from runnables.models import Deployment; from runnables.deployments import announce_change;"
        "Deployment.objects.filter(name='slow_invoke').update(timeout={});announce_change()"
    )
    site.manage("shell", "-c", shell.format(0.3))
    try:
        wait_until(lambda: _times_out(site, key), 10)
        await_ledger(site, key, "cancelled", SOON)
        assert set(ledger(site, key)) == {"started", "cancelled"}
    finally:
        site.manage("shell", "-c", shell.format(600))


def _times_out(site: LiveSite, key: str) -> bool:
    """
    Whether the changed limit has reached the server: until then the call is given up.
    """
    try:
        answer = httpx.post(f"{site.url}/slow_invoke/invoke", json={"input": key}, timeout=1)
    except httpx.ReadTimeout:
        return False
    assert (answer.status_code, answer.json()["code"]) == (504, "timed_out")
    return True
