"""
The rows that serve what is registered: made by sync, changed by people.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError

from runnables import deployments
from runnables.models import Deployment, DeploymentVersion
from runnables.registry import ENDPOINTS, Registry, default_registry
from tests.conftest import Site
from tests.fakes import echo

DOORS = ("invoke", "batch", "stream", "stream_log", "stream_events")
SCHEMAS = ("input_schema", "output_schema", "config_schema")
BODY = {"input": 1, "inputs": [1]}


def test_sync_makes_rows_with_the_registered_values(site: Site) -> None:
    row = site.serve(
        "it",
        echo(),
        path="/a/b",
        access="staff",
        description="An echo",
        listed=False,
        config_keys=["tags"],
        extra_configurable=["mood"],
        open_configurable=["api_key"],
        strict_config=True,
        validation="lenient",
        include_callback_events=True,
        stream_log_name_allow_list=["x"],
        playground_type="chat",
        astream_events_version="v1",
        max_batch_size=7,
        batch_concurrency=3,
        max_input_bytes=5000,
        timeout=9.5,
        disabled_endpoints=["batch"],
    )
    assert row.is_enabled
    assert (row.path, row.access, row.description, row.listed) == ("a/b", "staff", "An echo", False)
    version = row.version
    assert version is not None
    assert (version.number, version.config_keys) == (1, ["tags"])
    assert version.extra_configurable == ["mood"]
    assert (version.open_configurable, version.strict_config) == (["api_key"], True)
    assert (version.validation, row.include_callback_events) == ("lenient", True)
    assert row.stream_log_name_allow_list == ["x"]
    assert (row.playground_type, row.astream_events_version) == ("chat", "v1")
    assert (row.max_batch_size, row.batch_concurrency) == (7, 3)
    assert (row.max_input_bytes, row.timeout) == (5000, 9.5)
    assert "batch" not in row.endpoints
    assert "invoke" in row.endpoints


def test_error_detail_is_none_unless_somebody_opens_it(site: Site) -> None:
    assert site.serve("it", echo()).error_detail == "none"


def test_sync_makes_the_groups_it_names(site: Site) -> None:
    row = site.serve("it", echo(), access=["editors", "authors"])
    assert row.access == "groups"
    assert set(row.grants.values_list("group__name", flat=True)) == {"editors", "authors"}
    assert Group.objects.count() == 2


def test_sync_never_overwrites(site: Site) -> None:
    site.serve("it", echo(), access="public", max_batch_size=5)
    site.change("it", access="staff", is_enabled=False, path="moved")
    done = deployments.sync(default_registry)
    row = Deployment.objects.get()
    assert (done.created, done.orphaned) == ([], [])
    assert (row.access, row.is_enabled, row.path) == ("staff", False, "moved")


def test_sync_names_rows_whose_code_is_gone_and_keeps_them(site: Site) -> None:
    site.serve("it", echo())
    done = deployments.sync(Registry())
    assert done.orphaned == ["it"]
    assert Deployment.objects.count() == 1


def test_row_whose_code_is_gone_answers_503(site: Site) -> None:
    site.serve("it", echo())
    default_registry.clear()
    deployments.announce_change()
    response = site.post("/it/invoke", BODY)
    assert response.status_code == 503
    assert response.json()["code"] == "unavailable"
    assert list(Deployment.objects.orphaned()) == [Deployment.objects.get()]


def test_sync_survives_a_path_that_somebody_took(site: Site) -> None:
    site.serve("it", echo())
    site.change("it", path="other")
    site.serve("other", echo())
    assert site.invoke("/other", 1) == 1


def test_disabled_deployment_is_not_served(site: Site) -> None:
    row = site.serve("it", echo())
    deployments.switch(row, on=False, by="a test")
    assert {site.post(f"/it/{door}", BODY).status_code for door in DOORS} == {404}
    assert {site.get(f"/it/{name}").status_code for name in SCHEMAS} == {404}
    assert site.get("/deployments/").json() == []
    deployments.switch(row, on=True, by="a test")
    assert {site.post(f"/it/{door}", BODY).status_code for door in DOORS} == {200}


@pytest.mark.parametrize("endpoint", [*DOORS, *SCHEMAS])
def test_switched_off_endpoint_is_not_served_and_others_are(site: Site, endpoint: str) -> None:
    row = site.serve("it", echo())
    deployments.switch(row, on=False, endpoints=[endpoint], by="a test")
    method = "POST" if endpoint in DOORS else "GET"
    body = BODY if method == "POST" else None
    off = site.request(method, f"/it/{endpoint}", json=body)
    assert off.status_code == 404
    assert off.json()["detail"] == "Not Found"
    assert site.request(method, f"/it/c/N4XyA/{endpoint}", json=body).status_code == 404
    others = [door for door in DOORS if door != endpoint]
    assert {site.post(f"/it/{door}", BODY).status_code for door in others} == {200}
    deployments.switch(row, on=True, endpoints=[endpoint], by="a test")
    assert site.request(method, f"/it/{endpoint}", json=body).status_code == 200


def test_switched_off_hashes_close_their_variants_alone(site: Site) -> None:
    site.serve("it", echo(), disabled_endpoints=["config_hashes"])
    assert {site.post(f"/it/c/N4XyA/{door}", BODY).status_code for door in DOORS} == {404}
    assert {site.get(f"/it/c/N4XyA/{name}").status_code for name in SCHEMAS} == {404}
    assert {site.post(f"/it/{door}", BODY).status_code for door in DOORS} == {200}


def test_alias_of_stream_events_is_switched_off_with_it(site: Site) -> None:
    site.serve("it", echo(), disabled_endpoints=["astream_events"])
    assert site.post("/it/astream_events", BODY).status_code == 404
    assert site.post("/it/stream_events", BODY).status_code == 404


def test_no_endpoint_at_all(site: Site) -> None:
    site.serve("it", echo(), enabled_endpoints=[])
    assert {site.post(f"/it/{door}", BODY).status_code for door in DOORS} == {404}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"access": "staff"}, 401),
        ({"is_enabled": False}, 404),
        ({"max_input_bytes": 5}, 413),
        ({"strict_config": True}, 422),
        ({"path": "moved"}, 404),
    ],
)
def test_change_is_felt_by_the_next_call(site: Site, change: dict[str, Any], status: int) -> None:
    site.serve("it", echo())
    body = {"input": 1, "config": {"tags": ["t"]}}
    assert site.post("/it/invoke", body).status_code == 200
    site.change("it", **change)
    assert site.post("/it/invoke", body).status_code == status


def test_moved_deployment_is_named_after_its_new_path(site: Site) -> None:
    site.serve("it", echo(), include_callback_events=True)
    site.change("it", path="moved")
    events = site.post("/moved/invoke", BODY).json()["callback_events"]
    assert events[0]["kwargs"]["name"] == "/moved"


def test_list_says_what_a_client_needs(site: Site) -> None:
    site.serve("it", echo(), description="An echo")
    [row] = site.get("/deployments/").json()
    assert (row["name"], row["path"], row["description"]) == ("it", "/it", "An echo")
    assert "invoke" in row["endpoints"]


# What a row may hold


def row_with(site: Site, values: dict[str, Any]) -> Deployment | DeploymentVersion:
    """
    The deployment, or its version where that is what has these fields, changed and not saved.
    """
    deployment = site.serve("it", echo())
    row: Any = deployment
    if set(values) <= {*DeploymentVersion.CONTENT}:
        row = deployment.version
    for name, value in values.items():
        setattr(row, name, value)
    return row  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "nothing"}, "name"),
        ({"name": "os.system"}, "name"),
        ({"path": "admin"}, "path"),
        ({"path": "a/invoke"}, "path"),
        ({"path": "a b"}, "path"),
        ({"endpoints": ["cats"]}, "endpoints"),
        ({"endpoints": "invoke"}, "endpoints"),
        ({"config_keys": "tags"}, "config_keys"),
        ({"config_keys": [1]}, "config_keys"),
        ({"locked": "mood"}, "locked"),
        ({"max_concurrent_runs": 0}, "max_concurrent_runs"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"max_recursion": 1_001}, "max_recursion"),
        ({"validation": "loose"}, "validation"),
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"max_batch_size": 10_001}, "max_batch_size"),
        ({"batch_concurrency": 0}, "batch_concurrency"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_bad_values_are_refused(site: Site, values: dict[str, Any], field: str) -> None:
    row = row_with(site, values)
    with pytest.raises(ValidationError) as caught:
        row.full_clean()
    assert field in caught.value.message_dict


@pytest.mark.parametrize(
    "values",
    [
        {"config_keys": ["run_name"]},
        {"config_keys": ["callbacks"]},
        {"config_keys": ["cats"]},
        {"stream_log_name_allow_list": "x"},
        {"stream_log_name_allow_list": 5},
        {"max_input_bytes": 0},
    ],
)
def test_values_that_cannot_be_served_are_refused(site: Site, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        row_with(site, values).full_clean()


def test_all_endpoints_may_be_on(site: Site) -> None:
    row = site.serve("it", echo())
    row.endpoints = list(ENDPOINTS)
    row.full_clean()
    assert str(row) == "it"
