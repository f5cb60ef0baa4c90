"""
The doors of this app in the OpenAPI document, where a deployment has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from feedback.models import TraceLink
from runnables.openapi_shared import JSON, OF_ACCESS, RUN_ID, error_responses
from runnables.served import ServedDeployment

Operation = dict[str, Any]
About = Callable[..., Operation]

ERRORS = (*OF_ACCESS, "BadRequest", "UnknownRun", "TooLarge", "Unsupported", "Invalid")
_UUID = {"type": "string", "format": "uuid"}
_TIME = {"type": "string", "format": "date-time"}
_ANSWER: dict[str, Any] = {
    "score": {"type": ["number", "boolean", "null"]},
    "value": {"type": ["number", "boolean", "string", "object", "null"]},
    "comment": {"type": ["string", "null"]},
    "correction": {"type": ["object", "string", "null"]},
    "reasons": {"type": "array", "items": {"type": "string"}},
}
SAID = {
    "type": "object",
    "properties": {"run_id": _UUID, "key": {"type": "string"}, **_ANSWER},
    "required": ["run_id", "key"],
}
FEEDBACK = {
    "type": "object",
    "properties": {
        **SAID["properties"],  # type: ignore[dict-item]
        "id": _UUID,
        "created_at": _TIME,
        "modified_at": _TIME,
    },
    "required": ["id", "run_id", "key", "created_at", "modified_at"],
}
BY_TOKEN = {
    "type": "object",
    "properties": {
        "token_or_url": {"type": "string", "description": "A feedback token, or its whole URL."},
        **_ANSWER,
        "metadata": {"type": ["object", "null"]},
    },
    "required": ["token_or_url"],
}
SHARED = {
    "type": "object",
    "properties": {
        "run_id": _UUID,
        "parts": {"type": "array", "items": {"enum": [str(part) for part in TraceLink.Part]}},
        "expires_in": {"type": ["integer", "null"], "description": "Seconds; null is for ever."},
        "name": {"type": "string"},
    },
    "required": ["run_id"],
}
LINK = {
    "type": "object",
    "properties": {"public_url": {"type": "string", "format": "uri"}},
    "required": ["public_url"],
}


def operations(deployment: ServedDeployment, about: About) -> Mapping[str, Mapping[str, Any]]:
    """
    Feedback, feedback by token, and links to traces.
    """
    found: dict[str, dict[str, Any]] = {}
    if "feedback" in deployment.endpoints:
        found["feedback"] = _feedback(about)
    if "token_feedback" in deployment.endpoints and deployment.options.token_feedback_config:
        operation = _taking(about("token_feedback", "POST", []), BY_TOKEN, {"type": "null"})
        # The token is all the right that it takes.
        found["token_feedback"] = {"post": {**operation, "security": []}}
    if "public_trace_link" in deployment.endpoints:
        operation = _taking(about("public_trace_link", "PUT", []), SHARED, LINK)
        found["public_trace_link"] = {"put": operation}
    return found


def _feedback(about: About) -> dict[str, Operation]:
    asked = {
        **about("feedback_of_run", "GET", []),
        "summary": "What the caller has said about a run.",
        "responses": {
            "200": _json({"type": "array", "items": FEEDBACK}),
            **error_responses((*OF_ACCESS, "BadRequest", "NotFound", "Invalid")),
        },
    }
    asked["parameters"] = [
        {"name": "run_id", "in": "query", "required": True, "schema": _UUID, "example": RUN_ID}
    ]
    return {"post": _taking(about("feedback", "POST", []), SAID, FEEDBACK), "get": asked}


def _taking(operation: Operation, body: Operation, answer: Operation) -> Operation:
    return {
        **operation,
        "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
        "responses": {"200": _json(answer), **error_responses(ERRORS)},
    }


def _json(schema: Operation) -> Operation:
    return {"description": "Done.", "content": {JSON: {"schema": schema}}}
