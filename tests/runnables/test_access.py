"""
Who may call what, at every door.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.db import SessionStore as DjangoSessionStore
from django.db.backends.utils import CursorWrapper
from django.test import Client
from django.utils import timezone
from rest_framework.permissions import BasePermission, IsAdminUser

from runnables.models import ApiToken, Session
from tests.conftest import Site
from tests.fakes import SECRET, Spy, Waiting, echo
from tests.runnables.asgi import connected

DEPLOYMENTS = {
    "everybody": "public",
    "signed_in": "authenticated",
    "staff": "staff",
    "editors": ["editors", "authors"],
}
DOORS = ("invoke", "batch", "stream", "stream_log", "stream_events")
BODY = {"input": 1, "inputs": [1]}


class Cast:
    """
    The callers of the matrix, each as the headers of a request.
    """

    def __init__(self, site: Site) -> None:
        self.site = site

    def headers(self, name: str) -> dict[str, str]:
        return dict(getattr(self, name)())

    def anonymous(self) -> dict[str, str]:
        return {}

    def user(self) -> dict[str, str]:
        return self.site.token(self.site.user("alice"))

    def user_by_session(self) -> dict[str, str]:
        return self.site.session(self.site.user("alice"))

    def user_by_api_key(self) -> dict[str, str]:
        return {"x-api-key": self.user()["Authorization"].split()[1]}

    def staff(self) -> dict[str, str]:
        return self.site.token(self.site.user("bob", is_staff=True))

    def staff_by_session(self) -> dict[str, str]:
        return self.site.session(self.site.user("bob", is_staff=True))

    def member(self) -> dict[str, str]:
        return self.site.token(self._member("authors"))

    def member_by_session(self) -> dict[str, str]:
        return self.site.session(self._member("editors"))

    def member_of_another_group(self) -> dict[str, str]:
        return self.site.token(self._member("readers"))

    def superuser(self) -> dict[str, str]:
        return self.site.token(self.site.user("root", is_superuser=True))

    def superuser_by_session(self) -> dict[str, str]:
        return self.site.session(self.site.user("root", is_superuser=True))

    def inactive_superuser(self) -> dict[str, str]:
        return self.site.token(self.site.user("gone", is_superuser=True, is_active=False))

    def expired(self) -> dict[str, str]:
        headers = self.user()
        ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
        return headers

    def revoked(self) -> dict[str, str]:
        headers = self.user()
        ApiToken.objects.all().delete()
        return headers

    def malformed(self) -> dict[str, str]:
        return {"Authorization": "Bearer x y z"}

    def empty_token(self) -> dict[str, str]:
        return {"Authorization": "Bearer"}

    def stored_digest(self) -> dict[str, str]:
        self.user()
        return {"x-api-key": ApiToken.objects.get().digest}

    def start_of_a_token(self) -> dict[str, str]:
        return {"Authorization": self.user()["Authorization"][:-1]}

    def another_scheme(self) -> dict[str, str]:
        return {"Authorization": "Basic YTpi"}

    def session_of_nobody(self) -> dict[str, str]:
        return {"Cookie": "sessionid=0123456789abcdef0123456789abcdef"}

    def inactive_by_session(self) -> dict[str, str]:
        user = self.site.user("gone", is_superuser=True)
        headers = self.site.session(user)
        user.is_active = False
        user.save()
        return headers

    def session_before_a_new_password(self) -> dict[str, str]:
        user = self.site.user("root", is_superuser=True)
        headers = self.site.session(user)
        user.set_password("another password")
        user.save()
        return headers

    def expired_session(self) -> dict[str, str]:
        headers = self.superuser_by_session()
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        return headers

    def signed_out(self) -> dict[str, str]:
        client = Client()
        client.force_login(self.site.user("root", is_superuser=True))
        headers = {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}
        client.logout()
        return headers

    def bad_token_with_a_good_session(self) -> dict[str, str]:
        return {**self.superuser_by_session(), "Authorization": "Bearer nonsense"}

    def _member(self, group: str) -> Any:
        user = self.site.user("carol")
        user.groups.add(Group.objects.get_or_create(name=group)[0])
        return user


ALL = (200, 200, 200, 200)
NONE = (401, 401, 401, 401)
ANONYMOUS = (200, 401, 401, 401)
USER = (200, 200, 403, 403)
STAFF = (200, 200, 200, 403)
MEMBER = (200, 200, 403, 200)
MATRIX = {
    "anonymous": ANONYMOUS,
    "another_scheme": ANONYMOUS,
    "user": USER,
    "user_by_session": USER,
    "user_by_api_key": USER,
    "staff": STAFF,
    "staff_by_session": STAFF,
    "member": MEMBER,
    "member_by_session": MEMBER,
    "member_of_another_group": USER,
    "superuser": ALL,
    "superuser_by_session": ALL,
    "inactive_superuser": NONE,
    "expired": NONE,
    "revoked": NONE,
    "malformed": NONE,
    "empty_token": NONE,
    "stored_digest": NONE,
    "start_of_a_token": NONE,
    "bad_token_with_a_good_session": NONE,
    "session_of_nobody": ANONYMOUS,
    "inactive_by_session": ANONYMOUS,
    "session_before_a_new_password": ANONYMOUS,
    "expired_session": ANONYMOUS,
    "signed_out": ANONYMOUS,
}


@pytest.fixture
def four(site: Site) -> Site:
    for name, access in DEPLOYMENTS.items():
        site.serve(name, echo(), access=access)
    return site


@pytest.mark.parametrize("caller", MATRIX)
def test_each_caller_gets_what_is_theirs(four: Site, caller: str) -> None:
    headers = Cast(four).headers(caller)
    statuses = tuple(
        four.post(f"/{name}/invoke", BODY, headers=headers).status_code for name in DEPLOYMENTS
    )
    assert statuses == MATRIX[caller]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("caller", ["anonymous", "user", "member", "superuser_by_session"])
def test_gate_is_the_same_at_every_door(four: Site, door: str, caller: str) -> None:
    headers = Cast(four).headers(caller)
    statuses = tuple(
        four.post(f"/{name}/{door}", BODY, headers=headers).status_code for name in DEPLOYMENTS
    )
    assert statuses == MATRIX[caller]


@pytest.mark.parametrize("name", ["input_schema", "output_schema", "config_schema"])
@pytest.mark.parametrize("caller", ["anonymous", "user", "member", "superuser_by_session"])
def test_gate_stands_before_the_schemas_too(four: Site, name: str, caller: str) -> None:
    headers = Cast(four).headers(caller)
    statuses = tuple(four.get(f"/{d}/{name}", headers=headers).status_code for d in DEPLOYMENTS)
    assert statuses == MATRIX[caller]


def test_gate_stands_before_cancelling(four: Site) -> None:
    path = "/runs/0f8fad5b-d9cb-469f-a165-70867728950e/cancel"
    assert four.post(f"/signed_in{path}").status_code == 401


def test_refused_caller_runs_nothing(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, access="staff")
    for door in DOORS:
        site.post(f"/it/{door}", BODY, headers=site.token(site.user(door)))
    assert spy.inputs == []


def test_refusal_comes_before_the_body_is_looked_at(four: Site) -> None:
    assert four.post("/signed_in/invoke", content=b"not json").status_code == 401
    assert four.post("/signed_in/stream", content=b"not json").status_code == 401


# What a refusal says


def test_anonymous_is_told_how_to_sign_in(four: Site) -> None:
    response = four.post("/signed_in/invoke", BODY)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.json()["code"] == "not_authenticated"
    assert "Bearer" in response.json()["message"]


def test_bad_token_is_called_one(four: Site) -> None:
    response = four.post("/everybody/invoke", BODY, headers={"Authorization": f"Bearer {SECRET}"})
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    assert SECRET not in response.text


@pytest.mark.parametrize("name", ["staff", "editors"])
def test_refused_user_is_told_the_permission(four: Site, name: str) -> None:
    response = four.post(f"/{name}/invoke", BODY, headers=four.token(four.user("alice")))
    assert response.status_code == 403
    assert response.json()["code"] == "not_permitted"
    assert "permission" in response.json()["message"]
    assert "run" in response.json()["message"]


@pytest.mark.parametrize("caller", ["anonymous", "user", "user_by_session"])
@pytest.mark.parametrize("door", [*DOORS, "input_schema"])
def test_unlisted_deployment_is_not_there_for_who_may_not_use_it(
    site: Site, caller: str, door: str
) -> None:
    site.serve("it", echo(), access="staff", listed=False)
    headers = Cast(site).headers(caller)
    method = "GET" if door == "input_schema" else "POST"
    body = BODY if method == "POST" else None
    hidden = site.request(method, f"/it/{door}", json=body, headers=headers)
    absent = site.request(method, f"/nothing/{door}", json=body, headers=headers)
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json() == absent.json()


def test_unlisted_deployment_is_there_for_who_may_use_it(site: Site) -> None:
    site.serve("it", echo(), access="staff", listed=False)
    headers = site.token(site.user("bob", is_staff=True))
    assert site.invoke("/it", 1, headers=headers) == 1


@pytest.mark.parametrize(
    ("method", "door"),
    [
        ("GET", "invoke"),
        ("GET", "stream"),
        ("POST", "batch"),
    ],
)
def test_unlisted_deployment_is_not_betrayed(site: Site, method: str, door: str) -> None:
    site.serve("it", echo(), access="staff", listed=False, disabled_endpoints=["batch"])
    hidden = site.request(method, f"/it/{door}")
    absent = site.request(method, f"/nothing/{door}")
    assert (hidden.status_code, hidden.json()) == (absent.status_code, absent.json())


# Sessions


@pytest.mark.parametrize("door", DOORS)
def test_session_without_csrf_token_is_refused(four: Site, door: str) -> None:
    headers = four.session(four.user("alice"), csrf=False)
    response = four.post(f"/signed_in/{door}", BODY, headers=headers)
    assert response.status_code == 403
    assert response.json()["code"] == "csrf_failed"
    assert "X-CSRFToken" in response.json()["message"]


def test_session_without_csrf_token_is_refused_by_public_deployments_too(four: Site) -> None:
    headers = four.session(four.user("alice"), csrf=False)
    assert four.post("/everybody/invoke", BODY, headers=headers).status_code == 403


def test_wrong_csrf_token_is_refused(four: Site) -> None:
    headers = {**four.session(four.user("alice")), "X-CSRFToken": "x" * 32}
    assert four.post("/signed_in/invoke", BODY, headers=headers).status_code == 403


def test_origin_that_is_not_ours_is_refused(four: Site) -> None:
    headers = {**four.session(four.user("alice")), "Origin": "https://evil.example"}
    assert four.post("/signed_in/invoke", BODY, headers=headers).status_code == 403


def test_own_origin_is_accepted(four: Site) -> None:
    headers = {**four.session(four.user("alice")), "Origin": "http://localhost"}
    assert four.post("/signed_in/invoke", BODY, headers=headers).status_code == 200


@pytest.mark.parametrize("name", ["input_schema", "output_schema", "config_schema"])
def test_schemas_need_no_csrf_token(four: Site, name: str) -> None:
    headers = four.session(four.user("alice"), csrf=False)
    assert four.get(f"/signed_in/{name}", headers=headers).status_code == 200


def test_tokens_need_no_csrf_token(four: Site) -> None:
    headers = {**four.token(four.user("alice")), "Cookie": "sessionid=x; csrftoken=y"}
    assert four.post("/signed_in/invoke", BODY, headers=headers).status_code == 200


@pytest.mark.parametrize("value", ["Bearer {}", "bearer {}", "BEARER {}"])
def test_scheme_is_read_in_any_case(four: Site, value: str) -> None:
    token = four.token(four.user("alice"))["Authorization"].split()[1]
    headers = {"Authorization": value.format(token)}
    assert four.post("/signed_in/invoke", BODY, headers=headers).status_code == 200


def test_session_of_another_engine_works(four: Site, settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    headers = four.session(four.user("alice"))
    assert four.post("/signed_in/invoke", BODY, headers=headers).status_code == 200
    without = {"Cookie": headers["Cookie"]}
    assert four.post("/signed_in/invoke", BODY, headers=without).status_code == 403


def test_session_rows_are_our_own(four: Site) -> None:
    four.session(four.user("alice"))
    user = Session.objects.get().user
    assert user is not None
    assert user.username == "alice"
    assert Session.get_session_store_class() is not DjangoSessionStore


# Tokens


def test_only_a_digest_of_a_token_is_stored(site: Site) -> None:
    token = site.token(site.user("alice"))["Authorization"].split()[1]
    stored = str(ApiToken.objects.values().get())
    assert token not in stored


def test_use_of_a_token_is_noted(four: Site) -> None:
    headers = four.token(four.user("alice"))
    assert ApiToken.objects.get().last_used_at is None
    four.post("/signed_in/invoke", BODY, headers=headers)
    assert ApiToken.objects.get().last_used_at is not None


def test_lost_right_is_felt_at_once(four: Site) -> None:
    user = four.user("bob", is_staff=True)
    headers = four.token(user)
    assert four.post("/staff/invoke", BODY, headers=headers).status_code == 200
    user.is_staff = False
    user.save()
    assert four.post("/staff/invoke", BODY, headers=headers).status_code == 403


# Own permissions


class OnlyCats(BasePermission):
    message = "Only cats may do this."
    code = "only_cats"

    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.headers.get("X-Cat") == "yes" and request.method in ("POST", "GET"))


class OnlyCatsLater:
    async def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.headers.get("X-Cat") == "yes")


class AsksTheDatabase(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(ApiToken.objects.exists())


@pytest.mark.parametrize("permission", [OnlyCats, OnlyCatsLater])
@pytest.mark.parametrize("door", DOORS)
def test_own_permission_is_asked_at_every_door(site: Site, permission: Any, door: str) -> None:
    site.serve("it", echo(), permission_classes=[permission])
    assert site.post(f"/it/{door}", BODY).status_code == 401
    assert site.post(f"/it/{door}", BODY, headers={"X-Cat": "yes"}).status_code == 200


def test_own_permission_is_asked_for_schemas(site: Site) -> None:
    site.serve("it", echo(), permission_classes=[OnlyCats])
    assert site.get("/it/input_schema").status_code == 401
    assert site.get("/it/input_schema", headers={"X-Cat": "yes"}).status_code == 200


def test_refusal_of_an_own_permission_has_its_words(site: Site) -> None:
    site.serve("it", echo(), permission_classes=[OnlyCats])
    response = site.post("/it/invoke", BODY, headers=site.token(site.user("alice")))
    assert response.status_code == 403
    assert response.json()["message"] == "Only cats may do this."
    assert response.json()["code"] == "only_cats"


def test_permissions_of_rest_framework_work(site: Site) -> None:
    site.serve("it", echo(), permission_classes=[IsAdminUser, AsksTheDatabase])
    user, staff = site.token(site.user("alice")), site.token(site.user("bob", is_staff=True))
    assert site.post("/it/invoke", BODY, headers=user).status_code == 403
    assert site.post("/it/invoke", BODY, headers=staff).status_code == 200


# The list of deployments


@pytest.mark.parametrize("caller", ["anonymous", "user", "staff", "member", "superuser"])
def test_list_shows_what_the_caller_may_use(four: Site, caller: str) -> None:
    rows = four.get("/deployments/", headers=Cast(four).headers(caller)).json()
    allowed = [name for name, s in zip(DEPLOYMENTS, MATRIX[caller], strict=True) if s == 200]
    assert sorted(row["name"] for row in rows) == sorted(allowed)


def test_list_asks_own_permissions_too(site: Site) -> None:
    site.serve("it", echo(), permission_classes=[OnlyCats])
    assert site.get("/deployments/").json() == []
    assert len(site.get("/deployments/", headers={"X-Cat": "yes"}).json()) == 1


def test_list_refuses_a_bad_token(four: Site) -> None:
    assert four.get("/deployments/", headers={"Authorization": "Bearer x"}).status_code == 401


# Queries


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    What is sent to the database from now on, from any thread but the one that looks for
    changed deployments.
    """
    sent: list[str] = []
    execute = CursorWrapper.execute

    def count(self: Any, sql: str, params: Any = None) -> Any:
        if threading.current_thread().name != "langserve-watch" and not sql.startswith("PRAGMA"):
            sent.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", count)
    return sent


