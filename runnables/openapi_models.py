"""
What one deployment takes and gives, as component schemas with examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import orjson

from runnables.error_log import logger_for_errors
from runnables.exceptions import Unavailable
from runnables.invocation import FILTERS
from runnables.openapi_examples import Examples, NoExample
from runnables.openapi_schemas import Components
from runnables.openapi_shared import JSON, ref
from runnables.schemas import Schemas
from runnables.served import ServedDeployment

logger = logger_for_errors(__name__)

Ref = dict[str, str]

UNDRAWN = "The {} schema cannot be drawn as JSON Schema: any JSON stands here in its place."
UNBUILT = "This deployment cannot be built now: calls answer 503, its schemas are not known."
IGNORED = "Ignored."
NULL = {"type": "null"}
CALLBACK_EVENTS = {
    "type": "array",
    "items": {"type": "object"},
    "description": "What LangServe's Python client replays on its caller's handlers.",
}


class Models:
    """
    The schemas of a deployment. They gather in `components` as they are asked for; what
    could not be drawn is told in `notes`.
    """

    def __init__(self, deployment: ServedDeployment, namespace: str) -> None:
        self._deployment = deployment
        self.components = Components(namespace)
        self.notes: list[str] = []
        self._schemas: Schemas | None = None
        try:
            self._schemas = (deployment.served or deployment.build()).schemas
        except Unavailable:
            self.notes.append(UNBUILT)

    @property
    def is_built(self) -> bool:
        return self._schemas is not None

    @cached_property
    def input(self) -> Ref:
        return self._drawn("Input", lambda schemas: schemas.input_schema({}))

    @cached_property
    def output(self) -> Ref:
        return self._drawn("Output", lambda schemas: schemas.output_schema({}))

    @cached_property
    def config(self) -> Ref:
        return self._drawn("Config", lambda schemas: schemas.config_schema)

    def request(self, endpoint: str) -> Ref:
        """
        The body of `invoke`, `stream`, `stream_log` or `stream_events`.
        """
        properties: dict[str, Any] = {
            "input": self.input,
            "config": or_null(self.config),
            "kwargs": {"type": ["object", "null"], "description": IGNORED},
        }
        if endpoint in ("stream_log", "stream_events"):
            properties |= {name: ref("schemas", "NameFilter") for name in FILTERS}
        name = "".join(word.title() for word in endpoint.split("_"))
        schema = {"type": "object", "properties": properties, "required": ["input"]}
        return self.components.put(f"{name}Request", schema)

    def batch_request(self) -> Ref:
        inputs = array(self.input, maxItems=self._deployment.limits.max_batch_size)
        configs = [self.config, array(or_null(self.config)), NULL]
        properties = {
            "inputs": inputs,
            "config": {
                "description": "One for all inputs, or a list with one for each.",
                "anyOf": configs,
            },
            "kwargs": {"description": IGNORED},
            "return_exceptions": {
                "description": "Have what could be had: `output` is null where a run failed, "
                "and `errors` says why.",
                "type": "boolean",
            },
        }
        schema = {"type": "object", "properties": properties, "required": ["inputs"]}
        return self.components.put("BatchRequest", schema)

    def invoke_response(self) -> Ref:
        properties = {"output": self.output, "metadata": ref("schemas", "RunMetadata")}
        return self._response("InvokeResponse", properties, CALLBACK_EVENTS)

    def batch_response(self) -> Ref:
        properties = {
            "output": array(or_null(self.output)),
            "errors": array(
                or_null(ref("schemas", "StreamError")),
                description="Only where `return_exceptions` asked for it.",
            ),
            "metadata": ref("schemas", "BatchMetadata"),
        }
        return self._response("BatchResponse", properties, array(CALLBACK_EVENTS))

    def form(self) -> dict[str, Any] | None:
        """
        The media type of a multipart call, or None where the input has no file fields.
        """
        fields = self._file_fields()
        if not fields:
            return None
        properties: dict[str, Any] = {
            "input": self._input_without(fields),
            "config": or_null(self.config),
        }
        encoding: dict[str, Any] = {name: {"contentType": JSON} for name in properties}
        for name, widget in fields.items():
            accepted = widget.get("accept") or ["application/octet-stream"]
            properties[name] = {"type": "string", "format": "binary"}
            encoding[name] = {"contentType": ", ".join(accepted)}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if properties["input"]["required"]:
            schema["required"] = ["input"]
        return {"schema": schema, "encoding": encoding}

    def input_example(self) -> list[Any]:
        """
        A list with one example, or without any where none can be made up.
        """
        return self._example(self.input, prefer="HumanMessage")

    def chunk_example(self) -> list[Any]:
        return self._example(self.output, prefer="AIMessageChunk")

    def _example(self, schema: Ref, *, prefer: str) -> list[Any]:
        try:
            return [Examples(self.components.find, prefer=prefer).of(schema)]
        except NoExample:
            return []
        except Exception:
            # A JSON Schema given as a dict may hold anything.
            logger.warning("no example for %s", self._deployment.name, exc_info=True)
            return []

    def _input_without(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """
        The schema of the input's JSON in a form, where files fill these fields.
        """
        schema = self.components.find(self.input["$ref"])
        while "$ref" in schema:
            schema = self.components.find(schema["$ref"])
        by_file = {name.partition(".")[0] for name in fields}
        return {
            **schema,
            "description": "The input as JSON, without what the files fill.",
            "properties": {k: v for k, v in schema["properties"].items() if k not in fields},
            "required": [name for name in schema.get("required", ()) if name not in by_file],
        }

    def _response(self, name: str, properties: dict[str, Any], events: dict[str, Any]) -> Ref:
        if self._deployment.include_callback_events:
            properties = {**properties, "callback_events": events}
        schema = {"type": "object", "properties": properties, "required": ["output", "metadata"]}
        return self.components.put(name, schema)

    def _drawn(self, name: str, draw: Callable[[Schemas], bytes]) -> Ref:
        if self._schemas is None:
            return self.components.put(name, {})
        try:
            return self.components.add(name, orjson.loads(draw(self._schemas)))
        except Exception:
            # A developer's own types may fail in any way, and are not worth the whole document.
            logger.warning("%s of %s cannot be drawn", name, self._deployment.name, exc_info=True)
            note = UNDRAWN.format(name.lower())
            self.notes.append(note)
            return self.components.put(name, {"description": note})

    def _file_fields(self) -> Mapping[str, Mapping[str, Any]]:
        try:
            return (self._schemas.file_fields or {}) if self._schemas else {}
        except Exception:
            logger.warning("file fields of %s are not known", self._deployment.name, exc_info=True)
            return {}


def array(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def or_null(schema: Any) -> dict[str, Any]:
    return {"anyOf": [schema, NULL]}
