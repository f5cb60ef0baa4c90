"""
API tokens in the admin: seen and revoked, never read.
"""

from __future__ import annotations

from django.test import Client
from django.urls import reverse

from runnables.models import ApiToken
from tests.admin.conftest import change_url
from tests.conftest import Site
from tests.fakes import echo


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
