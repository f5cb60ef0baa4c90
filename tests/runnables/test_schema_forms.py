"""
JSON Schema as Django form fields: every shape, there and back.
"""

from __future__ import annotations

from typing import Any, Literal

import pytest
from django import forms
from pydantic import BaseModel, Field

from runnables.schema_forms import (
    UNSET,
    Described,
    JsonField,
    default_text,
    describe,
    entered,
    form_field,
    json_text,
    shown,
)

HOSTILE = "</textarea><script>window.PWNED=1</script>{{ 7*7 }}"
NODE = {"type": "object", "properties": {"below": {"$ref": "#/$defs/Node"}}}


def described(schema: Any, **around: Any) -> Described:
    [found] = describe({"type": "object", "properties": {"it": schema}, **around})
    return found


def form_of(one: Described, value: Any = UNSET, data: Any = None) -> forms.Form:
    form = forms.Form(data, initial={"it": shown(one, value)})
    form.fields["it"] = form_field(one)
    return form


def through(schema: Any, value: Any, **around: Any) -> Any:
    """
    A value that is shown in the form, and the form is sent as it is.
    """
    one = described(schema, **around).fitting(value)
    data = {"it": form_of(one, value)["it"].value()}
    form = form_of(one, value, data)
    assert form.is_valid(), form.errors
    return entered(one, form.cleaned_data["it"], value)


def typed(schema: Any, text: Any, **around: Any) -> Any:
    """
    What somebody typed into the empty field, as a value.
    """
    one = described(schema, **around)
    form = form_of(one, data={"it": text})
    assert form.is_valid(), form.errors
    return entered(one, form.cleaned_data["it"])


STRING = {"type": "string"}
NULL = {"type": "null"}
SHAPES: list[tuple[Any, str]] = [
    (STRING, "text"),
    ({"type": "string", "format": "date"}, "text"),
    ({"type": "integer"}, "integer"),
    ({"type": "number"}, "number"),
    ({"type": "boolean"}, "boolean"),
    ({"enum": ["a", "b"], "type": "string"}, "choice"),
    ({"enum": [1, "1", True]}, "choice"),
    ({"const": "only"}, "choice"),
    ({"enum": []}, "json"),
    ({"type": "array", "items": STRING}, "lines"),
    ({"type": "array", "items": {"enum": ["a", "b"]}}, "choices"),
    ({"type": "array", "items": {"$ref": "#/$defs/Color"}}, "choices"),
    ({"type": "array", "items": {"type": "integer"}}, "json"),
    ({"type": "array"}, "json"),
    ({"type": "array", "prefixItems": [STRING, STRING]}, "json"),
    ({"type": "object"}, "json"),
    ({"type": "object", "properties": {"a": STRING}}, "json"),
    ({"anyOf": [STRING, NULL]}, "text"),
    ({"anyOf": [NULL, {"type": "integer"}]}, "integer"),
    ({"oneOf": [{"type": "boolean"}, NULL]}, "boolean"),
    ({"type": ["string", "null"]}, "text"),
    ({"type": ["string", "integer"]}, "json"),
    ({"enum": ["a", None]}, "choice"),
    ({"anyOf": [{"$ref": "#/$defs/Color"}, NULL]}, "choice"),
    ({"anyOf": [{"const": "a"}, {"enum": ["b"]}]}, "choice"),
    ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, "number"),
    ({"anyOf": [STRING, {"type": "integer"}]}, "json"),
    ({"anyOf": [{"type": "array", "items": STRING}, NULL]}, "lines"),
    ({"$ref": "#/$defs/Color"}, "choice"),
    ({"$ref": "#/$defs/Color", "title": "Hue"}, "choice"),
    ({"allOf": [{"$ref": "#/$defs/Color"}], "default": "red"}, "choice"),
    ({"$ref": "#/$defs/Node"}, "json"),
    ({"$ref": "#/$defs/Loop"}, "json"),
    ({"$ref": "#/$defs/Nowhere"}, "json"),
    ({"not": STRING}, "json"),
    ({}, "json"),
    (True, "json"),
]
DEFINITIONS = {
    "Color": {"enum": ["red", "blue"], "type": "string", "title": "Color"},
    "Node": NODE,
    "Loop": {"$ref": "#/$defs/Loop"},
}


@pytest.mark.parametrize(("schema", "kind"), SHAPES)
def test_every_shape_has_a_field(schema: Any, kind: str) -> None:
    one = described(schema, **{"$defs": DEFINITIONS})
    assert one.kind == kind
    assert form_of(one)["it"].as_widget()


