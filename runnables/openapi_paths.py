"""
One deployment as a piece of the OpenAPI document: its paths, its schemas, its tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from runnables import hooks
from runnables.events import END, sse, sse_named
from runnables.openapi_models import Models
from runnables.openapi_shared import (
    JSON,
    OF_ACCESS,
    OF_CANCEL,
    OF_RUNS,
    OF_SCHEMAS,
    RUN_ID,
    SSE,
    error_responses,
    ref,
    security,
)
from runnables.routing import ENDPOINTS, GET, POST, STREAMS
from runnables.served import ServedDeployment

Operation = dict[str, Any]

# `astream_events` is the same endpoint as `stream_events`.
DESCRIBED = tuple(endpoint for endpoint in ENDPOINTS if endpoint != "astream_events")
TAKE_FILES = ("invoke", "stream")
RUN_HEADERS = {
    name: ref("headers", name) for name in ("X-Run-Id", "X-Deployment-Version", "X-Dropped-Config")
}
EVENTS = {
    "stream": "`metadata` with the run id, then `data` with the chunks of the output",
    "stream_log": "`data` with JSON Patch operations on the log of the run",
    "stream_events": "`data` with LangChain's StreamEvents",
}
LOG = {"ops": [{"op": "add", "path": "/streamed_output/-", "value": "text"}]}
EVENT = {
    "event": "on_chain_stream",
    "name": "/joke",
    "run_id": RUN_ID,
    "tags": [],
    "metadata": {},
    "data": {"chunk": "text"},
    "parent_ids": [],
}


@dataclass(frozen=True, slots=True, eq=False)
class Fragment:
    """
    The members of `paths` and of `components.schemas` as JSON without the braces round
    them, and tags by name. `is_final` where only a change of the row can change it.
    """

    paths: bytes
    schemas: bytes
    tags: Mapping[str, str]
    is_final: bool


def fragment(deployment: ServedDeployment, namespace: str) -> Fragment:
    """
    The deployment in the document, whatever is wrong with its runnable or its schemas.
    """
    drawn = _Paths(deployment, namespace)
    paths = drawn.paths()
    return Fragment(
        paths=members(paths),
        schemas=members(drawn.models.components.schemas),
        tags=drawn.tags(),
        is_final=drawn.models.is_built,
    )


def members(content: Mapping[str, Any]) -> bytes:
    return orjson.dumps(content)[1:-1]


class _Paths:
    """
    Draws the operations of one deployment, and with them the schemas that they need.
    """

    def __init__(self, deployment: ServedDeployment, namespace: str) -> None:
        self._deployment = deployment
        self._namespace = namespace
        self._tag = deployment.path or "/"
        self._asks = "run" not in deployment.matrix.public or bool(
            deployment.options.permission_classes
        )
        self._refusals = OF_ACCESS if self._asks else ()
        self.models = Models(deployment, namespace)

    def paths(self) -> dict[str, dict[str, Operation]]:
        base = f"/{self._deployment.path}".rstrip("/")
        switched_on = self._deployment.endpoints
        found: dict[str, dict[str, Operation]] = {}
        for endpoint in DESCRIBED:
            if endpoint not in switched_on:
                continue
            method, has_variant = ENDPOINTS[endpoint]
            draw = self._schema if method == GET else self._run
            found[f"{base}/{endpoint}"] = {method.lower(): draw(endpoint)}
            if has_variant and "config_hashes" in switched_on:
                variant = {method.lower(): draw(endpoint, hashed=True)}
                found[f"{base}/c/{{config_hash}}/{endpoint}"] = variant
        if "websocket" in switched_on:
            found[f"{base}/ws"] = {"get": self._websocket()}
        found[f"{base}/runs/{{run_id}}/cancel"] = {"post": self._cancel()}
        for describe in hooks.described:
            for path, item in describe(self._deployment, self._about).items():
                found[f"{base}/{path}"] = item
        return found

    def tags(self) -> dict[str, str]:
        about = [self._deployment.values["description"], *self.models.notes]
        tags = {self._tag: "\n\n".join(filter(None, about))}
        if "config_hashes" in self._deployment.endpoints:
            tags[f"{self._tag}/config"] = "The same with a config in the path."
        return tags

    def _run(self, endpoint: str, *, hashed: bool = False) -> Operation:
        parameters = ["RunId", "Version"]
        if endpoint == "stream_events":
            parameters.append("Preset")
        answer = self._stream(endpoint) if endpoint in STREAMS else self._whole(endpoint)
        return {
            **self._about(endpoint, POST, parameters, hashed=hashed),
            "requestBody": self._body(endpoint),
            "responses": {"200": answer, **error_responses((*self._refusals, *OF_RUNS))},
        }

    def _schema(self, endpoint: str, *, hashed: bool = False) -> Operation:
        errors = (*self._refusals, *OF_SCHEMAS, *(("Invalid",) if hashed else ()))
        answer = json_answer("The schema.", ref("schemas", "JsonSchema"))
        return {
            **self._about(endpoint, GET, ["Version"], hashed=hashed),
            "responses": {"200": answer, **error_responses(errors)},
        }

    def _cancel(self) -> Operation:
        answer = json_answer("It is being stopped.", ref("schemas", "Cancelled"))
        return {
            **self._about("cancel", POST, ["RunToCancel"]),
            "description": "Whoever started the run may; of a run that was started "
            "anonymously, whoever knows its id.",
            "responses": {"200": answer, **error_responses((*self._refusals, *OF_CANCEL))},
        }

    def _websocket(self) -> Operation:
        errors = (*self._refusals, "BadRequest", "NotFound", "UpgradeRequired")
        return {
            **self._about("websocket", GET, []),
            "description": "Many runs on one socket. Its frames are beyond OpenAPI; this "
            "server's documentation has them.",
            "responses": {"101": {"description": "A WebSocket."}, **error_responses(errors)},
        }

    def _about(
        self, endpoint: str, method: str, parameters: list[str], *, hashed: bool = False
    ) -> Operation:
        if hashed:
            parameters = ["ConfigHash", *parameters]
        operation: Operation = {
            "tags": [f"{self._tag}/config" if hashed else self._tag],
            "summary": f"{self._tag} {endpoint}{' with config' if hashed else ''}",
            "operationId": f"{self._namespace}_{endpoint}{'_with_config' if hashed else ''}",
            "security": security(writes=method != GET) if self._asks else [],
        }
        if parameters:
            operation["parameters"] = [ref("parameters", name) for name in parameters]
        return operation

    def _body(self, endpoint: str) -> dict[str, Any]:
        models = self.models
        is_batch = endpoint == "batch"
        schema = models.batch_request() if is_batch else models.request(endpoint)
        content: dict[str, Any] = {JSON: {"schema": schema}}
        for example in models.input_example():
            content[JSON]["example"] = {"inputs": [example]} if is_batch else {"input": example}
        if endpoint in TAKE_FILES and (form := models.form()):
            content["multipart/form-data"] = form
        return {"required": True, "content": content}

    def _whole(self, endpoint: str) -> dict[str, Any]:
        models = self.models
        schema = models.batch_response() if endpoint == "batch" else models.invoke_response()
        return {**json_answer("The whole output.", schema), "headers": RUN_HEADERS}

    def _stream(self, endpoint: str) -> dict[str, Any]:
        content = {"schema": ref("schemas", "Stream"), "example": self._stream_example(endpoint)}
        return {
            "description": f"Server-Sent Events: {EVENTS[endpoint]}; last `end`, or `error` "
            "with a StreamError. Lines that begin with a colon are comments.",
            "headers": RUN_HEADERS,
            "content": {SSE: content},
        }

    def _stream_example(self, endpoint: str) -> str:
        if endpoint == "stream":
            chunks = self.models.chunk_example() or ["text"]
            begin = sse_named("metadata", {"run_id": RUN_ID})
        else:
            chunks, begin = [LOG if endpoint == "stream_log" else EVENT], b""
        return (begin + sse(orjson.dumps(chunks[0])) + END).decode()


def json_answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": schema}}}
