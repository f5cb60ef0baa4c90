"""
`/openapi.json`, and Swagger UI at `/docs`, whose page runs nothing but files of this site.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe
from rest_framework.request import Request

from runnables import openapi
from runnables.openapi_shared import csrf_header
from runnables.pages import page
from runnables.views import JSON, AsyncView


class OpenApiView(AsyncView):
    """
    The OpenAPI document of what the caller may use.
    """

    async def get(self, request: Request) -> HttpResponse:
        base_url = request._request.path.rstrip("/").removesuffix("/openapi.json")
        made = await openapi.document(self.caller, base_url)
        response: HttpResponse | None = HttpResponse(made.content, content_type=JSON)
        response = get_conditional_response(request._request, made.etag, None, response)
        assert response is not None  # noqa: S101 - it was given one
        response["ETag"] = made.etag
        response["Cache-Control"] = "private, no-cache"
        response["Vary"] = "Authorization, Cookie, X-API-Key"
        return response


@page
@require_safe
@ensure_csrf_cookie
def docs(request: HttpRequest) -> HttpResponse:
    """
    Swagger UI. Who may see what is settled by the document that it loads.
    """
    boot = {
        "url": reverse("langserve:openapi"),
        "csrfHeader": csrf_header(),
        "csrfCookie": settings.CSRF_COOKIE_NAME,
        # Where the cookie is kept from scripts.
        "csrfToken": get_token(request),
    }
    return render(request, "runnables/docs.html", {"boot": boot})
