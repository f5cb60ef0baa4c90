"""
Errors as the caller sees them: translated once, for every door.
"""

from __future__ import annotations

import logging
import math
from typing import Any
from uuid import UUID

import orjson
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpResponse
from rest_framework.exceptions import APIException

from runnables.codec import NotSerializable
from runnables.exceptions import (
    NotFound,
    NotPermitted,
    OutputNotSerializable,
    PublicError,
    RunFailed,
    ServingError,
)

logger = logging.getLogger("runnables.errors")

JSON = "application/json"


def public_error(error: BaseException, *, error_detail: str = "none") -> ServingError:
    """
    What the caller may see of any exception; foreign text only where a deployment opens it.
    """
    if isinstance(error, ServingError):
        return error
    if isinstance(error, APIException):
        return _from_rest_framework(error)
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, PermissionDenied):
        return NotPermitted()
    if isinstance(error, BadRequest):
        return PublicError("Bad Request", status=400, code="bad_request")
    if isinstance(error, NotSerializable):
        return OutputNotSerializable(
            detail=f"The output holds {error.kind}, which no encoder of this deployment knows."
        )
    return RunFailed(detail=_run_failed_detail(error, error_detail))


def log(error: BaseException, *, run_id: UUID | None, deployment: str) -> None:
    """
    Write down what the caller will not see, under the run id that the caller will.
    """
    if not isinstance(error, ServingError | APIException | Http404 | PermissionDenied):
        logger.error("run %s of %s failed", run_id, deployment, exc_info=error)


def body(error: ServingError, run_id: UUID | None = None) -> dict[str, Any]:
    """
    The one flat error body: `detail`, `message`, `code`, and `run_id`, `retry_after` where known.
    """
    content = {"detail": error.detail, "message": error.message, "code": error.code}
    if run_id is not None:
        content["run_id"] = str(run_id)
    if error.retry_after is not None:
        content["retry_after"] = error.retry_after
    return content


def headers(error: ServingError, run_id: UUID | None = None) -> dict[str, str]:
    named = dict(error.headers)
    if run_id is not None:
        named["X-Run-Id"] = str(run_id)
    if error.retry_after is not None:
        named["Retry-After"] = str(math.ceil(error.retry_after))
    return named


def response(error: ServingError, run_id: UUID | None = None) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(body(error, run_id), default=str),
        status=error.status_code,
        content_type=JSON,
        headers=headers(error, run_id),
    )


def stream_event(error: ServingError, run_id: UUID | None = None) -> dict[str, Any]:
    """
    The data of an `error` event. Clients need `status_code` and `message`; more may follow.
    """
    return {"status_code": error.status_code, **body(error, run_id)}


def _run_failed_detail(error: BaseException, error_detail: str) -> str:
    if error_detail == "message":
        return f"{type(error).__name__}: {error}"
    if error_detail == "class":
        return type(error).__name__
    return "The runnable failed. The server's log has the reason under this run id."


def _from_rest_framework(error: APIException) -> ServingError:
    detail = error.detail
    message = detail if isinstance(detail, str) else str(error.default_detail)
    code = error.get_codes()
    public = PublicError(
        str(message),
        status=error.status_code,
        code=code if isinstance(code, str) else error.default_code,
        retry_after=getattr(error, "wait", None),
    )
    public.detail = detail
    public.headers = {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else {}
    return public
