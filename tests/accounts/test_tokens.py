"""
One's own tokens: made on the page, shown once, and then used at deployments.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from runnables.models import ApiToken
from runnables.tokens import MOST_PER_USER, TokenRefused, create_token
from tests.conftest import Site, events
from tests.fakes import echo

PAGE = "/tokens/"


class Owner:
    """
    A signed-in user at the page.
    """

    def __init__(self, site: Site, name: str = "alice", **fields: Any) -> None:
        self.user = site.user(name, **fields)
        self.client = Client()
        self.client.force_login(self.user)

    def page(self) -> str:
        return self.client.get(PAGE).text

    def send(self, **fields: Any) -> Any:
        """
        Send a fresh form.
        """
        mark = re.findall(r'name="mark" value="(.+?)"', self.page())[0]
        return self.client.post(PAGE, {"name": "laptop", "life": "30", "mark": mark, **fields})

    def create(self, **fields: Any) -> dict[str, str]:
        """
        Headers of a program with a new token.
        """
        response = self.send(**fields)
        assert response.status_code == 201, response.text
        return {"Authorization": f"Bearer {shown(response)}"}


def shown(response: Any) -> str:
    [token] = re.findall(r'id="new-token".*? value="(\w+)"', response.text)
    return str(token)


@pytest.fixture
def alice(site: Site) -> Owner:
    for name in ("a", "b"):
        site.serve(name, echo(), access="authenticated")
    return Owner(site)


def status(site: Site, path: str, headers: dict[str, str]) -> tuple[int, str]:
    response = site.post(path, {"input": 1}, headers=headers)
    is_error = response.status_code >= 400
    return response.status_code, response.json()["code"] if is_error else ""


# Made and shown


def test_new_token_is_shown_once_and_calls(site: Site, alice: Owner) -> None:
    response = alice.send()
    token = shown(response)

    assert response["Cache-Control"] == "no-store"
    assert site.invoke("/a", 1, headers={"X-API-Key": token}) == 1
    assert token not in alice.page()
    assert token not in str(response.cookies)
    assert token not in str(dict(alice.client.session))
    assert token not in str(list(ApiToken.objects.values()))
    assert token not in str(list(LogEntry.objects.values()))


def test_list_shows_neither_digests_nor_tokens(site: Site, alice: Owner) -> None:
    token = alice.create()["Authorization"].split()[1]
    page = alice.page()
    row = ApiToken.objects.get()

    assert '<span class="token-name">laptop</span>' in page
    assert token[:8] in page
    assert token[:9] not in page
    assert row.digest[:16] not in page
    assert alice.client.get(PAGE)["Cache-Control"] == "no-store"


def test_form_sent_again_makes_no_second_token_and_shows_none(alice: Owner) -> None:
    fields = {"name": "laptop", "life": "30", "mark": "mark-of-this-form"}
    token = shown(alice.client.post(PAGE, fields))
    again = alice.client.post(PAGE, fields, follow=True)

    assert again.redirect_chain == [(PAGE, 302)]
    assert "This form has been sent before." in again.text
    assert token not in again.text
    assert ApiToken.objects.count() == 1


def test_wrong_form_can_be_mended_and_sent_again(alice: Owner) -> None:
    response = alice.send(name="", actions=["stream"])

    assert "This field is required." in response.text
    assert re.search(r'value="stream"[^>]* checked', response.text)
    assert not ApiToken.objects.exists()
    alice.create(actions=["stream"])


@pytest.mark.parametrize(
    "fields",
    [{"actions": ["everything"]}, {"deployments": ["secret"]}, {"life": "9999"}, {"life": "never"}],
)
def test_choice_that_was_not_offered_is_refused(
    site: Site, alice: Owner, fields: dict[str, Any]
) -> None:
    site.serve("secret", echo(), access="staff")

    assert "Select a valid choice" in alice.send(**fields).text
    assert not ApiToken.objects.exists()


def test_deployments_offered_are_those_the_user_may_use(site: Site, alice: Owner) -> None:
    site.serve("secret", echo(), access="staff")
    site.serve("open", echo(), access="public")

    names = r'name="deployments" value="(\w+)"'
    assert re.findall(names, alice.page()) == ["a", "b", "open"]
    assert "secret" in re.findall(names, Owner(site, "root", is_staff=True).page())


def test_there_is_a_most_of_tokens_per_user(site: Site, alice: Owner) -> None:
    for _ in range(MOST_PER_USER):
        site.token(alice.user)
    assert "There are 50 tokens already" in alice.send().text
    assert ApiToken.objects.count() == MOST_PER_USER
    # An expired one counts no more.
    one = ApiToken.objects.all()[:1].get()
    ApiToken.objects.filter(pk=one.pk).update(expiry=timezone.now() - timedelta(days=1))
    alice.create()


# Scopes


def test_token_for_invoke_does_not_stream(site: Site, alice: Owner) -> None:
    headers = alice.create(actions=["invoke"])

    assert status(site, "/a/invoke", headers) == (200, "")
    assert status(site, "/a/stream", headers) == (403, "token_scope")


def test_token_for_stream_does_not_invoke(site: Site, alice: Owner) -> None:
    headers = alice.create(actions=["stream"])

    streamed = site.post("/a/stream", {"input": 1}, headers=headers)
    assert ("data", 1) in events(streamed)
    assert status(site, "/a/invoke", headers) == (403, "token_scope")
    assert status(site, "/a/batch", headers) == (403, "token_scope")


def test_token_for_one_deployment_is_refused_at_another(site: Site, alice: Owner) -> None:
    headers = alice.create(deployments=["a"])

    assert status(site, "/a/invoke", headers) == (200, "")
    assert status(site, "/b/invoke", headers) == (403, "token_scope")
    listed = site.get("/deployments/", headers=headers).json()
    assert [deployment["name"] for deployment in listed] == ["a"]


def test_token_without_scopes_may_all_that_its_user_may(site: Site, alice: Owner) -> None:
    headers = alice.create()

    assert status(site, "/a/invoke", headers) == status(site, "/b/invoke", headers) == (200, "")
    assert "everything" in alice.page()


def test_scope_opens_nothing_that_its_user_may_not(site: Site, alice: Owner) -> None:
    headers = alice.create(deployments=["a"])
    site.grant("a", "staff")

    assert status(site, "/a/invoke", headers)[0] == 403


# Ends


def test_token_of_a_day_gone_by_is_refused_and_said_to_be_expired(site: Site, alice: Owner) -> None:
    headers = alice.create(life="7")
    row = ApiToken.objects.get()
    assert abs(row.expiry - timezone.now() - timedelta(days=7)) < timedelta(minutes=1)
    assert status(site, "/a/invoke", headers) == (200, "")
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))

    assert status(site, "/a/invoke", headers) == (401, "not_authenticated")
    assert "Expired" in alice.page()


@pytest.mark.parametrize(
    ("longest", "offered"),
    [
        (timedelta(days=365), ["7", "30", "90", "365"]),
        (timedelta(days=30), ["7", "30"]),
        (timedelta(hours=10), ["longest"]),
        (None, ["7", "30", "90", "365", "never"]),
    ],
)
def test_expiries_offered_are_those_the_site_allows(
    alice: Owner, settings: Any, longest: timedelta | None, offered: list[str]
) -> None:
    settings.REST_KNOX = {**settings.REST_KNOX, "TOKEN_TTL": longest}

    assert re.findall(r'<option value="(\w+)"', alice.page()) == offered
    alice.create(life=offered[-1])
    expiry = ApiToken.objects.get().expiry
    assert (expiry is None) == (longest is None)
    assert longest is None or expiry <= timezone.now() + longest


def test_revoked_token_is_refused_at_once(site: Site, alice: Owner) -> None:
    headers = alice.create()
    kept = alice.create(name="other")
    url = f"/tokens/{ApiToken.objects.get(name='laptop').public_id}/revoke/"
    assert f'action="{url}"' in alice.page()
    response = alice.client.post(url, follow=True)

    assert "The token “laptop” is revoked." in response.text
    assert status(site, "/a/invoke", headers) == (401, "not_authenticated")
    assert status(site, "/a/invoke", kept) == (200, "")


def test_revoking_needs_a_post(alice: Owner) -> None:
    alice.create()
    url = f"/tokens/{ApiToken.objects.get().public_id}/revoke/"

    assert alice.client.get(url).status_code == 405
    assert ApiToken.objects.exists()


def test_token_of_somebody_else_is_not_there(site: Site, alice: Owner) -> None:
    alice.create()
    url = f"/tokens/{ApiToken.objects.get().public_id}/revoke/"
    bob = Owner(site, "bob")

    assert "You have no tokens yet." in bob.page()
    assert bob.client.post(url).status_code == 404
    assert bob.client.post("/tokens/unknown/revoke/").status_code == 404
    assert ApiToken.objects.count() == 1


def test_token_does_not_open_the_page_of_tokens(site: Site, alice: Owner) -> None:
    headers = alice.create()
    url = f"/tokens/{ApiToken.objects.get().public_id}/revoke/"

    assert site.get(PAGE, headers=headers).status_code == 302
    for path in (PAGE, url):
        assert site.post(path, headers=headers).status_code == 403
    assert ApiToken.objects.count() == 1


def test_what_is_done_is_in_the_log_in_words(alice: Owner) -> None:
    alice.create(actions=["invoke"], deployments=["a"])
    row = ApiToken.objects.get()
    alice.client.post(f"/tokens/{row.public_id}/revoke/")

    revoked, created = [entry.get_change_message() for entry in LogEntry.objects.all()]
    what = f"the token 'laptop' of alice for invoke, deployment:a ({row.token_key[:8]}…)"
    assert created == f"Created {what}, until {row.expiry:%Y-%m-%d %H:%M} UTC."
    assert revoked == f"Revoked {what}."


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"scopes": ["cats"]}, "scopes"),
        ({"scopes": ["deployment:cats"]}, "scopes"),
        ({"expires": None}, "expires"),
        ({"expires": timedelta(0)}, "expires"),
        ({"expires": timedelta(days=366)}, "expires"),
        ({"name": "x" * 101}, "name"),
    ],
)
def test_token_is_refused_wherever_it_is_asked_for(
    alice: Owner, wrong: dict[str, Any], field: str
) -> None:
    given: dict[str, Any] = {"expires": timedelta(days=1), **wrong}
    life = given.pop("expires")
    expires = None if life is None else timezone.now() + life
    with pytest.raises(TokenRefused) as caught:
        create_token(user=alice.user, expires=expires, **given)

    assert caught.value.field == field
    assert not ApiToken.objects.exists()


def test_user_who_is_switched_off_gets_no_token(site: Site) -> None:
    user = site.user("sleeper", is_active=False)
    with pytest.raises(TokenRefused, match="switched off"):
        create_token(user=user, expires=timezone.now() + timedelta(days=1))
