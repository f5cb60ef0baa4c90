"""
Input, output and config schemas of one runnable, compiled once per effective config.

A chat model's input schema costs 63 ms to build: what does not depend on the caller is
kept for good, what does is kept for the configs seen last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, get_args

import orjson
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel, RootModel, SecretBytes, SecretStr, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from runnables.exceptions import InvalidInput
from runnables.needed import needed_ids
from runnables.validation import InputValidator, public_errors

# Different effective configs kept per deployment; each may hold a compiled schema.
KEPT_CONFIGS = 64
MAX_FIELD_DEPTH = 8
# Ids that name state or its owner and shape nothing: a new conversation, or a new user, must
# not compile a schema anew.
SHAPELESS = frozenset({"session_id", "thread_id", "user_id", "username", "groups", "tenant"})
# What a version may have defaults for.
DEFAULT_KEYS = ("configurable", "tags", "metadata", "recursion_limit", "max_concurrency")


class Schemas:
    """
    The schemas of `runnable`; `input_schema` and `output_schema` override its own guess.

    An override is a pydantic model or any type, or a JSON Schema as a dict (then it is
    published, and input is passed on as it was sent).
    """

    def __init__(
        self,
        runnable: Runnable[Any, Any],
        *,
        config_keys: Sequence[str],
        mode: str = "strict",
        input_schema: Any = None,
        output_schema: Any = None,
    ) -> None:
        self._runnable = runnable
        self._config_keys = list(config_keys)
        self._mode = "off" if isinstance(input_schema, dict) else mode
        self._input_schema = input_schema
        self._output_schema = output_schema
        self._kept: OrderedDict[tuple[str, bytes], Any] = OrderedDict()

    @cached_property
    def declared(self) -> frozenset[str]:
        """
        The `configurable` ids that the runnable itself declares.
        """
        return frozenset(spec.id for spec in self._runnable.config_specs)

    @cached_property
    def secret(self) -> frozenset[str]:
        """
        Those of the declared ids whose type hides its value: SecretStr and SecretBytes.
        """
        return frozenset(spec.id for spec in self._runnable.config_specs if _hides(spec.annotation))

    @cached_property
    def needed(self) -> frozenset[str]:
        """
        The `configurable` ids without which no call can go well.
        """
        return needed_ids(self._runnable)

    def check_needed(self, config: RunnableConfig) -> None:
        """
        Raise InvalidInput unless the config of a call, whole as it is now, has them.
        """
        if not self.needed:
            return
        given = config.get("configurable") or {}
        if lacking := sorted(name for name in self.needed if given.get(name) is None):
            raise InvalidInput(
                [
                    {
                        "type": "missing",
                        "loc": ["configurable", name],
                        "msg": "Field required: this deployment keeps a history, and has to know which",
                    }
                    for name in lacking
                ]
            )

    def input_validator(self, config: RunnableConfig) -> InputValidator:
        return self._per_config("validator", config, self._make_validator)  # type: ignore[no-any-return]

    def input_schema(self, config: RunnableConfig) -> bytes:
        """
        JSON Schema of the input under this config, as JSON.
        """
        return self._per_config("input", config, lambda c: _json_schema(self._input_model(c)))  # type: ignore[no-any-return]

    def output_schema(self, config: RunnableConfig) -> bytes:
        """
        JSON Schema of the output under this config, as JSON.
        """
        return self._per_config("output", config, lambda c: _json_schema(self._output_model(c)))  # type: ignore[no-any-return]

    @cached_property
    def config_schema(self) -> bytes:
        """
        JSON Schema of the config that callers may send, as JSON.
        """
        return _json_schema(self._config_model)

    @cached_property
    def file_fields(self) -> dict[str, dict[str, Any]] | None:
        """
        The input's base64 file fields by dotted name, each with its widget; None where the
        input is no object, so that nothing is known of it.
        """
        schema = orjson.loads(self.input_schema({}))
        definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
        found = dict(_file_fields(schema, definitions, depth=0))
        return found if found or "properties" in schema else None

    def accept_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """
        The part of a caller's config that this runnable takes, checked; the rest is not in it.

        Raises InvalidInput with `loc` relative to the config.
        """
        try:
            accepted = self._config_model.model_validate(config)
        except ValidationError as error:
            raise InvalidInput(public_errors(error)) from None
        return accepted.model_dump(exclude_unset=True)

    def check_defaults(self, defaults: Mapping[str, Any]) -> None:
        """
        Raise InvalidInput unless the runnable takes these defaults, whatever callers may send.
        """
        given = defaults.get("configurable") or {}
        if unknown := sorted(set(given) - self.declared):
            raise InvalidInput(
                [
                    {
                        "type": "value_error",
                        "loc": ["configurable", name],
                        "msg": "the runnable declares no such id",
                    }
                    for name in unknown
                ]
            )
        try:
            self._all_config_model.model_validate(defaults)
        except ValidationError as error:
            raise InvalidInput(public_errors(error)) from None

    @cached_property
    def whole_config_schema(self) -> dict[str, Any]:
        """
        JSON Schema of all that a default may be set for.
        """
        drawn: dict[str, Any] = orjson.loads(_json_schema(self._all_config_model))
        return drawn

    @cached_property
    def _all_config_model(self) -> type[BaseModel]:
        return self._config_model_of(DEFAULT_KEYS)

    @cached_property
    def _config_model(self) -> type[BaseModel]:
        return self._config_model_of(self._config_keys)

    def _config_model_of(self, keys: Sequence[str]) -> type[BaseModel]:
        # Compiled graphs override `config_schema` only to say that they deprecated it.
        if type(self._runnable).__module__.startswith("langgraph."):
            return Runnable.config_schema(self._runnable, include=keys)
        return self._runnable.config_schema(include=keys)

    def _make_validator(self, config: RunnableConfig) -> InputValidator:
        model = self._input_model(config) if self._mode != "off" else RootModel[Any]
        return InputValidator(_as_model(model), mode=self._mode)

    def _input_model(self, config: RunnableConfig) -> Any:
        return self._input_schema or self._runnable.get_input_schema(config)

    def _output_model(self, config: RunnableConfig) -> Any:
        return self._output_schema or self._runnable.get_output_schema(config)

    def _per_config(self, what: str, config: RunnableConfig, make: Any) -> Any:
        key = (what, self._fingerprint(config))
        if key in self._kept:
            return self._kept[key]
        value = self._kept[key] = make(config)
        while len(self._kept) > 3 * KEPT_CONFIGS:
            self._kept.popitem(last=False)
        return value

    def _fingerprint(self, config: RunnableConfig) -> bytes:
        """
        What the schemas depend on: the values given to fields that the runnable declares.
        """
        given = config.get("configurable")
        if not given or not self.declared:
            return b""
        shaping = self.declared - SHAPELESS
        values = {key: value for key, value in given.items() if key in shaping}
        return orjson.dumps(
            values, default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
        )


def _file_fields(
    schema: Any, definitions: dict[str, Any], *, depth: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """
    Dotted names below `schema` of fields with the widget base64file.
    """
    if not isinstance(schema, dict) or depth > MAX_FIELD_DEPTH:
        return
    if "$ref" in schema:
        target = definitions.get(str(schema["$ref"]).rpartition("/")[2])
        yield from _file_fields(target, definitions, depth=depth + 1)
    for union in ("anyOf", "allOf", "oneOf"):
        for option in schema.get(union) or ():
            yield from _file_fields(option, definitions, depth=depth + 1)
    for name, field in (schema.get("properties") or {}).items():
        widget = _widget(field)
        if widget.get("type") == "base64file":
            yield name, widget
        else:
            for below, found in _file_fields(field, definitions, depth=depth + 1):
                yield f"{name}.{below}", found


def _hides(annotation: Any) -> bool:
    return annotation in (SecretStr, SecretBytes) or any(map(_hides, get_args(annotation)))


def _widget(field: Any) -> dict[str, Any]:
    extra = field.get("extra") if isinstance(field, dict) else None
    widget = extra.get("widget") if isinstance(extra, dict) else None
    return widget if isinstance(widget, dict) else {}


def _as_model(schema: Any) -> type[BaseModel]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema
    return RootModel[schema]


def _json_schema(schema: Any) -> bytes:
    if isinstance(schema, dict):
        return orjson.dumps(schema)
    return orjson.dumps(_as_model(schema).model_json_schema(schema_generator=_Drawing))


class _Drawing(GenerateJsonSchema):
    """
    A part that JSON Schema cannot say is drawn as one that takes anything, and keeps the rest.
    """

    def handle_invalid_for_json_schema(
        self, schema: CoreSchema, error_info: str
    ) -> JsonSchemaValue:
        return {"description": "This cannot be said in JSON Schema."}
