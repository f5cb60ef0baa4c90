"""
The access matrix: who may do what, who may open it to everybody, and "Check a user".
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from rest_framework.permissions import BasePermission

from runnables import rights
from runnables.models import AuditEntry, Deployment, Grant
from runnables.permissions import PERMISSIONS
from runnables.registry import default_registry
from tests.admin.conftest import LIST, MARKUP, change_url, form_of, save, seen, staff
from tests.conftest import Site
from tests.fakes import echo


def granted(row: Deployment) -> dict[str, set[str]]:
    return {name: set(may) for name, may in rights.rights_of(row).items() if may}


def check(client: Client, row: Deployment, username: str = "") -> str:
    return seen(client.get(f"{LIST}{row.pk}/check-user/", {"username": username}))


# The matrix


def test_wide_audiences_are_always_there_and_not_kept_without_a_tick(
    site: Site, root: Client
) -> None:
    row = site.serve("joke", echo(), access="staff")

    text = seen(root.get(change_url(row)))
    save(root, row, description="new")

    for part in ("Everybody", "Signed-in users", "Staff", *map(str, PERMISSIONS.values())):
        assert part in text
    assert Grant.objects.count() == 1


def test_ticks_are_felt_at_once(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), access="staff")
    headers = site.token(site.user("carol"))
    assert site.post("/joke/invoke", {"input": 1}, headers=headers).status_code == 403

    save(root, row, rights__authenticated__run="on")

    assert site.invoke("/joke", 1, headers=headers) == 1
    assert AuditEntry.objects.get().text == "Signed-in users may now run."


def test_row_without_a_tick_is_removed(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), access=["editors"])
    ticks = [name for name in form_of(root, row) if name.startswith("rights:group:")]

    save(root, row, untick=ticks)

    assert granted(row) == {}
    assert "Group editors may no longer run, playground" in AuditEntry.objects.get().text


def test_group_and_users_are_added(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), access="staff")
    group = Group.objects.create(name="editors")
    ann, bob = site.user("ann"), site.user("bob")

    save(
        root,
        row,
        rights__new_group=str(group.pk),
        rights__new_group__run="on",
        rights__new_users="ann, bob",
        rights__new_users__see_traces="on",
    )

    added = {
        f"group:{group.pk}": {"run"},
        f"user:{ann.pk}": {"see_traces"},
        f"user:{bob.pk}": {"see_traces"},
    }
    assert granted(row).items() >= added.items()
    assert "Group editors may now run; User ann may now see traces" in AuditEntry.objects.get().text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"rights__new_users": "nobody", "rights__new_users__run": "on"},
            "There is no user nobody.",
        ),
        ({"rights__new_users": "ann"}, "Tick at least one right for the users you named."),
        ({"rights__new_users__run": "on"}, "Name the users that these rights are for."),
        (
            {"rights__new_users": "dora", "rights__new_users__run": "on"},
            "User dora has a row already",
        ),
        ({"rights__new_group": "9999", "rights__new_group__run": "on"}, "There is no such group."),
        ({"rights__new_group": "os.system"}, "There is no such group."),
        ({"rights__new_group__run": "on"}, "Choose the group that these rights are for."),
        ({"rights__row": ["x"], "rights__x__run": "on"}, "There is no such audience any more: x."),
        ({"rights__row": ["group:x"], "rights__group:x__run": "on"}, "There is no such audience"),
        (
            {"rights__row": ["user:" + "9" * 30], "rights__user:" + "9" * 30 + "__run": "on"},
            "There is no such audience",
        ),
    ],
)
def test_matrix_refuses_what_makes_no_sense_and_says_why(
    site: Site, root: Client, values: dict[str, Any], reason: str
) -> None:
    row = site.serve("joke", echo(), access="staff")
    site.user("ann")
    site.grant("joke", "staff", site.user("dora"))
    before = granted(row)

    response = save(root, row, **values)

    assert response.status_code == 200
    assert reason in seen(response)
    assert granted(row) == before


def test_group_that_is_chosen_twice_is_named(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), access=["editors"])
    group = Group.objects.get()

    response = save(root, row, rights__new_group=str(group.pk), rights__new_group__run="on")

    assert "Group editors has a row already: set the ticks there." in seen(response)


def test_what_was_typed_is_still_there_after_an_error(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), access="staff")

    response = save(
        root, row, rights__new_users="nobody", rights__new_users__run="on", path="moved"
    )

    page = response.content.decode()
    assert 'value="nobody"' in page
    assert 'name="rights:new_users:run" aria-label="the users to add: run" checked' in page


def test_markup_in_names_is_text(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    site.grant("joke", Group.objects.create(name=MARKUP))
    Group.objects.create(name=f"{MARKUP} too")

    page = root.get(change_url(row)).content.decode()
    answer = save(root, row, rights__new_users=MARKUP, rights__new_users__run="on")

    assert MARKUP not in page
    assert MARKUP not in answer.content.decode()


# Everybody


def test_opening_it_to_everybody_takes_a_permission_of_its_own(site: Site) -> None:
    row = site.serve("joke", echo(), access="staff")
    client = staff(site, "change_deployment", "view_deployment")

    response = save(client, row, rights__public__run="on")

    assert "langserve.publish_deployment" in seen(response)
    assert site.post("/joke/invoke", {"input": 1}).status_code == 401
    publisher = staff(site, "change_deployment", "publish_deployment", name="pat")
    save(publisher, row, rights__public__run="on")
    assert site.invoke("/joke", 1) == 1


def test_one_more_right_for_everybody_takes_it_too_but_taking_away_does_not(site: Site) -> None:
    row = site.serve("joke", echo(), access="public")
    client = staff(site, "change_deployment", "view_deployment")

    assert save(client, row, rights__public__see_traces="on").status_code == 200
    assert save(client, row, description="still public").status_code == 302
    assert save(client, row, untick=["rights:public:playground"]).status_code == 302

    assert granted(row) == {"public": {"run", "override_config"}}


def test_other_rights_take_no_more_than_the_permission_to_change(site: Site) -> None:
    row = site.serve("joke", echo(), access="staff")
    client = staff(site, "change_deployment", "view_deployment")

    assert save(client, row, rights__authenticated__run="on").status_code == 302


# Check a user


def test_check_says_for_each_right_whether_and_why(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), access=["editors"])
    bob = site.user("bob")
    bob.groups.add(Group.objects.get())
    Grant.objects.create(deployment=row, audience="user", user=bob, see_traces=True)

    text = check(root, row, "bob")

    assert "run call it Yes members of editors may" in text
    assert "see what others' runs did Yes this user may" in text
    assert "review answers No nothing gives it to them" in text
    assert "As far as the rights go, calls are answered." in text


@pytest.mark.parametrize(
    ("username", "listed", "answer"),
    [
        ("", True, "401:"),
        ("bob", True, "403: You may not run 'joke' (permission: run): it is for staff."),
        ("", False, "404:"),
        ("bob", False, "404:"),
        ("root", True, "As far as the rights go, calls are answered."),
    ],
)
def test_check_says_what_an_outsider_gets(
    site: Site, root: Client, username: str, listed: bool, answer: str
) -> None:
    row = site.serve("joke", echo(), access="staff", listed=listed)
    headers = site.token(site.user("bob")) if username == "bob" else {}
    if username == "root":
        headers = site.token(root.get(LIST).context["user"])

    assert answer in check(root, row, username)
    status = site.post("/joke/invoke", {"input": 1}, headers=headers).status_code
    assert str(status) == answer[:3] or status == 200


def test_check_of_nobody_we_know_says_so(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())

    assert f"There is no user named “{MARKUP}”." in check(root, row, MARKUP)
    page = root.get(f"{LIST}{row.pk}/check-user/", {"username": MARKUP}).content.decode()
    assert MARKUP not in page


def test_check_of_a_user_who_is_not_active_gives_nothing(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), access="public")
    site.user("gone", is_active=False, is_superuser=True)

    text = check(root, row, "gone")

    assert "This user is not active" in text
    assert text.count("No nothing gives it to them") == len(PERMISSIONS)


def test_check_works_for_what_is_switched_off_in_maintenance_or_gone(
    site: Site, root: Client
) -> None:
    row = site.serve("joke", echo())
    site.change("joke", is_enabled=False, in_maintenance=True)
    default_registry.clear()

    text = check(root, row)

    for part in ("It is switched off: everybody gets 404.", "gets 503.", "Its code is missing"):
        assert part in text
    assert "run call it Yes everybody may" in text


def test_check_names_rules_that_only_the_code_knows(site: Site, root: Client) -> None:
    class OnlyOnMondays(BasePermission):
        pass

    row = site.serve("joke", echo(), permission_classes=[OnlyOnMondays])

    assert "The code asks OnlyOnMondays as well" in check(root, row)


def test_page_of_the_deployment_has_the_box_and_no_form_in_a_form(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())

    page = root.get(change_url(row)).content.decode()

    assert 'name="username" form="ls-check-user"' in page
    assert "username" not in form_of(root, row)
    depth = 0
    for part in page.split("<")[1:]:
        depth += part.startswith("form") - part.startswith("/form")
        assert depth <= 1
