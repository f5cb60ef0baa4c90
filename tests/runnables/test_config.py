"""
The config a caller may send, how it is merged, and what the server makes of it.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import lzstring
import pytest
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableConfig
from rest_framework.exceptions import NotFound, PermissionDenied, Throttled

from runnables import PublicError, config_hash
from runnables.config import looks_like_credential
from runnables.models import Deployment
from tests.conftest import Site, events
from tests.fakes import HASH_OF_TEMPLATE, SECRET, Declaring, Spy, echo

EVERY_KEY = (
    "configurable",
    "tags",
    "metadata",
    "run_id",
    "recursion_limit",
    "max_concurrency",
)
CLIENT_DEFAULTS = {"tags": [], "metadata": {}, "recursion_limit": 25, "configurable": {}}
DOORS = ("invoke", "batch", "stream", "stream_log", "stream_events")


def greeting() -> Any:
    return PromptTemplate.from_template("Hello {name}").configurable_fields(
        template=ConfigurableField(id="template")
    )


def call(site: Site, config: Any, **options: Any) -> Any:
    return site.post("/it/invoke", {"input": 1, "config": config}, **options)


def body_for(door: str, config: Any = None) -> dict[str, Any]:
    given = {"inputs": [1]} if door == "batch" else {"input": 1}
    return {**given, "config": config}


# What is let through


@pytest.mark.parametrize("config", [None, {}, CLIENT_DEFAULTS])
def test_nothing_sent_is_nothing_dropped(site: Site, config: Any) -> None:
    site.serve("it", echo())
    response = call(site, config)
    assert response.status_code == 200
    assert "X-Dropped-Config" not in response.headers


@pytest.mark.parametrize("door", DOORS)
def test_dropped_keys_are_named(site: Site, door: str) -> None:
    spy = Spy()
    site.serve("it", spy)
    config = {
        "tags": ["t"],
        "metadata": {"m": 1},
        "runName": "x",
        "recursionLimit": 25,
        "recursion_limit": 25,
        "configurable": {"nobody": 1},
    }
    response = site.post(f"/it/{door}", body_for(door, config))
    named = response.headers["X-Dropped-Config"].split(", ")
    assert response.status_code == 200
    assert sorted(named) == ["configurable.nobody", "metadata", "runName", "tags"]
    assert "t" not in spy.last_config["tags"]
    assert spy.metadata == {}
    assert "nobody" not in spy.configurable


def test_names_of_dropped_keys_cannot_break_the_header(site: Site) -> None:
    site.serve("it", echo())
    response = call(site, {"a\r\nSet-Cookie: x": 1, "é": 2})
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert "\n" not in response.headers["X-Dropped-Config"]


def test_strict_deployment_refuses_what_others_drop(site: Site) -> None:
    site.serve("it", echo(), strict_config=True)
    response = call(site, {"tags": ["t"], "configurable": {"nobody": 1}})
    assert response.status_code == 422
    assert response.json()["code"] == "config_not_allowed"
    assert "configurable.nobody" in response.json()["message"]
    assert "tags" in response.json()["message"]


def test_strict_deployment_takes_the_defaults_of_clients(site: Site) -> None:
    site.serve("it", echo(), strict_config=True)
    assert call(site, CLIENT_DEFAULTS).status_code == 200


def test_open_keys_reach_the_runnable(site: Site) -> None:
    spy = Spy()
    run_id = str(uuid4())
    site.serve("it", spy, config_keys=EVERY_KEY)
    config = {
        "tags": ["b", "a"],
        "metadata": {"m": 1},
        "recursion_limit": 7,
        "max_concurrency": 3,
        "run_id": run_id,
    }
    response = call(site, config)
    assert response.json()["metadata"]["run_id"] == run_id
    assert "X-Dropped-Config" not in response.headers
    assert sorted(spy.last_config["tags"]) == ["a", "b"]
    assert spy.metadata == {"m": 1}
    assert spy.last_config["recursion_limit"] == 7
    assert spy.last_config["max_concurrency"] == 3


@pytest.mark.parametrize("key", ["callbacks", "run_name"])
def test_callbacks_and_run_name_are_never_taken(site: Site, key: str) -> None:
    spy = Spy()
    site.serve("it", spy, config_keys=EVERY_KEY)
    response = call(site, {key: "x"})
    assert response.status_code == 200
    assert response.headers["X-Dropped-Config"] == key


@pytest.mark.parametrize(
    ("config", "loc"),
    [
        ({"tags": [[]]}, ["tags", 0]),
        ({"tags": "x"}, ["tags"]),
        ({"metadata": []}, ["metadata"]),
        ({"run_id": "x"}, ["run_id"]),
        ({"recursion_limit": "x"}, ["recursion_limit"]),
        ({"configurable": {"template": 5}}, ["configurable", "template"]),
    ],
)
def test_wrong_types_are_refused_with_their_place(site: Site, config: Any, loc: Any) -> None:
    site.serve("it", greeting(), config_keys=EVERY_KEY)
    response = site.post("/it/invoke", {"input": {"name": "x"}, "config": config})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][: len(loc)] == loc
    assert "input" not in response.json()["detail"][0]


@pytest.mark.parametrize("value", [[1], "x", 5])
def test_configurable_that_is_no_object_is_refused(site: Site, value: Any) -> None:
    site.serve("it", greeting())
    body = {"input": {"name": "x"}, "config": {"configurable": value}}
    response = site.post("/it/invoke", body)
    assert response.status_code == 422


def test_declared_field_is_configured(site: Site) -> None:
    site.serve("it", greeting())
    body = {"input": {"name": "x"}, "config": {"configurable": {"template": "Bye {name}"}}}
    assert site.post("/it/invoke", body).json()["output"]["text"] == "Bye x"


def test_config_decides_the_input_schema(site: Site) -> None:
    site.serve("it", greeting())
    body = {"input": {"name": "x"}, "config": {"configurable": {"template": "{name} {y}"}}}
    response = site.post("/it/invoke", body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["y"]


def test_configurable_is_refused_where_it_is_not_open(site: Site) -> None:
    site.serve("it", greeting(), config_keys=["tags"])
    body = {"input": {"name": "x"}, "config": {"configurable": {"template": "x"}}}
    response = site.post("/it/invoke", body)
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)
    assert "configurable" in response.json()["detail"]


@pytest.mark.parametrize("configurable", [{}, None])
def test_empty_configurable_is_not_refused(site: Site, configurable: Any) -> None:
    site.serve("it", greeting(), config_keys=["tags"])
    config = {**CLIENT_DEFAULTS, "configurable": configurable}
    body = {"input": {"name": "x"}, "config": config}
    assert site.post("/it/invoke", body).status_code == 200


def test_extra_ids_reach_the_runnable(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, extra_configurable=["mood"])
    response = call(site, {"configurable": {"mood": {"happy": True}}})
    assert "X-Dropped-Config" not in response.headers
    assert spy.configurable["mood"] == {"happy": True}


# Merging


def hashed(config: Any) -> str:
    return str(lzstring.LZString().compressToEncodedURIComponent(json.dumps(config)))


def test_body_wins_over_hash_key_by_key(site: Site) -> None:
    spy = Declaring(one=str, two=str, three=str)
    site.serve("it", spy, config_keys=EVERY_KEY)
    in_hash = {
        "tags": ["h", "both"],
        "metadata": {"a": "hash", "b": "hash"},
        "configurable": {"one": "hash", "two": "hash"},
        "recursion_limit": 30,
        "max_concurrency": 2,
    }
    in_body = {
        "tags": ["b", "both"],
        "metadata": {"b": "body"},
        "configurable": {"two": "body", "three": "body"},
        "recursion_limit": 25,
        "max_concurrency": None,
    }
    site.post(f"/it/c/{hashed(in_hash)}/invoke", {"input": 1, "config": in_body})
    assert spy.last_config["tags"] == ["b", "both", "h"]
    assert spy.metadata.items() >= {"a": "hash", "b": "body"}.items()
    given = {name: spy.configurable[name] for name in ("one", "two", "three")}
    assert given == {"one": "hash", "two": "body", "three": "body"}
    assert spy.last_config["recursion_limit"] == 30
    assert spy.last_config["max_concurrency"] == 2


def test_recursion_limit_of_the_body_wins_unless_it_is_the_default(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, config_keys=EVERY_KEY)
    path = f"/it/c/{hashed({'recursion_limit': 30})}/invoke"
    site.post(path, {"input": 1, "config": {"recursion_limit": 40}})
    assert spy.last_config["recursion_limit"] == 40


@pytest.mark.parametrize("door", ["invoke", "stream", "batch"])
def test_hash_of_the_contract_is_understood(site: Site, door: str) -> None:
    site.serve("it", greeting(), config_keys=EVERY_KEY)
    given = {"name": "n", "y": "m"}
    body = {"inputs": [given]} if door == "batch" else {"input": given}
    response = site.post(f"/it/c/{HASH_OF_TEMPLATE}/{door}", body)
    assert response.status_code == 200
    assert "X n m" in response.text


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("config_hash", "status"),
    [
        ("!", 400),
        ("nothing", 400),
        (hashed([1]), 400),
        (hashed("text"), 400),
        (hashed(None), 400),
        (hashed({"tags": [[]]}), 422),
        (hashed({"configurable": {"template": 5}}), 422),
        (hashed({"configurable": {"user_id": 5}}), 422),
    ],
)
def test_bad_hash_is_refused(site: Site, door: str, config_hash: str, status: int) -> None:
    site.serve("it", greeting(), config_keys=EVERY_KEY)
    given = {"name": "n"}
    body = {"inputs": [given]} if door == "batch" else {"input": given}
    response = site.post(f"/it/c/{config_hash}/{door}", body)
    assert response.status_code == status
    if status == 400:
        assert response.json()["detail"] == "Invalid config hash"


def test_plus_of_a_hash_may_arrive_as_a_space(site: Site) -> None:
    site.serve("it", Spy(), config_keys=EVERY_KEY)
    with_plus = hashed({"tags": ["ottealiyusqtene}bycukmzab}pc{|dmejseubfy"]})
    spaced = with_plus.replace("+", "%20")
    assert spaced != with_plus
    assert site.post(f"/it/c/{spaced}/invoke", {"input": 1}).status_code == 200


# Closed ids


@pytest.mark.parametrize(
    ("name", "is_closed"),
    [
        ("key", True),
        ("openai_api_key", True),
        ("apiKey", True),
        ("OPENAI_API_KEY", True),
        ("client_secret", True),
        ("accessToken", True),
        ("password", True),
        ("base_url", True),
        ("baseUrl", True),
        ("baseURL", True),
        ("openai-base-url", True),
        ("endpoint", True),
        ("default_headers", True),
        ("http_proxy", True),
        ("max_tokens", False),
        ("maxTokens", False),
        ("tokenizer", False),
        ("keyboard", False),
        ("monkey", False),
        ("url", False),
        ("base", False),
        ("model", False),
        ("temperature", False),
        ("secretary", False),
        ("session_id", False),
    ],
)
def test_credentials_and_addresses_are_known_by_whole_words(name: str, is_closed: bool) -> None:
    assert looks_like_credential(name) is is_closed


def test_declared_credential_is_closed_until_opened(site: Site) -> None:
    spy = Declaring(openai_api_key=str, max_tokens=int)
    site.serve("it", spy)
    config = {"configurable": {"openai_api_key": SECRET}}
    refused = call(site, config)
    assert refused.status_code == 422
    assert "openai_api_key" in refused.json()["message"]
    assert SECRET not in refused.text
    assert spy.inputs == []
    site.change("it", open_configurable=["openai_api_key"])
    assert call(site, config).status_code == 200
    assert spy.configurable["openai_api_key"] == SECRET


def test_max_tokens_is_open(site: Site) -> None:
    spy = Declaring(max_tokens=int)
    site.serve("it", spy)
    call(site, {"configurable": {"max_tokens": 5}})
    assert spy.configurable["max_tokens"] == 5


@pytest.mark.parametrize(
    "name", ["user_id", "username", "groups", "tenant", "checkpoint_id", "checkpoint_ns"]
)
@pytest.mark.parametrize("declared", [True, False])
def test_ids_of_the_server_are_refused(site: Site, name: str, declared: bool) -> None:
    spy = Declaring(**{name: str}) if declared else Spy()
    site.serve("it", spy, extra_configurable=[name], open_configurable=[name])
    response = call(site, {"configurable": {name: "1"}})
    assert response.status_code == 422
    assert response.json()["code"] == "config_not_allowed"
    assert spy.inputs == []


@pytest.mark.parametrize("door", DOORS)
def test_ids_of_the_server_are_refused_at_every_door(site: Site, door: str) -> None:
    spy = Declaring(user_id=str)
    site.serve("it", spy)
    config = {"configurable": {"user_id": "1"}}
    statuses = [
        site.post(f"/it/{door}", body_for(door, config)).status_code,
        site.post(f"/it/c/{hashed(config)}/{door}", body_for(door)).status_code,
    ]
    if door == "batch":
        statuses.append(site.post("/it/batch", body_for(door, [config])).status_code)
    assert set(statuses) == {422}
    assert spy.inputs == []


def test_declared_identity_is_that_of_the_caller(site: Site) -> None:
    spy = Declaring(user_id=str, username=str)
    site.serve("it", spy)
    alice = site.user("alice")
    call(site, None, headers=site.token(alice))
    assert spy.configurable["user_id"] == str(alice.pk)
    assert spy.configurable["username"] == "alice"
    call(site, None)
    assert spy.configurable.get("user_id") is None


# Threads and sessions belong to somebody


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("name", ["thread_id", "session_id"])
def test_same_session_of_two_callers_is_two_sessions(site: Site, name: str, declared: bool) -> None:
    spy = Declaring(**{name: str}) if declared else Spy()
    site.serve("it", spy, extra_configurable=[name])
    alice, bob = (site.token(site.user(user)) for user in ("alice", "bob"))
    for headers in (alice, bob, {}, alice):
        call(site, {"configurable": {name: "1"}}, headers=headers)
    seen = [config["configurable"][name] for config in spy.configs]
    assert seen[0] == seen[3]
    assert len(set(seen)) == 3
    assert all("1" in value for value in seen)


def test_nobody_can_name_a_session_of_somebody_else(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, extra_configurable=["session_id"])
    alice, bob = site.user("alice"), site.user("bob")
    call(site, {"configurable": {"session_id": "1"}}, headers=site.token(alice))
    stolen = spy.configurable["session_id"]
    guesses = [stolen, "1", f"u{alice.pk}-1", f"-{stolen}", f"../{stolen}", ""]
    for headers in ({}, site.token(bob)):
        for guess in guesses:
            call(site, {"configurable": {"session_id": guess}}, headers=headers)
            assert spy.configurable.get("session_id") != stolen
    anonymous = f"anonymous-{stolen}"
    call(site, {"configurable": {"session_id": anonymous}}, headers=site.token(bob))
    assert spy.configurable["session_id"].startswith(f"u{bob.pk}-")


@pytest.mark.parametrize("value", ["", 0, False])
def test_empty_session_is_not_shared_by_everybody(site: Site, value: Any) -> None:
    spy = Spy()
    site.serve("it", spy, extra_configurable=["session_id"])
    for name in ("alice", "bob"):
        headers = site.token(site.user(name))
        call(site, {"configurable": {"session_id": value}}, headers=headers)
    alice, bob = (config["configurable"].get("session_id") for config in spy.configs)
    assert alice != bob


def test_session_in_a_hash_belongs_to_the_caller_too(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, extra_configurable=["session_id"])
    path = f"/it/c/{hashed({'configurable': {'session_id': '1'}})}/invoke"
    site.post(path, {"input": 1}, headers=site.token(site.user("alice")))
    assert spy.configurable["session_id"] != "1"


def test_session_of_a_batch_belongs_to_the_caller_too(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, extra_configurable=["thread_id"])
    config = {"configurable": {"thread_id": "1"}}
    site.post("/it/batch", {"inputs": [1, 2], "config": [config, config]})
    site.post("/it/batch", {"inputs": [1, 2], "config": config})
    assert {c["configurable"]["thread_id"] for c in spy.configs} == {"anonymous-1"}


# Run ids


def test_run_id_by_config_where_it_is_open(site: Site) -> None:
    run_id = str(uuid4())
    site.serve("it", echo(), config_keys=["run_id"])
    response = call(site, {"run_id": run_id}, headers={"X-Run-Id": str(uuid4())})
    assert response.headers["X-Run-Id"] == run_id


def test_run_id_by_config_is_dropped_where_it_is_not_open(site: Site) -> None:
    run_id = str(uuid4())
    site.serve("it", echo())
    response = call(site, {"run_id": run_id})
    assert response.json()["metadata"]["run_id"] != run_id
    assert response.headers["X-Dropped-Config"] == "run_id"


def test_run_id_by_header(site: Site) -> None:
    run_id = str(uuid4())
    site.serve("it", echo())
    assert call(site, {}, headers={"X-Run-Id": run_id}).headers["X-Run-Id"] == run_id


def test_modifier_chooses_the_run_id_last(site: Site) -> None:
    run_id = uuid4()
    site.serve(
        "it", echo(), per_req_config_modifier=lambda config, request: {**config, "run_id": run_id}
    )
    response = call(site, {}, headers={"X-Run-Id": str(uuid4())})
    assert UUID(response.headers["X-Run-Id"]) == run_id


# Bounds


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"tags": ["t"] * 21}, "tags"),
        ({"tags": ["t" * 101]}, "tags"),
        ({"metadata": {"m": "x" * 5000}}, "metadata"),
        ({"metadata": {"__useragent": "x"}}, "metadata"),
        ({"recursion_limit": -1}, "recursion_limit"),
        ({"recursion_limit": 1001}, "recursion_limit"),
        ({"max_concurrency": -1}, "max_concurrency"),
        ({"max_concurrency": 101}, "max_concurrency"),
        ({"recursion_limit": 0}, "recursion_limit"),
        ({"max_concurrency": 0}, "max_concurrency"),
    ],
)
def test_bounds_are_kept(site: Site, config: Any, key: str) -> None:
    site.serve("it", echo(), config_keys=EVERY_KEY)
    response = call(site, config)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == [key]


@pytest.mark.parametrize(
    "config",
    [
        {"tags": ["t" * 100] * 20},
        {"recursion_limit": 1},
        {"recursion_limit": 1000},
        {"max_concurrency": 1},
        {"max_concurrency": 100},
    ],
)
def test_bounds_can_be_reached(site: Site, config: Any) -> None:
    site.serve("it", echo(), config_keys=EVERY_KEY)
    assert call(site, config).status_code == 200


# The modifier


def add_tenant(config: RunnableConfig, request: Any) -> dict[str, Any]:
    metadata = {**config.get("metadata", {}), "tenant": request.headers.get("X-Tenant")}
    return {**config, "metadata": metadata, "tags": ["from modifier"]}


async def add_tenant_later(config: RunnableConfig, request: Any) -> dict[str, Any]:
    return add_tenant(config, request)


@pytest.mark.parametrize("modifier", [add_tenant, add_tenant_later])
@pytest.mark.parametrize("door", DOORS)
def test_modifier_adds_what_callers_may_not_send(site: Site, door: str, modifier: Any) -> None:
    spy = Spy()
    site.serve("it", spy, per_req_config_modifier=modifier)
    response = site.post(f"/it/{door}", body_for(door), headers={"X-Tenant": "acme"})
    assert response.status_code == 200
    assert spy.metadata == {"tenant": "acme"}
    assert "from modifier" in spy.last_config["tags"]


class Promise:
    """
    What an async `__call__` returns, but for the warning where nobody awaits it.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Any:
        yield from ()
        return self.value


