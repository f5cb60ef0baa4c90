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
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.utils import timezone

from feedback.models import Feedback, FeedbackKey
from runnables.models import ApiToken, AuditEntry, ChatSession, Grant, Session
from runnables.routing import ENDPOINTS
from tests.access.routes import all_routes
from tests.conftest import Site
from tests.fakes import echo
from tests.traces.shared import keep_trace, link_to
from traces.models import ModelPrice
from traces.review.models import ReviewQueue

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
SOMEBODY_ELSES_PAGE = {**OWN_PAGE, "member_by_session": 404, "superuser_by_session": 200}
NOTHING_TICKED = {**OWN_PAGE, **_NO_FORM, "member_by_session": 302}
# Switched on, but not one of them has the right to.
SHARE = {**DOOR, "member": 403, "member_by_session": 403}
# Whoever has a live link: not even a token that is none matters.
FOR_STRANGERS = {**PAGE, "expired_session": 200, "superuser_by_session": 200}
UNSHARED = {**OWN_PAGE, "member_by_session": 404, "superuser_by_session": 200}
# Neither the right alone opens it nor being a reviewer alone.
REVIEW = {
    **OWN_PAGE,
    "other_group_by_session": 404,
    "staff_by_session": 404,
    "superuser_by_session": 200,
}
SIGN_IN = {"anonymous": 200, "expired_session": 200, "member_by_session": 200}
# Numbers: of what one may see the traces of, and of everything.
DASHBOARD = {
    **OWN_PAGE,
    "member_by_session": 403,
    "staff_by_session": 403,
    "superuser_by_session": 200,
}
METRICS = {
    **DOOR,
    "member": 403,
    "member_by_session": 403,
    "staff_by_session": 403,
    "superuser_by_session": 200,
    "superuser_by_token": 200,
}