@pytest.mark.parametrize(("schema", "_kind"), SHAPES)
@pytest.mark.parametrize(
    "value",
    [
        UNSET,
        None,
        "",
        "text",
        "a\nb",
        "a\r\nb",
        "\n leading",
        "a",
        "red",
        HOSTILE,
        0,
        1,
        -(10**15),
        1.0,
        0.1,
        True,
        False,
        [],
        ["a"],
        ["b", "a"],
        ["a", "a"],
        ["a\nb", "", " c "],
        [1, None],
        ["red", "blue"],
        {},
        {"a": {"b": [None, True, 1.5, "ü"]}},
    ],
)
def test_any_value_comes_back_to_the_letter(schema: Any, _kind: str, value: Any) -> None:
    back = through(schema, value, **{"$defs": DEFINITIONS})
    assert back is UNSET if value is UNSET else back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (STRING, "a\r\nb", "a\nb"),
        (STRING, "  kept  ", "  kept  "),
        (STRING, "", UNSET),
        ({"type": "integer"}, "7", 7),
        ({"type": "integer"}, "", UNSET),
        ({"type": "number"}, "0", 0.0),
        ({"type": "boolean"}, "false", False),
        ({"type": "boolean"}, "", UNSET),
        ({"enum": [1, "1"]}, '"1"', "1"),
        ({"enum": [1, "1"]}, "1", 1),
        ({"type": "array", "items": STRING}, " a \r\n\r\nb", ["a", "b"]),
        ({"type": "array", "items": STRING}, "\n", UNSET),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, ['"b"'], ["b"]),
        ({}, "null", None),
        ({}, "[]", []),
        ({}, '{"a": 1}', {"a": 1}),
        ({}, " ", UNSET),
    ],
)
def test_what_was_typed_is_a_value(schema: Any, text: Any, value: Any) -> None:
    found = typed(schema, text)
    assert found is UNSET if value is UNSET else found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer"}, "1.5"),
        ({"type": "integer"}, "many"),
        ({"type": "integer", "minimum": 1}, "0"),
        ({"type": "integer", "maximum": 9}, "10"),
        ({"type": "number"}, "nan"),
        ({"type": "number"}, "inf"),
        ({"type": "boolean"}, "perhaps"),
        ({"enum": ["a"]}, '"b"'),
        ({"type": "array", "items": {"enum": ["a"]}}, ['"b"']),
        ({"type": "string", "maxLength": 3}, "four"),
        ({}, "{"),
        ({}, "NaN"),
        ({}, '{"a": 1, "a": 2}' * 2),
        ({}, "[" * 5000),
    ],
)
def test_what_does_not_fit_is_an_error_of_its_field(schema: Any, text: Any) -> None:
    form = form_of(described(schema), data={"it": text})
    assert list(form.errors) == ["it"]


def test_broken_json_is_said_with_its_place() -> None:
    with pytest.raises(forms.ValidationError, match="line 2"):
        JsonField().clean('{\n"a" 1}')


def test_required_field_is_required_unless_told_otherwise() -> None:
    one = described(STRING, required=["it"])
    assert form_of(one, data={}).errors
    assert not form_field(one, always_optional=True).required


def test_words_come_from_the_schema_and_what_stands_beside_a_reference() -> None:
    one = described(
        {"$ref": "#/$defs/Color", "title": "Hue", "description": "Which", "default": "red"},
        **{"$defs": DEFINITIONS},
    )
    assert (one.label, one.help, one.default) == ("Hue", "Which", "red")
    assert described({"$ref": "#/$defs/Color"}, **{"$defs": DEFINITIONS}).label == "Color"
    assert described({}).label == "it"


@pytest.mark.parametrize(
    ("default", "text"),
    [(0.7, "0.7"), (True, "Yes"), (None, ""), (UNSET, ""), ([1], "[1]"), (HOSTILE, HOSTILE)],
)
def test_default_is_said_in_a_line(default: Any, text: str) -> None:
    assert default_text(Described("it", "it", "json", default=default)) == text


def test_hostile_texts_are_escaped_in_every_kind_of_field() -> None:
    schemas: list[Any] = [
        STRING,
        {"enum": [HOSTILE]},
        {"type": "array", "items": STRING},
        {"type": "array", "items": {"enum": [HOSTILE]}},
        {},
    ]
    for schema in schemas:
        value: Any = [HOSTILE] if schema.get("type") == "array" else HOSTILE
        one = described({**schema, "title": HOSTILE, "description": HOSTILE}).fitting(value)
        page = form_of(one, value).as_p()
        assert "<script>" not in page
        assert "&lt;script&gt;" in page


class Inner(BaseModel):
    depth: int = 1


class Model(BaseModel):
    name: str = Field(description="Whose")
    color: Literal["red", "blue"] = "red"
    inner: Inner = Inner()
    maybe: int | None = Field(None, ge=0)
    either: int | str = 1
    tags: list[str] = []


def test_model_of_pydantic_is_described_in_its_order() -> None:
    found = describe(Model.model_json_schema())
    assert [(one.name, one.kind) for one in found] == [
        ("name", "text"),
        ("color", "choice"),
        ("inner", "json"),
        ("maybe", "integer"),
        ("either", "json"),
        ("tags", "lines"),
    ]
    assert [one.is_required for one in found] == [True, *[False] * 5]
    assert found[3].is_nullable
    assert found[3].minimum == 0


def test_parts_of_all_of_are_one_object() -> None:
    schema = {
        "allOf": [
            {"properties": {"a": STRING}, "required": ["a"]},
            {"properties": {"b": {"type": "integer"}}},
        ]
    }
    assert [(one.name, one.is_required) for one in describe(schema)] == [("a", True), ("b", False)]


def test_json_keeps_letters_of_every_language() -> None:
    assert json_text({"a": "grüße"}) == '{\n  "a": "grüße"\n}'
