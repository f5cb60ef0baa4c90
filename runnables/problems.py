"""
Errors as the caller sees them: translated once, for every door.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpResponse
from rest_framework.exceptions import APIException

from runnables.codec import NotSerializable
from runnables.error_log import logger_for_errors
from runnables.exceptions import (
    NotFound,
    NotPermitted,
    OutputNotSerializable,
    PublicError,
    RunFailed,
    ServingError,
)

logger = logger_for_errors("runnables.errors")

JSON = "application/json"
# Raised to be shown: nothing to hide, nothing to log.
_PUBLIC = (ServingError, APIException, Http404, PermissionDenied, BadRequest)


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """
    How one deployment shows errors: `detail` is none, class or message, and `translate`,
    if given, may turn a foreign exception into one that callers understand.
    """

    deployment: str = ""
    detail: str = "none"
    translate: Callable[[Exception], Exception | None] | None = None

    def report(self, error: Exception, run_id: UUID | None = None) -> ServingError:
        """
        What the caller may see. What the caller will not see is logged, under the run id.
        """
        if not isinstance(error, _PUBLIC):
            logger.error("run %s of %s failed", run_id, self.deployment, exc_info=error)
            error = self._translated(error)
        return public_error(error, detail=self.detail)

    def _translated(self, error: Exception) -> Exception:
        if self.translate is None:
            return error
        try:
            return self.translate(error) or error
        except Exception:
            logger.exception("translate_error of %s failed", self.deployment)
            return error


def public_error(error: Exception, *, detail: str = "none") -> ServingError:
    """
    Any exception as one that callers see; foreign text only where `detail` opens it.
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
    if limited := _rate_limited(error):
        return limited
    return RunFailed(detail=_run_failed_detail(error, detail))


def _rate_limited(error: Exception) -> ServingError | None:
    """
    A model provider's 429 as our own: their clients' exceptions all carry the status.
    """
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if status != 429:
        return None
    wait = getattr(response, "headers", {}).get("retry-after", "")
    return PublicError(
        "The model's provider limits our rate. Try again later.",
        status=429,
        code="upstream_rate_limited",
        retry_after=float(wait) if str(wait).isdigit() else None,
    )


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


def _run_failed_detail(error: Exception, error_detail: str) -> str:
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
