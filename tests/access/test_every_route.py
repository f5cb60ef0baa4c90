"""
Every route against everybody who should not get in, and one who should. A route that has
no row here fails the suite.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group
from django.utils import timezone

from feedback.models import Feedback, FeedbackKey
from runnables.models import ApiToken, AuditEntry, ChatSession, Session
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

# The admin is for browsers: a token opens none of it, and who is no staff is sent to sign in.
ADMIN = {
    "anonymous": 302,
    "expired_session": 302,
    "member_by_session": 302,
    "superuser_by_token": 302,
    "expired_token": 302,
    "revoked_token": 302,
    "staff_by_session": 403,
    "superuser_by_session": 200,
}
OPEN_TO_STAFF = {**ADMIN, "staff_by_session": 200}
# Only looked at: not even superusers add, change or delete there.
CLOSED = {**ADMIN, "superuser_by_session": 403}
# A form that is sent, and sends on when it is done. Without a session there is no CSRF token
# either, which is looked for first.
_NO_FORM = dict.fromkeys(("anonymous", "superuser_by_token", "expired_token", "revoked_token"), 403)
SENT = {**ADMIN, **_NO_FORM, "superuser_by_session": 302}
# Nothing to be confirmed there: no draft waits, no canary runs.
NOTHING = {**ADMIN, "superuser_by_session": 302}
# One's own pages: by session alone, and for nobody else's things.
OWN_PAGE = {
    "anonymous": 302,
    "expired_session": 302,
    "superuser_by_token": 302,
    "expired_token": 302,
    "revoked_token": 302,
    "member_by_session": 200,
}
SOMEBODY_ELSES = {**OWN_PAGE, **_NO_FORM, "member_by_session": 404, "superuser_by_session": 404}
SIGN_IN = {"anonymous": 200, "expired_session": 200, "member_by_session": 200}

IT = "/admin/langserve/deployment/{deployment}"
ROWS: dict[str, Row] = {
    "langserve:deployments": Row("GET", "/deployments/", FOR_ALL),
    "langserve:openapi": Row("GET", "/openapi.json", FOR_ALL),
    "langserve:docs": Row("GET", "/docs/", PAGE),
    "langserve:tokens": Row("GET", "/tokens/", OWN_PAGE),
    "langserve:revoke_token": Row("POST", "/tokens/{token_id}/revoke/", SOMEBODY_ELSES),
    "door:cancel": Row("POST", f"/it/runs/{RUN_ID}/cancel", CANCEL),
    "door:ws": Row("WS", "/it/ws", SOCKET),
    "accounts:login": Row("GET", "/accounts/login/", SIGN_IN),
    "accounts:logout": Row("POST", "/accounts/logout/", {"member_by_session": 302}),
    "accounts:password_change": Row("GET", "/accounts/password/", OWN_PAGE),
    "accounts:password_change_done": Row("GET", "/accounts/password/changed/", OWN_PAGE),
    "accounts:password_reset": Row("GET", "/accounts/reset/", PAGE),
    "accounts:password_reset_done": Row("GET", "/accounts/reset/sent/", PAGE),
    "accounts:password_reset_complete": Row("GET", "/accounts/reset/done/", PAGE),
    "accounts:password_reset_confirm": Row("GET", "/accounts/reset/MQ/not-a-token/", PAGE),
    "admin:login": Row("GET", "/admin/login/", {"anonymous": 200, "member_by_session": 200}),
    "admin:logout": Row("POST", "/admin/logout/", {"anonymous": 403, "staff_by_session": 302}),
    "admin:index": Row("GET", "/admin/", OPEN_TO_STAFF),
    "admin:app_list": Row("GET", "/admin/langserve/", {**ADMIN, "staff_by_session": 404}),
    "admin:password_change": Row("GET", "/admin/password_change/", OPEN_TO_STAFF),
    "admin:password_change_done": Row("GET", "/admin/password_change/done/", OPEN_TO_STAFF),
    "admin:langserve_deployment_changelist": Row("GET", "/admin/langserve/deployment/", ADMIN),
    "admin:langserve_deployment_add": Row("GET", "/admin/langserve/deployment/add/", CLOSED),
    "admin:langserve_deployment_change": Row("GET", f"{IT}/change/", ADMIN),
    "admin:langserve_deployment_history": Row("GET", f"{IT}/history/", ADMIN),
    "admin:langserve_deployment_delete": Row("GET", f"{IT}/delete/", ADMIN),
    "admin:langserve_deployment_switch": Row("POST", f"{IT}/switch/", SENT),
    "admin:langserve_deployment_check": Row("POST", f"{IT}/check/", SENT),
    "admin:langserve_deployment_check_user": Row("GET", f"{IT}/check-user/", ADMIN),
    "admin:langserve_deployment_configuration": Row("GET", f"{IT}/configuration/", ADMIN),
    "admin:langserve_deployment_configuration_confirm": Row(
        "GET", f"{IT}/configuration/confirm/", NOTHING
    ),
    "admin:langserve_deployment_configuration_conflict": Row(
        "GET", f"{IT}/configuration/conflict/", NOTHING
    ),
    "admin:langserve_deployment_versions": Row("GET", f"{IT}/versions/", ADMIN),
    "admin:langserve_deployment_version": Row("GET", f"{IT}/versions/1/", ADMIN),
    "admin:langserve_deployment_roll_back": Row("GET", f"{IT}/versions/1/roll-back/", ADMIN),
    "admin:langserve_deployment_canary": Row("GET", f"{IT}/canary/", ADMIN),
    "admin:langserve_deployment_canary_promote": Row("GET", f"{IT}/canary/promote/", NOTHING),
    "admin:langserve_deployment_canary_stop": Row("GET", f"{IT}/canary/stop/", NOTHING),
}
# The right to a token's feedback is the token; there is none to be had here.
_BY_TOKEN = dict.fromkeys(DOOR, 400)
# Of those who may call, nobody may look at others' runs; a superuser may.
EXPORT = {**DOOR, "member": 403, "member_by_session": 403, "superuser_by_token": 200}
NOT_MINE = {**DOOR, "member": 404, "member_by_session": 404}
# A form of a page. The body here is none of its own.
_RATE = {**_NO_FORM, "expired_session": 302, "member_by_session": 422, "staff_by_session": 404}
ROWS |= {
    "langserve_feedback:feedback": Row("GET", f"/it/feedback?run_id={RUN_ID}", DOOR),
    "langserve_feedback:feedback_item": Row("DELETE", f"/it/feedback/{RUN_ID}", NOT_MINE),
    "langserve_feedback:export": Row("GET", "/it/feedback/export", EXPORT),
    "langserve_feedback:rate": Row("POST", "/it/feedback/rate", _RATE),
    "langserve_feedback:token_feedback": Row("POST", "/it/token_feedback", _BY_TOKEN),
}
_MODELS = {
    # Model -> whether somebody may add, change and delete by hand.
    "apitoken": (ADMIN, ADMIN, ADMIN),
    "chatsession": (CLOSED, ADMIN, ADMIN),
    "auditentry": (CLOSED, ADMIN, CLOSED),
}
# Pages that add nothing to Django's own gate: its four cases.
_CASES = ("anonymous", "superuser_by_token", "staff_by_session", "superuser_by_session")
_PLAIN_ADMIN = {caller: ADMIN[caller] for caller in _CASES}
_PLAIN_CLOSED = {caller: CLOSED[caller] for caller in _CASES}
_MODELS_OF_APPS = {
    "langserve": _MODELS,
    "langserve_feedback": {
        "feedbackkey": (_PLAIN_ADMIN, _PLAIN_ADMIN, _PLAIN_ADMIN),
        "feedback": (_PLAIN_CLOSED, _PLAIN_ADMIN, _PLAIN_CLOSED),
    },
}
for _app, _model, (_add, _change, _delete) in (
    (app, model, may) for app, models in _MODELS_OF_APPS.items() for model, may in models.items()
):
    _base, _name = f"/admin/{_app}/{_model}", f"admin:{_app}_{_model}"
    ROWS[f"{_name}_changelist"] = Row("GET", f"{_base}/", _change)
    ROWS[f"{_name}_add"] = Row("GET", f"{_base}/add/", _add)
    ROWS[f"{_name}_change"] = Row("GET", f"{_base}/{{{_model}}}/change/", _change)
    _history = {caller: ADMIN[caller] for caller in _delete}
    ROWS[f"{_name}_history"] = Row("GET", f"{_base}/{{{_model}}}/history/", _history)
    ROWS[f"{_name}_delete"] = Row("GET", f"{_base}/{{{_model}}}/delete/", _delete)
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

    def expired_session(self) -> dict[str, str]:
        headers = self.superuser_by_session()
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        return headers

    def staff_by_session(self) -> dict[str, str]:
        return self.site.session(self.site.user("carol", is_staff=True))

    def superuser_by_token(self) -> dict[str, str]:
        return self.site.token(self._root())

    def superuser_by_session(self) -> dict[str, str]:
        return self.site.session(self._root())

    def _root(self) -> Any:
        return self.site.user("root", is_staff=True, is_superuser=True)

    def _of(self, group: str) -> Any:
        user = self.site.user("alice")
        user.groups.add(Group.objects.get_or_create(name=group)[0])
        return user


CELLS = [(route, caller) for route, row in ROWS.items() for caller in row.expected]


@pytest.mark.parametrize(("route", "caller"), CELLS)
def test_caller_gets_what_is_theirs(site: Site, route: str, caller: str) -> None:
    row = furnished(site, ROWS[route])
    headers = getattr(Cast(site), caller)()
    assert status(site, row, headers) == row.expected[caller]


def furnished(site: Site, row: Row) -> Row:
    """
    A site with one of everything that belongs to somebody else, and the row with its keys.
    """
    deployment = site.serve("it", echo(), access=["editors"], enable_feedback_endpoint=True)
    token, _ = ApiToken.objects.create(site.user("somebody else"))
    keys = {
        "deployment": deployment.pk,
        "apitoken": quote(token.pk),
        "token_id": token.public_id,
        "chatsession": ChatSession.objects.create(
            owner="u0", deployment="it", session_id="theirs"
        ).pk,
        "auditentry": AuditEntry.objects.create(
            deployment=deployment, name="it", by="a test", text="Made."
        ).pk,
        "feedbackkey": FeedbackKey.objects.create(key="correctness").pk,
        "feedback": Feedback.objects.create(
            run_id=RUN_ID, trace_id=RUN_ID, deployment=deployment, key="k", author="u0"
        ).pk,
    }
    return row._replace(path=row.path.format(**keys))


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


DOORS = [route for route in ROWS if route.startswith("door:")]
DOORS += [f"langserve_feedback:{name}" for name in ("feedback", "export", "token_feedback")]


@pytest.mark.parametrize("route", DOORS)
def test_a_deployment_that_is_not_listed_is_not_there(site: Site, route: str) -> None:
    row = ROWS[route]
    site.serve("it", echo(), access=["editors"], listed=False)
    absent = row._replace(path=row.path.replace("/it/", "/nothing/"))
    for caller in ("anonymous", "signed_in", "expired_token"):
        headers = getattr(Cast(site), caller)()
        assert status(site, row, headers) == status(site, absent, headers) == 404
