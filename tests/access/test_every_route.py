"""
Every route against everybody who should not get in, and one who should. A route that has
no row here fails the suite.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from runnables.models import ApiToken
from runnables.routing import ENDPOINTS
from tests.access.routes import all_routes
from tests.conftest import Site
from tests.fakes import echo

RUN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
HASH = "N4XyA"  # of {}


class Row(NamedTuple):
    """
    How a route is called, and the status that each caller gets.
    """

    method: str
    path: str
    expected: dict[str, int]


# Callers -> status. `member` is the one who may; programs call doors, browsers open pages.
DOOR = {
    "anonymous": 401,
    "signed_in": 403,
    "other_group": 403,
    "staff_without_permission": 403,
    "expired_token": 401,
    "revoked_token": 401,
    "member": 200,
    "member_by_session": 200,
}
# A run that belongs to none of them.
CANCEL = {**DOOR, "member": 404, "member_by_session": 404}
# Anonymous callers may still sign in, by their first frame.
SOCKET = {**DOOR, "anonymous": 101, "member": 101, "member_by_session": 101}
# What shows only what the caller may use.
FOR_ALL = {**dict.fromkeys(DOOR, 200), "expired_token": 401, "revoked_token": 401}
PAGE = dict.fromkeys(DOOR, 200)

ROWS: dict[str, Row] = {
    "langserve:deployments": Row("GET", "/deployments/", FOR_ALL),
    "langserve:openapi": Row("GET", "/openapi.json", FOR_ALL),
    "langserve:docs": Row("GET", "/docs/", PAGE),
    "door:cancel": Row("POST", f"/it/runs/{RUN_ID}/cancel", CANCEL),
    "door:ws": Row("WS", "/it/ws", SOCKET),
}
for _endpoint, (_method, _has_variant) in ENDPOINTS.items():
    ROWS[f"door:{_endpoint}"] = Row(_method, f"/it/{_endpoint}", DOOR)
    if _has_variant:
        ROWS[f"door:{_endpoint}/c"] = Row(_method, f"/it/c/{HASH}/{_endpoint}", DOOR)

BODY = {"input": 1, "inputs": [1]}


def test_every_route_has_a_row() -> None:
    assert all_routes() == set(ROWS)


class Cast:
    def __init__(self, site: Site) -> None:
        self.site = site

    def anonymous(self) -> dict[str, str]:
        return {}

    def signed_in(self) -> dict[str, str]:
        return self.site.token(self.site.user("bob"))

    def other_group(self) -> dict[str, str]:
        return self.site.token(self._of("readers"))

    def staff_without_permission(self) -> dict[str, str]:
        return self.site.token(self.site.user("carol", is_staff=True))

    def expired_token(self) -> dict[str, str]:
        headers = self.member()
        ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
        return headers

    def revoked_token(self) -> dict[str, str]:
        headers = self.member()
        ApiToken.objects.all().delete()
        return headers

    def member(self) -> dict[str, str]:
        return self.site.token(self._of("editors"))

    def member_by_session(self) -> dict[str, str]:
        return self.site.session(self._of("editors"))

    def _of(self, group: str) -> Any:
        user = self.site.user("alice")
        user.groups.add(Group.objects.get_or_create(name=group)[0])
        return user


CELLS = [(route, caller) for route, row in ROWS.items() for caller in row.expected]


@pytest.mark.parametrize(("route", "caller"), CELLS)
def test_caller_gets_what_is_theirs(site: Site, route: str, caller: str) -> None:
    site.serve("it", echo(), access=["editors"])
    row = ROWS[route]
    headers = getattr(Cast(site), caller)()
    assert status(site, row, headers) == row.expected[caller]


def status(site: Site, row: Row, headers: dict[str, str]) -> int:
    if row.method == "WS":
        return asyncio.run(handshake(site, row.path, headers))
    body = BODY if row.method == "POST" else None
    return site.request(row.method, row.path, json=body, headers=headers).status_code


async def handshake(site: Site, path: str, headers: dict[str, str]) -> int:
    """
    The status of a WebSocket's handshake, as a server that can say it does.
    """
    origin = {"Origin": "http://localhost"} if "Cookie" in headers else {}
    sent: list[dict[str, Any]] = []
    received = [{"type": "websocket.disconnect"}, {"type": "websocket.connect"}]

    async def receive() -> dict[str, Any]:
        return received.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    named = {"Host": "localhost", **origin, **headers}
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "ws",
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode("latin1")) for k, v in named.items()],
        "subprotocols": [],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "extensions": {"websocket.http.response": {}},
    }
    async with asyncio.timeout(10):
        await site.application(scope, receive, send)
    first = sent[0]
    return 101 if first["type"] == "websocket.accept" else int(first["status"])


@pytest.mark.parametrize("route", [route for route in ROWS if route.startswith("door:")])
def test_a_deployment_that_is_not_listed_is_not_there(site: Site, route: str) -> None:
    row = ROWS[route]
    site.serve("it", echo(), access=["editors"], listed=False)
    absent = row._replace(path=row.path.replace("/it/", "/nothing/"))
    for caller in ("anonymous", "signed_in", "expired_token"):
        headers = getattr(Cast(site), caller)()
        assert status(site, row, headers) == status(site, absent, headers) == 404
