"""
GET input_schema, output_schema and config_schema.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda
from pydantic import BaseModel, Field

from runnables import CustomUserType, config_hash
from tests.conftest import Site
from tests.fakes import HASH_OF_TEMPLATE, add_one, echo, failing

NAMES = ("input_schema", "output_schema", "config_schema")


def greeting() -> Runnable[Any, Any]:
    template = ConfigurableField(id="template", name="Template", description="What to say")
    return PromptTemplate.from_template("Hello {name}").configurable_fields(template=template)


class Question(BaseModel):
    text: str
    limit: int = Field(default=3, ge=1)


class Upload(CustomUserType):
    file: str = Field(json_schema_extra={"extra": {"widget": {"type": "base64file"}}})


def test_schemas_of_a_function_are_those_of_the_contract(site: Site) -> None:
    site.serve("it", RunnableLambda(add_one))
    assert site.get("/it/input_schema").json() == {"title": "add_one_input", "type": "integer"}
    assert site.get("/it/output_schema").json() == {"title": "add_one_output", "type": "integer"}
    assert site.get("/it/config_schema").json() == {
        "properties": {},
        "title": "add_one_config",
        "type": "object",
    }


def test_schema_of_a_prompt_names_its_variables(site: Site) -> None:
    site.serve("it", PromptTemplate.from_template("{a} {b}"))
    schema = site.get("/it/input_schema").json()
    assert schema["title"] == "PromptInput"
    assert set(schema["properties"]) == {"a", "b"}
    assert schema["type"] == "object"


def test_config_schema_has_the_declared_fields(site: Site) -> None:
    site.serve("it", greeting())
    schema = site.get("/it/config_schema").json()
    [configurable] = schema["$defs"].values()
    assert configurable["properties"]["template"]["description"] == "What to say"
    assert set(schema["properties"]) == {"configurable"}


def test_config_schema_has_the_keys_that_are_open(site: Site) -> None:
    site.serve("it", greeting(), config_keys=["tags", "metadata"])
    schema = site.get("/it/config_schema").json()
    assert {"tags", "metadata"} <= set(schema["properties"])


def test_hash_changes_the_input_schema(site: Site) -> None:
    site.serve("it", greeting())
    plain = site.get("/it/input_schema").json()
    hashed = site.get(f"/it/c/{HASH_OF_TEMPLATE}/input_schema").json()
    assert set(plain["properties"]) == {"name"}
    assert set(hashed["properties"]) == {"name", "y"}


@pytest.mark.parametrize("name", NAMES)
def test_empty_hash_is_an_empty_config(site: Site, name: str) -> None:
    site.serve("it", greeting())
    assert site.get(f"/it/c/{config_hash.encode({})}/{name}").json() == (
        site.get(f"/it/{name}").json()
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", ["!", "nothing", "NoIgbg9g"])
def test_broken_hash_is_refused(site: Site, name: str, broken: str) -> None:
    site.serve("it", greeting())
    response = site.get(f"/it/c/{broken}/{name}")
    assert response.status_code == 400
    assert response.json()["detail"] == "Invalid config hash"


@pytest.mark.parametrize("name", NAMES)
def test_hash_with_wrong_types_is_unprocessable(site: Site, name: str) -> None:
    site.serve("it", greeting())
    hashed = config_hash.encode({"configurable": {"template": 5}})
    response = site.get(f"/it/c/{hashed}/{name}")
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["configurable", "template"]


def test_overrides_are_published_and_obeyed(site: Site) -> None:
    site.serve("it", echo(), input_schema=Question, output_schema=list[str])
    schema = site.get("/it/input_schema").json()
    assert schema["title"] == "Question"
    assert site.get("/it/output_schema").json()["items"] == {"type": "string"}
    assert site.invoke("/it", {"text": "x"}) == {"text": "x", "limit": 3}
    assert site.post("/it/invoke", {"input": {"text": "x", "limit": 0}}).status_code == 422


def test_json_schema_as_an_override_is_published_and_passes_input_on(site: Site) -> None:
    published = {"title": "Anything", "type": "object"}
    site.serve("it", echo(), input_schema=published)
    assert site.get("/it/input_schema").json() == published
    assert site.invoke("/it", [1]) == [1]


def test_types_given_at_registration_are_the_schemas(site: Site) -> None:
    site.serve("it", echo(), input_type=int, output_type=str)
    assert site.get("/it/input_schema").json()["type"] == "integer"
    assert site.get("/it/output_schema").json()["type"] == "string"
    assert site.post("/it/invoke", {"input": "x"}).status_code == 422


def test_widget_of_a_field_is_in_the_schema(site: Site) -> None:
    site.serve("it", echo(), input_type=Upload)
    schema = site.get("/it/input_schema").json()
    assert schema["properties"]["file"]["extra"] == {"widget": {"type": "base64file"}}


def test_file_widget_raises_the_limit_of_the_body(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {"MAX_INPUT_BYTES": 100, "MAX_FILE_INPUT_BYTES": 1000}
    site.serve("files", echo(), input_type=Upload)
    site.serve("plain", echo())
    body = {"input": {"file": "x" * 200}}
    assert site.post("/files/invoke", body).status_code == 200
    assert site.post("/plain/invoke", body).status_code == 413


def test_modifier_is_not_asked_for_schemas(site: Site) -> None:
    def refuse(config: Any, request: Any) -> Any:
        raise AssertionError("asked")

    site.serve("it", greeting(), per_req_config_modifier=refuse)
    assert [site.get(f"/it/{name}").status_code for name in NAMES] == [200, 200, 200]


def test_schemas_do_not_run_the_runnable(site: Site) -> None:
    site.serve("it", failing())
    assert [site.get(f"/it/{name}").status_code for name in NAMES] == [200, 200, 200]


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_json(site: Site, name: str) -> None:
    site.serve("it", greeting())
    response = site.get(f"/it/{name}/", headers={"Accept": "text/html"})
    assert response.headers["content-type"] == "application/json"


class Shared(BaseModel):
    one: int


class Cat(BaseModel):
    shared: Shared


class Dog(BaseModel):
    shared: list[Shared]


def test_models_shared_between_deployments_do_not_mix(site: Site) -> None:
    site.serve("cat", echo(), input_type=Cat)
    site.serve("dog", echo(), input_type=Dog)
    assert site.get("/cat/input_schema").json()["title"] == "Cat"
    assert site.get("/dog/input_schema").json()["title"] == "Dog"
