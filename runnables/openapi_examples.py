"""
An example made from a JSON Schema: the least that it takes, for documentation to show.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 10

_FORMATS = {
    "date": "2030-01-31",
    "date-time": "2030-01-31T12:00:00Z",
    "duration": "PT1H",
    "email": "somebody@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
    "uri": "https://example.org/",
    "uuid": "0f8fad5b-d9cb-469f-a165-70867728950e",
}
# The arms of a union that say most in least words come first.
_SIMPLE = ("string", "integer", "number", "boolean")


class NoExample(Exception):
    """
    The schema asks for more than we can make up, such as a text that fits a pattern.
    """


class Examples:
    """
    Makes examples. `find` looks a reference up; of several that would do, the one whose
    name ends in `prefer` is taken.
    """

    def __init__(self, find: Callable[[str], Any], *, prefer: str = "") -> None:
        self._find = find
        self._prefer = prefer

    def of(self, schema: Any, depth: int = 0) -> Any:
        """
        A value that fits the schema; raises NoExample.
        """
        if depth > MAX_DEPTH or schema is False:
            raise NoExample
        if not isinstance(schema, dict):
            return "text"
        for given in _given(schema):
            return given
        if "$ref" in schema:
            return self.of(self._find(schema["$ref"]), depth + 1)
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self._of_first(schema[union], depth)
        if "allOf" in schema:
            return self._of_all(schema["allOf"], depth)
        return self._of_type(schema, depth)

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        if kind in ("boolean", "null"):
            return True if kind == "boolean" else None
        return _text(schema)

    def _of_first(self, arms: list[Any], depth: int) -> Any:
        for arm in sorted(arms, key=self._effort):
            try:
                return self.of(arm, depth + 1)
            except NoExample:
                continue
        raise NoExample

    def _effort(self, arm: Any) -> int:
        if not isinstance(arm, dict):
            return 3
        if arm.get("type") in _SIMPLE:
            return 0
        if arm.get("type") == "null":
            return 4
        preferred = self._prefer and str(arm.get("$ref", "")).endswith(self._prefer)
        return 1 if preferred else 2

    def _of_all(self, parts: list[Any], depth: int) -> Any:
        values = [self.of(part, depth + 1) for part in parts]
        if len(values) == 1:
            return values[0]
        if not all(isinstance(value, dict) for value in values):
            raise NoExample
        return {key: item for value in values for key, item in value.items()}

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        if schema.get("minProperties", 0) > len(required):
            raise NoExample
        properties = schema.get("properties", {})
        tags = [name for name, part in properties.items() if _is_constant(part)]
        wanted = dict.fromkeys([*tags, *required])
        return {name: self.of(properties.get(name, {}), depth + 1) for name in wanted}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        items = [self.of(part, depth + 1) for part in schema.get("prefixItems", ())]
        if len(items) < least or (not items and most > 0 and schema.get("items") is not False):
            another = self.of(schema.get("items", {}), depth + 1)
            items += [another] * max(1, least - len(items))
        if schema.get("uniqueItems") and len(items) > 1:
            raise NoExample
        return items


def _given(schema: dict[str, Any]) -> list[Any]:
    """
    Values that the schema itself names, the best first.
    """
    found = [schema["const"]] if "const" in schema else []
    for several in ("examples", "enum"):
        if isinstance(schema.get(several), list):
            found += schema[several][:1]
    return found if schema.get("default") is None else [*found, schema["default"]]


def _is_constant(schema: Any) -> bool:
    return isinstance(schema, dict) and "const" in schema


def _number(schema: dict[str, Any], *, whole: bool) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
    step = schema.get("multipleOf", 1 if whole else 0)
    value: float = min(max(1, low), high)
    if value in (schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")):
        value += (step or 0.5) if value == low else -(step or 0.5)
    if step:
        value = math.ceil(value / step) * step
    if not low <= value <= high:
        raise NoExample
    return int(value) if whole or value == int(value) else value


def _text(schema: dict[str, Any]) -> str:
    if "pattern" in schema:
        raise NoExample
    text = _FORMATS.get(schema.get("format", ""), "text")
    text = text.ljust(schema.get("minLength", 0), ".")
    return text[: schema["maxLength"]] if "maxLength" in schema else text
