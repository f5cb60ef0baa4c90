from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.live import LiveSite, live_site, wait_until


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with live_site(tmp_path_factory.mktemp("site")) as live:
        yield live


@pytest.fixture(scope="session")
def daphne(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with live_site(tmp_path_factory.mktemp("daphne"), server="daphne") as live:
        yield live


@pytest.fixture
def key() -> str:
    """
    An input of the slow runnables: the name of their ledger.
    """
    return uuid4().hex


def ledger(site: LiveSite, key: str) -> list[str]:
    path = site.ledger / key
    return path.read_text().split() if path.exists() else []


def await_ledger(site: LiveSite, key: str, word: str, seconds: float = 10) -> None:
    """
    Wait until the runnable has noted this word.
    """
    wait_until(lambda: word in ledger(site, key), seconds)


def bearer(site: LiveSite, user: str) -> dict[str, str]:
    made = site.manage("langserve", "token", "create", user, "--create-user", "--json")
    return {"Authorization": f"Bearer {json.loads(made)['token']}"}


def post(site: LiveSite, path: str, body: object, **options: object) -> httpx.Response:
    return httpx.post(f"{site.url}{path}", json=body, timeout=30, **options)  # type: ignore[arg-type]
