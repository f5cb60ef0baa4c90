"""
Who did what: on the page of a deployment, in its history and in the list of entries.
"""

from __future__ import annotations

from django.test import Client

from runnables import audit, deployments
from runnables.models import AuditEntry
from tests.admin.conftest import LIST, MARKUP, change_url, save, seen, staff
from tests.conftest import Site
from tests.fakes import echo

ENTRIES = "/admin/langserve/auditentry/"


def test_history_has_users_the_command_line_and_the_site_itself(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    save(root, row, daily_quota="50")
    deployments.switch(row, on=False, by=audit.COMMAND_LINE)
    audit.record(row, "The trial was stopped.", by=audit.THE_SITE)

    for url in (f"{LIST}{row.pk}/history/", change_url(row)):
        text = seen(root.get(url))
        assert "root Runs a day per user: not set → 50." in text
        assert "command line Switched off." in text
        assert "the site itself The trial was stopped." in text


def test_long_history_has_pages(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    for number in range(120):
        audit.record(row, f"entry {number}.", by="us")
    url = f"{LIST}{row.pk}/history/"

    first, second = seen(root.get(url)), seen(root.get(f"{url}?p=2"))

    assert "entry 119." in first
    assert "page 1 of 2" in first
    assert "entry 0." in second


def test_history_without_entries_says_so(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())

    assert "Nothing was done to it yet" in seen(root.get(f"{LIST}{row.pk}/history/"))


def test_history_of_what_is_not_there_leads_back(site: Site, root: Client) -> None:
    for key in ("77", "x"):
        assert root.get(f"{LIST}{key}/history/").status_code == 302


def test_entries_are_listed_and_filtered_by_deployment(site: Site, root: Client) -> None:
    one, two = (site.serve(name, echo()) for name in ("one", "two"))
    audit.record(one, MARKUP, by="us")
    audit.record(two, "about two", by="us")
    deployments.delete(two, by="us")

    response = root.get(ENTRIES)
    text = seen(response)

    assert MARKUP not in response.content.decode()
    assert MARKUP in text
    only = seen(root.get(f"{ENTRIES}?name=two"))
    assert "about two" in only
    assert "Deleted." in only
    assert MARKUP not in only


def test_entries_cannot_be_made_changed_or_deleted(site: Site, root: Client) -> None:
    row = site.serve("one", echo())
    audit.record(row, "text", by="us")
    entry = AuditEntry.objects.get()

    assert root.get(f"{ENTRIES}add/").status_code == 403
    assert root.post(f"{ENTRIES}{entry.pk}/change/", {"text": "x"}).status_code == 403
    assert root.post(f"{ENTRIES}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    root.post(ENTRIES, {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"})
    assert AuditEntry.objects.get().text == "text"


def test_entries_take_the_permission_to_view_them(site: Site) -> None:
    assert staff(site, "view_deployment").get(ENTRIES).status_code == 403
    assert staff(site, "view_auditentry", name="pat").get(ENTRIES).status_code == 200
