"""
manage.py langserve versions, rollback, canary, maintenance, and why something is off.
"""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from runnables import versions, watcher
from runnables.models import AuditEntry, Canary, Deployment, DeploymentVersion
from tests.configured import settings
from tests.conftest import Site
from tests.fakes import echo

SECRET = "sk-swordfish"


@pytest.fixture
def row(site: Site) -> Deployment:
    return site.serve("it", settings())


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("langserve", *arguments, stdout=out)
    return out.getvalue()


def run_json(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json").splitlines()]


def save(row: Deployment, *, make_current: bool = True, **configurable: Any) -> None:
    current = Deployment.objects.get(pk=row.pk).version
    assert current is not None
    versions.save_version(
        row,
        {**current.content, "defaults": {"configurable": configurable}},
        by="a test",
        based_on=current.number,
        note=f"set {', '.join(configurable)}",
        make_current=make_current,
    )


def template(site: Site) -> str:
    found: str = site.invoke("/it", 1)["template"]
    return found


# versions and rollback


def test_versions_are_listed_with_what_changed(row: Deployment) -> None:
    save(row, template="Hey", api_key=SECRET)
    text = run("versions", "/it")
    assert "v2" in text
    assert "current" in text
    assert "set template, api_key" in text
    assert "defaults.configurable.template: set to Hey" in text
    assert SECRET not in text


def test_versions_in_json_are_one_a_line(site: Site, row: Deployment) -> None:
    save(row, template="Hey")
    newest, first = run_json("versions", "it")
    assert (newest["version"], newest["state"], newest["by"]) == (2, "current", None)
    assert newest["changes"] == ["defaults.configurable.template: set to Hey"]
    assert (first["version"], first["state"], first["changes"]) == (1, None, [])


def test_rollback_goes_one_back_and_then_one_more(site: Site, row: Deployment) -> None:
    save(row, template="two")
    save(row, template="three")
    assert run("rollback", "/it") == "/it: version 4 has the content of version 2\n"
    assert template(site) == "two"
    assert run("rollback", "/it") == "/it: version 5 has the content of version 1\n"
    assert template(site) == "Hello"
    with pytest.raises(CommandError, match="no version before"):
        run("rollback", "/it")


def test_rollback_to_a_number_says_why(site: Site, row: Deployment) -> None:
    save(row, template="two")
    save(row, template="three")
    assert run_json("rollback", "/it", "2", "--note", "too short") == [
        {"path": "/it", "version": 4, "copy_of": 2}
    ]
    assert DeploymentVersion.objects.get(number=4).note == "too short"
    assert AuditEntry.objects.latest("pk").by == "command line"


def test_rollback_skips_what_was_only_tried(site: Site, row: Deployment) -> None:
    save(row, template="tried", make_current=False)
    run("canary", "/it", "--version", "2")
    run("canary", "/it", "--stop")
    save(row, template="three")
    assert "content of version 1" in run("rollback", "/it")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["rollback", "/it", "9"], "no version 9"),
        (["rollback", "/it", "1"], "nothing would change"),
        (["rollback", "/it"], "no version before 1"),
        (["rollback", "/nothing"], "no deployment at /nothing"),
        (["versions", "/nothing"], "no deployment at /nothing"),
        (["versions", "/a b"], "segment"),
    ],
)
def test_what_cannot_be_done_is_said(row: Deployment, arguments: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        run(*arguments)
    assert DeploymentVersion.objects.count() == 1


# canary


def test_canary_is_started_widened_and_promoted(site: Site, row: Deployment) -> None:
    save(row, template="new", make_current=False)
    assert "no version is on trial" in run("canary", "/it")
    assert "version 2 on 10 % of callers" in run("canary", "/it", "--version", "2")
    assert "100 %" in run("canary", "/it", "--percent", "100")
    assert template(site) == "new"
    assert run("canary", "/it", "--promote") == "/it: version 2 answers everybody\n"
    assert Canary.objects.get().outcome == "promoted"
    assert {entry.by for entry in AuditEntry.objects.all()} == {"a test", "command line"}


def test_canary_takes_its_rule(row: Deployment) -> None:
    save(row, template="new", make_current=False)
    rule = ["--sticky-by", "token", "--stop-above", "5", "--after", "7", "--percent", "2.5"]
    run("canary", "/it", "--version", "2", *rule)
    canary = Canary.objects.get()
    assert (canary.percent, canary.sticky_by) == (2.5, "token")
    assert (canary.stop_error_percent, canary.stop_min_requests) == (5, 7)


def test_canary_is_compared(site: Site, row: Deployment) -> None:
    save(row, template="new", make_current=False)
    run("canary", "/it", "--version", "2", "--percent", "100")
    for _ in range(3):
        template(site)
    watcher.write_figures()
    assert "too few to tell" in run("canary", "/it")
    [found] = run_json("canary", "/it")
    assert (found["canary"], found["percent"], found["is_telling"]) == (2, 100, False)
    assert (found["stable"]["calls"], found["tried"]["calls"]) == (0, 3)
    assert found["tried"]["errors %"] == 0
    assert found["stable"]["p95 ms"] is None


def test_canary_is_stopped(site: Site, row: Deployment) -> None:
    save(row, template="new", make_current=False)
    run("canary", "/it", "--version", "2", "--percent", "100")
    assert run_json("canary", "/it", "--stop") == [{"path": "/it", "stopped": 2}]
    assert template(site) == "Hello"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--promote"],
        ["--stop"],
        ["--percent", "5"],
        ["--promote", "--stop"],
        ["--version", "1"],
        ["--version", "9"],
        ["--version", "2", "--percent", "101"],
        ["--version", "2", "--percent", "nan"],
        ["--version", "2", "--stop"],
        ["--stop-above", "5"],
        ["--sticky-by", "cookie", "--version", "2"],
    ],
)
def test_canary_says_what_is_wrong(row: Deployment, arguments: list[str]) -> None:
    save(row, template="new", make_current=False)
    with pytest.raises(CommandError):
        run("canary", "/it", *arguments)
    assert not Canary.objects.exists()


