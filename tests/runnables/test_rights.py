"""
What each audience may do with a deployment, in its matrix; and maintenance.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group

from runnables import access, snapshot
from runnables.exceptions import NotAuthenticated, NotPermitted
from runnables.identity import CallerRequest
from runnables.models import Grant
from runnables.permissions import OF_CALLERS, PERMISSIONS, Matrix
from tests.conftest import Site, events
from tests.fakes import Declaring, Spy, Waiting, echo
from tests.runnables.asgi import connected

RUNS = ("invoke", "batch", "stream", "stream_log", "stream_events")
SCHEMAS = ("input_schema", "output_schema", "config_schema")
BODY = {"input": 1, "inputs": [1]}


def status(site: Site, headers: Any = None, door: str = "invoke") -> int:
    return site.post(f"/it/{door}", BODY, headers=headers).status_code


def member(site: Site, name: str, *groups: str, **fields: Any) -> Any:
    user = site.user(name, **fields)
    user.groups.set(Group.objects.get_or_create(name=group)[0] for group in groups)
    return user


# Who may call


def test_callers_of_the_registered_access_may_call_and_nothing_more(site: Site) -> None:
    row = site.serve("it", echo(), access=["editors"])
    [grant] = row.grants.all()
    assert grant.named == "Group editors"
    assert grant.permissions == {*OF_CALLERS} == {"run", "playground", "override_config"}


def test_nobody_may_call_what_nobody_has_a_right_to(site: Site) -> None:
    row = site.serve("it", echo())
    site.grant("it")
    alice = site.token(site.user("alice", is_staff=True))
    assert (row.access, status(site), status(site, alice)) == ("nobody", 401, 403)
    assert status(site, site.token(site.user("root", is_superuser=True))) == 200


def test_a_single_user_may_call_what_is_theirs(site: Site) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    site.serve("it", echo())
    site.grant("it", alice)
    assert [status(site, site.token(user)) for user in (alice, bob)] == [200, 403]


def test_rights_of_several_audiences_add_up(site: Site) -> None:
    site.serve("it", echo())
    editors = Group.objects.create(name="editors")
    alice = member(site, "alice", "editors", "readers")
    site.grant("it", "authenticated", may=["see_traces"])
    Grant.objects.create(
        deployment=site.row("it"), audience="group", group=editors, run=True, share=True
    )
    Grant.objects.create(deployment=site.row("it"), audience="user", user=alice, review=True)
    may = site.row("it").matrix.permissions(alice, {editors.pk: "editors"})
    assert may == {"see_traces", "run", "share", "review"}


def test_a_group_that_is_gone_gives_nothing_any_more(site: Site) -> None:
    site.serve("it", echo(), access=["editors"])
    alice = member(site, "alice", "editors")
    assert status(site, site.token(alice)) == 200
    Group.objects.get(name="editors").delete()
    assert status(site, site.token(alice)) == 403


def test_rights_that_change_are_felt_by_the_next_call(site: Site) -> None:
    site.serve("it", echo())
    headers = site.token(site.user("alice"))
    site.grant("it", "staff")
    assert status(site, headers) == 403
    site.grant("it", "authenticated")
    assert status(site, headers) == 200


@pytest.mark.parametrize(
    ("audiences", "widest"),
    [
        (["public", "staff"], "public"),
        (["staff", "authenticated"], "authenticated"),
        (["staff"], "staff"),
        ([], "nobody"),
    ],
)
def test_widest_audience_names_the_access(site: Site, audiences: list[str], widest: str) -> None:
    row = site.serve("it", echo())
    site.grant("it", *audiences)
    assert row.access == widest
    root = site.token(site.user("root", is_superuser=True))
    assert site.get("/deployments/", headers=root).json()[0]["access"] == widest


# More than calling


@pytest.mark.parametrize("door", RUNS)
def test_who_may_not_override_config_is_told_so(site: Site, door: str) -> None:
    spy = Declaring(name=str)
    site.serve("it", spy)
    site.grant("it", "public", may=["run"])
    body = {**BODY, "config": {"configurable": {"name": "mine"}}}
    headers = site.token(site.user("alice"))
    refused = site.post(f"/it/{door}", body, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    assert "override_config" in refused.json()["message"]
    assert site.post(f"/it/{door}", body).status_code == 401
    assert spy.inputs == []
    assert status(site, headers, door) == 200


def test_labels_and_sessions_are_no_overrides(site: Site) -> None:
    spy = Declaring(name=str)
    site.serve(
        "it",
        spy,
        config_keys=["configurable", "tags", "metadata"],
        extra_configurable=["session_id"],
    )
    site.grant("it", "public", may=["run"])
    config = {"tags": ["a"], "metadata": {"b": 1}, "configurable": {"session_id": "s"}}
    assert site.post("/it/invoke", {**BODY, "config": config}).status_code == 200
    assert spy.configurable["session_id"] == "anonymous-s"


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_a_permission_that_is_missing_is_named(site: Site, permission: str) -> None:
    site.serve("it", echo())
    site.grant("it")
    deployment = snapshot.find("it")
    alice = CallerRequest(None, site.user("alice"))  # type: ignore[arg-type]
    with pytest.raises(NotPermitted, match=rf"permission: {permission}\)"):
        access.require(alice, deployment, permission)
    with pytest.raises(NotAuthenticated):
        access.require(CallerRequest(None), deployment, permission)  # type: ignore[arg-type]
    site.grant("it", "authenticated", may=[permission])
    access.require(alice, snapshot.find("it"), permission)


# Why somebody may


def test_it_is_explained_where_a_right_comes_from(site: Site) -> None:
    site.serve("it", echo())
    alice = member(site, "alice", "editors", is_staff=True)
    site.grant("it", "staff", Group.objects.get(name="editors"), alice)
    why = access.explain(alice, snapshot.find("it"))
    assert why["run"] == ["staff may", "this user may", "members of editors may"]
    assert why["see_traces"] == []
    assert list(why) == list(PERMISSIONS)
    assert access.explain(AnonymousUser(), snapshot.find("it"))["run"] == []
    root = site.user("root", is_superuser=True)
    assert access.explain(root, snapshot.find("it"))["review"] == ["superusers may do everything"]


def test_a_user_who_is_not_active_may_nothing(site: Site) -> None:
    site.serve("it", echo())
    gone = site.user("gone", is_superuser=True, is_active=False)
    assert not any(access.explain(gone, snapshot.find("it")).values())


def test_a_matrix_without_rows_gives_nothing() -> None:
    assert Matrix().permissions(AnonymousUser(), {}) == frozenset()
    assert Matrix().audience == "nobody"


# A deployment that nobody is told of


@pytest.mark.parametrize("door", [*RUNS, *SCHEMAS])
@pytest.mark.parametrize("wrong", ["token", "csrf"])
def test_bad_credentials_do_not_betray_what_is_not_listed(
    site: Site, door: str, wrong: str
) -> None:
    site.serve("it", echo(), access="staff", listed=False)
    headers = {"Authorization": "Bearer nonsense"}
    if wrong == "csrf":
        headers = site.session(site.user("alice"), csrf=False)
    method = "GET" if door in SCHEMAS else "POST"
    hidden, absent = (
        site.request(method, f"/{path}/{door}", headers=headers) for path in ("it", "nothing")
    )
    assert (hidden.status_code, hidden.json()) == (absent.status_code, absent.json())


# Maintenance


def begin_maintenance(site: Site, **fields: Any) -> None:
    site.change("it", in_maintenance=True, **fields)


@pytest.mark.parametrize("door", RUNS)
def test_calls_during_maintenance_hear_why_and_when_to_come_back(site: Site, door: str) -> None:
    spy = Spy()
    site.serve("it", spy)
    message = "The index is being rebuilt."
    begin_maintenance(site, maintenance_message=message, maintenance_retry_after=120)
    response = site.post(f"/it/{door}", BODY)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "120"
    assert response.json() == {
        "detail": message,
        "message": message,
        "code": "maintenance",
        "retry_after": 120,
    }
    assert spy.inputs == []
    site.change("it", in_maintenance=False)
    assert status(site, door=door) == 200


def test_maintenance_has_a_message_of_its_own(site: Site) -> None:
    site.serve("it", echo())
    begin_maintenance(site)
    assert "worked on" in site.post("/it/invoke", BODY).json()["message"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_answer_during_maintenance(site: Site, name: str) -> None:
    site.serve("it", echo())
    begin_maintenance(site)
    assert site.get(f"/it/{name}").status_code == 200


def test_maintenance_is_told_only_to_who_may_call(site: Site) -> None:
    site.serve("it", echo(), access="staff")
    begin_maintenance(site)
    assert status(site) == 401
    assert status(site, site.token(site.user("alice"))) == 403


def test_a_run_that_goes_on_can_be_cancelled_during_maintenance(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting)
    run_id = "0f8fad5b-d9cb-469f-a165-70867728950e"

    async def talk(client: Any) -> list[int]:
        async with asyncio.timeout(10):
            headers = {"X-Run-Id": run_id}
            call = asyncio.create_task(client.post("/it/stream", json=BODY, headers=headers))
            await waiting.begun.wait()
            await asyncio.to_thread(begin_maintenance, site)
            refused = await client.post("/it/stream", json=BODY)
            cancel = await client.post(f"/it/runs/{run_id}/cancel")
            ended = await call
            assert events(ended)[-1][1]["code"] == "cancelled"
            return [refused.status_code, cancel.status_code, ended.status_code]

    assert asyncio.run(connected(site, talk)) == [503, 200, 200]