@pytest.mark.parametrize("door", DOORS)
def test_anonymous_call_of_a_public_deployment_asks_no_database(
    four: Site, queries: list[str], door: str
) -> None:
    queries.clear()
    assert four.post(f"/everybody/{door}", BODY).status_code == 200
    assert queries == []


@pytest.mark.parametrize(
    ("caller", "name"),
    [
        ("user", "everybody"),
        ("user", "signed_in"),
        ("user_by_api_key", "signed_in"),
        ("user_by_session", "everybody"),
        ("user_by_session", "signed_in"),
        ("staff", "staff"),
        ("member", "editors"),
        ("member_by_session", "editors"),
        ("member_of_another_group", "editors"),
    ],
)
@pytest.mark.parametrize("door", ["invoke", "stream"])
def test_known_caller_costs_one_query(
    four: Site, queries: list[str], caller: str, name: str, door: str
) -> None:
    headers = Cast(four).headers(caller)
    four.post(f"/{name}/{door}", BODY, headers=headers)  # notes when the token was last used
    queries.clear()
    four.post(f"/{name}/{door}", BODY, headers=headers)
    assert len(queries) == 1, queries


def test_refusing_an_anonymous_caller_asks_no_database(four: Site, queries: list[str]) -> None:
    queries.clear()
    assert four.post("/staff/invoke", BODY).status_code == 401
    assert queries == []


