"""
What Prometheus is told, and who may ask.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from runnables import figures
from runnables.models import Deployment, DeploymentVersion, Figures, ServerProcess
from tests.conftest import Site
from tests.fakes import echo, failing
from tests.traces.seeded import count, deployed, many, record, run
from traces import metrics, retention
from traces.models import DroppedTraces
from traces.rebuild import rebuild

TOKEN = "a token that Prometheus was given"


@pytest.fixture(autouse=True)
def nothing_remembered(settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "METRICS_TOKEN": TOKEN}
    metrics.forget()


def hours_ago(hours: float) -> datetime:
    return timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)


def samples(site: Site) -> list[Sample]:
    response = site.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return [sample for family in families for sample in family.samples]


def value(found: list[Sample], name: str, **labels: str) -> float:
    """
    The sum of the samples of this name that have these labels.
    """
    return sum(
        sample.value
        for sample in found
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_calls_are_counted_by_endpoint_and_state(site: Site) -> None:
    site.serve("good", echo())
    site.serve("bad", failing())
    for _ in range(3):
        site.invoke("/good", 1)
    site.post("/bad/stream", {"input": 1})
    figures.flush()
    found = samples(site)
    name = "langserve_requests_total"
    assert value(found, name, deployment="good", endpoint="invoke", state="done") == 3
    assert value(found, name, deployment="bad", endpoint="stream", state="failed") == 1
    assert value(found, name) == 4
    by_version = {"deployment": "good", "version": "1", "state": "done"}
    assert value(found, "langserve_version_requests_total", **by_version) == 3


def test_every_number_is_a_plain_count(site: Site) -> None:
    runs = many(list(deployed("it", 2).versions.all()), 150, hours_ago(80), hours_ago(0))
    count(runs)
    found = samples(site)
    for endpoint in ("invoke", "stream"):
        of_endpoint = [one for one in runs if one.endpoint == endpoint]
        for state in ("done", *figures.OUTCOMES):
            wanted = sum(one.request_state == state for one in of_endpoint)
            labels = {"endpoint": endpoint, "state": state}
            assert value(found, "langserve_requests_total", **labels) == wanted
        name = "langserve_request_duration_seconds"
        assert value(found, f"{name}_count", endpoint=endpoint) == len(of_endpoint)
        seconds = sum(one.request_ms or 0 for one in of_endpoint) / 1000
        assert value(found, f"{name}_sum", endpoint=endpoint) == pytest.approx(seconds, rel=0.05)
    used = sum(one.input_tokens or 0 for one in runs)
    assert value(found, "langserve_tokens_total", direction="in") == used
    cost = sum(one.cost or 0 for one in runs)
    assert value(found, "langserve_cost_total") == pytest.approx(float(cost))


def test_buckets_hold_all_that_took_no_longer(site: Site) -> None:
    runs = many(list(deployed("it").versions.all()), 150, hours_ago(5), hours_ago(0))
    count(runs)
    found = samples(site)
    name = "langserve_request_duration_seconds_bucket"
    bounds = {sample.labels["le"] for sample in found if sample.name == name}
    assert len(bounds) == 16
    for bound in bounds:
        wanted = sum((one.request_ms or 0) / 1000 <= float(bound) for one in runs)
        assert value(found, name, le=bound) == wanted
    streams = sum(one.request_first_chunk_ms is not None for one in runs)
    assert value(found, "langserve_first_chunk_seconds_count", endpoint="stream") == streams


def test_counters_do_not_fall_when_hours_of_long_ago_are_put_together(site: Site) -> None:
    (version,) = deployed("it").versions.all()
    old = timezone.now() - timedelta(days=figures.KEPT_DAYS + 1)
    count([run(version, old, cost=Decimal(2)), run(version, hours_ago(1))])
    DroppedTraces.objects.create(hour=old, count=3)
    DroppedTraces.objects.create(hour=hours_ago(1), count=4)
    before = samples(site)
    assert figures.prune() == 1
    retention.tidy()
    assert samples(site) == before
    metrics.forget()
    assert samples(site) == before
    assert value(before, "langserve_dropped_traces_total") == 7
    assert DroppedTraces.objects.count() == 2


def test_what_was_read_before_is_read_again_after_a_rebuild(site: Site) -> None:
    (version,) = deployed("it").versions.all()
    record([run(version, hours_ago(100))])
    assert value(samples(site), "langserve_requests_total") == 0
    assert sum(hour.changed for hour in rebuild(hours_ago(101), timezone.now())) == 1
    # What a process does once it sees the new revision.
    metrics.forget()
    assert value(samples(site), "langserve_requests_total") == 1


def test_old_hours_are_read_once(site: Site) -> None:
    (version,) = deployed("it").versions.all()
    count([run(version, hours_ago(100)), run(version, hours_ago(1))])
    first = samples(site)
    Figures.objects.filter(hour=hours_ago(100)).delete()
    assert samples(site) == first
    count([run(version, hours_ago(1))])
    assert value(samples(site), "langserve_requests_total") == 3


def test_only_the_newest_versions_are_told_apart(site: Site) -> None:
    row = deployed("it", versions=metrics.VERSIONS + 3)
    count([run(version, hours_ago(1)) for version in row.versions.all()])
    found = samples(site)
    name = "langserve_version_requests_total"
    versions = {int(one.labels["version"]) for one in found if one.name == name}
    assert versions == set(range(4, metrics.VERSIONS + 4))
    assert value(found, "langserve_requests_total") == metrics.VERSIONS + 3


def test_processes_are_added_up(site: Site) -> None:
    row = deployed("it")
    for _ in range(2):
        ServerProcess.objects.create(
            boot_id=uuid4(),
            host="a",
            pid=1,
            seen_at=timezone.now(),
            running={str(row.pk): 2},
            waiting={str(row.pk): 1},
            gauges={"trace_queue": 5},
        )
    found = samples(site)
    assert value(found, "langserve_open_runs", deployment="it") == 4
    assert value(found, "langserve_waiting_runs", deployment="it") == 2
    assert value(found, "langserve_trace_queue") == 10
    assert value(found, "langserve_processes") == 2


def test_names_of_deployments_are_escaped(site: Site) -> None:
    name = 'a"b\\c'
    row = Deployment.objects.create(name=name, path="it")
    version = DeploymentVersion.objects.create(deployment=row, number=1)
    count([run(version, hours_ago(1))])
    assert value(samples(site), "langserve_requests_total", deployment=name) == 1


# Who may ask


def staff(site: Site, *permissions: str) -> Any:
    user = site.user("stan", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def test_staff_who_may_view_deployments_may_ask_by_session(site: Site) -> None:
    headers = site.session(staff(site, "view_deployment"))
    assert site.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("scopes", "status"),
    [([], 200), (["admin"], 200), (["invoke"], 403), (["admin", "deployment:it"], 403)],
)
def test_a_token_of_staff_needs_the_scope(site: Site, scopes: list[str], status: int) -> None:
    headers = site.token(staff(site, "view_deployment"), scopes=scopes)
    assert site.get("/metrics", headers=headers).status_code == status


def test_others_may_not(site: Site) -> None:
    site.serve("hidden", echo(), access="staff")
    member = site.user("alice")
    member.user_permissions.set(Permission.objects.filter(codename="view_deployment"))
    refused = [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": "Bearer "}, 401),
        (site.token(staff(site)), 403),
        (site.token(member), 403),
    ]
    for headers, status in refused:
        response = site.get("/metrics", headers=headers)
        assert response.status_code == status
        assert response.json()["code"] in ("not_authenticated", "not_permitted")
        assert "hidden" not in response.text


def test_without_a_token_in_the_settings_none_is_taken(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "METRICS_TOKEN": ""}
    for token in ("", TOKEN):
        headers = {"Authorization": f"Bearer {token}"}
        assert site.get("/metrics", headers=headers).status_code == 401
