"""
The admin: staff look at deployments, switch them and edit them.
"""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from runnables.models import ApiToken, Deployment
from runnables.registry import ENDPOINTS, default_registry
from tests.conftest import Site
from tests.fakes import echo

LIST = "/admin/langserve/deployment/"
MARKUP = "<script>alert(1)</script>"


@pytest.fixture
def root(site: Site) -> Client:
    client = Client()
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    return client


def change_url(row: Any) -> str:
    return reverse(f"admin:langserve_{row._meta.model_name}_change", args=[row.pk])


def form_of(client: Client, row: Any) -> dict[str, Any]:
    """
    What a browser would send if the form were saved as it is.
    """
    form = client.get(change_url(row)).context["adminform"].form
    data: dict[str, Any] = {"groups": [group.pk for group in row.groups.all()]}
    for bound in form:
        value = bound.value()
        if isinstance(value, bool):
            data |= {bound.html_name: "on"} if value else {}
        elif bound.name != "groups":
            data[bound.html_name] = "" if value is None else value
    return data


def save(client: Client, row: Any, **values: Any) -> Any:
    return client.post(change_url(row), {**form_of(client, row), **values})


def act(client: Client, action: str, *rows: Any) -> Any:
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(LIST, data, follow=True)


def test_list_shows_path_state_and_endpoints(site: Site, root: Client) -> None:
    site.serve("one", echo(), path="/a/one")
    site.serve("two", echo(), enabled_endpoints=["invoke"])
    site.change("two", is_enabled=False)
    text = root.get(LIST).content.decode()
    assert "/a/one" in text
    assert f"1 / {len(ENDPOINTS)}" in text
    assert ">On<" in text
    assert ">Off<" in text


def test_list_marks_rows_whose_code_is_gone(site: Site, root: Client) -> None:
    site.serve("it", echo())
    default_registry.clear()
    assert "Code gone" in root.get(LIST).content.decode()


@pytest.mark.parametrize("query", ["?q=one", "?is_enabled__exact=1", "?access__exact=public"])
def test_list_is_searched_and_filtered(site: Site, root: Client, query: str) -> None:
    site.serve("one", echo())
    site.serve("two", echo(), access="staff")
    site.change("two", is_enabled=False)
    text = root.get(LIST + query).content.decode()
    assert "/one" in text
    assert "/two" not in text


def test_bulk_switch_is_felt_at_once_and_says_what_it_did(site: Site, root: Client) -> None:
    rows = [site.serve(name, echo()) for name in ("one", "two", "three")]
    response = act(root, "disable", *rows[:2])
    statuses = [site.post(f"/{r.name}/invoke", {"input": 1}).status_code for r in rows]
    assert statuses == [404, 404, 200]
    assert "2 deployments switched off." in response.content.decode()
    response = act(root, "enable", rows[0])
    assert site.invoke("/one", 1) == 1
    assert "1 deployment switched on." in response.content.decode()


def test_form_saves_what_it_shows(site: Site, root: Client) -> None:
    row = site.serve("it", echo(), access=["editors"], extra_configurable=["mood"])
    before = Deployment.objects.values().get()
    assert save(root, row).status_code == 302
    after = Deployment.objects.values().get()
    assert {**after, "updated_at": None} == {**before, "updated_at": None}
    assert [group.name for group in row.groups.all()] == ["editors"]


def test_form_that_was_saved_is_felt_at_once(site: Site, root: Client) -> None:
    row = site.serve("it", echo())
    assert save(root, row, path="moved", access="staff", validation="off").status_code == 302
    assert site.post("/it/invoke", {"input": 1}).status_code == 404
    assert site.post("/moved/invoke", {"input": 1}).status_code == 401


def test_groups_of_the_form_are_felt_at_once(site: Site, root: Client) -> None:
    row = site.serve("it", echo(), access="staff")
    user = site.user("carol")
    group = Group.objects.create(name="editors")
    user.groups.add(group)
    headers = site.token(user)
    assert save(root, row, access="groups", groups=[group.pk]).status_code == 302
    assert site.invoke("/it", 1, headers=headers) == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"endpoints": '["invoke", "cats"]'}, "cats"),
        ({"endpoints": '"invoke"'}, "list of endpoint names"),
        ({"endpoints": "not json"}, "valid JSON"),
        ({"path": "admin"}, "route of the site itself"),
        ({"path": "a/invoke"}, "name of an endpoint"),
        ({"path": "a b"}, "segment"),
        ({"config_keys": '{"a": 1}'}, "list of texts"),
        ({"max_batch_size": "0"}, "greater than or equal to 1"),
        ({"timeout": "0"}, "greater than or equal to"),
        ({"access": "everybody"}, "valid choice"),
    ],
)
def test_form_refuses_bad_values_and_says_why(
    site: Site, root: Client, values: dict[str, str], reason: str
) -> None:
    row = site.serve("it", echo())
    before = Deployment.objects.values().get()
    response = save(root, row, **values)
    assert response.status_code == 200
    assert reason in unescape(response.content.decode())
    assert Deployment.objects.values().get() == before


