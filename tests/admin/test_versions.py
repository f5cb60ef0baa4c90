"""
The pages of versions: all of them, one, and the way back.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.template.loader import render_to_string
from django.test import Client

from runnables import trials, versions
from runnables.models import Deployment, DeploymentVersion
from tests.admin.pages import staff, text_of, url
from tests.configured import settings
from tests.conftest import Site

SECRET = "sk-swordfish"


@pytest.fixture
def row(site: Site) -> Deployment:
    return site.serve("it", settings())


def save(row: Deployment, *, note: str = "", by: Any = "a test", **configurable: Any) -> None:
    current = Deployment.objects.get(pk=row.pk).version
    assert current is not None
    content = {**current.content, "defaults": {"configurable": configurable}}
    versions.save_version(row, content, by=by, based_on=current.number, note=note)


def roll_back(client: Client, row: Deployment, number: int, **values: Any) -> Any:
    page = client.get(url(row, "roll_back", number))
    data = {"based_on": page.context["current"].number, **values}
    return client.post(url(row, "roll_back", number), data, follow=True)


def test_table_says_number_who_why_and_what(site: Site, row: Deployment, root: Client) -> None:
    save(row, template="Good day", note="politer", by=site.user("ada"))
    text = text_of(root.get(url(row, "versions")))
    for said in ("v1", "v2", "ada", "politer", "template", "current", "the first one"):
        assert said in text


def test_table_is_paged(row: Deployment, root: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(2, 60):
        DeploymentVersion.objects.create(deployment=row, number=number, locked=[f"id{number}"])
    first = root.get(url(row, "versions"))
    second = root.get(url(row, "versions") + "?p=2")
    assert [one.version.number for one in first.context["rows"]] == [*range(59, 9, -1)]
    assert [one.version.number for one in second.context["rows"]] == [*range(9, 0, -1)]
    # The last line of a page is compared with the first of the next.
    assert [str(one) for one in first.context["rows"][-1].changes] == ["locked: id9 → id10"]
    with django_assert_max_num_queries(8):
        root.get(url(row, "versions"))


def test_one_version_is_compared_with_the_one_before_and_the_current(
    row: Deployment, root: Client
) -> None:
    save(row, tries=4)
    save(row, tries=5)
    page = root.get(url(row, "version", 2))
    assert [str(one) for one in page.context["changes"]] == [
        "defaults.configurable.tries: set to 4"
    ]
    assert [str(one) for one in page.context["against_current"]] == [
        "defaults.configurable.tries: 5 → 4"
    ]
    assert "POST /it/invoke?version=2" in text_of(page)


def test_version_is_compared_with_what_it_was_made_from_not_with_one_that_was_only_tried(
    row: Deployment, root: Client
) -> None:
    content = {**row.version.content, "locked": ["tried"]}  # type: ignore[union-attr]
    made = versions.save_version(row, content, by="a", based_on=1, make_current=False)
    trials.start(row, made, percent=5, by="a")
    save(row, tries=4)
    rows = {one.version.number: one for one in root.get(url(row, "versions")).context["rows"]}
    assert [str(one) for one in rows[2].changes] == ["locked: set to tried"]
    assert [str(one) for one in rows[3].changes] == ["defaults.configurable.tries: set to 4"]
    page = root.get(url(row, "version", 3))
    assert page.context["before"].number == 1


@pytest.mark.parametrize("number", [0, 7])
def test_version_that_is_not_there_is_not_found(row: Deployment, root: Client, number: int) -> None:
    assert root.get(url(row, "version", number)).status_code == 404
    assert root.post(url(row, "roll_back", number), {"based_on": 1}).status_code == 404


def test_roll_back_makes_a_new_version_with_the_old_content(
    site: Site, row: Deployment, root: Client
) -> None:
    save(row, template="Good day")
    save(row, template="Hey")
    done = roll_back(root, row, 2, note="too short")
    assert "Version 4 answers everybody, with the content of version 2." in text_of(done)
    made = DeploymentVersion.objects.get(number=4)
    assert (made.copy_of, made.note) == (2, "too short")
    assert site.invoke("/it", 1)["template"] == "Good day"
    assert "Rolled back to version 2 as version 4" in LogEntry.objects.latest("pk").change_message


def test_roll_back_is_confirmed_with_its_diff(row: Deployment, root: Client) -> None:
    save(row, template="Hey", api_key=SECRET)
    page = root.get(url(row, "roll_back", 1))
    assert [one.where for one in page.context["differences"]] == [
        "defaults.configurable.template",
        "defaults.configurable.api_key",
    ]
    assert SECRET not in page.content.decode()
    assert DeploymentVersion.objects.count() == 2


def test_roll_back_leaves_access_switches_and_limits_alone(
    site: Site, row: Deployment, root: Client
) -> None:
    save(row, template="Hey")
    site.change("it", access="staff", endpoints=["invoke"], timeout=5.0, is_enabled=False)
    before: dict[str, Any] = dict(Deployment.objects.values().get())
    rights = list(row.grants.values())
    roll_back(root, row, 1)
    after: dict[str, Any] = dict(Deployment.objects.values().get())
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"version_id", "updated_at"}
    assert list(row.grants.values()) == rights


def test_roll_back_from_a_version_that_is_outdated_conflicts(
    site: Site, row: Deployment, root: Client
) -> None:
    save(row, template="Hey")
    save(row, template="Theirs", note="new text", by=site.user("ada"))
    page = root.post(url(row, "roll_back", 1), {"based_on": "2", "note": "mine"}, follow=True)
    text = text_of(page)
    for said in ("Version 3 was saved meanwhile", "ada", "new text", "Theirs", 'value="mine"'):
        assert said in text
    assert DeploymentVersion.objects.count() == 3
    data = {"based_on": page.context["current"].number}
    root.post(url(row, "roll_back", 1), data)
    assert DeploymentVersion.objects.get(number=4).copy_of == 1


def test_roll_back_to_what_is_there_is_not_offered(row: Deployment, root: Client) -> None:
    save(row, template="Hey")
    save(row)
    for number in (3, 1):
        page = root.get(url(row, "roll_back", number)).content.decode()
        assert "<form method" not in page.split('id="content"')[1]


def test_content_that_fits_no_more_is_not_rolled_back_to(
    site: Site, row: Deployment, root: Client
) -> None:
    DeploymentVersion.objects.create(
        deployment=row, number=2, defaults={"configurable": {"gone": 1}}
    )
    page = roll_back(root, row, 2)
    assert "declares no such id" in text_of(page)
    assert DeploymentVersion.objects.count() == 2


# Sections of the deployment's own page


@pytest.mark.parametrize("name", ["configuration", "versions", "canary"])
@pytest.mark.parametrize("may_change", [True, False])
def test_section_has_links_alone(row: Deployment, name: str, may_change: bool) -> None:
    save(row, template="Hey", api_key=SECRET)
    row.refresh_from_db()
    text = render_to_string(
        f"admin/langserve/deployment/{name}_section.html",
        {"original": row, "has_change_permission": may_change},
    )
    assert url(row, name) in text or name == "versions"
    for tag in ("<form", "<input", "<button", "<script", " style="):
        assert tag not in text
    assert SECRET not in text
    assert ("Roll back" in text) == (may_change and name == "versions")


def test_section_has_the_last_twenty_and_a_link_to_the_rest(row: Deployment) -> None:
    for number in range(2, 25):
        DeploymentVersion.objects.create(deployment=row, number=number)
    text = render_to_string("admin/langserve/deployment/versions_section.html", {"original": row})
    assert "v5<" in text
    assert "v4<" not in text
    assert "4 older versions" in text
    assert url(row, "versions") in text


def test_staff_who_may_change_roll_back(site: Site, row: Deployment) -> None:
    save(row, template="Hey")
    roll_back(staff(site, "carol", "change_deployment"), row, 1)
    assert DeploymentVersion.objects.count() == 3
