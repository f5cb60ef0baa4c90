"""
`GET /{path}/runs/{run_id}`: what became of a run, for whoever made it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

import orjson
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from rest_framework.request import Request

from runnables import database, processes
from runnables.exceptions import UnknownRun
from runnables.views import JSON, DeploymentView
from traces import recorder, rows
from traces.models import Trace

# How long the writer may be behind, in this process or another.
WAIT_SECONDS = 1.5


class RunView(DeploymentView):
    """
    A run's state, times, tokens and cost. For a run made anonymously, knowing its id is the
    right to ask.
    """

    endpoint = "run"

    async def get(self, request: Request) -> HttpResponse:
        try:
            run_id = UUID(self.kwargs["run_id"])
        except ValueError:
            raise UnknownRun from None
        found = await self._find(run_id)
        return HttpResponse(orjson.dumps(found), content_type=JSON)

    async def _find(self, run_id: UUID) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            if (followed := recorder.find(run_id)) and followed.run_id == run_id:
                return self._told(rows.told(followed), followed.deployment_pk)
            mine = Trace.objects.filter(pk=run_id).values(*rows.TOLD, "deployment")
            if found := await database.query(mine.first):
                return self._told(found, found.pop("deployment"))
            # In one process alone, what is not here is nowhere.
            if time.monotonic() > deadline or not await database.query(_are_several):
                raise UnknownRun
            await asyncio.sleep(0.1)

    def _told(self, found: dict[str, Any], deployment: int | None) -> dict[str, Any]:
        if found["principal"] != self.caller.principal or deployment != self.deployment.pk:
            raise UnknownRun
        return run_body(found, self.request._request)


def _are_several() -> bool:
    return len(processes.alive()) > 1


def run_body(found: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
    """
    `{"run_id", "status", "deployment", "version", "started_at", "ended_at", "duration_ms",
    "first_chunk_ms", "usage", "cost", "error", "trace_url"}`
    """
    usage = None
    if found["output_tokens"] is not None:
        usage = {
            "input_tokens": found["input_tokens"],
            "output_tokens": found["output_tokens"],
            "total_tokens": found["input_tokens"] + found["output_tokens"],
        }
    return {
        "run_id": str(found["id"]),
        "status": found["state"],
        "deployment": found["deployment_name"],
        "version": found["version"],
        "started_at": found["started_at"],
        "ended_at": found["ended_at"],
        "duration_ms": found["duration_ms"],
        "first_chunk_ms": found["first_chunk_ms"],
        "usage": usage,
        "cost": None if found["cost"] is None else float(found["cost"]),
        "error": found["error_class"] or None,
        "trace_url": _trace_url(found["id"], request),
    }


def _trace_url(run_id: UUID, request: HttpRequest) -> str | None:
    try:
        return request.build_absolute_uri(reverse("langserve_traces:detail", args=[run_id]))
    except NoReverseMatch:
        return None
