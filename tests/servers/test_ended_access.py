"""
What a caller was allowed ends with what allowed it: the runs that go on, and new calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest

from tests.live import LiveSite, live_site
from tests.servers.conftest import await_ledger, post
from tests.servers.people import Person, make_person, shell

# The look of the check is every half second here; the rest is for a busy host.
SOON = 10.0

# What is done -> the code of the error that a running stream ends with. The session is
# `{session!r}`, the user `{name!r}`.
BY_TOKEN = {
    "the token is revoked": (
        "ApiToken.objects.filter(user__username={name!r}).delete()",
        "not_authenticated",
    ),
    "the token expires": (
        "from django.utils import timezone;"
        "ApiToken.objects.filter(user__username={name!r}).update(expiry=timezone.now())",
        "not_authenticated",
    ),
    "the user is switched off": (
        "User.objects.filter(username={name!r}).update(is_active=False)",
        "not_authenticated",
    ),
    "the user leaves the group": (
        "User.objects.get(username={name!r}).groups.clear()",
        "not_permitted",
    ),
}
BY_SESSION = {
    "the user signs out": (
        "import_module(settings.SESSION_ENGINE).SessionStore({session!r}).flush()",
        "not_authenticated",
    ),
    "the password changes": (
        "user = User.objects.get(username={name!r}); user.set_password('another one'); user.save()",
        "not_authenticated",
    ),
    "the user is deleted": ("User.objects.get(username={name!r}).delete()", "not_authenticated"),
}
CASES = [
    *((what, code, ended, "bearer") for what, (code, ended) in BY_TOKEN.items()),
    *((what, code, ended, "cookie") for what, (code, ended) in BY_SESSION.items()),
]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    env = {"DJANGO_SETTINGS_MODULE": "tests.servers.quick_settings"}
    with live_site(tmp_path_factory.mktemp("quick"), env=env) as live:
        yield live


@pytest.fixture
def person(quick: LiveSite) -> Person:
    return make_person(quick, f"alice-{uuid4().hex[:8]}", "readers")


@contextmanager
def streaming(
    site: LiveSite, endpoint: str, headers: dict[str, str]
) -> Iterator[tuple[str, httpx.Response]]:
    key = uuid4().hex
    url = f"{site.url}/readers_slow/{endpoint}"
    with httpx.stream("POST", url, json={"input": key}, headers=headers, timeout=SOON) as response:
        assert response.status_code == 200
        await_ledger(site, key, "started")
        yield key, response


def last_event(response: httpx.Response) -> tuple[str, dict[str, object]]:
    *_, block = response.read().decode().strip().split("\r\n\r\n")
    name, data = (line.split(": ", 1)[1] for line in block.splitlines())
    return name, json.loads(data)


@pytest.mark.parametrize(("what", "code", "ended", "how"), CASES, ids=[case[0] for case in CASES])
def test_a_stream_ends_when(
    quick: LiveSite, person: Person, what: str, code: str, ended: str, how: str
) -> None:
    headers: dict[str, str] = getattr(person, how)
    with streaming(quick, "stream", headers) as (key, response):
        shell(quick, code.format(name=person.name, session=person.session))
        refused = post(quick, "/readers_slow/stream", {"input": "new"}, headers=headers)
        name, error = last_event(response)
    # A new call at once, the one that goes on soon.
    assert refused.json()["code"] == ended, what
    assert (name, error["code"]) == ("error", ended)
    assert error["status_code"] == refused.status_code
    await_ledger(quick, key, "finally")


@pytest.mark.parametrize("endpoint", ["stream_log", "stream_events"])
def test_every_stream_ends_with_the_token(quick: LiveSite, person: Person, endpoint: str) -> None:
    with streaming(quick, endpoint, person.bearer) as (key, response):
        quick.manage("langserve", "token", "revoke", person.token)
        assert last_event(response)[1]["code"] == "not_authenticated"
    await_ledger(quick, key, "finally")


def test_a_call_that_waits_for_its_answer_ends_with_the_token(
    quick: LiveSite, person: Person
) -> None:
    key = uuid4().hex
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(
            post, quick, "/readers_slow_invoke/invoke", {"input": key}, headers=person.bearer
        )
        await_ledger(quick, key, "started")
        quick.manage("langserve", "token", "revoke", person.token)
        assert call.result(SOON).status_code == 401
    await_ledger(quick, key, "cancelled")


def test_a_stream_ends_when_its_deployment_is_switched_off(quick: LiveSite, person: Person) -> None:
    with streaming(quick, "stream", person.bearer) as (key, response):
        quick.manage("langserve", "disable", "/readers_slow")
        assert last_event(response)[1]["code"] == "unknown_deployment"
    await_ledger(quick, key, "finally")
    quick.manage("langserve", "enable", "/readers_slow")


def test_a_stream_goes_on_while_its_caller_may(quick: LiveSite, person: Person) -> None:
    with streaming(quick, "stream", person.bearer) as (_, response):
        lines = response.iter_lines()
        # A tick every 50 ms: three looks at the caller have come and gone.
        ticks = [next(lines) for _ in range(4 * 35)]
    assert "event: error" not in ticks
