"""
The doors of this app in the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runnables.openapi_shared import JSON, OF_ACCESS, OF_CANCEL, error_responses
from runnables.served import ServedDeployment
from traces.models import State

Operation = dict[str, Any]
_NUMBER = {"type": ["number", "null"]}
_TIME = {"type": "string", "format": "date-time"}
RUN = {
    "type": "object",
    "properties": {
        "run_id": {"type": "string", "format": "uuid"},
        "status": {"enum": [str(state) for state in State]},
        "deployment": {"type": "string"},
        "version": {"type": "integer"},
        "started_at": _TIME,
        "ended_at": {"anyOf": [_TIME, {"type": "null"}]},
        "duration_ms": _NUMBER,
        "first_chunk_ms": _NUMBER,
        "usage": {
            "type": ["object", "null"],
            "properties": {
                name: {"type": "integer"}
                for name in ("input_tokens", "output_tokens", "total_tokens")
            },
        },
        "cost": _NUMBER,
        "error": {"type": ["string", "null"], "description": "The class of what it failed by."},
        "trace_url": {"type": ["string", "null"], "format": "uri"},
    },
    "required": ["run_id", "status", "deployment", "version", "started_at"],
}


def operations(
    deployment: ServedDeployment, about: Callable[..., Operation]
) -> Mapping[str, Mapping[str, Any]]:
    """
    `GET /{path}/runs/{run_id}`
    """
    answer = {"description": "What became of it.", "content": {JSON: {"schema": RUN}}}
    errors = (*OF_ACCESS, *OF_CANCEL)
    run = {
        **about("run", "GET", ["RunToCancel"]),
        "description": "For whoever made the run; of a run that was made anonymously, for "
        "whoever knows its id.",
        "responses": {"200": answer, **error_responses(errors)},
    }
    return {"runs/{run_id}": {"get": run}}
