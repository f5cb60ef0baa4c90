from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.async_api import Page, async_playwright

from tests.live import LiveSite, live_site, serving
from tests.needs import chromium, require

# Everything that takes its time, in tests' time.
SEND_SECONDS = 1.0
CHECK_SECONDS = 0.5
SIGN_IN_SECONDS = 1.0
RUNS = 60

SETTINGS = f"""
from project.settings import *

LANGSERVE = {{
    **LANGSERVE,
    "SEND_SECONDS": {SEND_SECONDS},
    "SOCKET_CHECK_SECONDS": {CHECK_SECONDS},
    "SOCKET_SIGN_IN_SECONDS": {SIGN_IN_SECONDS},
    "SOCKET_RUNS": {RUNS},
}}
"""
PASSWORD = "a password for tests"
TRUSTED = "https://app.example.org"

MAKE_USERS = """
import json
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from runnables.models import ApiToken

people = {}
for name in NAMES:
    user = get_user_model().objects.create_user(name, password=PASSWORD, is_staff=True)
    client = Client()
    client.force_login(user)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    people[name] = {"name": name, "token": ApiToken.objects.create(user)[1], "session": session}
print("PEOPLE", json.dumps(people))
"""


@dataclass(frozen=True)
class Person:
    """
    Somebody with an account, an API token and a session of their own.
    """

    name: str
    token: str
    session: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"sessionid={self.session}"}


@contextmanager
def socket_site(folder: Path, **env: str) -> Iterator[LiveSite]:
    """
    A site with the quick settings above, and what `tests.websocket.served` registers.
    """
    (folder / "socket_settings.py").write_text(SETTINGS)
    defaults = {
        "DJANGO_SETTINGS_MODULE": "socket_settings",
        "PYTHONPATH": str(folder),
        "RUNNABLES_MODULES": "tests.served,tests.websocket.served,tests.websocket.spelling",
        "CORS_ALLOWED_ORIGINS": TRUSTED,
    }
    with live_site(folder, env={**defaults, **env}) as site:
        yield site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with socket_site(tmp_path_factory.mktemp("site")) as live:
        yield live


@pytest.fixture(scope="session")
def daphne(site: LiveSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    log = tmp_path_factory.mktemp("daphne") / "daphne.log"
    with serving(site.env, log, server="daphne") as live:
        yield live


@pytest.fixture(scope="session")
def patient_site(site: LiveSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """
    The same database on HTTPS, behind a proxy, and with the settings of every other site.
    """
    own = {"DJANGO_SETTINGS_MODULE": "project.settings", "HTTPS": "1", "TRUST_PROXY": "1"}
    log = tmp_path_factory.mktemp("patient") / "uvicorn.log"
    with serving({**site.env, **own}, log) as live:
        yield live


@pytest.fixture(scope="session")
def people(site: LiveSite) -> dict[str, Person]:
    """
    Alice and Bob, and a cast whose access ends, each in one test.
    """
    lost = ("carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")
    return make_people(site, "alice", "bob", *lost)


@pytest.fixture
def alice(people: dict[str, Person]) -> Person:
    return people["alice"]


@pytest.fixture
def key() -> str:
    """
    The name of a run's ledger.
    """
    return uuid4().hex


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """
    An empty page of a real browser.
    """
    require("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield await browser.new_page()
        await browser.close()


def make_people(site: LiveSite, *names: str) -> dict[str, Person]:
    code = f"NAMES = {names!r}\nPASSWORD = {PASSWORD!r}\n{MAKE_USERS}"
    printed = site.manage("shell", "-c", code)
    made = json.loads(printed.partition("PEOPLE ")[2])
    return {name: Person(**fields) for name, fields in made.items()}
