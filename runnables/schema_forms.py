"""
JSON Schema -> descriptions of fields -> Django form fields, and the way back to values.

What a plain field can carry without loss gets one; everything else is a box of JSON, so
that any schema can be edited. A blank field is "not set": it says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from django import forms
from django.utils.html import escape
from django.utils.translation import gettext as _

from runnables.payload import BadPayload, parse

Kind = Literal["text", "integer", "number", "boolean", "choice", "choices", "lines", "json"]

MAX_DEPTH = 8
# Longer texts, and those without a bound, may have several lines.
ONE_LINE = 100
_ONE_LINE_FORMATS = {"date", "date-time", "time", "duration", "email", "uri", "uuid", "hostname"}


class Unset:
    """
    No value at all, as against null.
    """

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


@dataclass(frozen=True, slots=True)
class Described:
    """
    One field of an object's schema. `default` is what counts without a value.
    """

    name: str
    label: str
    kind: Kind
    help: str = ""
    choices: tuple[Any, ...] = ()
    is_required: bool = False
    is_nullable: bool = False
    is_long: bool = False
    default: Any = UNSET
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None

    def fitting(self, value: Any) -> Described:
        """
        The same, or a box of JSON where the plain field would lose what the value says.
        """
        return self if _fits(self, value) else replace(self, kind="json")


def describe(schema: Mapping[str, Any]) -> list[Described]:
    """
    The fields of an object's schema, in its order.
    """
    definitions = {**(schema.get("definitions") or {}), **(schema.get("$defs") or {})}
    whole = _resolved(schema, definitions)
    required = whole.get("required") or ()
    return [
        _described(str(name), one, definitions, is_required=name in required)
        for name, one in (whole.get("properties") or {}).items()
    ]


def form_field(described: Described, *, always_optional: bool = False) -> forms.Field:
    """
    The Django field of a description. With `always_optional` a value may be left unset
    though the schema requires it.
    """
    field: forms.Field = _FIELDS[described.kind](described)
    field.label = described.label
    field.required = described.is_required and not always_optional
    # Django's templates take a help text for markup.
    field.help_text = escape(described.help)
    return field


def shown(described: Described, value: Any) -> Any:
    """
    A value as the field of its description shows it.
    """
    if value is UNSET or (value is None and described.kind != "json"):
        return None
    if described.kind in ("choice", "boolean"):
        return _spelled(value)
    if described.kind == "choices":
        return [_spelled(one) for one in value]
    if described.kind == "lines":
        return "\n".join(value)
    return json_text(value) if described.kind == "json" else value


def entered(described: Described, cleaned: Any, before: Any = UNSET) -> Any:
    """
    The value that was entered. Where the field shows still the same, it is the one from
    before to the letter: 1 stays 1 where 1.0 would be equal, and an empty text stays.
    """
    value = _entered(described, cleaned)
    if before is not UNSET and _as_shown(shown(described, before)) == _as_shown(
        shown(described, value)
    ):
        return before
    return value


def json_text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def default_text(described: Described) -> str:
    """
    What counts without a value, in a line; nothing if there is no such thing.
    """
    default = described.default
    if default is UNSET or default is None:
        return ""
    if isinstance(default, bool):
        return _("Yes") if default else _("No")
    return default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)


# Schemas


def _described(
    name: str, given: Any, definitions: Mapping[str, Any], *, is_required: bool
) -> Described:
    schema, is_nullable = _without_null(_resolved(given, definitions), definitions)
    kind, choices = _kind(schema, definitions)
    own = given if isinstance(given, Mapping) else {}
    is_text = kind == "text"
    return Described(
        name=name,
        label=str(own.get("title") or schema.get("title") or name),
        kind=kind,
        help=str(own.get("description") or schema.get("description") or ""),
        choices=choices,
        is_required=is_required,
        is_nullable=is_nullable,
        is_long=is_text and _is_long(schema),
        default=own.get("default", schema.get("default", UNSET)),
        minimum=_number(schema, "minimum"),
        maximum=_number(schema, "maximum"),
        max_length=schema.get("maxLength") if is_text else None,
    )


def _resolved(schema: Any, definitions: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """
    A schema without references at its top; what a reference stands beside is kept.
    """
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return {}
    found = dict(schema)
    if reference := found.pop("$ref", None):
        target = definitions.get(str(reference).rpartition("/")[2])
        found = {**_resolved(target, definitions, depth + 1), **found}
    parts = found.pop("allOf", None)
    whole: dict[str, Any] = {}
    for part in parts if isinstance(parts, list) else ():
        whole = _together(whole, _resolved(part, definitions, depth + 1))
    return _together(whole, found)


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {**one, **other}
    if "properties" in one and "properties" in other:
        both["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        both["required"] = [*one["required"], *other["required"]]
    return both


def _without_null(
    schema: dict[str, Any], definitions: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    """
    The schema of what is not null, and whether null is allowed.
    """
    for union in ("anyOf", "oneOf"):
        if isinstance(schema.get(union), list):
            return _of_union(schema, union, definitions)
    kinds = schema.get("type")
    if isinstance(kinds, list) and "null" in kinds:
        rest = [kind for kind in kinds if kind != "null"]
        return {**schema, "type": rest[0] if len(rest) == 1 else rest}, True
    if isinstance(schema.get("enum"), list) and None in schema["enum"]:
        return {**schema, "enum": [one for one in schema["enum"] if one is not None]}, True
    return schema, False


def _of_union(
    schema: dict[str, Any], union: str, definitions: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    options = [_resolved(option, definitions) for option in schema[union]]
    values = [option for option in options if option.get("type") != "null"]
    beside = {key: value for key, value in schema.items() if key != union}
    is_nullable = len(values) < len(options)
    if len(values) == 1:
        inner, also = _without_null(values[0], definitions)
        return {**inner, **beside}, is_nullable or also
    if values and all(_constants(option) is not None for option in values):
        listed = [one for option in values for one in _constants(option) or ()]
        return {**beside, "enum": listed}, is_nullable
    if {str(option.get("type")) for option in values} == {"integer", "number"}:
        return {**beside, "type": "number"}, is_nullable
    return beside, is_nullable


def _constants(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return schema["enum"] if isinstance(schema.get("enum"), list) else None


def _kind(schema: dict[str, Any], definitions: Mapping[str, Any]) -> tuple[Kind, tuple[Any, ...]]:
    constants = _constants(schema)
    if constants is not None:
        return ("choice", tuple(constants)) if constants else ("json", ())
    kind = schema.get("type")
    if kind == "array":
        return _kind_of_array(schema, definitions)
    plain: dict[Any, Kind] = {
        "string": "text",
        "integer": "integer",
        "number": "number",
        "boolean": "boolean",
    }
    return (plain.get(kind, "json") if isinstance(kind, str) else "json"), ()


def _kind_of_array(
    schema: dict[str, Any], definitions: Mapping[str, Any]
) -> tuple[Kind, tuple[Any, ...]]:
    if "prefixItems" in schema:
        return "json", ()
    items = _resolved(schema.get("items"), definitions)
    constants = _constants(items)
    if constants:
        return "choices", tuple(constants)
    return ("lines" if items.get("type") == "string" else "json"), ()


def _is_long(schema: Mapping[str, Any]) -> bool:
    if schema.get("format") in _ONE_LINE_FORMATS:
        return False
    longest = schema.get("maxLength")
    return not isinstance(longest, int) or longest > ONE_LINE


def _number(schema: Mapping[str, Any], key: str) -> float | None:
    value = schema.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


# Values


def _fits(described: Described, value: Any) -> bool:
    kind = described.kind
    if value is UNSET or kind == "json" or (value is None and described.is_nullable):
        return True
    if kind == "text":
        # A browser sends every line break as the same two characters.
        return (
            isinstance(value, str)
            and "\r" not in value
            and (described.is_long or "\n" not in value)
        )
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in ("integer", "number"):
        types: Any = int if kind == "integer" else (int, float)
        return isinstance(value, types) and not isinstance(value, bool)
    if kind == "choice":
        return _spelled(value) in map(_spelled, described.choices)
    if not isinstance(value, list):
        return False
    if kind == "choices":
        known = [_spelled(one) for one in described.choices]
        return [one for one in known if one in map(_spelled, value)] == [*map(_spelled, value)]
    return all(_is_line(one) for one in value)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value.splitlines() == [value] and value.strip() == value


def _entered(described: Described, cleaned: Any) -> Any:
    if cleaned in (None, "", []):
        return UNSET
    if described.kind in ("choice", "boolean"):
        return json.loads(cleaned)
    if described.kind == "choices":
        return [json.loads(one) for one in cleaned]
    return cleaned.value if isinstance(cleaned, _Parsed) else cleaned


def _as_shown(value: Any) -> Any:
    return value or None if not isinstance(value, int | float) else (value,)


def _spelled(value: Any) -> str:
    """
    A value as the text of an option: 1, "1" and true are three.
    """
    return json.dumps(value, sort_keys=True)


# Fields


@dataclass(frozen=True, slots=True)
class _Parsed:
    """
    A value out of a JSON box: null is one, and so is an empty list.
    """

    value: Any


class TextField(forms.CharField):
    """
    Text as it was typed, with the line breaks of this side of the wire.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(strip=False, **options)

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").replace("\r\n", "\n").replace("\r", "\n")


