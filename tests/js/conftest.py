"""
A live site, and alice's two ways in: a token, and the cookies of her session.
"""

import json
from collections.abc import Iterator

import pytest

from tests.live import LiveSite, live_site

# What a browser has after signing in.
SIGN_IN = """
from django.contrib.auth import get_user_model
from django.test import Client
client = Client(SERVER_NAME="127.0.0.1")
client.get("/admin/login/")
client.force_login(get_user_model().objects.get(username="alice"))
print("cookies:", "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items()))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with live_site(tmp_path_factory.mktemp("site")) as live:
        yield live


@pytest.fixture(scope="module")
def token(site: LiveSite) -> str:
    created = site.manage("langserve", "token", "create", "alice", "--create-user", "--json")
    key: str = json.loads(created)["token"]
    return key


@pytest.fixture(scope="module")
def cookies(site: LiveSite, token: str) -> str:
    printed = site.manage("shell", "--verbosity", "0", "--command", SIGN_IN)
    return printed.partition("cookies: ")[2].strip()
