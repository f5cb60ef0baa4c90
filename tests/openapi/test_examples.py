"""
Examples made from schemas: they fit, or there is none.
"""

from __future__ import annotations

from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from runnables.openapi_examples import Examples, NoExample

SCHEMAS: list[Any] = [
    True,
    {},
    {"type": "string"},
    {"type": "string", "minLength": 9},
    {"type": "string", "maxLength": 2},
    {"type": "string", "format": "date-time"},
    {"type": ["null", "integer"]},
    {"type": "integer", "minimum": 7},
    {"type": "integer", "exclusiveMinimum": 1, "maximum": 3},
    {"type": "integer", "maximum": -7},
    {"type": "integer", "multipleOf": 5},
    {"type": "number", "exclusiveMaximum": 1},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.75},
    {"type": "boolean"},
    {"type": "null"},
    {"enum": ["a", "b"]},
    {"const": None},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3},
    {"type": "array", "items": {"type": "integer"}, "maxItems": 0},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a", "b"]},
    {"properties": {"type": {"const": "human"}, "more": {}}},
    {"anyOf": [{"type": "null"}, {"type": "object"}, {"type": "string"}]},
    {"oneOf": [{"type": "string", "pattern": "^a+$"}, {"type": "integer"}]},
    {"allOf": [{"type": "object", "required": ["a"]}, {"type": "object", "required": ["b"]}]},
    {"type": "integer", "default": 42},
    {"type": "integer", "examples": [3, 4]},
]


def example(schema: Any, components: dict[str, Any] | None = None, **options: Any) -> Any:
    return Examples((components or {}).__getitem__, **options).of(schema)


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_example_fits_its_schema(schema: Any) -> None:
    OAS31Validator(schema).validate(example(schema))


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "string", "pattern": "^[a-z]{3}$"},
        {"type": "object", "minProperties": 1},
        {"type": "array", "items": {}, "minItems": 2, "uniqueItems": True},
        {"type": "integer", "minimum": 4, "maximum": 6, "multipleOf": 7},
        {"anyOf": [False, {"type": "string", "pattern": "x"}]},
        {"allOf": [{"type": "object"}, {"type": "string"}]},
    ],
    ids=str,
)
def test_there_is_no_example_rather_than_a_wrong_one(schema: Any) -> None:
    with pytest.raises(NoExample):
        example(schema)


def test_what_the_author_named_wins() -> None:
    assert example({"type": "integer", "examples": [3], "default": 4}) == 3
    assert example({"type": "integer", "default": 4}) == 4


def test_endless_schema_ends() -> None:
    endless = {"type": "object", "properties": {"again": {"$ref": "it"}}, "required": ["again"]}

    with pytest.raises(NoExample):
        example({"$ref": "it"}, {"it": endless})


def test_optional_recursion_is_left_out() -> None:
    tree = {"type": "object", "properties": {"again": {"$ref": "it"}, "label": {"const": "x"}}}

    assert example({"$ref": "it"}, {"it": tree}) == {"label": "x"}


def test_preferred_arm_is_taken() -> None:
    arms = {name: {"const": name} for name in ("it.AIMessage", "it.HumanMessage")}
    union = {"oneOf": [{"$ref": name} for name in arms]}

    assert example(union, arms, prefer="HumanMessage") == "it.HumanMessage"
