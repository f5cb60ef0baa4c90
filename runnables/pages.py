"""
What every page of ours has in common: a policy under which nothing runs but files of the site.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)

View = Callable[..., HttpResponseBase]


def page(view: View) -> View:
    """
    A view whose answers carry the policy.
    """

    @wraps(view)
    def under_policy(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return response

    return under_policy


def secret_page(view: View) -> View:
    """
    The same for pages that show a secret or whose address is one: no cache keeps them.
    """

    @wraps(view)
    def unkept(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = page(view)(request, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    return unkept


def is_wanted(request: HttpRequest) -> bool:
    """
    Whether somebody looks at the answer: browsers name HTML, programs do not.
    """
    return "text/html" in request.headers.get("Accept", "")


def refusal(request: HttpRequest, *, title: str, text: str, status: int) -> HttpResponse:
    """
    An error as a page, for who followed a link or sent a form.
    """
    context = {"title": title, "text": text}
    response = render(request, "runnables/refused.html", context, status=status)
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response
