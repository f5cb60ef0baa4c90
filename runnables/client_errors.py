"""
What the Python client raises for an answer that is not the wanted one.

    httpx.HTTPStatusError
    └── RemoteError              the server said no, or something that is no answer
    httpx.RemoteProtocolError
    └── IncompleteStream         a stream was cut off before its end

Both are errors of httpx, so code written for LangServe's client goes on catching them.
What keeps the server from being reached at all is httpx's own, such as `ConnectError`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import httpx

MAX_SHOWN = 500


class RemoteError(httpx.HTTPStatusError):
    """
    The server refused the call or the run failed there.

    `message` is for people and `code` for programs; `detail` is what LangServe sends, a
    text or a list. `run_id` finds the run in the server's log, `retry_after` are seconds.
    What a server does not tell is None. `request` holds no headers and no body, so that
    the error can be logged.
    """

    def __init__(
        self, status_code: int, said: Mapping[str, Any], *, response: httpx.Response
    ) -> None:
        self.status_code = status_code
        self.detail: Any = said.get("detail")
        self.message = _message(said) or response.reason_phrase or f"status {status_code}"
        self.code: str | None = _text(said.get("code"))
        self.run_id = parse_run_id(said.get("run_id") or response.headers.get("x-run-id"))
        self.retry_after = _seconds(said.get("retry_after"))
        if self.retry_after is None:
            self.retry_after = retry_after(response)
        request = response.request = _bare(response.request)
        super().__init__(self._summary(request), request=request, response=response)

    def _summary(self, request: httpx.Request) -> str:
        what = f"{self.status_code} {self.code}" if self.code else str(self.status_code)
        run = f" (run {self.run_id})" if self.run_id else ""
        return f"{request.method} {request.url}: {what}: {self.message}{run}"


class IncompleteStream(httpx.RemoteProtocolError):
    """
    The stream ended without saying whether it had succeeded: the server or something on
    the way broke it off. What was read until then may not be all.
    """

    def __init__(self, response: httpx.Response) -> None:
        self.run_id = parse_run_id(response.headers.get("x-run-id"))
        run = f" of run {self.run_id}" if self.run_id else ""
        super().__init__(
            f"The stream{run} was cut off before its end.", request=_bare(response.request)
        )


def refusal(response: httpx.Response) -> RemoteError:
    """
    The error in an answer whose status is not a success; its body has been read.
    """
    said = _json_object(response.content)
    if response.is_redirect:
        # Not followed: it would lose the body, and most lead to a page to sign in.
        said = {"message": f"redirected to {response.headers.get('location', 'nowhere')}"}
    return RemoteError(response.status_code, said or {"message": response.text}, response=response)


def bad_reply(response: httpx.Response, why: str) -> RemoteError:
    """
    The error of an answer that says success, but is not LangServe's.
    """
    said = {"message": f"{why} Is the URL that of a deployment?", "code": "bad_reply"}
    return RemoteError(response.status_code, said, response=response)


def told_error(said: Any, response: httpx.Response) -> RemoteError:
    """
    The error in an `error` event of a stream, or in the `errors` of a batch.
    """
    if not isinstance(said, Mapping):
        said = {"message": str(said)}
    status = said.get("status_code")
    if not isinstance(status, int) or not 400 <= status <= 599:
        status = 500
    told = httpx.Response(
        status,
        content=json.dumps(dict(said)).encode(),
        headers={"Content-Type": "application/json"},
        request=response.request,
    )
    if run_id := response.headers.get("x-run-id"):
        told.headers["X-Run-Id"] = run_id
    return RemoteError(status, said, response=told)


def retry_after(response: httpx.Response) -> float | None:
    """
    Seconds to wait before trying again, from the header: a number or a date.
    """
    header = response.headers.get("retry-after", "")
    try:
        return _seconds(float(header))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def parse_run_id(value: Any) -> UUID | None:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None


def _message(said: Mapping[str, Any]) -> str:
    """
    LangServe itself has only `detail`: a text, or what pydantic found wrong.
    """
    message, detail = said.get("message"), said.get("detail")
    if isinstance(message, str):
        return message[:MAX_SHOWN]
    if isinstance(detail, list):
        return "; ".join(_finding(finding) for finding in detail)[:MAX_SHOWN]
    return str(detail)[:MAX_SHOWN] if detail is not None else ""


def _finding(finding: Any) -> str:
    if not isinstance(finding, Mapping) or "msg" not in finding:
        return str(finding)
    where = finding.get("loc")
    path = ".".join(map(str, where)) if isinstance(where, list) else ""
    return f"{path}: {finding['msg']}" if path else str(finding["msg"])


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return max(0.0, float(value))


def _bare(request: httpx.Request) -> httpx.Request:
    return httpx.Request(request.method, request.url.copy_with(userinfo=b""))
