"""
Two people at one page: nobody overwrites the other without knowing.
"""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from runnables import deployments, rights
from runnables.models import AuditEntry, Deployment
from tests.admin.conftest import MARKUP, change_url, changed, form_of, save, seen, staff
from tests.admin.forms import fields_of
from tests.conftest import Site
from tests.fakes import echo


@pytest.fixture
def pat(site: Site) -> Client:
    return staff(site, "view_deployment", "change_deployment", name="pat")


def test_nothing_is_overwritten_and_both_are_shown(site: Site, root: Client, pat: Client) -> None:
    row = site.serve("joke", echo(), access="staff")
    opened = form_of(root, row)
    save(pat, row, description="theirs", daily_quota="9", rights__staff__review="on")

    response = root.post(change_url(row), changed(opened, description="mine", daily_quota="50"))

    text = seen(response)
    for part in (
        "Somebody else saved this deployment meanwhile",
        "pat",
        "Description theirs mine",
        "Runs a day per user 9 50",
        "Rights: Staff run, playground, override config, review run, playground, override config",
    ):
        assert part in text
    kept = Deployment.objects.get()
    assert (kept.description, kept.daily_quota) == ("theirs", 9)
    assert AuditEntry.objects.count() == 1


def test_only_what_was_done_since_the_page_was_opened_is_told(
    site: Site, root: Client, pat: Client
) -> None:
    row = site.serve("joke", echo())
    save(root, row, description="before")
    opened = form_of(root, row)
    save(pat, row, description="theirs")

    response = root.post(change_url(row), changed(opened, description="mine"))

    conflict = seen(response).split("saved this deployment meanwhile")[1].split("Yours")[0]
    assert "before → theirs" in conflict
    assert "not set → before" not in conflict


def test_saving_again_knowingly_puts_mine_in_place(site: Site, root: Client, pat: Client) -> None:
    row = site.serve("joke", echo())
    opened = form_of(root, row)
    save(pat, row, description="theirs")
    response = root.post(change_url(row), changed(opened, description="mine"))
    again = fields_of(response.content.decode(), "deployment_form")

    assert root.post(change_url(row), again).status_code == 302

    assert Deployment.objects.get().description == "mine"
    assert AuditEntry.objects.first().text == "Description: theirs → mine."  # type: ignore[union-attr]


def test_whoever_saves_the_same_is_not_bothered(site: Site, root: Client, pat: Client) -> None:
    row = site.serve("joke", echo())
    opened = form_of(root, row)
    save(pat, row, description="same")

    assert root.post(change_url(row), changed(opened, description="same")).status_code == 302
    assert AuditEntry.objects.count() == 1


def test_third_save_is_a_conflict_again(site: Site, root: Client, pat: Client) -> None:
    row = site.serve("joke", echo())
    opened = form_of(root, row)
    save(pat, row, description="first")
    response = root.post(change_url(row), changed(opened, description="mine"))
    again = fields_of(response.content.decode(), "deployment_form")
    save(pat, row, description="second")

    text = seen(root.post(change_url(row), again))

    assert "Description second mine" in text
    assert Deployment.objects.get().description == "second"


def test_group_that_was_added_meanwhile_is_not_lost(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), access="staff")
    opened = form_of(root, row)
    group = Group.objects.create(name=MARKUP)
    deployments.set_group_rights(row, [group], grant=True, by="us")

    response = root.post(change_url(row), changed(opened, description="mine"))

    assert f"Rights: Group {MARKUP} run, playground, override config nothing" in seen(response)
    assert MARKUP not in response.content.decode()
    assert rights.rights_of(row)[f"group:{group.pk}"]


@pytest.mark.parametrize("opened_at", ["", "yesterday", "2026-13-45T99:99:99", MARKUP])
def test_form_that_does_not_know_when_it_was_opened_overwrites_nothing_unseen(
    site: Site, root: Client, opened_at: str
) -> None:
    row = site.serve("joke", echo())

    response = save(root, row, opened_at=opened_at, description="mine")

    assert "Somebody else saved this deployment meanwhile" in seen(response)
    assert MARKUP not in response.content.decode()
    assert Deployment.objects.get().description == ""