@pytest.mark.parametrize(
    "modifier",
    [
        partial(add_tenant),
        partial(add_tenant_later),
        lambda config, request: Promise(add_tenant(config, request)),
    ],
)
def test_modifier_may_be_anything_that_can_be_called(site: Site, modifier: Any) -> None:
    spy = Spy()
    site.serve("it", spy, per_req_config_modifier=modifier)
    assert call(site, {}, headers={"X-Tenant": "acme"}).status_code == 200
    assert spy.metadata == {"tenant": "acme"}


def test_modifier_may_ask_the_database(site: Site) -> None:
    spy = Spy()

    def count(config: RunnableConfig, request: Any) -> Any:
        return {**config, "metadata": {"deployments": Deployment.objects.count()}}

    site.serve("it", spy, per_req_config_modifier=count)
    call(site, {})
    assert spy.metadata == {"deployments": 1}


def test_modifier_sees_the_user_and_the_body(site: Site) -> None:
    seen: list[Any] = []

    async def look(config: RunnableConfig, request: Any) -> RunnableConfig:
        seen.append((request.user.username, request.data, await request.json(), request.method))
        return config

    site.serve("it", echo(), per_req_config_modifier=look)
    site.post("/it/invoke", {"input": 1}, headers=site.token(site.user("alice")))
    assert seen == [("alice", {"input": 1}, {"input": 1}, "POST")]


