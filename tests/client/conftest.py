"""
Our Python client against a live server, or against answers made up on the spot.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from uuid import uuid4

import httpx
import pytest

from runnables.client import RemoteRunnable
from tests.live import LiveSite, live_site, wait_until

Remote = Callable[..., Any]
Answer = Callable[[httpx.Request], httpx.Response]

SIGN_IN = """
from django.contrib.auth import get_user_model
from django.test import Client

user, _ = get_user_model().objects.get_or_create(username="bob")
browser = Client()
browser.force_login(user)
print(browser.cookies["sessionid"].value)
"""
SOON = 5.0  # a cancelled run notes it within a second; the host may be busy


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with live_site(tmp_path_factory.mktemp("site")) as live:
        yield live


@pytest.fixture(scope="session")
def daphne(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with live_site(tmp_path_factory.mktemp("daphne"), server="daphne") as live:
        yield live


@pytest.fixture
def remote(site: LiveSite) -> Iterator[Remote]:
    """
    `remote(path, **options)`. Only sync connections are closed afterwards: those of a loop
    close with it.
    """
    yield from connecting(site)


def connecting(site: LiveSite) -> Iterator[Remote]:
    made: list[RemoteRunnable[Any, Any]] = []

    def connect(path: str, **options: Any) -> RemoteRunnable[Any, Any]:
        made.append(RemoteRunnable(f"{site.url}/{path}", verify=shared_tls(), **options))
        return made[-1]

    yield connect
    for client in made:
        client.close()


@cache
def shared_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def answering(answer: Answer, **options: Any) -> Any:
    """
    A client whose every request is answered by a function.
    """
    url = options.pop("url", "http://server/thing")
    transport = {"transport": httpx.MockTransport(answer)}
    return RemoteRunnable(url, verify=shared_tls(), client_kwargs=transport, **options)


def saying(content: bytes, *, kind: str = "text/event-stream", **headers: str) -> Answer:
    return lambda _: httpx.Response(200, content=content, headers={"Content-Type": kind, **headers})


@pytest.fixture
def key() -> str:
    """
    An input of the slow runnables: the name of their ledger.
    """
    return uuid4().hex


def await_note(site: LiveSite, key: str, word: str) -> None:
    """
    Wait until a slow runnable has noted this word.
    """
    ledger = site.ledger / key
    wait_until(lambda: ledger.exists() and word in ledger.read_text().split(), SOON)


@pytest.fixture(scope="session")
def token(site: LiveSite) -> str:
    made = site.manage("langserve", "token", "create", "alice", "--create-user", "--json")
    return str(json.loads(made)["token"])


@pytest.fixture(scope="session")
def session(site: LiveSite) -> dict[str, str]:
    """
    Cookies of a signed-in browser.
    """
    made = site.manage("shell", "--no-imports", "-c", SIGN_IN)
    return {"sessionid": made.split()[-1], "csrftoken": "0123456789abcdef0123456789abcdef"}
