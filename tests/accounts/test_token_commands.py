"""
manage.py langserve token create | list | revoke
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.utils import timezone

from runnables.models import ApiToken
from tests.conftest import Site
from tests.fakes import echo
from tests.runnables.test_commands import run, run_json


def create(*arguments: str) -> dict[str, Any]:
    [made] = run_json("token", "create", "alice", *arguments)
    return made


@pytest.fixture(autouse=True)
def alice(site: Site) -> Any:
    for name in ("a", "b"):
        site.serve(name, echo(), access="authenticated")
    return site.user("alice")


def test_scopes_of_a_new_token_hold(site: Site) -> None:
    made = create("--scopes", "invoke, deployment:a", "--name", "ci")
    headers = {"Authorization": f"Bearer {made['token']}"}

    assert (made["name"], made["scopes"]) == ("ci", ["invoke", "deployment:a"])
    assert site.invoke("/a", 1, headers=headers) == 1
    for path in ("/a/stream", "/b/invoke"):
        refused = site.post(path, {"input": 1}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "token_scope")


@pytest.mark.parametrize(
    ("given", "life"),
    [("30d", timedelta(days=30)), ("12h", timedelta(hours=12)), ("", timedelta(days=365))],
)
def test_expiry_is_a_span_or_what_the_site_says(given: str, life: timedelta) -> None:
    create(*(["--expires", given] if given else []))

    assert abs(ApiToken.objects.get().expiry - timezone.now() - life) < timedelta(minutes=1)


def test_date_of_expiry_is_the_last_day(settings: Any) -> None:
    settings.REST_KNOX = {**settings.REST_KNOX, "TOKEN_TTL": None}
    create("--expires", "2199-01-31")

    end = datetime(2199, 2, 1, tzinfo=UTC)
    assert abs(ApiToken.objects.get().expiry - end) < timedelta(seconds=5)


def test_token_never_expires_only_where_the_site_allows_it(settings: Any) -> None:
    with pytest.raises(CommandError, match="without an end are not allowed"):
        create("--expires", "never")
    settings.REST_KNOX = {**settings.REST_KNOX, "TOKEN_TTL": None}
    assert create("--expires", "never")["expires"] is None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--expires", "soon"], "--expires: 'soon' is none of"),
        (["--expires", "2027-02-31"], "is none of"),
        (["--expires", "999999d"], "365 days at most"),
        (["--expires", "2001-01-01"], "in the future"),
        (["--scopes", "cats"], "unknown scope 'cats'"),
        (["--scopes", "deployment:cats"], "no deployment with this name: cats"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(arguments: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        create(*arguments)
    assert not ApiToken.objects.exists()


def test_refused_token_leaves_no_new_user_behind() -> None:
    with pytest.raises(CommandError):
        run("token", "create", "carol", "--create-user", "--scopes", "cats")

    assert not get_user_model().objects.filter(username="carol").exists()


def test_list_shows_whose_tokens_they_are_and_none_of_them(site: Site) -> None:
    made = create("--name", "ci", "--scopes", "invoke")
    row = ApiToken.objects.get()
    site.token(site.user("bob"))
    lines = run("token", "list").splitlines()

    assert len(lines) == 2
    expiry = f"{row.expiry:%Y-%m-%d}"
    [line] = [line.split() for line in lines if "alice" in line]
    assert line == [row.token_key, "alice", "ci", "valid", expiry, "never", "used", "invoke"]
    assert made["token"] not in "".join(lines)
    assert row.digest not in "".join(lines)


def test_list_in_json_can_be_of_one_user(site: Site) -> None:
    site.token(site.user("bob"))
    create("--name", "ci")
    ApiToken.objects.filter(name="ci").update(expiry=timezone.now() - timedelta(days=1))

    [row] = run_json("token", "list", "--user", "alice")
    assert set(row) == {
        *("key", "username", "name", "scopes"),
        *("created", "expires", "last_used", "state"),
    }
    assert (row["username"], row["state"], row["last_used"]) == ("alice", "expired", None)


def test_token_is_revoked_by_what_the_list_shows(site: Site) -> None:
    made = create()
    [row] = run_json("token", "list")
    assert run("token", "revoke", row["key"]) == "revoked 1\n"

    headers = {"Authorization": f"Bearer {made['token']}"}
    assert site.post("/a/invoke", {"input": 1}, headers=headers).status_code == 401


def test_beginning_that_several_tokens_share_revokes_none(settings: Any) -> None:
    create()
    create()
    ApiToken.objects.update(token_key="shared")
    with pytest.raises(CommandError, match="several tokens begin like this"):
        run("token", "revoke", "shared")
    assert ApiToken.objects.count() == 2
