"""
What the pages below a deployment have in common: who may open them, and their frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.http.response import HttpResponseNotAllowed
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from runnables.models import Deployment, DeploymentVersion

FOLDER = "admin/langserve/deployment"


@dataclass(frozen=True, slots=True)
class Page:
    """
    One request to a page below a deployment, by somebody who may at least look at it.
    """

    admin: ModelAdmin[Any]
    request: HttpRequest
    deployment: Deployment
    current: DeploymentVersion
    may_change: bool

    def require_change(self) -> None:
        if not self.may_change:
            raise PermissionDenied

    def version(self, number: int) -> DeploymentVersion:
        versions = self.deployment.versions.select_related("created_by")
        return get_object_or_404(versions, number=number)

    def url(self, name: str, **further: Any) -> str:
        return page_url(self.deployment, name, **further)

    def go(self, name: str, *, query: dict[str, Any] | None = None, **further: Any) -> HttpResponse:
        return HttpResponseRedirect(
            reverse(
                f"admin:langserve_deployment_{name}",
                args=[self.deployment.pk, *further.values()],
                query=query,
            )
        )

    def say(self, text: str, level: int) -> None:
        self.admin.message_user(self.request, text, level)

    def show(self, template: str, title: str, **context: Any) -> HttpResponse:
        frame = {
            **self.admin.admin_site.each_context(self.request),
            "opts": self.admin.opts,
            "original": self.deployment,
            "current": self.current,
            "may_change": self.may_change,
            "title": title,
        }
        return TemplateResponse(self.request, f"{FOLDER}/{template}", {**frame, **context})


View = Callable[..., HttpResponse]


def page_url(deployment: Deployment, name: str, **further: Any) -> str:
    args = [deployment.pk, *further.values()]
    return reverse(f"admin:langserve_deployment_{name}", args=args)


def route(admin: ModelAdmin[Any], below: str, name: str, view: View) -> URLPattern:
    """
    The URL of a page below a deployment.
    """

    def opened(request: HttpRequest, pk: int, **further: Any) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        return view(_opened(admin, request, pk), **further)

    wrapped = admin.admin_site.admin_view(opened)
    return path(f"<int:pk>/{below}", wrapped, name=f"langserve_deployment_{name}")


def _opened(admin: ModelAdmin[Any], request: HttpRequest, pk: int) -> Page:
    rows = Deployment.objects.select_related("version__created_by")
    deployment = get_object_or_404(rows, pk=pk)
    if not admin.has_view_or_change_permission(request, deployment):
        raise PermissionDenied
    may_change = admin.has_change_permission(request, deployment)
    if request.method == "POST" and not may_change:
        raise PermissionDenied
    if deployment.version is None:
        raise Http404(_("This deployment has no version yet."))
    return Page(admin, request, deployment, deployment.version, may_change)