def test_modifier_can_read_the_body_as_it_was_sent(site: Site) -> None:
    seen: list[bytes] = []

    async def look(config: RunnableConfig, request: Any) -> RunnableConfig:
        seen.append(await request.body())
        return config

    site.serve("it", echo(), per_req_config_modifier=look)
    site.post("/it/invoke", content=b'{ "input" : 1.0 }')
    assert seen == [b'{ "input" : 1.0 }']


def test_modifier_overwrites_what_the_caller_sent(site: Site) -> None:
    spy = Declaring(mood=str)

    def calm(config: RunnableConfig, request: Any) -> Any:
        return {**config, "configurable": {**config.get("configurable", {}), "mood": "calm"}}

    site.serve("it", spy, per_req_config_modifier=calm)
    call(site, {"configurable": {"mood": "angry"}})
    assert spy.configurable["mood"] == "calm"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PublicError("No.", status=402), 402),
        (PermissionDenied("no"), 403),
        (NotFound("no"), 404),
        (Throttled(9), 429),
        (DjangoPermissionDenied(), 403),
        (Http404(), 404),
        (RuntimeError(SECRET), 500),
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_error_of_the_modifier_keeps_its_status(
    site: Site, door: str, error: Exception, status: int
) -> None:
    spy = Spy()

    def refuse(config: RunnableConfig, request: Any) -> RunnableConfig:
        raise error

    site.serve("it", spy, per_req_config_modifier=refuse)
    response = site.post(f"/it/{door}", body_for(door))
    assert response.status_code == status
    assert isinstance(response.json()["message"], str)
    assert SECRET not in response.text
    assert spy.inputs == []


