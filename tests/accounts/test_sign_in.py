"""
Signing in and out, and what a session then opens.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from runnables.pages import CONTENT_SECURITY_POLICY
from tests.conftest import Site, events
from tests.fakes import echo

LOGIN = "/accounts/login/"
PASSWORD = "a password for tests"


def sign_in(client: Client, name: str = "alice", password: str = PASSWORD, **more: str) -> Any:
    return client.post(LOGIN, {"username": name, "password": password, **more})


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


@pytest.fixture
def browser() -> Client:
    return Client(enforce_csrf_checks=True)


def with_token(client: Client, url: str, fields: dict[str, str]) -> Any:
    """
    What a browser sends: the form's own CSRF token goes along.
    """
    client.get(url)
    token = client.cookies["csrftoken"].value
    return client.post(url, {**fields, "csrfmiddlewaretoken": token})


def test_user_signs_in_and_lands_on_their_tokens(site: Site, client: Client) -> None:
    site.user("alice")
    response = sign_in(client)

    assert response.status_code == 302
    assert response["Location"] == "/tokens/"
    assert is_signed_in(client)


def test_page_that_needs_a_user_leads_to_the_sign_in_page_and_back(
    site: Site, client: Client
) -> None:
    site.user("alice")
    response = client.get("/tokens/")

    assert response["Location"] == f"{LOGIN}?next=/tokens/"
    assert sign_in(client, next="/tokens/")["Location"] == "/tokens/"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "http:///evil.example",
    ],
)
def test_sign_in_never_leads_to_another_site(site: Site, client: Client, target: str) -> None:
    site.user("alice")

    assert sign_in(client, next=target)["Location"] == "/tokens/"
    assert "evil" not in client.get(LOGIN, {"next": target}).text


@pytest.mark.parametrize("name", ["alice", "nobody", "sleeper"])
def test_refusal_does_not_say_who_exists(site: Site, client: Client, name: str) -> None:
    site.user("alice")
    site.user("sleeper", is_active=False)
    password = PASSWORD if name == "sleeper" else "wrong"
    response = sign_in(client, name, password)

    assert response.status_code == 200
    assert response.context["form"].non_field_errors() == [
        "Please enter a correct username and password. Note that both fields may be case-sensitive."
    ]
    assert not is_signed_in(client)


@pytest.mark.parametrize("url", [LOGIN, "/accounts/logout/", "/accounts/reset/", "/tokens/"])
def test_form_without_its_csrf_token_is_refused(site: Site, browser: Client, url: str) -> None:
    browser.force_login(site.user("alice"))

    assert browser.post(url, {"username": "alice", "password": PASSWORD}).status_code == 403


def test_stale_form_is_answered_with_a_page(site: Site, browser: Client) -> None:
    response = browser.post(LOGIN, {}, headers={"Accept": "text/html,*/*;q=0.8"})

    assert response.status_code == 403
    assert "This form is out of date" in response.text
    assert response["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert browser.post(LOGIN, {}).json()["code"] == "csrf_failed"


def test_address_that_leads_nowhere_is_a_page_for_a_browser(site: Site) -> None:
    response = site.get("/nowhere/", headers={"Accept": "text/html,*/*;q=0.8"})

    assert response.status_code == 404
    assert "There is nothing here" in response.text
    assert site.get("/nowhere/").json()["code"] == "unknown_endpoint"


def test_form_with_its_csrf_token_is_taken(site: Site, browser: Client) -> None:
    site.user("alice")
    response = with_token(browser, LOGIN, {"username": "alice", "password": PASSWORD})

    assert response.status_code == 302


def test_sign_out_needs_a_post(site: Site, client: Client) -> None:
    client.force_login(site.user("alice"))

    assert "Sign out" in client.get("/accounts/logout/").text
    assert is_signed_in(client)


def test_user_signs_out_and_is_told(site: Site, client: Client) -> None:
    client.force_login(site.user("alice"))
    response = client.post("/accounts/logout/", follow=True)

    assert not is_signed_in(client)
    assert response.redirect_chain == [(LOGIN, 302)]
    assert "You are signed out." in response.text


def test_sign_in_page_says_who_is_signed_in_already(site: Site, client: Client) -> None:
    client.force_login(site.user("alice"))

    assert "You are signed in as <strong>alice</strong> already." in client.get(LOGIN).text


@pytest.mark.parametrize(
    "url",
    [
        LOGIN,
        "/accounts/logout/",
        "/accounts/password/",
        "/accounts/password/changed/",
        "/accounts/reset/",
        "/accounts/reset/sent/",
        "/accounts/reset/done/",
        "/accounts/reset/MQ/no-token/",
        "/tokens/",
    ],
)
def test_page_is_in_the_shell_under_the_policy(site: Site, client: Client, url: str) -> None:
    client.force_login(site.user("alice"))
    response = client.get(url)
    page = response.text

    assert response.status_code == 200
    assert response["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert page.count("<h1") == 1
    assert 'class="skip-link" href="#content"' in page
    assert "My tokens" in page
    assert " style=" not in page
    assert "<style" not in page
    assert all("src=" in part.split(">")[0] for part in page.split("<script")[1:])
    assert "admin/css" not in page


def test_admin_is_linked_for_staff_only(site: Site, client: Client) -> None:
    client.force_login(site.user("alice"))
    assert 'href="/admin/"' not in client.get("/tokens/").text
    client.force_login(site.user("root", is_staff=True))
    assert 'href="/admin/"' in client.get("/tokens/").text


def test_pages_name_their_addresses_below_the_prefix(site: Site, settings: Any) -> None:
    settings.FORCE_SCRIPT_NAME = "/pre/fix"
    site.user("alice")
    response = site.get("/pre/fix/tokens/", headers={})

    assert response.headers["Location"] == "/pre/fix/accounts/login/?next=/pre/fix/tokens/"
    assert 'href="/pre/fix/deployments/"' in site.get("/pre/fix/accounts/login/").text


def test_session_of_the_sign_in_page_calls_with_its_csrf_token_and_streams(site: Site) -> None:
    site.serve("it", echo(), access="authenticated")
    site.user("alice")
    client = Client()
    client.get(LOGIN)
    sign_in(client)
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    csrf = {**cookie, "X-CSRFToken": cookies["csrftoken"]}

    assert site.invoke("/it", 1, headers=csrf) == 1
    streamed = site.post("/it/stream", {"input": 1}, headers=csrf)
    assert [name for name, _ in events(streamed)] == ["metadata", "data", "end"]
    for endpoint in ("invoke", "stream"):
        refused = site.post(f"/it/{endpoint}", {"input": 1}, headers=cookie)
        assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed")


def test_session_ends_with_its_sign_out(site: Site) -> None:
    site.serve("it", echo(), access="authenticated")
    client = Client()
    client.force_login(site.user("alice"))
    client.get(LOGIN)
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    headers = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "X-CSRFToken": cookies["csrftoken"],
    }
    assert site.invoke("/it", 1, headers=headers) == 1
    client.post("/accounts/logout/")

    assert site.post("/it/invoke", {"input": 1}, headers=headers).status_code == 401
