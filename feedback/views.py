"""
The doors of feedback. Their bodies are LangServe's; without LangSmith.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from feedback import export
from feedback.answers import Refused, read_answer, read_info, read_run_and_key, read_uuid, wrong
from feedback.models import Feedback
from feedback.services import (
    BY_TOKEN,
    REVIEWERS,
    author_of,
    record_feedback,
    remove_feedback,
    trace_of,
)
from feedback.tokens import read_token, token_key
from runnables import access, database
from runnables.exceptions import (
    EndpointOff,
    InvalidInput,
    NotAuthenticated,
    NotPermitted,
    PayloadRefused,
    UnknownEndpoint,
)
from runnables.identity import CallerRequest
from runnables.payload import BadPayload, Limits, parse
from runnables.views import JSON, DeploymentView, ServedRequest

LIMITS = Limits(size=256 * 1024, depth=32, keys=2_000, nodes=10_000)
OF_LANGSERVE = {"from_langserve": True}
# What a list shows at most of one run; one has an answer per key.
MOST_SHOWN = 200


class FeedbackDoor(DeploymentView):
    """
    A door whose deployment need not be built to be asked.
    """

    endpoint = "feedback"

    async def admit(self, request: HttpRequest) -> Request:
        deployment = self.deployment = self.find_deployment(self.kwargs.get("path") or "")
        self.errors = deployment.errors
        caller = await access.admit(request, deployment, self.endpoint)
        return self._known(ServedRequest(request), caller)

    @property
    def may(self) -> frozenset[str]:
        return access.permissions(self.caller, self.deployment)


class FeedbackView(FeedbackDoor):
    """
    Say something about a run, see what one has said, and whether that can be done at all.
    """

    async def head(self, request: Request) -> HttpResponse:
        return HttpResponse(content_type=JSON)

    async def post(self, request: Request) -> HttpResponse:
        payload = read_body(request._request)
        run_id, key = read_run_and_key(payload)
        answer = read_answer(payload)

        def record() -> Feedback:
            trace_id = trace_of(
                run_id,
                deployment=self.deployment.pk,
                principal=self.caller.principal,
                may=self.may,
            )
            return record_feedback(
                run_id=run_id,
                trace_id=trace_id,
                deployment=self.deployment.pk,
                key=key,
                author=author_of(self.caller.user),
                answer=answer,
                source_info=OF_LANGSERVE,
            )

        return _json(content_of(await database.query(record)))

    async def get(self, request: Request) -> HttpResponse:
        try:
            run_id = read_uuid(request._request.GET.get("run_id"))
        except Refused as error:
            raise InvalidInput(
                [{"type": "value_error", "loc": ["query", "run_id"], "msg": str(error)}]
            ) from None
        mine = Feedback.objects.filter(
            run_id=run_id, deployment=self.deployment.pk, author=author_of(self.caller.user).name
        )
        rows = await database.query(lambda: list(mine[:MOST_SHOWN]))
        return _json([content_of(row) for row in rows])


class FeedbackItemView(FeedbackDoor):
    """
    Take back what one has said.
    """

    async def delete(self, request: Request) -> HttpResponse:
        feedback_id = UUID(self.kwargs["feedback_id"])
        await database.query(
            lambda: remove_feedback(
                feedback_id=feedback_id,
                deployment=self.deployment.pk,
                author=author_of(self.caller.user),
            )
        )
        return HttpResponse(status=204)


class TokenFeedbackView(DeploymentView):
    """
    Say something about a run by a feedback token, which is all the right that it takes: no
    session counts, and so no CSRF token. POST alone: what follows links must not vote.
    """

    endpoint = "token_feedback"

    async def admit(self, request: HttpRequest) -> Request:
        deployment = self.deployment = self.find_deployment(self.kwargs.get("path") or "")
        self.errors = deployment.errors
        with access.hidden(deployment):
            if self.endpoint not in deployment.endpoints:
                raise UnknownEndpoint
            if token_key(deployment) is None:
                raise EndpointOff(f"{deployment.name!r} gives out no feedback tokens.")
        return self._known(ServedRequest(request), CallerRequest(request))

    async def post(self, request: Request) -> HttpResponse:
        with access.hidden(self.deployment):
            payload = read_body(request._request, may_be_empty=True)
            token = read_token(_token_or_url(request, payload), self.deployment)
        _refuse_others(payload, run_id=str(token.run_id), key=token.key)
        answer = read_answer(payload)
        source_info = {**_info(payload), **OF_LANGSERVE, "version": token.version}
        await database.query(
            lambda: record_feedback(
                run_id=token.run_id,
                trace_id=token.run_id,
                deployment=self.deployment.pk,
                key=token.key,
                author=BY_TOKEN,
                answer=answer,
                source_info=source_info,
            )
        )
        return _json(None)


class FeedbackExportView(FeedbackDoor):
    """
    All that was said about a deployment's runs, for those who may look at others' runs.
    """

    async def get(self, request: Request) -> HttpResponseBase:
        if not REVIEWERS & self.may:
            if not self.caller.user.is_authenticated:
                raise NotAuthenticated(headers={"WWW-Authenticate": "Bearer"})
            raise NotPermitted(
                f"You may not export what others said (permission: review) at {self.deployment.name!r}."
            )
        query = request._request.GET
        kind = _one_of(query, "format", export.FORMATS)
        shape = _one_of(query, "as", export.SHAPES)
        if shape == "dataset":
            access.require(self.caller, self.deployment, "see_payloads")
        chosen = export.chosen(
            deployment=self.deployment.pk,
            key=query.get("key", ""),
            since=_when(query, "since"),
            until=_when(query, "until"),
        )
        batches = export.batches(chosen, kind=kind, shape=shape)

        async def body() -> AsyncIterator[bytes]:
            while (text := await database.query(lambda: next(batches, None))) is not None:
                yield text.encode()

        return StreamingHttpResponse(
            body(),
            content_type=export.FORMATS[kind],
            headers={
                "Content-Disposition": f'attachment; filename="feedback.{kind}"',
                "Cache-Control": "no-store",
            },
        )


def read_body(request: HttpRequest, *, may_be_empty: bool = False) -> dict[str, Any]:
    """
    The payload of a request; raises PayloadRefused and InvalidInput.
    """
    body = request.read(LIMITS.size + 1)
    if may_be_empty and not body:
        return {}
    try:
        payload = parse(body, LIMITS)
    except BadPayload as error:
        raise PayloadRefused(error.message, code=error.code, status=error.status) from None
    if not isinstance(payload, dict):
        raise InvalidInput(
            [{"type": "dict_type", "loc": ["body"], "msg": "the body should be an object"}]
        )
    return payload


def content_of(feedback: Feedback) -> dict[str, Any]:
    """
    One feedback as LangServe's clients read it, and its reasons.
    """
    score = feedback.score
    return {
        "run_id": str(feedback.run_id),
        "key": feedback.key,
        "score": int(score) if score is not None and score == int(score) else score,
        "value": feedback.value,
        "comment": feedback.comment or None,
        "id": str(feedback.pk),
        "created_at": feedback.created_at.isoformat(),
        "modified_at": feedback.modified_at.isoformat(),
        "correction": feedback.correction,
        "reasons": feedback.reasons,
    }


def _json(content: Any) -> HttpResponse:
    return HttpResponse(orjson.dumps(content), content_type=JSON)


def _token_or_url(request: Request, payload: dict[str, Any]) -> str:
    given = payload.get("token_or_url", request._request.GET.get("token"))
    if given is None:
        raise InvalidInput(
            [
                {
                    "type": "missing",
                    "loc": ["body", "token_or_url"],
                    "msg": "token_or_url is required",
                }
            ]
        )
    if not isinstance(given, str):
        raise wrong("token_or_url", "token_or_url is a text")
    return given


def _refuse_others(payload: dict[str, Any], **own: str) -> None:
    """
    A token is for one run and one key: a body that names others is refused.
    """
    for name, value in own.items():
        if payload.get(name, value) != value:
            raise wrong(name, f"the token is for another {name}")


def _info(payload: dict[str, Any]) -> dict[str, Any]:
    try:
        return read_info(payload.get("metadata"))
    except Refused as error:
        raise wrong("metadata", str(error)) from None


def _one_of(query: Any, name: str, allowed: Any) -> str:
    value = str(query.get(name, next(iter(allowed))))
    if value not in allowed:
        raise _wrong_query(name, f"{name} is one of {', '.join(allowed)}")
    return value


def _when(query: Any, name: str) -> datetime | None:
    if not (text := query.get(name, "")):
        return None
    try:
        return export.read_time(text)
    except ValueError:
        raise _wrong_query(name, f"{name} is a date or a time, such as 2030-01-31") from None


def _wrong_query(name: str, message: str) -> InvalidInput:
    return InvalidInput([{"type": "value_error", "loc": ["query", name], "msg": message}])