IT = "/admin/langserve/deployment/{deployment}"
ROWS: dict[str, Row] = {
    "langserve:deployments": Row("GET", "/deployments/", FOR_ALL),
    "langserve:openapi": Row("GET", "/openapi.json", FOR_ALL),
    "langserve:docs": Row("GET", "/docs/", PAGE),
    "langserve:tokens": Row("GET", "/tokens/", OWN_PAGE),
    "langserve:revoke_token": Row("POST", "/tokens/{token_id}/revoke/", SOMEBODY_ELSES),
    "langserve_traces:dashboard": Row("GET", "/dashboard/", DASHBOARD),
    "langserve_traces:metrics": Row("GET", "/metrics", METRICS),
    "langserve_traces:list": Row("GET", "/traces/", OWN_PAGE),
    "langserve_traces:detail": Row("GET", "/traces/{trace}/", SOMEBODY_ELSES_PAGE),
    "langserve_traces:payload": Row(
        "GET", "/traces/{trace}/payload/{trace}/input/", SOMEBODY_ELSES_PAGE
    ),
    # They take what is ticked in a form, and here nothing is.
    "langserve_traces:export": Row("POST", "/traces/export/", NOTHING_TICKED),
    "langserve_traces:delete": Row("POST", "/traces/delete/", NOTHING_TICKED),
    "door:cancel": Row("POST", f"/it/runs/{RUN_ID}/cancel", CANCEL),
    "langserve_traces:run": Row("GET", f"/it/runs/{RUN_ID}", CANCEL),
    "door:ws": Row("WS", "/it/ws", SOCKET),
    "langserve_feedback:public_trace_link": Row("PUT", "/it/public_trace_link", SHARE),
    "langserve_traces:shared": Row("GET", "/s/{token}/", FOR_STRANGERS),
    "langserve_traces:share": Row("GET", "/traces/{trace}/share/", UNSHARED),
    "langserve_traces:links": Row("GET", "/traces/links/", OWN_PAGE),
    "langserve_traces:revoke_link": Row(
        "POST", "/traces/links/{tracelink}/revoke/", SOMEBODY_ELSES
    ),
    "accounts:login": Row("GET", "/accounts/login/", SIGN_IN),
    "accounts:logout": Row("POST", "/accounts/logout/", {"member_by_session": 302}),
    "accounts:data": Row("GET", "/accounts/data/", OWN_PAGE),
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
for _model, (_add, _change, _delete) in {
    "modelprice": (ADMIN, ADMIN, ADMIN),
    "trace": (CLOSED, ADMIN, ADMIN),
}.items():
    _base, _name = f"/admin/langserve_traces/{_model}", f"admin:langserve_traces_{_model}"
    ROWS[f"{_name}_changelist"] = Row("GET", f"{_base}/", ADMIN)
    ROWS[f"{_name}_add"] = Row("GET", f"{_base}/add/", _add)
    ROWS[f"{_name}_change"] = Row("GET", f"{_base}/{{{_model}}}/change/", _change)
    ROWS[f"{_name}_history"] = Row("GET", f"{_base}/{{{_model}}}/history/", ADMIN)
    ROWS[f"{_name}_delete"] = Row("GET", f"{_base}/{{{_model}}}/delete/", _delete)
_TRACING = "/admin/langserve_traces/tracing/{deployment}"
ROWS["admin:langserve_traces_tracing"] = Row("GET", f"{_TRACING}/", ADMIN)
ROWS["admin:langserve_traces_tracing_try"] = Row(
    "POST", f"{_TRACING}/try/", {**SENT, "superuser_by_session": 200}
)
_base, _name = "/admin/langserve_feedback/tracelink", "admin:langserve_feedback_tracelink"
ROWS[f"{_name}_changelist"] = Row("GET", f"{_base}/", ADMIN)
ROWS[f"{_name}_add"] = Row("GET", f"{_base}/add/", CLOSED)
ROWS[f"{_name}_change"] = Row("GET", f"{_base}/{{tracelink}}/change/", ADMIN)
ROWS[f"{_name}_history"] = Row("GET", f"{_base}/{{tracelink}}/history/", ADMIN)
ROWS[f"{_name}_delete"] = Row("GET", f"{_base}/{{tracelink}}/delete/", CLOSED)
# A queue with somebody else's run, whose reviewers the editors are.
_QUEUE, _QUEUES = "/review/theirs", "/admin/langserve_traces/reviewqueue"
ROWS |= {
    "langserve_traces:review_list": Row("GET", "/review/", OWN_PAGE),
    "langserve_traces:review_add": Row("POST", "/review/add/", SOMEBODY_ELSES),
    "langserve_traces:review": Row("GET", f"{_QUEUE}/", REVIEW),
    "langserve_traces:review_results": Row("GET", f"{_QUEUE}/results/", REVIEW),
    "langserve_traces:review_export": Row("GET", f"{_QUEUE}/results/export/?as=csv", REVIEW),
    "admin:langserve_traces_reviewqueue_changelist": Row("GET", f"{_QUEUES}/", ADMIN),
    "admin:langserve_traces_reviewqueue_add": Row("GET", f"{_QUEUES}/add/", ADMIN),
    "admin:langserve_traces_reviewqueue_change": Row("GET", f"{_QUEUES}/{{queue}}/change/", ADMIN),
    "admin:langserve_traces_reviewqueue_history": Row(
        "GET", f"{_QUEUES}/{{queue}}/history/", ADMIN
    ),
    "admin:langserve_traces_reviewqueue_delete": Row("GET", f"{_QUEUES}/{{queue}}/delete/", ADMIN),
}
for _endpoint, (_method, _has_variant) in ENDPOINTS.items():
    ROWS[f"door:{_endpoint}"] = Row(_method, f"/it/{_endpoint}", DOOR)
    if _has_variant:
        ROWS[f"door:{_endpoint}/c"] = Row(_method, f"/it/c/{HASH}/{_endpoint}", DOOR)

BODY = {"input": 1, "inputs": [1]}


def test_every_route_has_a_row() -> None:
    assert all_routes() == set(ROWS)


class Cast:
    """
    Everybody who calls, each with an account of their own.
    """

    def __init__(self, site: Site) -> None:
        self.site = site

    def anonymous(self) -> dict[str, str]:
        return {}

    def signed_in(self) -> dict[str, str]:
        return self.site.token(self._user("bob"))

    def other_group(self) -> dict[str, str]:
        return self.site.token(self._of("readers", "rita"))

    def staff_without_permission(self) -> dict[str, str]:
        return self.site.token(self._staff())

    def expired_token(self) -> dict[str, str]:
        past = timedelta(seconds=-1)
        return self.site.token(self._of("editors", "alice"), expiry=past)

    def revoked_token(self) -> dict[str, str]:
        headers = self.site.token(self._of("editors", "ralph"))
        ApiToken.objects.filter(user__username="ralph").delete()
        return headers

    def member(self) -> dict[str, str]:
        return self.site.token(self._of("editors", "alice"))

    def member_by_session(self) -> dict[str, str]:
        return self.site.session(self._of("editors", "alice"))

    def other_group_by_session(self) -> dict[str, str]:
        return self.site.session(self._of("readers", "rita"))

    def expired_session(self) -> dict[str, str]:
        headers = self.site.session(self._root("rose"))
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        return headers

    def staff_by_session(self) -> dict[str, str]:
        return self.site.session(self._staff())

    def superuser_by_token(self) -> dict[str, str]:
        return self.site.token(self._root())

    def superuser_by_session(self) -> dict[str, str]:
        return self.site.session(self._root())

    def _staff(self) -> Any:
        return self._user("carol", is_staff=True)

    def _root(self, name: str = "root") -> Any:
        return self._user(name, is_staff=True, is_superuser=True)

    def _of(self, group: str, name: str) -> Any:
        user = self._user(name)
        user.groups.add(Group.objects.get_or_create(name=group)[0])
        return user

    def _user(self, name: str, **fields: Any) -> Any:
        known = get_user_model()._default_manager.filter(username=name).first()
        return known or self.site.user(name, **fields)


@pytest.mark.parametrize("route", ROWS)
def test_callers_get_what_is_theirs(site: Site, route: str) -> None:
    row, cast = furnished(site, ROWS[route]), Cast(site)
    # Who is let in may change what is there: the others come first.
    callers = sorted(row.expected, key=lambda caller: row.expected[caller] < 400)
    found = {caller: status(site, row, getattr(cast, caller)()) for caller in callers}
    assert found == row.expected


def furnished(site: Site, row: Row) -> Row:
    """
    A site with one of everything that belongs to somebody else, and the row with its keys.
    """
    deployment = site.serve(
        "it",
        echo(),
        access=["editors"],
        enable_public_trace_link_endpoint=True,
        enable_feedback_endpoint=True,
    )
    trace = keep_trace(deployment)
    link = link_to(trace, site.user("sharer"))
    token, _ = ApiToken.objects.create(site.user("somebody else"))
    keys = {
        "deployment": deployment.pk,
        "trace": trace.pk,
        "tracelink": link.pk,
        "token": link.token,
        "apitoken": quote(token.pk),
        "token_id": token.public_id,
        "queue": _review_queue(site).pk,
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
        "modelprice": ModelPrice.objects.create(pattern="*", input_price=1, output_price=1).pk,
    }
    return row._replace(path=row.path.format(**keys))


def _review_queue(site: Site) -> ReviewQueue:
    groups = [Group.objects.get_or_create(name=name)[0] for name in ("editors", "readers")]
    Grant.objects.create(
        deployment=site.row("it"), audience="group", group=groups[1], review=False, run=True
    )
    Grant.objects.filter(deployment=site.row("it"), group=groups[0]).update(review=True)
    queue = ReviewQueue.objects.create(name="Theirs", slug="theirs")
    queue.groups.set(groups)
    return queue


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