def test_callers_at_the_same_time_do_not_mix(site: Site) -> None:
    spy = Spy()

    def name_the_user(config: Any, request: Any) -> Any:
        return {**config, "metadata": {"user": request.user.username}}

    site.serve("it", spy, access="authenticated", per_req_config_modifier=name_the_user)
    names = [f"user{n}" for n in range(8)]
    tokens = {name: site.token(site.user(name)) for name in names}

    async def talk(client: Any) -> None:
        await asyncio.gather(
            *(
                client.post("/it/invoke", json={"input": name}, headers=tokens[name])
                for name in names * 3
            )
        )

    asyncio.run(connected(site, talk))
    seen = zip(spy.inputs, spy.configs, strict=True)
    assert {(given, config["metadata"]["user"]) for given, config in seen} == {
        (name, name) for name in names
    }
    assert len(spy.inputs) == 24


def test_run_of_an_anonymous_caller_can_be_cancelled_by_who_knows_its_id(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting)
    run_id = "0f8fad5b-d9cb-469f-a165-70867728950e"

    async def talk(client: Any) -> int:
        call = asyncio.create_task(
            client.post("/it/invoke", json={"input": 1}, headers={"X-Run-Id": run_id})
        )
        await waiting.begun.wait()
        await client.post(f"/it/runs/{run_id}/cancel")
        return int((await call).status_code)

    assert asyncio.run(connected(site, talk)) == 499