class LinesField(forms.CharField):
    """
    A list of texts, one in a line.
    """

    widget = forms.Textarea(attrs={"rows": 3})

    def to_python(self, value: Any) -> Any:
        lines = (line.strip() for line in (super().to_python(value) or "").splitlines())
        return [line for line in lines if line]


class JsonField(forms.CharField):
    """
    Any JSON; what is wrong with a text that is none is said with line and column.
    """

    widget = forms.Textarea(attrs={"rows": 4, "class": "json", "spellcheck": "false"})

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return _Parsed(parse(text.encode()))
        except BadPayload as error:
            # It speaks of a request's body.
            text = error.message.replace("The body", _("This"), 1)
            raise forms.ValidationError(text) from None


class JsonBox(JsonField):
    """
    The same, with the value itself as what is cleaned; None for a blank box and for null.
    """

    def clean(self, value: Any) -> Any:
        cleaned = super().clean(value)
        return cleaned.value if isinstance(cleaned, _Parsed) else None


def _text(described: Described) -> forms.Field:
    rows = 2 if described.is_long else 1
    widget = forms.Textarea(attrs={"rows": rows}) if described.is_long else forms.TextInput()
    return TextField(max_length=described.max_length, widget=widget)


def _integer(described: Described) -> forms.Field:
    return forms.IntegerField(
        min_value=_whole(described.minimum), max_value=_whole(described.maximum)
    )


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)


def _float(described: Described) -> forms.Field:
    widget = forms.NumberInput(attrs={"step": "any"})
    return forms.FloatField(min_value=described.minimum, max_value=described.maximum, widget=widget)


def _boolean(described: Described) -> forms.Field:
    return forms.ChoiceField(choices=[("", _("Not set")), ("true", _("Yes")), ("false", _("No"))])


def _choice(described: Described) -> forms.Field:
    return forms.ChoiceField(choices=[("", _("Not set")), *_options(described.choices)])


def _choices(described: Described) -> forms.Field:
    return forms.MultipleChoiceField(
        choices=list(_options(described.choices)), widget=forms.CheckboxSelectMultiple
    )


def _options(values: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for value in values:
        yield _spelled(value), value if isinstance(value, str) else _spelled(value)


_FIELDS: dict[Kind, Any] = {
    "text": _text,
    "integer": _integer,
    "number": _float,
    "boolean": _boolean,
    "choice": _choice,
    "choices": _choices,
    "lines": lambda _described: LinesField(),
    "json": lambda _described: JsonField(),
}
