"""
`PUT` and `HEAD /{path}/public_trace_link`: LangServe's door, without the service behind it.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from django.http import HttpRequest, HttpResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rest_framework.request import Request

from feedback import links
from feedback.models import TraceLink
from runnables import access, database, hooks
from runnables.exceptions import (
    InvalidInput,
    NotAuthenticated,
    SharingOff,
    UnknownEndpoint,
    UnknownRun,
)
from runnables.hooks import KnownRun
from runnables.models import Deployment
from runnables.validation import public_errors
from runnables.views import JSON, DeploymentView

# A trace is written a moment after its run has ended, perhaps by another process.
WAIT_SECONDS = 1.5
LOOK_AGAIN_SECONDS = 0.15

Part = Literal["payloads", "steps", "metadata", "feedback"]


class ShareBody(BaseModel):
    """
    What LangServe's clients send is `run_id` alone.
    """

    model_config = ConfigDict(extra="ignore")

    run_id: UUID
    parts: Annotated[list[Part], Field(max_length=16)] = ["payloads", "steps"]
    # Not a number of seconds that a date cannot hold; null is for ever.
    expires_in: Annotated[int, Field(strict=True, gt=0, lt=10**10)] | None = None
    name: Annotated[str, Field(max_length=links.LONGEST_NAME)] = ""


class PublicTraceLinkView(DeploymentView):
    """
    Share a run by link; ask twice and get the same address. Who made the run may, with the
    right to share; others need the rights to see what it shows as well.
    """

    endpoint = links.ENDPOINT

    async def admit(self, request: HttpRequest) -> Request:
        try:
            admitted = await super().admit(request)
        except UnknownEndpoint:
            # LangServe's answer where it is not configured, which its clients know.
            raise SharingOff from None
        if not self.caller.principal:
            raise NotAuthenticated(headers={"WWW-Authenticate": "Bearer"})
        access.require(self.caller, self.deployment, "share")
        if self.deployment.pk is None:
            raise SharingOff
        return admitted

    async def head(self, request: Request) -> HttpResponse:
        return HttpResponse(content_type=JSON)

    async def put(self, request: Request) -> HttpResponse:
        body = _body(request.data)
        known = await self._known_run(body.run_id)
        self._require_sight(known, body.parts)
        link = await database.query(lambda: self._share(known.run_id, body))
        url = self.caller.http.build_absolute_uri(links.path_of(link))
        answer = HttpResponse(orjson.dumps({"public_url": url}), content_type=JSON)
        answer["Cache-Control"] = "no-store"
        return answer

    async def _known_run(self, run_id: UUID) -> KnownRun:
        deadline = time.monotonic() + WAIT_SECONDS
        while (known := await database.query(lambda: hooks.known_run(run_id))) is None:
            if time.monotonic() > deadline:
                raise UnknownRun("No run with this id is known.")
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return known

    def _require_sight(self, known: KnownRun, parts: list[Part]) -> None:
        """
        Raise UnknownRun of what the caller could not look at: it may be somebody else's.
        """
        may = access.permissions(self.caller, self.deployment)
        needed = {"see_traces", "see_payloads"} if "payloads" in parts else {"see_traces"}
        is_theirs = known.principal == self.caller.principal
        if known.deployment != self.deployment.pk or not (is_theirs or needed <= may):
            raise UnknownRun("No run with this id is known.")

    def _share(self, run_id: UUID, body: ShareBody) -> TraceLink:
        given = body.model_fields_set
        lives: Any = links.USUAL
        if "expires_in" in given:
            seconds = body.expires_in
            lives = None if seconds is None else timedelta(seconds=seconds)
        try:
            return links.share_run(
                run_id=run_id,
                deployment=Deployment.objects.get(name=self.deployment.name),
                by=self.caller.user,
                parts=body.parts,
                name=body.name.strip(),
                lives=lives,
            )
        except links.ExpiryRefused as error:
            raise InvalidInput([_wrong("expires_in", str(error))]) from None


def _body(data: Any) -> ShareBody:
    try:
        return ShareBody.model_validate(data)
    except ValidationError as error:
        raise InvalidInput(public_errors(error, ("body",))) from None


def _wrong(field: str, text: str) -> dict[str, Any]:
    return {"type": "value_error", "loc": ["body", field], "msg": text}
