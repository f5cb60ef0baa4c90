"""
The list of deployments: what it tells, how it is narrowed, and what it costs.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runnables import deployments, trials, versions
from runnables.models import Deployment, DeploymentVersion, Health
from runnables.registry import default_registry
from tests.admin.conftest import LIST, MARKUP, count_calls, seen, staff
from tests.conftest import Site
from tests.fakes import echo


def names_of(client: Client, query: str = "") -> set[str]:
    page = client.get(LIST + query)
    return {row.name for row in page.context["cl"].result_list}


def with_error(row: Deployment, error: str = "ValueError", recent: Any = ()) -> None:
    Health.objects.create(
        deployment=row,
        recent=list(recent),
        last_error_at=timezone.now(),
        last_error_class=error,
        last_error_run_id=uuid4(),
    )


def test_row_tells_name_path_endpoints_version_and_audience(site: Site, root: Client) -> None:
    site.serve("joke", echo(), path="/fun/joke", enabled_endpoints=["invoke"], access="staff")

    text = seen(root.get(LIST))

    for part in ("joke", "/fun/joke", "1 / 15", "v1", "Staff"):
        assert part in text


def test_what_nobody_called_has_dashes_with_a_reason_and_no_zeros(site: Site, root: Client) -> None:
    site.serve("joke", echo())

    text = seen(root.get(LIST))

    assert "Unknown" in text
    assert text.count("No calls in 24 hours") == 4  # the status, calls, errors and p95
    assert "No error is known" in text
    assert "0 %" not in text


def test_figures_of_a_day_are_shown_with_a_spark_line(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    count_calls(row, 1200, failed=30)
    with_error(row, "RateLimitError")

    response = root.get(LIST)
    text = seen(response)

    for part in ("1 200", "2.5 %", "ms", "RateLimitError", "just now"):
        assert part in text
    assert "Calls by the hour, at most 1200" in response.content.decode()


@pytest.mark.parametrize(
    ("change", "status", "why"),
    [
        ({"is_enabled": False, "off_reason": "reindexing"}, "Off", "reindexing"),
        (
            {"in_maintenance": True, "maintenance_message": "Until noon"},
            "Maintenance",
            "Until noon",
        ),
        ({}, "Unknown", "No calls in 24 hours."),
        ({"degraded_error_percent": 50}, "Healthy", ""),
        (
            {"degraded_error_percent": 5},
            "Degraded",
            "10.0 % of calls failed; the threshold is 5 %.",
        ),
    ],
)
def test_status_has_a_word_and_says_why(
    site: Site, root: Client, change: dict[str, Any], status: str, why: str
) -> None:
    row = site.serve("joke", echo())
    if "degraded_error_percent" in change:
        count_calls(row, 100, failed=10)
    site.change("joke", **change)

    text = seen(root.get(LIST))

    assert f"{status} {why}".strip() in text
    assert names_of(root, f"?status={status.lower()}") == {"joke"}


def test_five_failures_in_a_row_are_failing(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    count_calls(row, 100, failed=5)
    with_error(row, recent=[[at, False] for at in range(5)])

    assert "The last five calls failed." in seen(root.get(LIST))


def test_row_whose_code_is_gone_is_marked(site: Site, root: Client) -> None:
    site.serve("joke", echo())
    default_registry.clear()

    assert "Missing in code" in seen(root.get(LIST))
    assert names_of(root, "?status=missing") == {"joke"}


def test_row_without_a_version_is_shown(site: Site, root: Client) -> None:
    Deployment.objects.create(name="bare", path="bare")

    assert "It has no version yet" in seen(root.get(LIST))


def test_canary_stands_beside_the_version(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    site.serve("other", echo())
    content = Deployment.objects.get(pk=row.pk).version.content  # type: ignore[union-attr]
    second = versions.save_version(row, content, by="us", based_on=1, make_current=False)
    trials.start(row, second, percent=10, by="us")

    assert "v1 · canary v2 10 %" in seen(root.get(LIST))
    assert names_of(root, "?canary=yes") == {"joke"}
    assert names_of(root, "?canary=no") == {"other"}


def test_groups_and_users_are_named_while_they_are_few(site: Site, root: Client) -> None:
    site.serve("joke", echo())
    groups = [Group.objects.create(name=f"team {n}") for n in range(5)]
    site.grant("joke", *groups)

    assert "team 0, team 1, team 2, 2 more" in seen(root.get(LIST))


@pytest.mark.parametrize(
    "query",
    [
        "?q=one",
        "?q=about+cats",
        "?is_enabled__exact=1",
        "?error=yes",
        "?playground_type__exact=chat",
    ],
)
def test_list_is_searched_and_filtered(site: Site, root: Client, query: str) -> None:
    row = site.serve("one", echo(), description="about cats", playground_type="chat")
    with_error(row)
    site.serve("two", echo(), access="staff")
    site.change("two", is_enabled=False)

    assert names_of(root, query) == {"one"}


def test_list_is_filtered_by_group_and_shows_each_row_once(site: Site, root: Client) -> None:
    site.serve("one", echo())
    site.serve("two", echo())
    editors, readers = (Group.objects.create(name=name) for name in ("editors", "readers"))
    site.grant("one", editors, readers)
    page = root.get(f"{LIST}?group={editors.pk}")

    assert [row.name for row in page.context["cl"].result_list] == ["one"]


@pytest.mark.parametrize("query", ["?status=x", "?group=x", "?canary=x", "?error=%00"])
def test_filter_that_means_nothing_filters_nothing(site: Site, root: Client, query: str) -> None:
    site.serve("one", echo())

    assert names_of(root, query) == {"one"}


def test_list_costs_the_same_for_ten_rows_and_five_hundred(
    site: Site, root: Client, settings: Any
) -> None:
    many(10)
    few_queries = queries_of(root, "?all=1"), queries_of(root, "?all=1&status=unknown")
    many(490, first=10)
    assert (queries_of(root, "?all=1"), queries_of(root, "?all=1&status=unknown")) == few_queries
    assert few_queries[0] <= 14


def test_only_the_rows_of_the_page_are_looked_up(site: Site, root: Client) -> None:
    many(120)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = root.get(LIST)

    assert len(page.context["cl"].result_list) == 50
    figures = [query["sql"] for query in queries if "langserve_figures" in query["sql"]]
    assert len(figures) == 1
    assert figures[0].count(", ") < 100


def many(number: int, *, first: int = 0) -> None:
    """
    That many deployments with rights and figures.
    """
    group, _ = Group.objects.get_or_create(name="editors")
    for at in range(first, first + number):
        default_registry.register(f"it{at:03}", echo())
    rows = Deployment.objects.bulk_create(
        [Deployment(name=f"it{at:03}", path=f"it{at:03}") for at in range(first, first + number)]
    )
    made = DeploymentVersion.objects.bulk_create(
        [DeploymentVersion(deployment=row, number=1) for row in rows]
    )
    for row, version in zip(rows, made, strict=True):
        row.version = version
    Deployment.objects.bulk_update(rows, ["version"])
    for row in rows:
        row.grants.create(audience="group", group=group, run=True)
    count_calls(rows[0], 5)


def queries_of(client: Client, query: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(LIST + query).status_code == 200
    return len(queries)


# The buttons of a row


def test_row_is_switched_by_a_form_with_a_csrf_token(site: Site, root: Client) -> None:
    row = site.serve("joke", echo())
    url = f"{LIST}{row.pk}/switch/"
    assert f'formaction="{url}"' in root.get(LIST).content.decode()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies.update(root.cookies)
    assert strict.post(url, {"on": ""}).status_code == 403
    assert root.get(url).status_code == 405

    response = root.post(url, {"on": "", "query": "status=healthy"})

    assert response.headers["Location"] == f"{LIST}?status=healthy"
    assert "Switched off: joke. Its callers get 404." in seen(root.get(LIST))
    assert site.post("/joke/invoke", {"input": 1}).status_code == 404
    root.post(url, {"on": "1"})
    assert site.invoke("/joke", 1) == 1


def test_who_may_only_look_has_no_buttons_and_cannot_switch(site: Site) -> None:
    row = site.serve("joke", echo())
    client = staff(site, "view_deployment")

    page = client.get(LIST).content.decode()

    assert "formaction" not in page
    assert client.post(f"{LIST}{row.pk}/switch/", {"on": ""}).status_code == 403
    assert site.invoke("/joke", 1) == 1


def test_staff_without_a_permission_see_no_list(site: Site) -> None:
    site.serve("joke", echo())

    assert staff(site).get(LIST).status_code == 403


def test_visitor_is_asked_to_sign_in(site: Site) -> None:
    assert Client().get(LIST).status_code == 302


def test_switching_what_is_not_there_is_404(site: Site, root: Client) -> None:
    assert root.post(f"{LIST}77/switch/", {"on": ""}).status_code == 404
    assert root.post(f"{LIST}x/switch/", {"on": ""}).status_code == 404


def test_markup_is_text(site: Site, root: Client) -> None:
    row = site.serve("joke", echo(), description=MARKUP)
    group = Group.objects.create(name=MARKUP)
    deployments.set_group_rights(row, [group], grant=True, by="us")
    site.grant("joke", group)
    with_error(row, MARKUP)
    site.change("joke", is_enabled=False, off_reason=MARKUP)

    for query in ("", f"?q={MARKUP}", f"?status={MARKUP}"):
        assert MARKUP not in root.get(LIST + query).content.decode()
    assert seen(root.get(LIST)).count("<script>alert(1)</script>") >= 3


def test_nothing_can_be_added_by_hand(site: Site, root: Client) -> None:
    assert root.get(f"{LIST}add/").status_code == 403
