"""
`/openapi.json` as its readers get it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Group
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, Field, create_model
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from runnables import (
    CustomUserType,
    exceptions,
    openapi,
    openapi_paths,
    openapi_shared,
    served,
    snapshot,
)
from runnables.exceptions import ServingError
from runnables.openapi_schemas import plain_name
from tests.conftest import Site
from tests.fakes import SECRET, Words, add_one, echo

Document = dict[str, Any]
METHODS = ("get", "post")
MANY = 50


def document(site: Site, **options: Any) -> Document:
    response = site.get("/openapi.json", **options)
    assert response.status_code == 200, response.text
    content: Document = response.json()
    return content


def paths(site: Site, **options: Any) -> set[str]:
    return set(document(site, **options)["paths"])


def operations(content: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in content["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, item[method]


def invalid(content: Document) -> list[str]:
    return [str(error) for error in OpenAPIV31SpecValidator(content).iter_errors()]


def followed(content: Document, node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        found: Any = content
        for key in node["$ref"][2:].split("/"):
            found = found[key]
        node = found
    return node


def serve_kinds(site: Site) -> None:
    """
    One deployment for every kind of schema.
    """
    site.serve("number", RunnableLambda(add_one))
    site.serve("anything", echo(), description="Gives back what it got.")
    site.serve("prompt", ChatPromptTemplate.from_template("About {topic}"))
    site.serve("model", Words())
    site.serve("staff_only", echo(), access="staff", path="/staff/only")
    site.serve("observed", echo(), include_callback_events=True)
    site.serve("at_root", echo(), path="/")
    site.serve("tree", echo(), input_type=Tree)
    site.serve("upload", echo(), input_type=Upload)
    site.serve("given", echo(), input_schema=GIVEN)


class Tree(BaseModel):
    label: str
    children: list[Tree] = []


class Inner(CustomUserType):
    image: str = Field(
        json_schema_extra={"extra": {"widget": {"type": "base64file", "accept": ["image/png"]}}}
    )


class Upload(CustomUserType):
    note: str
    inner: Inner
    file: str = Field(json_schema_extra={"extra": {"widget": {"type": "base64file"}}})


# As people write them by hand: an id, a definition in the old place, references of all kinds.
GIVEN = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://example.org/given.json",
    "type": "object",
    "properties": {
        "whole": {"$ref": "#"},
        "part": {"$ref": "#/properties/text"},
        "text": {"type": "string", "default": None},
        "old": {"$ref": "#/definitions/Old~1One"},
        "lost": {"$ref": "#/$defs/Lost"},
        "foreign": {"$ref": "https://example.org/other.json"},
        "$ref": {"type": "string"},
    },
    "definitions": {"Old/One": {"type": "integer", "default": "seven"}},
}


# What it says


def test_document_is_valid_openapi_31(site: Site) -> None:
    serve_kinds(site)
    user = site.user("alice", is_staff=True)

    content = document(site, headers=site.token(user))

    assert content["openapi"].startswith("3.1.")
    assert "/staff/only/invoke" in content["paths"]
    assert invalid(content) == []


def test_operations_have_unique_ids_and_known_tags(site: Site) -> None:
    serve_kinds(site)
    content = document(site)
    ids = [operation["operationId"] for _, operation in operations(content)]
    tags = [tag["name"] for tag in content["tags"]]

    assert len(ids) == len(set(ids))
    assert len(tags) == len(set(tags))
    assert {tag for _, operation in operations(content) for tag in operation["tags"]} == set(tags)


def test_every_endpoint_is_there_with_its_variant(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one))
    posts = ["invoke", "batch", "stream", "stream_log", "stream_events"]
    gets = ["input_schema", "output_schema", "config_schema"]
    content = document(site)

    for endpoint in posts + gets:
        method = "post" if endpoint in posts else "get"
        plain = content["paths"][f"/it/{endpoint}"][method]
        variant = content["paths"][f"/it/c/{{config_hash}}/{endpoint}"][method]
        assert (plain["summary"], plain["tags"]) == (f"it {endpoint}", ["it"])
        assert variant["summary"] == f"it {endpoint} with config"
        assert variant["tags"] == ["it/config"]
    assert "post" in content["paths"]["/it/runs/{run_id}/cancel"]
    assert "get" in content["paths"]["/it/runs/{run_id}"]
    assert "get" in content["paths"]["/it/ws"]
    assert "get" in content["paths"]["/deployments/"]


def test_every_path_is_answered_as_documented(site: Site) -> None:
    serve_kinds(site)
    missing = []

    for path, operation in operations(document(site)):
        method = "GET" if "requestBody" not in operation and "cancel" not in path else "POST"
        if "{run_id}" in path:
            continue
        real = path.replace("{config_hash}", "N4XyA")
        body = {"input": 1, "inputs": []} if method == "POST" else None
        response = site.request(method, real, **({"json": body} if body else {}))
        if str(response.status_code) not in operation["responses"] or response.status_code == 404:
            missing.append((path, response.status_code))

    assert missing == []


def test_switched_off_endpoints_are_absent(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one), disabled_endpoints=["batch", "websocket"])
    site.serve("plain", RunnableLambda(add_one), disabled_endpoints=["config_hashes"])
    site.serve("little", RunnableLambda(add_one), enabled_endpoints=["invoke"])
    found = paths(site)

    assert {"/it/invoke", "/it/c/{config_hash}/invoke", "/plain/batch"} <= found
    assert not found & {"/it/batch", "/it/c/{config_hash}/batch", "/it/ws"}
    assert not [path for path in found if path.startswith("/plain/c/")]
    little = {path for path in found if path.startswith("/little/")}
    runs = {"/little/runs/{run_id}", "/little/runs/{run_id}/cancel"}
    assert little == {"/little/invoke", *runs}


def test_endpoint_switched_off_later_goes(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one))
    assert "/it/stream" in paths(site)

    site.change("it", endpoints=["invoke"])

    assert "/it/stream" not in paths(site)
    assert "/it/invoke" in paths(site)


def test_input_and_output_are_the_deployments_own(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one))
    schemas = document(site)["components"]["schemas"]

    assert schemas["itInput"]["type"] == "integer"
    request = schemas["itInvokeRequest"]
    assert request["required"] == ["input"]
    assert request["properties"]["input"] == {"$ref": "#/components/schemas/itInput"}
    output = schemas["itInvokeResponse"]["properties"]["output"]
    assert output == {"$ref": "#/components/schemas/itOutput"}
    assert schemas["itBatchRequest"]["properties"]["inputs"]["maxItems"] == 100
    assert "include_names" in schemas["itStreamEventsRequest"]["properties"]


def test_streams_are_event_streams_with_an_example(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one))
    content = document(site)["paths"]["/it/stream"]["post"]["responses"]["200"]["content"]

    example = content["text/event-stream"]["example"]
    assert list(content) == ["text/event-stream"]
    assert example.startswith("event: metadata\r\ndata: ")
    assert example.endswith("event: data\r\ndata: 1\r\n\r\nevent: end\r\n\r\n")


def test_callback_events_are_documented_where_sent(site: Site) -> None:
    site.serve("seen", echo(), include_callback_events=True)
    site.serve("unseen", echo())
    schemas = document(site)["components"]["schemas"]

    assert "callback_events" in schemas["seenInvokeResponse"]["properties"]
    assert "callback_events" not in schemas["unseenInvokeResponse"]["properties"]


def test_files_are_documented_as_a_form(site: Site) -> None:
    site.serve("it", echo(), input_type=Upload)
    site.serve("other", echo())
    content = document(site)["paths"]

    form = content["/it/invoke"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["properties"]["inner.image"] == {"type": "string", "format": "binary"}
    assert form["encoding"]["inner.image"] == {"contentType": "image/png"}
    assert form["encoding"]["input"] == {"contentType": "application/json"}
    assert "file" in form["schema"]["properties"]
    assert "multipart/form-data" in content["/it/stream"]["post"]["requestBody"]["content"]
    assert "multipart/form-data" not in content["/it/batch"]["post"]["requestBody"]["content"]
    assert "multipart/form-data" not in content["/other/invoke"]["post"]["requestBody"]["content"]


def test_errors_are_documented_with_their_codes(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one))
    content = document(site)

    responses = content["paths"]["/it/invoke"]["post"]["responses"]
    assert set(responses) >= {"400", "404", "413", "415", "422", "429", "499", "500", "503", "504"}
    invalid_body = followed(content, responses["422"])["content"]["application/json"]
    assert {"validation_error", "invalid_json"} <= set(invalid_body["examples"])
    assert invalid_body["schema"] == {"$ref": "#/components/schemas/Error"}


def test_every_error_of_ours_is_an_example_somewhere() -> None:
    described = {code for response in _responses() for code in response["examples"]}
    # 405 is for what is not documented; the others have no code that they always bring.
    elsewhere = {
        "error",
        "not_found",
        "https_required",
        "method_not_allowed",
        "public_error",
        "over_limit",
        "unhealthy",
    }

    assert {error.code for error in _subclasses(ServingError)} - elsewhere <= described


def _responses() -> Iterator[dict[str, Any]]:
    for response in openapi_shared.components()["responses"].values():
        yield response["content"]["application/json"]


def _subclasses(of: type[ServingError]) -> Iterator[type[ServingError]]:
    for error in of.__subclasses__():
        if error.__module__ == exceptions.__name__:
            yield error
            yield from _subclasses(error)


def test_examples_fit_their_schemas(site: Site) -> None:
    serve_kinds(site)
    content = document(site)
    resource = Resource.from_contents(content, default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:document", resource)
    wrong, seen = [], 0

    for where, media_type in _media_types(content):
        schema = _absolute(media_type["schema"])
        validator = OAS31Validator(schema, registry=registry)
        named = [entry["value"] for entry in media_type.get("examples", {}).values()]
        for example in [*named, *([media_type["example"]] if "example" in media_type else [])]:
            seen += 1
            wrong += [(where, error.message) for error in validator.iter_errors(example)]

    assert wrong == []
    assert seen > 100


def _absolute(schema: Any) -> Any:
    return json.loads(json.dumps(schema).replace('"#/', '"urn:document#/'))


def _media_types(node: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "content":
                yield from ((f"{where}/{name}", kind) for name, kind in value.items())
            elif where != "/components" or key != "schemas":
                yield from _media_types(value, f"{where}/{key}")


@pytest.mark.parametrize("path", ["number", "prompt", "model", "tree", "upload"])
def test_example_can_be_sent_as_it_is(site: Site, path: str) -> None:
    serve_kinds(site)
    body = document(site)["paths"][f"/{path}/invoke"]["post"]["requestBody"]

    response = site.post(f"/{path}/invoke", body["content"]["application/json"]["example"])

    assert response.status_code == 200, response.text


# Names


def test_fifty_models_of_one_name_do_not_clash(site: Site) -> None:
    for number in range(MANY):
        fields: Any = {f"field_{number}": (int, ...)}
        part = create_model("Part", **fields)
        model = create_model("Input", part=(part, ...), parts=(list[part], []))  # type: ignore[valid-type]
        site.serve(f"model_{number}", echo(), input_type=model, output_type=model)
    content = document(site)
    schemas = content["components"]["schemas"]

    assert invalid(content) == []
    for number in range(MANY):
        whole = followed(content, schemas[f"model_{number}InvokeRequest"]["properties"]["input"])
        part = followed(content, whole["properties"]["part"])
        assert list(part["properties"]) == [f"field_{number}"]
        assert followed(content, whole["properties"]["parts"]["items"]) == part


def test_input_and_output_may_have_models_of_one_name(site: Site) -> None:
    def model(kind: type) -> Any:
        inner = create_model("Inner", value=(kind, ...))
        return create_model("Outer", inner=(inner, ...))

    site.serve("it", echo(), input_type=model(int), output_type=model(str))
    content = document(site)
    schemas = content["components"]["schemas"]

    taken = followed(content, schemas["itInput"]["properties"]["inner"])
    given = followed(content, schemas["itOutput"]["properties"]["inner"])
    assert taken["properties"]["value"]["type"] == "integer"
    assert given["properties"]["value"]["type"] == "string"


def test_paths_that_differ_in_marks_only_do_not_clash(site: Site) -> None:
    alike = ["a/b", "a-b", "a.b", "a_b"]
    for path in alike:
        site.serve(plain_name(path) + str(alike.index(path)), echo(), path=f"/{path}")
    content = document(site)
    ids = [operation["operationId"] for _, operation in operations(content)]

    assert invalid(content) == []
    assert len(ids) == len(set(ids))
    assert "a_b_invoke" in ids


def test_names_do_not_depend_on_the_order() -> None:
    alike = ["a/b", "a-b", "a_b", "c", ""]

    assert openapi.namespaces(alike) == openapi.namespaces(alike[::-1])
    assert openapi.namespaces(["", "c", "made/by"]) == {"": "root", "c": "c", "made/by": "made_by"}


def test_hand_written_schema_keeps_the_document_whole(site: Site) -> None:
    site.serve("it", echo(), input_schema=GIVEN)
    content = document(site)
    properties = content["components"]["schemas"]["itInput"]["properties"]

    assert invalid(content) == []
    assert properties["whole"] == {"$ref": "#/components/schemas/itInput"}
    assert properties["part"] == {"$ref": "#/components/schemas/itInput/properties/text"}
    assert followed(content, properties["old"]) == {"type": "integer"}
    assert "$ref" not in properties["lost"]
    assert "$ref" not in properties["foreign"]
    assert properties["$ref"] == {"type": "string"}


# Who sees what


def test_callers_see_what_they_may_use(site: Site) -> None:
    for access in ("public", "authenticated", "staff"):
        site.serve(access, echo(), access=access)
    site.serve("of_editors", echo(), access=["editors"])
    alice, bob = site.user("alice"), site.user("bob", is_staff=True)
    alice.groups.add(Group.objects.get(name="editors"))

    def visible(**options: Any) -> set[str]:
        return {path.split("/")[1] for path in paths(site, **options)} - {"deployments"}

    assert visible() == {"public"}
    assert visible(headers=site.token(alice)) == {"public", "authenticated", "of_editors"}
    assert visible(headers=site.session(bob)) == {"public", "authenticated", "staff"}


def test_wrong_token_is_refused(site: Site) -> None:
    response = site.get("/openapi.json", headers={"Authorization": "Bearer wrong"})

    assert response.status_code == 401
    assert response.json()["code"] == "not_authenticated"


def test_access_is_documented_where_it_is_asked(site: Site) -> None:
    site.serve("public", echo())
    site.serve("private", echo(), access="authenticated")
    content = document(site, headers=site.token(site.user("alice")))["paths"]

    public, private = content["/public/invoke"]["post"], content["/private/invoke"]["post"]
    assert public["security"] == []
    cancel = content["/public/runs/{run_id}/cancel"]["post"]
    assert not {"401", "403"} & set(cancel["responses"])
    assert {"401", "403"} <= set(private["responses"])
    assert {"token": []} in private["security"]
    assert {"session": [], "csrf": []} in private["security"]
    assert {"session": []} in content["/private/input_schema"]["get"]["security"]


def test_permission_of_the_developer_counts_as_access(site: Site) -> None:
    class Named:
        def has_permission(self, request: Any, view: Any) -> bool:
            return "X-Name" in request.headers

    site.serve("it", echo(), permission_classes=[Named])

    assert "/it/invoke" not in paths(site)
    named = document(site, headers={"X-Name": "alice"})["paths"]
    assert "401" in named["/it/invoke"]["post"]["responses"]


# What is wrong with one deployment


def test_deployment_that_cannot_be_built_keeps_the_rest_whole(site: Site) -> None:
    def build() -> Runnable[Any, Any]:
        raise RuntimeError(SECRET)

    site.serve("broken", build)
    site.serve("whole", RunnableLambda(add_one))
    content = document(site)
    about = {tag["name"]: tag["description"] for tag in content["tags"]}

    assert invalid(content) == []
    assert {"/broken/invoke", "/whole/invoke"} <= set(content["paths"])
    assert "cannot be built" in about["broken"]
    assert SECRET not in json.dumps(content)


def test_deployment_that_can_be_built_later_is_described_then(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "BUILD_AGAIN_SECONDS", 0)
    ready: list[Runnable[Any, Any]] = []
    site.serve("late", lambda: ready[0])
    assert "type" not in document(site)["components"]["schemas"]["lateInput"]

    ready.append(RunnableLambda(add_one))

    assert document(site)["components"]["schemas"]["lateInput"]["type"] == "integer"


def test_schema_that_cannot_be_drawn_keeps_the_rest_whole(site: Site) -> None:
    class Odd(CustomUserType):
        @classmethod
        def __get_pydantic_json_schema__(cls, *_: Any) -> Any:
            raise RuntimeError(SECRET)

    site.serve("odd", echo(), input_type=Odd)
    site.serve("whole", RunnableLambda(add_one))
    content = document(site)
    schemas = content["components"]["schemas"]

    assert invalid(content) == []
    assert "cannot be drawn" in schemas["oddInput"]["description"]
    assert SECRET not in json.dumps(content)
    assert schemas["wholeInput"]["type"] == "integer"


# Where and how it is served


def test_servers_name_the_prefix(site: Site, settings: Any) -> None:
    site.serve("it", echo())
    assert document(site)["servers"] == [{"url": "/"}]

    settings.FORCE_SCRIPT_NAME = "/pre/fix"

    assert site.get("/pre/fix/openapi.json").json()["servers"] == [{"url": "/pre/fix"}]


def test_unchanged_document_is_not_sent_again(site: Site) -> None:
    site.serve("it", echo())
    first = site.get("/openapi.json")
    again = {"If-None-Match": first.headers["ETag"]}

    unchanged = site.get("/openapi.json", headers=again)
    site.change("it", description="Changed.")
    changed = site.get("/openapi.json", headers=again)

    assert first.headers["Cache-Control"] == "private, no-cache"
    assert "Cookie" in first.headers["Vary"]
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_wrong_method_is_405(site: Site) -> None:
    response: httpx.Response = site.post("/openapi.json", {})

    assert response.status_code == 405


# Time


def test_unchanged_deployments_are_not_drawn_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        site.serve(name, echo())
    document(site)
    drawn: list[str] = []
    draw = openapi_paths.fragment

    def counted(deployment: Any, namespace: str) -> Any:
        drawn.append(deployment.name)
        return draw(deployment, namespace)

    monkeypatch.setattr(openapi, "fragment", counted)
    document(site)
    site.change("two", description="Changed.")
    document(site)

    assert drawn == ["two"]


def test_fifty_deployments_take_less_than_100_ms_when_warm(site: Site) -> None:
    for number in range(MANY):
        site.serve(f"model_{number}", Words())
    deployments = snapshot.all_deployments()
    cold = _milliseconds(lambda: openapi.compose(deployments, ""))

    kept = [_milliseconds(lambda: openapi.compose(deployments, "")) for _ in range(9)]
    # As for a caller whose set of deployments nobody has asked for yet.
    new = [
        _milliseconds(lambda n=number: openapi.compose(deployments, f"/{n}")) for number in range(9)
    ]

    assert statistics.median(new) < 100
    assert statistics.median(kept) < 100
    assert statistics.median(kept) < cold / 10


def _milliseconds(function: Any) -> float:
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1000
