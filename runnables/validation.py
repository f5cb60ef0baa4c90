"""
From plain JSON to what a runnable takes, by its own input schema.

pydantic alone decodes `list[BaseMessage]` to bare BaseMessages, raises KeyError on a
union with ToolMessage, and knows no spelling but Python's. So the schema's compiled form
is copied with every place that wants a message, a document or a prompt value given to
the decoders of `runnables.codec`. Places that want "anything" get plain dicts, as sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.documents import Document
from langchain_core.load import Serializable
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import SchemaValidator, core_schema

from runnables.codec import decode_document, decode_message, decode_prompt_value
from runnables.exceptions import InvalidInput
from runnables.types import CustomUserType

# Values under these keys are no schemas, whatever they look like.
_OPAQUE = frozenset(
    {"metadata", "config", "serialization", "default", "expected", "discriminator", "function"}
)


class InputValidator:
    """
    Checks and decodes inputs of one runnable under one effective config.
    """

    def __init__(self, model: type[BaseModel], *, mode: str) -> None:
        self._mode = mode
        self._validator = _compile(model)

    def __call__(self, value: Any, *, loc: tuple[str | int, ...] = ()) -> Any:
        """
        The input as the runnable gets it; raises InvalidInput, with `loc` in front.
        """
        if self._mode == "off":
            return value
        try:
            accepted = unpack(self._validator.validate_python(value))
        except ValidationError as error:
            if self._mode == "lenient":
                return value
            raise InvalidInput(public_errors(error, loc)) from None
        except Exception as error:
            # A validator of the user's own model may raise anything.
            if self._mode == "lenient":
                return value
            problem = {
                "type": "value_error",
                "loc": list(loc),
                "msg": f"Value error, {type(error).__name__}",
            }
            raise InvalidInput([problem]) from error
        return _with_unknown_keys(value, accepted) if self._mode == "lenient" else accepted


def public_errors(error: ValidationError, loc: tuple[str | int, ...] = ()) -> list[dict[str, Any]]:
    """
    pydantic's errors without the echo of what was sent, which may hold secrets.
    """
    return [
        {"type": item["type"], "loc": [*loc, *item["loc"]], "msg": item["msg"]}
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def unpack(value: Any) -> Any:
    """
    Models made by validation become dicts again, save those that runnables want whole.
    """
    if isinstance(value, RootModel):
        return unpack(value.root)
    if isinstance(value, BaseModel):
        if isinstance(value, Serializable | CustomUserType):
            return value
        fields = {name: unpack(getattr(value, name)) for name in type(value).model_fields}
        return {**fields, **(value.__pydantic_extra__ or {})}
    if isinstance(value, dict):
        return {key: unpack(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return _unpacked_items(value)
    return value


def _unpacked_items(items: Any) -> Any:
    unpacked = [unpack(item) for item in items]
    if isinstance(items, list):
        return unpacked
    if all(new is old for new, old in zip(unpacked, items, strict=True)):
        return items
    # A dict cannot stand in a set; what held models becomes a list then.
    return tuple(unpacked) if isinstance(items, tuple) else unpacked


def _with_unknown_keys(sent: Any, accepted: Any) -> Any:
    if isinstance(sent, dict) and isinstance(accepted, dict):
        known = {key: _with_unknown_keys(sent.get(key), item) for key, item in accepted.items()}
        return {**{key: item for key, item in sent.items() if key not in known}, **known}
    if isinstance(sent, list) and isinstance(accepted, list) and len(sent) == len(accepted):
        return [_with_unknown_keys(a, b) for a, b in zip(sent, accepted, strict=True)]
    return accepted


def _compile(model: type[BaseModel]) -> SchemaValidator:
    model.model_rebuild()
    schema = model.__pydantic_core_schema__
    definitions = {d["ref"]: d for d in schema.get("definitions", ())}
    # Otherwise pydantic-core would take the validators its classes have already.
    return SchemaValidator(_Rewriter(definitions).rewrite(schema), _use_prebuilt=False)


class _Rewriter:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def rewrite(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.rewrite(item) for item in node]
        if isinstance(node, tuple):
            return tuple(self.rewrite(item) for item in node)
        if not isinstance(node, dict):
            return node
        if decoder := self._decoder(node):
            return decoder
        return {key: item if key in _OPAQUE else self.rewrite(item) for key, item in node.items()}

    def _decoder(self, node: dict[str, Any]) -> Any:
        classes = self._message_classes(node)
        ref = node.get("ref")
        if classes:
            return core_schema.no_info_plain_validator_function(_message_of(classes), ref=ref)
        cls = node.get("cls") if node.get("type") == "model" else None
        if not isinstance(cls, type):
            return None
        if issubclass(cls, PromptValue):
            return core_schema.no_info_plain_validator_function(_prompt_value_of(cls), ref=ref)
        if issubclass(cls, Document):
            inner = {key: item for key, item in node.items() if key != "ref"}
            return core_schema.no_info_before_validator_function(decode_document, inner, ref=ref)
        return None

    def _message_classes(self, node: dict[str, Any]) -> tuple[type[BaseMessage], ...]:
        """
        The message classes that this node stands for, or none if it stands for anything else.
        """
        kind = node.get("type")
        if kind == "definition-ref":
            # Only looked through from a union: a definition is rewritten where it is defined.
            return self._message_classes(self._definitions.get(node["schema_ref"], {}))
        if kind == "model":
            cls = node["cls"]
            return (cls,) if isinstance(cls, type) and issubclass(cls, BaseMessage) else ()
        if str(kind).startswith("function-") and _is_message_validator(
            node["function"]["function"]
        ):
            return self._message_classes(node["schema"])
        if kind not in ("union", "tagged-union"):
            return ()
        choices = node["choices"].values() if isinstance(node["choices"], dict) else node["choices"]
        arms = [self._message_classes(c[0] if isinstance(c, tuple) else c) for c in choices]
        return tuple(cls for arm in arms for cls in arm) if arms and all(arms) else ()


def _is_message_validator(function: Any) -> bool:
    """
    A validator that the message classes bring themselves; a user's own is left in place.
    """
    return str(getattr(function, "__module__", "")).startswith(
        BaseMessage.__module__.rpartition(".")[0]
    )


def _message_of(classes: tuple[type[BaseMessage], ...]) -> Callable[[Any], BaseMessage]:
    def message(value: Any) -> BaseMessage:
        untagged = isinstance(value, Mapping) and "type" not in value and "role" not in value
        if untagged and classes[0] is not BaseMessage:
            value = {**value, "type": classes[0].model_fields["type"].default}
        decoded = decode_message(value)
        if not isinstance(decoded, classes):
            wanted = ", ".join(cls.__name__ for cls in classes)
            raise ValueError(f"expected {wanted}, got {type(decoded).__name__}")
        return decoded

    return message


def _prompt_value_of(cls: type[PromptValue]) -> Callable[[Any], PromptValue]:
    def prompt_value(value: Any) -> PromptValue:
        decoded = decode_prompt_value(value)
        if not isinstance(decoded, cls):
            raise ValueError(f"expected {cls.__name__}, got {type(decoded).__name__}")
        return decoded

    return prompt_value