def test_modifier_that_returns_no_config_is_a_500(site: Site) -> None:
    site.serve("it", echo(), per_req_config_modifier=lambda config, request: None)
    assert call(site, {}).status_code == 500


@pytest.mark.parametrize(("config", "times"), [({}, 1), ([{}, {}, {}], 3)])
def test_modifier_runs_once_for_each_config_of_a_batch(site: Site, config: Any, times: int) -> None:
    calls: list[Any] = []

    def count(config: RunnableConfig, request: Any) -> RunnableConfig:
        calls.append(config)
        return config

    site.serve("it", echo(), per_req_config_modifier=count)
    site.post("/it/batch", {"inputs": [1, 2, 3], "config": config})
    assert len(calls) == times


def test_config_that_a_modifier_keeps_is_not_written_to(site: Site) -> None:
    kept: Any = {"metadata": {"a": 1}, "tags": ["t"], "configurable": {}}
    site.serve("it", echo(), per_req_config_modifier=lambda config, request: kept)
    call(site, {})
    site.post("/it/batch", {"inputs": [1, 2]})
    assert kept == {"metadata": {"a": 1}, "tags": ["t"], "configurable": {}}


def test_modifier_decides_the_input_schema(site: Site) -> None:
    def other(config: RunnableConfig, request: Any) -> Any:
        return {**config, "configurable": {"template": "{other}"}}

    site.serve("it", greeting(), per_req_config_modifier=other)
    assert site.invoke("/it", {"other": "x"})["text"] == "x"


