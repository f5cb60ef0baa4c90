"""
Changing a password, and being mailed a link to a new one.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.test import Client

from tests.conftest import Site

NEW = "another password for tests"


def ask(client: Client, email: str) -> Any:
    return client.post("/accounts/reset/", {"email": email}, follow=True)


def link() -> str:
    """
    The path of the link in the one mail that was sent.
    """
    [sent] = mail.outbox
    found = re.search(r"http://testserver(/accounts/reset/\S+)", str(sent.body))
    assert found
    return found[1]


def test_password_is_changed_and_other_sessions_end(site: Site, client: Client) -> None:
    alice, elsewhere = site.user("alice"), Client()
    client.force_login(alice)
    elsewhere.force_login(alice)
    fields = {
        "old_password": "a password for tests",
        "new_password1": NEW,
        "new_password2": NEW,
    }
    response = client.post("/accounts/password/", fields, follow=True)

    assert "sign in with the new one" in response.text
    alice.refresh_from_db()
    assert alice.check_password(NEW)
    assert client.get("/tokens/").status_code == 200
    assert elsewhere.get("/tokens/").status_code == 302


def test_wrong_old_password_changes_nothing_and_is_said_at_the_field(
    site: Site, client: Client
) -> None:
    client.force_login(site.user("alice"))
    fields = {"old_password": "wrong", "new_password1": NEW, "new_password2": NEW}
    response = client.post("/accounts/password/", fields)

    assert 'aria-describedby="id_old_password_error"' in response.text
    assert 'id="id_old_password_error"' in response.text
    assert not get_user_model().objects.get().check_password(NEW)


def test_password_page_needs_a_user(site: Site, client: Client) -> None:
    assert client.get("/accounts/password/")["Location"].startswith("/accounts/login/")


def test_forgotten_password_is_replaced_by_a_mailed_link_that_works_once(
    site: Site, client: Client
) -> None:
    alice = site.user("alice", email="alice@example.org")
    ask(client, "alice@example.org")
    assert mail.outbox[0].subject == "A new password for testserver"
    assert "Hello alice" in mail.outbox[0].body
    # The secret leaves the address at once: what remains holds none.
    page = client.get(link(), follow=True)
    form_url = page.redirect_chain[0][0]
    assert form_url.endswith("/set-password/")
    assert page["Cache-Control"] == "no-store"

    done = client.post(form_url, {"new_password1": NEW, "new_password2": NEW}, follow=True)

    assert done.redirect_chain == [("/accounts/reset/done/", 302)]
    alice.refresh_from_db()
    assert alice.check_password(NEW)
    assert "too old" in Client().get(link(), follow=True).text


def test_mail_is_sent_to_nobody_unknown_and_the_answer_is_the_same(
    site: Site, client: Client
) -> None:
    site.user("alice", email="alice@example.org")
    known = ask(client, "alice@example.org")
    assert len(mail.outbox) == 1
    unknown = ask(Client(), "nobody@example.org")

    assert len(mail.outbox) == 1
    assert unknown.redirect_chain == known.redirect_chain == [("/accounts/reset/sent/", 302)]
    assert unknown.text == known.text


@pytest.mark.parametrize("path", ["/accounts/reset/MQ/nonsense/", "/accounts/reset/!/x-y/"])
def test_invented_link_offers_a_new_one_and_no_form(site: Site, client: Client, path: str) -> None:
    site.user("alice")
    response = client.get(path)

    assert "Ask for a new link" in response.text
    assert "new_password1" not in response.text


def test_weak_password_is_refused(site: Site, client: Client) -> None:
    site.user("alice", email="alice@example.org")
    ask(client, "alice@example.org")
    form_url = client.get(link(), follow=True).redirect_chain[0][0]
    response = client.post(form_url, {"new_password1": "1234", "new_password2": "1234"})

    assert "too short" in response.text
    assert get_user_model().objects.get().check_password("a password for tests")
