"""
All tokens, in the admin.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runnables.models import ApiToken
from tests.conftest import Site
from tests.fakes import echo

LIST = "/admin/langserve/apitoken/"
ADD = f"{LIST}add/"


@pytest.fixture
def root(site: Site) -> Client:
    for name in ("a", "b"):
        site.serve(name, echo(), access="authenticated")
    client = Client()
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    return client


def staff(site: Site, *permissions: str) -> Client:
    user = site.user("clerk", is_staff=True)
    names = [f"{name}_apitoken" for name in permissions]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    return client


def add(client: Client, user: Any, **fields: Any) -> Any:
    return client.post(ADD, {"user": user.pk, "name": "ci", "life": "30", **fields})


def test_token_is_made_for_somebody_and_shown_once(site: Site, root: Client) -> None:
    response = add(root, site.user("alice"), actions=["invoke"], deployments=["a"])
    [token] = re.findall(r'id="new-token".*? value="(\w+)"', response.text)
    headers = {"Authorization": f"Bearer {token}"}

    assert "no-store" in response["Cache-Control"]
    assert site.invoke("/a", 1, headers=headers) == 1
    assert site.post("/b/invoke", {"input": 1}, headers=headers).status_code == 403
    row = ApiToken.objects.get()
    change = reverse("admin:langserve_apitoken_change", args=[row.pk])
    for url in (LIST, change, "/admin/"):
        assert token not in root.get(url).text
    assert token not in str(dict(root.session)) + str(response.cookies)


def test_list_says_whose_it_is_what_it_may_and_whether_it_is_valid(
    site: Site, root: Client
) -> None:
    site.token(site.user("alice"), name="old", scopes=["stream", "deployment:a"])
    ApiToken.objects.update(expiry=timezone.now() - timedelta(days=1))
    site.token(site.user("bob"), name="new")

    page = root.get(LIST).text
    assert "stream at a" in page
    assert [name in page for name in ("alice", "bob", "Valid", "Expired")] == [True] * 4
    expired = root.get(LIST, {"state": "expired"}).context["cl"].queryset
    assert [token.name for token in expired] == ["old"]
    valid = root.get(LIST, {"state": "valid"}).context["cl"].queryset
    assert [token.name for token in valid] == ["new"]
    found = root.get(LIST, {"q": "bob"}).context["cl"].queryset
    assert [token.name for token in found] == ["new"]


def test_list_costs_the_same_however_many_tokens(
    site: Site, root: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        site.token(site.user(f"user{number}"))
    with django_assert_max_num_queries(9):
        assert root.get(LIST).status_code == 200


def test_chosen_tokens_are_revoked_after_a_question(site: Site, root: Client) -> None:
    headers = site.token(site.user("alice"), name="ci")
    kept = site.token(site.user("bob"))
    row = ApiToken.objects.get(name="ci")
    chosen = {"action": "delete_selected", "_selected_action": [row.pk]}
    assert "Revoke chosen tokens" in root.get(LIST).text
    assert "Are you sure" in root.post(LIST, chosen).text
    root.post(LIST, {**chosen, "post": "yes"})

    assert site.post("/a/invoke", {"input": 1}, headers=headers).status_code == 401
    assert site.invoke("/a", 1, headers=kept) == 1


def test_every_action_is_in_the_log_once_and_in_words(site: Site, root: Client) -> None:
    add(root, site.user("alice"))
    row = ApiToken.objects.get()
    change = reverse("admin:langserve_apitoken_change", args=[row.pk])
    root.post(change, {"name": "laptop"})
    root.post(reverse("admin:langserve_apitoken_delete", args=[row.pk]), {"post": "yes"})

    entries = LogEntry.objects.order_by("pk")
    created, changed, revoked = [entry.get_change_message() for entry in entries]
    assert created.startswith("Created the token 'ci' of alice for everything")
    assert changed == "Changed Name."
    assert revoked.startswith("Revoked the token 'laptop' of alice for everything")
    assert {entry.user.get_username() for entry in entries} == {"root"}


def test_only_the_name_can_be_changed(site: Site, root: Client) -> None:
    site.token(site.user("alice"), scopes=["invoke"])
    row = ApiToken.objects.get()
    change = reverse("admin:langserve_apitoken_change", args=[row.pk])
    root.post(change, {"name": "x", "scopes": "[]", "user": "1", "expiry_0": "2199-01-01"})

    after = ApiToken.objects.get()
    assert (after.name, after.scopes, after.user, after.expiry) == (
        *("x", ["invoke"]),
        *(row.user, row.expiry),
    )


@pytest.mark.parametrize(
    "fields", [{"life": "never"}, {"actions": ["cats"]}, {"deployments": ["cats"]}, {"name": ""}]
)
def test_wrong_form_makes_no_token(site: Site, root: Client, fields: dict[str, Any]) -> None:
    response = add(root, site.user("alice"), **fields)

    assert response.status_code == 200
    assert response.context["errors"]
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("permissions", [[], ["view"]])
def test_staff_without_permission_neither_makes_nor_revokes(
    site: Site, permissions: list[str]
) -> None:
    client = staff(site, *permissions)
    headers = site.token(site.user("alice"))
    site.serve("a", echo(), access="authenticated")
    row = ApiToken.objects.get()
    chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}

    assert client.get(LIST).status_code == (200 if permissions else 403)
    assert add(client, row.user).status_code == 403
    client.post(LIST, chosen)
    delete = reverse("admin:langserve_apitoken_delete", args=[row.pk])
    assert client.post(delete, {"post": "yes"}).status_code == 403
    assert site.invoke("/a", 1, headers=headers) == 1


def test_only_superusers_make_tokens_for_superusers(site: Site) -> None:
    client = staff(site, "add", "view")
    boss = site.user("boss", is_superuser=True)

    assert "Only superusers" in add(client, boss).text
    assert not ApiToken.objects.exists()
    assert "new-token" in add(client, site.user("alice")).text
