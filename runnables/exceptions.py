"""
Every error a caller may see.

    ServingError
    ├── PublicError                  raised by developers: shown as it is
    ├── InvalidConfigHash       400
    ├── InvalidRequest          400
    ├── EndpointOff             400
    ├── SharingOff              400
    ├── NotAuthenticated        401
    ├── NotPermitted            403
    │   ├── CsrfFailed
    │   └── HttpsRequired
    ├── NotFound                404
    │   ├── UnknownDeployment
    │   ├── UnknownEndpoint
    │   ├── UnknownVersion
    │   └── UnknownRun
    ├── WrongMethod             405
    ├── UnsupportedEncoding     415
    ├── UnsupportedType         415
    ├── PayloadRefused          413, 422
    ├── InvalidInput            422
    ├── ConfigNotAllowed        422
    ├── BatchTooLarge           422
    ├── RunIdInUse              422
    ├── UpgradeRequired         426
    ├── OverLimit               429
    │   ├── RateLimited
    │   ├── QuotaExceeded
    │   └── QueueFull
    ├── RunCancelled            499
    ├── RunFailed               500
    │   └── OutputNotSerializable
    ├── Unavailable             503
    │   └── InMaintenance
    └── RunTimedOut             504

The status is plain data here; the doors alone speak HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ClientGone(Exception):
    """
    The client has closed the connection: there is nobody to be told anything.
    """


class ReaderStuck(Exception):
    """
    The client reads nothing of what it is sent; the connection is being closed.
    """


class ServingError(Exception):
    """
    An error that is drawn for the caller: status, code and a message that helps.

    `detail` is what LangServe's clients read (text or a list); by default the message.
    """

    status_code = 500
    code = "error"
    message = "The request failed."

    def __init__(
        self,
        message: str | None = None,
        *,
        detail: Any = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message or self.message)
        self.message = message or self.message
        self.detail = detail if detail is not None else self.message
        self.code = code or self.code
        self.headers = dict(headers or {})
        self.retry_after = retry_after


class PublicError(ServingError):
    """
    Raise this in a runnable to tell the caller what went wrong, on every door.

        raise PublicError("The index is being rebuilt.", status=503, retry_after=30)

    `status` is an HTTP status from 400 to 599, `code` a short word for programs,
    `retry_after` seconds.
    """

    status_code = 400
    code = "public_error"

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"PublicError needs a status from 400 to 599, got {status}")
        super().__init__(message, code=code, retry_after=retry_after)
        self.status_code = status


class InvalidConfigHash(ServingError):
    """
    The `/c/{hash}/` segment of the path is not a config.
    """

    status_code = 400
    code = "invalid_config_hash"
    message = "Invalid config hash"


class InvalidRequest(ServingError):
    """
    The request itself is broken: a host that is not ours, a header that cannot be read.
    """

    status_code = 400
    code = "invalid_request"
    message = "The request cannot be understood."


class EndpointOff(ServingError):
    """
    What this endpoint serves is not switched on, or not configured, for the deployment: 400,
    as LangServe has it for feedback.
    """

    status_code = 400
    code = "endpoint_off"
    message = "This is not switched on for this deployment."


class SharingOff(ServingError):
    """
    Runs of this deployment are not shared by link.
    """

    status_code = 400
    code = "sharing_off"
    message = "Sharing runs by link is not switched on for this deployment."


class NotAuthenticated(ServingError):
    """
    The deployment is not public, and the caller gave no valid credentials.
    """

    status_code = 401
    code = "not_authenticated"
    message = "Sign in, or send a token as `Authorization: Bearer <token>`."


class NotPermitted(ServingError):
    """
    We know the caller, and the caller may not.
    """

    status_code = 403
    code = "not_permitted"
    message = "You may not do this."


class CsrfFailed(NotPermitted):
    """
    A call with a session cookie came without its CSRF token.
    """

    code = "csrf_failed"


class HttpsRequired(NotPermitted):
    """
    The site is served by HTTPS only, and a redirect would lose the body.
    """

    code = "https_required"
    message = "This site is served over HTTPS only. Repeat the call with https://."


class NotFound(ServingError):
    status_code = 404
    code = "not_found"
    message = "Not Found"


class UnknownDeployment(NotFound):
    """
    No deployment with this path is being served, or the caller may not know of it.
    """

    code = "unknown_deployment"


class UnknownEndpoint(NotFound):
    """
    The deployment is there, this endpoint is switched off.
    """

    code = "unknown_endpoint"


class UnknownVersion(NotFound):
    """
    `?version=` names no version of this deployment.
    """

    code = "unknown_version"
    message = "This deployment has no such version."


class UnknownRun(NotFound):
    """
    No such run is going on, or it belongs to somebody else.
    """

    code = "unknown_run"
    message = "No run with this id is going on."


class WrongMethod(ServingError):
    status_code = 405
    code = "method_not_allowed"
    message = "Method Not Allowed"

    def __init__(self, allowed: str) -> None:
        super().__init__(headers={"Allow": allowed})


class UnsupportedEncoding(ServingError):
    status_code = 415
    code = "unsupported_encoding"
    message = "Send the body as it is, without a Content-Encoding."


class UnsupportedType(ServingError):
    """
    A file, or a body, of a content type that is not taken here.
    """

    status_code = 415
    code = "unsupported_type"
    message = "This endpoint takes a JSON body."


class PayloadRefused(ServingError):
    """
    The body is too large, or not the JSON we accept; `runnables.payload` says which.
    """

    status_code = 422
    code = "invalid_json"

    def __init__(self, message: str, *, code: str, status: int = 422) -> None:
        # LangServe's text for a body that is not JSON, whatever is wrong with it.
        detail = message if status == 413 else ["Invalid JSON body"]
        super().__init__(message, code=code, detail=detail)
        self.status_code = status


class InvalidInput(ServingError):
    """
    The body is JSON, but not what this runnable takes; `detail` lists where and why.
    """

    status_code = 422
    code = "validation_error"

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(_first_error(errors), detail=errors)


class ConfigNotAllowed(ServingError):
    """
    The config names something that callers of this deployment may not set.
    """

    status_code = 422
    code = "config_not_allowed"


class BatchTooLarge(ServingError):
    status_code = 422
    code = "batch_too_large"


class RunIdInUse(ServingError):
    status_code = 422
    code = "run_id_in_use"
    message = "A run with this id is going on already. Choose another, or let us choose."


class UpgradeRequired(ServingError):
    """
    A plain HTTP call of the WebSocket door.
    """

    status_code = 426
    code = "upgrade_required"
    message = "This endpoint speaks WebSocket; see docs/websocket.md."

    def __init__(self) -> None:
        super().__init__(headers={"Upgrade": "websocket", "Connection": "Upgrade"})


class OverLimit(ServingError):
    """
    A limit of the deployment; `retry_after` says when it makes sense to try again.
    """

    status_code = 429
    code = "over_limit"


class RateLimited(OverLimit):
    """
    More calls a minute than the deployment takes from one caller.
    """

    code = "rate_limited"


class QuotaExceeded(OverLimit):
    """
    The caller's runs of this day are used up.
    """

    code = "quota_exceeded"


class QueueFull(OverLimit):
    """
    As many runs as the deployment takes are going on, and the line behind them is full.
    """

    code = "queue_full"


class RunCancelled(ServingError):
    """
    Somebody who may do so cancelled the run by its id.
    """

    status_code = 499
    code = "cancelled"
    message = "The run was cancelled."


class RunFailed(ServingError):
    """
    The runnable raised. The exception is in the log under the run id, never here.
    """

    status_code = 500
    code = "run_failed"
    message = "Internal Server Error"


class OutputNotSerializable(RunFailed):
    """
    The runnable returned something that JSON cannot carry and no encoder knows.
    """

    code = "output_not_serializable"


class Unavailable(ServingError):
    """
    The deployment cannot be served now: it failed to build, or the server is stopping.
    """

    status_code = 503
    code = "unavailable"
    message = "This deployment is not available now."


class InMaintenance(Unavailable):
    """
    Staff have put the deployment into maintenance.
    """

    code = "maintenance"
    message = "This deployment is being worked on. Try again later."

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message or None, retry_after=retry_after)


class RunTimedOut(ServingError):
    """
    The run took longer than the deployment allows.
    """

    status_code = 504
    code = "timed_out"
    message = "The run took longer than this deployment allows, and was stopped."


def _first_error(errors: list[dict[str, Any]]) -> str:
    if not errors:
        return "The request is not valid."
    where = ".".join(str(part) for part in errors[0]["loc"])
    text = f"{where}: {errors[0]['msg']}" if where else str(errors[0]["msg"])
    more = len(errors) - 1
    return f"{text} (and {more} more)" if more else text