def test_form_refuses_a_path_that_is_taken(site: Site, root: Client) -> None:
    row = site.serve("it", echo())
    site.serve("other", echo())
    assert "already exists" in save(root, row, path="other").content.decode()


def test_path_with_slashes_is_stored_without(site: Site, root: Client) -> None:
    row = site.serve("it", echo())
    assert save(root, row, path="/a/b/").status_code == 302
    assert Deployment.objects.get().path == "a/b"
    assert site.invoke("/a/b", 1) == 1


def test_form_refuses_a_path_that_is_taken_in_another_spelling(site: Site, root: Client) -> None:
    row = site.serve("it", echo())
    site.serve("other", echo())
    assert save(root, row, path="/other/").status_code == 200


def test_name_cannot_be_changed(site: Site, root: Client) -> None:
    row = site.serve("it", echo())
    save(root, row, name="os.system")
    assert Deployment.objects.get().name == "it"


def test_nothing_can_be_added_by_hand(site: Site, root: Client) -> None:
    assert root.get(f"{LIST}add/").status_code == 403


def test_deleted_row_is_not_served(site: Site, root: Client) -> None:
    row = site.serve("it", echo())
    root.post(reverse("admin:langserve_deployment_delete", args=[row.pk]), {"post": "yes"})
    assert site.post("/it/invoke", {"input": 1}).status_code == 404


def test_deleted_rows_are_not_served(site: Site, root: Client) -> None:
    rows = [site.serve(name, echo()) for name in ("one", "two")]
    data = {
        "action": "delete_selected",
        "_selected_action": [row.pk for row in rows],
        "post": "yes",
    }
    root.post(LIST, data)
    assert {site.post(f"/{row.name}/invoke", {"input": 1}).status_code for row in rows} == {404}


def test_markup_is_escaped(site: Site, root: Client) -> None:
    row = site.serve("it", echo(), description=MARKUP)
    site.change("it", extra_configurable=[MARKUP])
    for url in (LIST, change_url(row), f"{LIST}?q={MARKUP}"):
        text = root.get(url).content.decode()
        assert MARKUP not in text
    assert escape(MARKUP) in root.get(change_url(row)).content.decode()


def test_markup_in_the_name_of_a_group_is_escaped(site: Site, root: Client) -> None:
    site.serve("it", echo(), access=[MARKUP])
    assert MARKUP not in root.get(LIST).content.decode()


def test_change_is_in_the_history(site: Site, root: Client) -> None:
    row = site.serve("it", echo())
    act(root, "disable", row)
    save(root, row, description="new")
    history = root.get(reverse("admin:langserve_deployment_history", args=[row.pk]))
    text = history.content.decode()
    assert "Changed" in text
    assert text.count("root") >= 2


def test_staff_without_the_permission_cannot_switch(site: Site) -> None:
    row = site.serve("it", echo())
    user = site.user("bob", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_deployment"))
    client = Client()
    client.force_login(user)
    assert client.get(LIST).status_code == 200
    act(client, "disable", row)
    assert client.post(change_url(row), {"path": "x"}).status_code == 403
    assert site.invoke("/it", 1) == 1


def test_list_costs_the_same_however_many_rows(
    site: Site, root: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        site.serve(f"it{number}", echo())
    with django_assert_max_num_queries(10):
        assert root.get(LIST).status_code == 200


# Tokens


def test_tokens_are_listed_and_cannot_be_read(site: Site, root: Client) -> None:
    token = site.token(site.user("alice"), name="laptop")["Authorization"].split()[1]
    for url in ("/admin/langserve/apitoken/", change_url(ApiToken.objects.get())):
        text = root.get(url).content.decode()
        assert "alice" in text
        assert token not in text


def test_token_is_revoked_in_the_admin(site: Site, root: Client) -> None:
    site.serve("it", echo(), access="authenticated")
    headers = site.token(site.user("alice"))
    row = ApiToken.objects.get()
    root.post(reverse("admin:langserve_apitoken_delete", args=[row.pk]), {"post": "yes"})
    assert site.post("/it/invoke", {"input": 1}, headers=headers).status_code == 401


def test_row_whose_code_is_gone_can_be_looked_at_and_deleted(site: Site, root: Client) -> None:
    row = site.serve("it", echo())
    default_registry.clear()
    assert root.get(change_url(row)).status_code == 200
    root.post(reverse("admin:langserve_deployment_delete", args=[row.pk]), {"post": "yes"})
    assert not Deployment.objects.exists()


def test_row_whose_code_is_gone_can_be_edited(site: Site, root: Client) -> None:
    row = site.serve("it", echo())
    default_registry.clear()
    assert save(root, row, description="gone").status_code in (200, 302)