# maintenance and reasons


def test_maintenance_is_told_to_callers(site: Site) -> None:
    site.serve("it", echo())
    text = run("maintenance", "/it", "on", "--message", "New index", "--retry-after", "60")
    assert text == "/it is in maintenance\n"
    response = site.post("/it/invoke", {"input": 1})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "60")
    assert "New index" in response.text
    assert run_json("maintenance", "/it", "off") == [{"path": "/it", "maintenance": False}]
    assert site.invoke("/it", 1) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["/it", "perhaps"],
        ["/it", "off", "--message", "x"],
        ["/it", "on", "--retry-after", "0"],
        ["/it", "on", "--message", "x" * 301],
        ["/nothing", "on"],
    ],
)
def test_maintenance_says_what_is_wrong(site: Site, arguments: list[str]) -> None:
    site.serve("it", echo())
    with pytest.raises(CommandError):
        run("maintenance", *arguments)
    assert not Deployment.objects.get().in_maintenance


def test_reason_is_kept_while_a_deployment_is_off(site: Site) -> None:
    site.serve("it", echo())
    run("disable", "/it", "--reason", "too expensive")
    assert Deployment.objects.get().off_reason == "too expensive"
    assert AuditEntry.objects.get().text == "Switched off: too expensive."
    run("enable", "/it", "--reason", "paid")
    assert Deployment.objects.get().off_reason == ""
    assert AuditEntry.objects.latest("pk").text == "Switched on: paid."


def test_reason_that_is_too_long_switches_nothing(site: Site) -> None:
    site.serve("it", echo())
    with pytest.raises(CommandError, match="at most"):
        run("disable", "/it", "--reason", "x" * 201)
    assert Deployment.objects.get().is_enabled
