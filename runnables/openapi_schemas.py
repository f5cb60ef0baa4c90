"""
JSON Schemas as OpenAPI components: definitions lifted out, references rewritten, and one
namespace per deployment, so that fifty models named `Input` are fifty components.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

COMPONENTS = "#/components/schemas/"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")

# What holds schemas by name, in a list, or one. Everything else (a default, an example, a
# widget) is a value, however much it may look like a schema.
_BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})
_BY_NAME |= {"definitions"}
_LISTED = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SINGLE = frozenset(
    {
        "items",
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
# These would move what references are relative to.
_OF_DOCUMENTS = frozenset({"$schema", "$id", "$anchor", "$dynamicAnchor", "$dynamicRef"})

_TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}

Resolve = Callable[[str], str | None]


class Components:
    """
    The component schemas of one deployment: `{namespace}{name}`, definitions under
    `{namespace}.{definition}`. No namespace has a dot, so no two deployments meet.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.schemas: dict[str, Any] = {}
        self._definitions: dict[str, Any] = {}

    def add(self, name: str, schema: Any) -> dict[str, str]:
        """
        A reference to this schema as a component, its definitions beside it.
        """
        component = f"{self.namespace}{name}"
        definitions = _definitions(schema)
        names = self._names(name, definitions)
        root = _without_definitions(schema)

        def resolve(reference: str) -> str | None:
            return _resolved(reference, schema, component, names)

        self.schemas[component] = _rewritten(root, resolve)
        for definition, content in definitions.items():
            self.schemas[names[definition]] = _rewritten(content, resolve)
        return {"$ref": COMPONENTS + component}

    def put(self, name: str, schema: dict[str, Any]) -> dict[str, str]:
        """
        The same for a schema of ours, which refers to components already.
        """
        component = f"{self.namespace}{name}"
        self.schemas[component] = schema
        return {"$ref": COMPONENTS + component}

    def find(self, reference: str) -> Any:
        return self.schemas[reference.removeprefix(COMPONENTS)]

    def _names(self, name: str, definitions: Mapping[str, Any]) -> dict[str, str]:
        """
        Component names of definitions. Input and output share what is the same in both;
        as each brings all that it refers to, the same text means the same.
        """
        known = self._definitions
        clash = any(known.get(key, content) != content for key, content in definitions.items())
        prefix = f"{self.namespace}.{name}." if clash else f"{self.namespace}."
        if not clash:
            known.update(definitions)
        names: dict[str, str] = {}
        for definition in definitions:
            plain = wanted = prefix + _NOT_IN_NAMES.sub("_", definition)
            taken = names.values()
            number = 1
            while wanted in taken:
                number += 1
                wanted = f"{plain}_{number}"
            names[definition] = wanted
        return names


def plain_name(path: str) -> str:
    """
    A deployment's path in letters, digits and underscores; `root` for the site's root.
    """
    return re.sub(r"[^A-Za-z0-9]", "_", path.strip("/")) or "root"


def digest_of(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:8]


def _definitions(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        return {}
    found: dict[str, Any] = {}
    for key in ("definitions", "$defs"):
        found.update(schema.get(key) or {})
    return found


def _without_definitions(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    return {key: value for key, value in schema.items() if key not in ("$defs", "definitions")}


def _resolved(reference: str, schema: Any, component: str, names: Mapping[str, str]) -> str | None:
    """
    Where a reference inside `schema` leads in the document; None if nowhere in it.
    """
    if reference == "#":
        return COMPONENTS + component
    if not reference.startswith("#/"):
        return None
    parts = reference[2:].split("/")
    keys = [unquote(part).replace("~1", "/").replace("~0", "~") for part in parts]
    if not _leads_somewhere(schema, keys):
        return None
    if keys[0] in ("$defs", "definitions") and len(keys) > 1:
        return "/".join([COMPONENTS + names[keys[1]], *parts[2:]])
    return "/".join([COMPONENTS + component, *parts])


def _leads_somewhere(node: Any, keys: Iterable[str]) -> bool:
    for key in keys:
        if isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            return False
    return isinstance(node, dict | bool)


def _rewritten(schema: Any, resolve: Resolve) -> Any:
    if not isinstance(schema, dict):
        return schema
    written: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref":
            written.update(_reference(str(value), resolve))
        elif key == "discriminator" and isinstance(value, dict):
            written[key] = _discriminator(value, resolve)
        elif key in _BY_NAME and isinstance(value, dict):
            written[key] = {name: _rewritten(item, resolve) for name, item in value.items()}
        elif key in _LISTED and isinstance(value, list):
            written[key] = [_rewritten(item, resolve) for item in value]
        elif key in _SINGLE:
            written[key] = _rewritten(value, resolve)
        elif key == "default" and not _is_of_type(value, schema.get("type")):
            continue
        elif key not in _OF_DOCUMENTS:
            written[key] = value
    return written


def _is_of_type(default: Any, kinds: Any) -> bool:
    """
    Whether a default is what its schema says. pydantic writes a default of null, and any
    other that a model has, to whatever type; validators refuse the document for that.
    """
    if kinds is None:
        return default is not None
    allowed = kinds if isinstance(kinds, list) else [kinds]
    if isinstance(default, bool):
        return "boolean" in allowed
    return any(isinstance(default, _TYPES.get(str(kind), ())) for kind in allowed)


def _reference(reference: str, resolve: Resolve) -> dict[str, str]:
    # One reference that leads nowhere would spoil the document for everybody.
    found = resolve(reference)
    return {"$ref": found} if found else {"$comment": f"Not part of this document: {reference}"}


def _discriminator(value: dict[str, Any], resolve: Resolve) -> dict[str, Any]:
    mapping = value.get("mapping")
    if not isinstance(mapping, dict):
        return value
    return {**value, "mapping": {tag: resolve(str(to)) or to for tag, to in mapping.items()}}
