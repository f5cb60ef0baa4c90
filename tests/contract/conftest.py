"""
LangServe's own clients against a live server: ours, or with LANGSERVE_URL set, one that runs already
(LangServe itself, to see that the tests ask for what it does). Such a server is told of its ledger and
its token by the variables LEDGER_DIR and LANGSERVE_TOKEN.
"""

import importlib
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from tests.live import LiveSite, live_site, wait_until
from tests.needs import require

HANG_UP_SECONDS = 3  # about a second, and room for a busy host

Remote = Callable[..., Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Against LangServe itself, what we do better must fail; if it does not, our mark is wrong.
    """
    if "LANGSERVE_URL" not in os.environ:
        return
    for item in items:
        better = item.get_closest_marker("better")
        if better is not None:
            item.add_marker(pytest.mark.xfail(reason=better.args[0], strict=True))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    if url := os.environ.get("LANGSERVE_URL"):
        yield LiveSite(url.rstrip("/"), dict(os.environ))
        return
    with live_site(tmp_path_factory.mktemp("site")) as live:
        yield live


@pytest.fixture(scope="session")
def token(site: LiveSite) -> str:
    if site.process is None:
        return os.environ["LANGSERVE_TOKEN"]
    created = site.manage("langserve", "token", "create", "alice", "--create-user", "--json")
    key: str = json.loads(created)["token"]
    return key


@pytest.fixture
async def remote(site: LiveSite) -> AsyncIterator[Remote]:
    """
    `remote(path, **options)`: LangServe's RemoteRunnable, closed after the test in the loop it used.
    """
    require("langserve")
    client = langserve_client()
    clients: list[Any] = []
    # One for all: a client would read the certificates twice, which is most of a test's time.
    tls = shared_tls()

    def connect(path: str, **options: Any) -> Any:
        clients.append(client(f"{site.url}/{path}", verify=tls, **options))
        return clients[-1]

    yield connect
    for used in clients:
        used.sync_client.close()
        await used.async_client.aclose()


@cache
def shared_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def langserve_client() -> type[Any]:
    """
    The client module as published. Its package would import the server too, and that FastAPI.
    """
    if "langserve" not in sys.modules:
        package = ModuleType("langserve")
        spec = find_spec("langserve")
        assert spec is not None
        package.__path__ = list(spec.submodule_search_locations or [])
        sys.modules["langserve"] = package
    client: type[Any] = importlib.import_module("langserve.client").RemoteRunnable
    return client


class Ledger:
    """
    What one call of a slow runnable noted.
    """

    def __init__(self, folder: Path) -> None:
        self.key = uuid4().hex
        self.file = folder / self.key

    def holds(self, word: str) -> bool:
        return self.file.exists() and word in self.file.read_text().split()

    def wait_for(self, word: str, timeout: float = HANG_UP_SECONDS) -> None:
        wait_until(lambda: self.holds(word), timeout)


@pytest.fixture
def ledger(site: LiveSite) -> Ledger:
    return Ledger(site.ledger)


@pytest.fixture
def new_ledger(site: LiveSite) -> Callable[[], Ledger]:
    return lambda: Ledger(site.ledger)
