"""
What the operations of all deployments have in common: errors, headers, ways to sign in.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from runnables import exceptions, problems
from runnables.exceptions import PayloadRefused, PublicError, ServingError

RUN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
JSON = "application/json"
SSE = "text/event-stream"

# Name of the response -> its status, what it means, and the errors it is made of.
ERRORS: dict[str, tuple[int, str, tuple[ServingError, ...]]] = {
    "BadRequest": (
        400,
        "The request, or the config in its path, cannot be read.",
        (
            exceptions.InvalidConfigHash(),
            exceptions.InvalidRequest(),
            exceptions.EndpointOff(),
            exceptions.SharingOff(),
        ),
    ),
    "NotAuthenticated": (
        401,
        "Neither a token nor a session, or one that is not valid.",
        (exceptions.NotAuthenticated(),),
    ),
    "NotPermitted": (
        403,
        "The caller is known, and may not.",
        (exceptions.NotPermitted(), exceptions.CsrfFailed("CSRF check failed.")),
    ),
    "NotFound": (
        404,
        "Not served, switched off, or not to be known by this caller.",
        (
            exceptions.UnknownDeployment(),
            exceptions.UnknownEndpoint(),
            exceptions.UnknownVersion(),
        ),
    ),
    "UnknownRun": (404, "No such run is going on.", (exceptions.UnknownRun(),)),
    "TooLarge": (
        413,
        "The body is larger than this deployment takes.",
        (PayloadRefused("The body is larger than it may be.", code="too_large", status=413),),
    ),
    "Unsupported": (
        415,
        "A content encoding or a content type that is not taken.",
        (exceptions.UnsupportedEncoding(), exceptions.UnsupportedType()),
    ),
    "Invalid": (
        422,
        "Not JSON, or an input, config or filter that does not fit.",
        (
            exceptions.InvalidInput(
                [{"type": "missing", "loc": ["input"], "msg": "Field required"}]
            ),
            PayloadRefused("The body is empty; send a JSON document.", code="invalid_json"),
            exceptions.ConfigNotAllowed("This deployment does not take: api_key."),
            exceptions.BatchTooLarge(
                "This batch has 200 inputs; the deployment takes 100 at most."
            ),
            exceptions.RunIdInUse(),
        ),
    ),
    "UpgradeRequired": (426, "A plain HTTP request.", (exceptions.UpgradeRequired(),)),
    "TooMany": (
        429,
        "A limit is reached, of this site or of a service behind the runnable.",
        (
            exceptions.RateLimited("60 calls a minute from one caller.", retry_after=12),
            exceptions.QuotaExceeded("50 runs a day from one caller.", retry_after=3600),
            exceptions.QueueFull("4 runs are going on, and 100 wait already.", retry_after=5),
            PublicError("Try again later.", status=429, retry_after=30),
        ),
    ),
    "Cancelled": (499, "The run was cancelled by its id.", (exceptions.RunCancelled(),)),
    "Failed": (
        500,
        "The runnable failed. The server's log has the reason under the run id.",
        (exceptions.RunFailed(), exceptions.OutputNotSerializable()),
    ),
    "Unavailable": (
        503,
        "Not available now.",
        (exceptions.Unavailable(), exceptions.InMaintenance("", retry_after=300)),
    ),
    "TimedOut": (504, "The run took longer than it may.", (exceptions.RunTimedOut(),)),
}
# Also where everybody may call: of a token that is none, or a version that is asked for.
OF_ACCESS = ("NotAuthenticated", "NotPermitted")
OF_SCHEMAS = (*OF_ACCESS, "BadRequest", "NotFound", "Failed", "Unavailable")
OF_RUNS: tuple[str, ...] = (
    *OF_ACCESS,
    "BadRequest",
    "NotFound",
    "TooLarge",
    "Unsupported",
    "Invalid",
    "TooMany",
    "Cancelled",
    "Failed",
    "Unavailable",
    "TimedOut",
)
OF_CANCEL = ("BadRequest", "UnknownRun", "Failed", "Unavailable")


def ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "The body of every error.",
    "properties": {
        "detail": {
            "description": "A text, or a list of what is wrong and where.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {}}, {"type": "object"}],
        },
        "message": {"type": "string", "description": "One text for people."},
        "code": {
            "type": "string",
            "description": "One word for programs. Runnables may bring words of their own.",
        },
        "run_id": {"type": "string", "format": "uuid"},
        "retry_after": {"type": "number", "description": "Seconds."},
    },
    "required": ["detail", "message", "code"],
}
RUN_METADATA = {
    "type": "object",
    "properties": {
        "run_id": {"type": "string", "format": "uuid"},
        "feedback_tokens": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["run_id", "feedback_tokens"],
}
SCHEMAS: dict[str, Any] = {
    "Error": ERROR_SCHEMA,
    "StreamError": {
        "description": "The data of an `error` event, and of a run that failed in a batch.",
        "allOf": [ref("schemas", "Error")],
        "properties": {"status_code": {"type": "integer"}},
        "required": ["status_code"],
    },
    "RunMetadata": RUN_METADATA,
    "BatchMetadata": {
        "type": "object",
        "properties": {
            "responses": {"type": "array", "items": ref("schemas", "RunMetadata")},
            "run_ids": {"type": "array", "items": {"type": "string", "format": "uuid"}},
        },
        "required": ["responses", "run_ids"],
    },
    "StreamEvent": {
        "type": "object",
        "properties": {
            "event": {"enum": ["metadata", "data", "error", "end"]},
            "data": {"type": "string", "contentMediaType": JSON},
        },
        "required": ["event"],
    },
    "Stream": {
        "description": "Server-Sent Events, either as the text that they are or one by one.",
        "anyOf": [{"type": "string"}, ref("schemas", "StreamEvent")],
    },
    "NameFilter": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
    "JsonSchema": {"type": ["object", "boolean"], "description": "A JSON Schema."},
    "Cancelled": {
        "type": "object",
        "properties": {
            "run_id": {"type": "string", "format": "uuid"},
            "status": {"const": "cancelled"},
        },
        "required": ["run_id", "status"],
    },
    "Deployment": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "path": {"type": "string", "description": "Where it is served on this host."},
            "description": {"type": "string"},
            "endpoints": {"type": "array", "items": {"type": "string"}},
            "access": {"enum": ["public", "authenticated", "staff", "groups", "nobody"]},
            "playground_type": {"enum": ["default", "chat"]},
        },
        "required": ["name", "path", "description", "endpoints", "access", "playground_type"],
    },
}
PARAMETERS: dict[str, Any] = {
    "RunId": {
        "name": "X-Run-Id",
        "in": "header",
        "description": "The id that the run shall have: a UUID. Anything else is ignored.",
        "schema": {"type": "string"},
    },
    "ConfigHash": {
        "name": "config_hash",
        "in": "path",
        "required": True,
        "description": "A config as JSON, compressed by lz-string's "
        "`compressToEncodedURIComponent`. The config of the body wins over it.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9+$-]+$"},
        # "{}"
        "example": "N4XyA",
    },
    "Preset": {
        "name": "preset",
        "in": "query",
        "description": "Only the events that belong to the final answer of an agent.",
        "schema": {"enum": ["final_answer"]},
    },
    "Version": {
        "name": "version",
        "in": "query",
        "description": "The number of the version that shall answer; needs the permission "
        "pin_version.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RunToCancel": {
        "name": "run_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
}
HEADERS: dict[str, Any] = {
    "X-Run-Id": {
        "description": "The id of the run; of a batch, of its first.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "X-Deployment-Version": {
        "description": "The number of the version that answered.",
        "schema": {"type": "integer"},
    },
    "X-Dropped-Config": {
        "description": "Names in the config that the runnable did not get, as they are not open.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}},
}


def components() -> dict[str, Any]:
    """
    The components that are there once. Their names have no clash with a deployment's,
    which all end in `Input`, `Output`, `Config`, `Request` or `Response`, or have a dot.
    """
    return {
        "responses": {name: _response(*ERRORS[name]) for name in ERRORS},
        "parameters": PARAMETERS,
        "headers": HEADERS,
        "securitySchemes": security_schemes(),
    }


def error_responses(names: tuple[str, ...]) -> dict[str, Any]:
    return {str(ERRORS[name][0]): ref("responses", name) for name in names}


def security_schemes() -> dict[str, Any]:
    return {
        "token": {"type": "http", "scheme": "bearer", "description": "An API token of the site."},
        "apiKey": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "The same token in a header of its own.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The session of a user who signed in on this site.",
        },
        "csrf": {
            "type": "apiKey",
            "in": "header",
            "name": csrf_header(),
            "description": f"The value of the cookie `{settings.CSRF_COOKIE_NAME}`; only calls "
            "by session need it.",
        },
    }


def security(*, writes: bool) -> list[dict[str, list[str]]]:
    """
    The ways to sign in, one of which an operation asks for.
    """
    by_session: dict[str, list[str]] = {"session": [], "csrf": []} if writes else {"session": []}
    return [{"token": []}, {"apiKey": []}, by_session]


def csrf_header() -> str:
    name = settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-").title()
    return name.replace("Csrftoken", "CSRFToken")


def list_deployments() -> dict[str, Any]:
    """
    The path item of the list of deployments.
    """
    items = {"type": "array", "items": ref("schemas", "Deployment")}
    return {
        "get": {
            "tags": ["deployments"],
            "summary": "The deployments that the caller may use",
            "operationId": "list_deployments",
            "security": [{}, *security(writes=False)],
            "responses": {
                "200": {"description": "By path.", "content": {JSON: {"schema": items}}},
                **error_responses(("BadRequest", "NotAuthenticated", "Unavailable")),
            },
        }
    }


def _response(status: int, description: str, errors: tuple[ServingError, ...]) -> dict[str, Any]:
    examples = {error.code: {"value": problems.body(error)} for error in errors}
    headers = {"X-Run-Id": ref("headers", "X-Run-Id")}
    if status in (429, 503):
        headers["Retry-After"] = ref("headers", "Retry-After")
    schema = ref("schemas", "Error")
    return {
        "description": description,
        "headers": headers,
        "content": {JSON: {"schema": schema, "examples": examples}},
    }
