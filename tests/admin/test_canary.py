"""
The canary page: start a trial, widen it, promote or stop it.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from runnables import trials, versions, watcher
from runnables.models import AuditEntry, Canary, Deployment, DeploymentVersion
from tests.admin.pages import text_of, url
from tests.configured import settings
from tests.conftest import Site

START = {"what": "start", "percent": "100", "sticky_by": "user", "stop_min_requests": "20"}


@pytest.fixture
def row(site: Site) -> Deployment:
    """
    With a second version that nobody is answered by yet.
    """
    row = site.serve("it", settings())
    save(row, "new", make_current=False)
    return row


def save(row: Deployment, template: str, **options: Any) -> DeploymentVersion:
    current = Deployment.objects.get(pk=row.pk).version
    assert current is not None
    content = {**current.content, "defaults": {"configurable": {"template": template}}}
    return versions.save_version(row, content, by="a test", based_on=current.number, **options)


def start(client: Client, row: Deployment, **values: Any) -> Any:
    version = row.versions.get(number=2)
    data = {**START, "version": version.pk, **values}
    return client.post(url(row, "canary"), data, follow=True)


def running() -> Canary:
    return Canary.objects.get(outcome="running")


def test_trial_is_started_and_answers(site: Site, row: Deployment, root: Client) -> None:
    assert "tried on 100 %" in text_of(start(root, row))
    assert site.invoke("/it", 1)["template"] == "new"
    assert (
        "Version 2 is tried on 100 %" in LogEntry.objects.get(user__username="root").change_message
    )


@pytest.mark.parametrize(
    "values",
    [
        {"percent": "101"},
        {"percent": "-1"},
        {"percent": "nan"},
        {"sticky_by": "cookie"},
        {"stop_error_percent": "200"},
        {"stop_min_requests": "0"},
        {"version": "999"},
    ],
)
def test_trial_that_makes_no_sense_is_not_started(
    row: Deployment, root: Client, values: dict[str, str]
) -> None:
    page = start(root, row, **values)
    assert list(page.context["start"].errors) == list(values)
    assert not Canary.objects.exists()


def test_version_of_another_deployment_is_not_tried(
    site: Site, row: Deployment, root: Client
) -> None:
    other = site.serve("other", settings())
    assert "version" in start(root, row, version=other.version_id).context["start"].errors
    assert not Canary.objects.exists()


def test_wanted_version_is_chosen_in_the_form(row: Deployment, root: Client) -> None:
    page = root.get(url(row, "canary") + "?version=2")
    assert page.context["start"]["version"].value() == row.versions.get(number=2).pk


def test_share_is_changed(row: Deployment, root: Client) -> None:
    start(root, row, percent="10")
    root.post(url(row, "canary"), {"what": "share", "percent": "30"})
    assert running().percent == 30
    assert AuditEntry.objects.filter(text__contains="10 % → 30 %", by="root").exists()


def test_share_out_of_bounds_changes_nothing(row: Deployment, root: Client) -> None:
    start(root, row, percent="10")
    page = root.post(url(row, "canary"), {"what": "share", "percent": "300"})
    assert page.context["share"].errors
    assert running().percent == 10


def test_promotion_is_confirmed_with_its_diff(site: Site, row: Deployment, root: Client) -> None:
    start(root, row, percent="0")
    page = root.get(url(row, "canary_promote"))
    assert "template" in text_of(page)
    assert site.invoke("/it", 1)["template"] == "Hello"
    data = {"canary": running().pk, "instead_of": 1}
    done = root.post(url(row, "canary_promote"), data, follow=True)
    assert "Version 2 answers everybody now." in text_of(done)
    assert site.invoke("/it", 1)["template"] == "new"
    assert Canary.objects.get().outcome == "promoted"


def test_promotion_over_a_version_that_was_saved_meanwhile_is_asked_again(
    row: Deployment, root: Client
) -> None:
    start(root, row, percent="0")
    save(row, "theirs")
    data = {"canary": running().pk, "instead_of": 1}
    page = root.post(url(row, "canary_promote"), data, follow=True)
    assert "Version 3 was saved meanwhile" in text_of(page)
    assert Deployment.objects.get().version.number == 3  # type: ignore[union-attr]
    assert running()


@pytest.mark.parametrize("name", ["canary_promote", "canary_stop"])
def test_form_about_another_trial_ends_none(row: Deployment, root: Client, name: str) -> None:
    start(root, row)
    old = running().pk
    third = save(row, "third", make_current=False)
    trials.start(row, third, percent=5, by="a test")
    page = root.post(url(row, name), {"canary": old, "instead_of": 1}, follow=True)
    assert "over already" in text_of(page)
    assert running().version == third
    assert Deployment.objects.get().version.number == 1  # type: ignore[union-attr]


def test_stop_is_confirmed_and_says_why(site: Site, row: Deployment, root: Client) -> None:
    start(root, row)
    assert root.get(url(row, "canary_stop")).status_code == 200
    assert running()
    root.post(url(row, "canary_stop"), {"canary": running().pk, "why": "too chatty"})
    assert site.invoke("/it", 1)["template"] == "Hello"
    assert AuditEntry.objects.filter(text__contains="stopped: too chatty", by="root").exists()


@pytest.mark.parametrize("name", ["canary_promote", "canary_stop"])
def test_without_a_trial_there_is_nothing_to_end(row: Deployment, root: Client, name: str) -> None:
    assert "over already" in text_of(root.get(url(row, name), follow=True))


def test_past_trials_are_listed_with_their_outcome(row: Deployment, root: Client) -> None:
    start(root, row)
    trials.stop(row, by="a test")
    page = root.get(url(row, "canary"))
    assert [one.outcome for one in page.context["past"]] == ["stopped"]


def test_sides_are_compared_and_few_calls_do_not_tell(
    site: Site, row: Deployment, root: Client
) -> None:
    start(root, row)
    for _ in range(3):
        site.invoke("/it", 1)
    watcher.write_figures()
    text = text_of(root.get(url(row, "canary")))
    assert "Stable, v1" in text
    assert "Canary, v2" in text
    assert "Too few to tell" in text
    assert "<td>3</td>" in text


def test_with_one_version_there_is_nothing_to_try(site: Site, root: Client) -> None:
    row = site.serve("one", settings())
    assert "only one version" in text_of(root.get(url(row, "canary")))
