"""
What is done to many deployments at once: asked first, then done for all or none, and told.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from runnables import deployments, trials, versions
from runnables.admin.bulk_actions import BULK_ACTIONS
from runnables.models import AuditEntry, Canary, Deployment, ServerProcess
from tests.admin.conftest import LIST, MARKUP, act, count_calls, seen, staff
from tests.conftest import Site
from tests.fakes import echo

NAMES = [bulk.name for bulk in BULK_ACTIONS]


def statuses(site: Site, *rows: Deployment, endpoint: str = "invoke") -> list[int]:
    body = {"input": 1} if endpoint == "invoke" else {"inputs": [1]}
    return [site.post(f"/{row.path}/{endpoint}", body).status_code for row in rows]


def reload(row: Deployment) -> Deployment:
    return Deployment.objects.get(pk=row.pk)


def with_canary(row: Deployment) -> None:
    content = Deployment.objects.get(pk=row.pk).version.content  # type: ignore[union-attr]
    version = versions.save_version(row, content, by="us", based_on=1, make_current=False)
    trials.start(row, version, percent=10, by="us")


@pytest.mark.parametrize("action", NAMES)
def test_action_asks_before_it_does_anything(site: Site, root: Client, action: str) -> None:
    rows = [site.serve(name, echo(), path=f"/at/{name}") for name in ("one", "two")]
    before = list(Deployment.objects.values())

    text = seen(act(root, action, *rows))

    for part in ("one", "/at/two", "invoke, batch", "0 runs are going on now.", "No, take me back"):
        assert part in text
    assert list(Deployment.objects.values()) == before
    assert not AuditEntry.objects.exists()


def test_confirm_page_counts_the_runs_of_all_processes(site: Site, root: Client) -> None:
    row = site.serve("one", echo())
    for runs in (2, 1):
        ServerProcess.objects.create(
            boot_id=uuid4(), host="h", pid=1, seen_at=timezone.now(), running={str(row.pk): runs}
        )

    assert "3 runs are going on now." in seen(act(root, "disable", row))


def test_disabled_deployments_are_gone_at_once_and_the_reason_is_kept(
    site: Site, root: Client
) -> None:
    rows = [site.serve(name, echo()) for name in ("one", "two", "three")]

    text = seen(act(root, "disable", *rows[:2], reason="reindexing"))

    assert "Disable: done for 2 deployments: one, two." in text
    assert statuses(site, *rows) == [404, 404, 200]
    assert reload(rows[0]).off_reason == "reindexing"
    entry = AuditEntry.objects.get(name="one")
    assert (entry.by, entry.text) == ("root", "Switched off: reindexing.")
    assert LogEntry.objects.get(object_id=rows[0].pk).change_message == entry.text


def test_what_is_off_already_is_left_and_named(site: Site, root: Client) -> None:
    rows = [site.serve(name, echo()) for name in ("one", "two")]
    site.change("two", is_enabled=False, off_reason="older")

    text = seen(act(root, "disable", *rows, reason="newer"))

    assert "Disable: done for 1 deployment: one." in text
    assert "Left as it was: two is off already." in text
    assert reload(rows[1]).off_reason == "older"


def test_enabled_deployment_answers_again(site: Site, root: Client) -> None:
    row = site.serve("one", echo())
    act(root, "disable", row, confirmed="yes")
    act(root, "enable", row, confirmed="yes")

    assert site.invoke("/one", 1) == 1


def test_maintenance_tells_callers_when_to_come_back(site: Site, root: Client) -> None:
    row = site.serve("one", echo())
    act(root, "begin_maintenance", row, message="Back at noon", retry_after="120")
    answer = site.post("/one/invoke", {"input": 1})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "120")
    assert "Back at noon" in answer.text

    act(root, "end_maintenance", row, confirmed="yes")

    assert site.invoke("/one", 1) == 1
    text = seen(act(root, "end_maintenance", row, confirmed="yes"))
    assert "Left as it was: one is not in maintenance." in text


@pytest.mark.parametrize("retry_after", ["0", "", "soon", "99999999999"])
def test_maintenance_form_that_is_wrong_comes_back(
    site: Site, root: Client, retry_after: str
) -> None:
    row = site.serve("one", echo())

    text = seen(act(root, "begin_maintenance", row, message="x", retry_after=retry_after))

    assert "Please correct the errors below." in text
    assert site.invoke("/one", 1) == 1


def test_chosen_endpoints_are_switched_and_others_stay(site: Site, root: Client) -> None:
    rows = [site.serve(name, echo()) for name in ("one", "two")]
    act(root, "disable_endpoints", *rows, endpoints=["batch", "stream"])
    assert statuses(site, *rows, endpoint="batch") == [404, 404]
    assert statuses(site, *rows) == [200, 200]

    text = seen(act(root, "enable_endpoints", rows[0], endpoints=["batch"]))

    assert "Enable endpoints: done for 1 deployment: one." in text
    assert statuses(site, *rows, endpoint="batch") == [200, 404]
    assert AuditEntry.objects.first().text == "Switched on batch."  # type: ignore[union-attr]


@pytest.mark.parametrize("action", ["disable_endpoints", "add_groups"])
def test_nothing_chosen_is_said(site: Site, root: Client, action: str) -> None:
    row = site.serve("one", echo())

    text = seen(act(root, action, row, confirmed="yes"))

    assert "Choose at least one" in text
    assert not AuditEntry.objects.exists()


def test_endpoint_nobody_knows_is_refused(site: Site, root: Client) -> None:
    row = site.serve("one", echo())

    text = seen(act(root, "disable_endpoints", row, endpoints=["os.system"]))

    assert "os.system is not one of the available choices" in text


def test_groups_are_added_and_removed(site: Site, root: Client) -> None:
    rows = [site.serve(name, echo(), access="staff") for name in ("one", "two")]
    group = Group.objects.create(name="editors")
    user = site.user("carol")
    user.groups.add(group)
    headers = site.token(user)
    act(root, "add_groups", *rows, groups=[group.pk])
    assert site.invoke("/one", 1, headers=headers) == 1

    text = seen(act(root, "remove_groups", rows[0], groups=[group.pk]))

    assert "Remove groups: done for 1 deployment: one." in text
    assert site.post("/one/invoke", {"input": 1}, headers=headers).status_code == 403
    again = seen(act(root, "remove_groups", rows[0], groups=[group.pk]))
    assert "Left as it was: one gives them no rights." in again


def test_canaries_are_stopped_where_there_are_any(site: Site, root: Client) -> None:
    rows = [site.serve(name, echo()) for name in ("one", "two")]
    with_canary(rows[0])

    text = seen(act(root, "stop_canary", *rows, confirmed="yes"))

    assert "Stop canaries: done for 1 deployment: one." in text
    assert "Left as it was: two has no canary." in text
    assert Canary.objects.get().outcome == "stopped"


def test_failure_midway_leaves_all_as_they_were(
    site: Site, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [site.serve(name, echo()) for name in ("one", "two")]
    switch = deployments.switch

    def fail_at_two(row: Deployment, **options: Any) -> None:
        if row.name == "two":
            raise RuntimeError
        switch(row, **options)

    monkeypatch.setattr(deployments, "switch", fail_at_two)
    with pytest.raises(RuntimeError):
        act(root, "disable", *rows, confirmed="yes")

    assert reload(rows[0]).is_enabled
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("action", [*NAMES, "export"])
def test_action_takes_the_permission_to_change(site: Site, action: str) -> None:
    row = site.serve("one", echo())
    client = staff(site, "view_deployment")

    response = act(client, action, row, reason="x", message="x", retry_after="1")

    assert f'value="{action}"' not in client.get(LIST).content.decode()
    assert response.status_code == 200
    assert "No action selected." in seen(response) or "done for" not in seen(response)
    assert site.invoke("/one", 1) == 1
    assert not AuditEntry.objects.exists()


def test_markup_on_the_confirm_page_is_text(site: Site, root: Client) -> None:
    row = site.serve("one", echo())
    Group.objects.create(name=MARKUP)

    response = act(root, "add_groups", row)

    assert MARKUP not in response.content.decode()
    assert MARKUP in seen(response)


# Export


def test_export_has_rights_limits_and_content_but_no_secrets(site: Site, root: Client) -> None:
    row = site.serve("one", echo())
    site.change(
        "one",
        daily_quota=50,
        defaults={"configurable": {"api_key": "sk-1", "mood": "kind"}, "tags": ["a"]},
    )
    site.grant("one", Group.objects.create(name="editors"), site.user("dora"), "staff", may=["run"])

    response = act(root, "export", row)

    assert response.headers["Content-Disposition"].startswith('attachment; filename="deployments-')
    assert b"sk-1" not in response.content
    one = json.loads(response.content)["deployments"][0]
    assert one["daily_quota"] == 50
    assert one["version"]["defaults"] == {"configurable": {"mood": "kind"}, "tags": ["a"]}
    assert one["left_out"] == ["defaults.configurable.api_key"]
    assert one["rights"] == [
        {"audience": "group", "group": "editors", "may": ["run"]},
        {"audience": "user", "user": "dora", "may": ["run"]},
        {"audience": "staff", "may": ["run"]},
    ]


# Deleting


def test_page_before_deleting_counts_what_goes_and_lists_no_figures(
    site: Site, root: Client
) -> None:
    row = site.serve("it", echo())
    for endpoint in ("invoke", "stream"):
        count_calls(row, 3, endpoint=endpoint)

    text = seen(root.get(f"{LIST}{row.pk}/delete/"))

    assert "Deployments: 1" in text
    assert "Figures by the hour: 2" in text
    assert "it invoke" not in text
    assert "Figures by the hour: 2" in seen(act(root, "delete_selected", row))


def test_deleting_takes_a_permission_of_its_own(site: Site) -> None:
    row = site.serve("it", echo())
    client = staff(site, "view_deployment", "change_deployment")

    assert client.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    act(client, "delete_selected", row, post="yes")
    assert site.invoke("/it", 1) == 1


def test_deleted_row_is_not_served_and_its_history_stays(site: Site, root: Client) -> None:
    row = site.serve("it", echo())
    root.post(f"{LIST}{row.pk}/delete/", {"post": "yes"})

    assert site.post("/it/invoke", {"input": 1}).status_code == 404
    assert AuditEntry.objects.get().text == "Deleted."


def test_deleted_rows_are_not_served(site: Site, root: Client) -> None:
    rows = [site.serve(name, echo()) for name in ("one", "two")]
    act(root, "delete_selected", *rows, post="yes")

    assert statuses(site, *rows) == [404, 404]
