"""
`/metrics`: the numbers of the site, for Prometheus.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from rest_framework.request import Request

from runnables import database, scopes
from runnables.conf import conf
from runnables.exceptions import NotAuthenticated, NotPermitted
from runnables.identity import ANONYMOUS, CallerRequest, identify
from runnables.views import AsyncView, ServedRequest
from traces.metrics import FiguresCollector

TEXT = "text/plain; version=0.0.4; charset=utf-8"
PERMISSION = "langserve.view_deployment"


class MetricsView(AsyncView):
    """
    For staff who may see deployments, by session or by a token with the scope admin, and for
    whoever has LANGSERVE["METRICS_TOKEN"].
    """

    async def admit(self, request: HttpRequest) -> Request:
        if _has_metrics_token(request):
            return self._known(ServedRequest(request), CallerRequest(request, ANONYMOUS))
        caller = await identify(request)
        if not caller.user.is_authenticated:
            raise NotAuthenticated(headers={"WWW-Authenticate": "Bearer"})
        if not await database.query(lambda: _may_see(caller)):
            raise NotPermitted(
                "Numbers are for staff who may view deployments, by session or by a token with "
                "the scope admin."
            )
        return self._known(ServedRequest(request), caller)

    async def get(self, request: Request) -> HttpResponse:
        text = await database.query(_exposed)
        response = HttpResponse(text, content_type=TEXT)
        response["Cache-Control"] = "no-store"
        return response


def _has_metrics_token(request: HttpRequest) -> bool:
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    wanted = conf.metrics_token
    return bool(
        wanted and scheme.lower() == "bearer" and constant_time_compare(token.strip(), wanted)
    )


def _may_see(caller: CallerRequest) -> bool:
    if caller.auth is not None and not scopes.allows(caller.auth.scopes, "admin", ""):
        return False
    return bool(caller.user.is_staff and caller.user.has_perm(PERMISSION))


def _exposed() -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FiguresCollector())
    return generate_latest(registry)