# What the rest of the site adds


def name_the_run(call: Any) -> dict[str, Any]:
    return {"named": str(call.run_id)}


def test_metadata_of_other_apps_joins_the_run(site: Site, settings: Any) -> None:
    spy = Spy()
    settings.LANGSERVE = {"RUN_METADATA": ["tests.runnables.test_config.name_the_run"]}
    site.serve("it", spy)
    run_id = call(site, {}).headers["X-Run-Id"]
    assert spy.metadata == {"named": run_id}


def test_metadata_of_other_apps_is_each_runs_own(site: Site, settings: Any) -> None:
    spy = Spy()
    settings.LANGSERVE = {"RUN_METADATA": ["tests.runnables.test_config.name_the_run"]}
    site.serve("it", spy)
    body = site.post("/it/batch", {"inputs": [1, 2]}).json()
    named = [config["metadata"]["named"] for config in spy.configs]
    assert sorted(named) == sorted(body["metadata"]["run_ids"])


def test_callbacks_of_a_deployment_know_the_caller(site: Site) -> None:
    seen: list[Any] = []

    class Handler(BaseCallbackHandler):
        def __init__(self, who: str) -> None:
            self.who = who

        def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
            seen.append((self.who, inputs))

    site.serve("it", echo(), callbacks=lambda request: Handler(request.user.username))
    site.post("/it/invoke", {"input": 5}, headers=site.token(site.user("alice")))
    assert seen == [("alice", 5)]


def test_hash_that_we_make_is_one_that_we_read(site: Site) -> None:
    spy = Spy()
    site.serve("it", spy, config_keys=EVERY_KEY)
    ours = config_hash.encode({"tags": ["é🐈"]})
    response = site.post(f"/it/c/{ours}/stream", {"input": 1})
    assert events(response)[-1][0] == "end"
    assert spy.last_config["tags"] == ["é🐈"]
