"""
The pages of the admin about what is recorded of one deployment.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from runnables.models import Deployment
from traces import tracing
from traces.models import Tracing
from traces.tracing_form import TracingForm, Tried, try_out


@require_http_methods(["GET", "HEAD", "POST"])
def tracing_page(request: HttpRequest, pk: int, *, modeladmin: ModelAdmin[Any]) -> HttpResponse:
    """
    The form, what it comes to, and a box to try it in.
    """
    if not tracing.may_see(request):
        raise PermissionDenied
    if request.method == "POST" and not tracing.may_change(request):
        raise PermissionDenied
    deployment = get_object_or_404(Deployment, pk=pk)
    if request.method == "POST" and request.POST.get("what") == "follow":
        tracing.follow_the_site(deployment, by=request.user)
        messages.success(request, _("It follows the site's settings from now on."))
        return redirect("admin:langserve_traces_tracing", pk)
    row = tracing.tracing_of(deployment)
    is_own, days = Tracing.objects.filter(pk=pk).exists(), row.days
    sent = request.POST if request.method == "POST" else None
    form = TracingForm(sent, instance=row, may_change=tracing.may_change(request))
    is_trial = sent is not None and sent.get("what") == "try"
    if sent is not None and not is_trial and form.is_valid():
        _save(request, form)
        return redirect("admin:langserve_traces_tracing", pk)
    context = {
        **modeladmin.admin_site.each_context(request),
        "opts": Deployment._meta,
        "original": deployment,
        "title": _("Tracing of %s") % deployment,
        "form": form,
        "is_refused": sent is not None and not is_trial,
        "is_own": is_own,
        "size": tracing.size_of(deployment, days),
        "sample": sent.get("sample", "") if sent is not None else "",
        "tried": try_out(sent) if sent is not None and is_trial else Tried(),
        "may_change": tracing.may_change(request),
    }
    return TemplateResponse(request, "admin/langserve_traces/tracing.html", context)


@require_POST
def trial(request: HttpRequest, pk: int) -> HttpResponse:
    """
    What would be kept of a text, for the page's script.
    """
    if not tracing.may_change(request):
        raise PermissionDenied
    get_object_or_404(Deployment, pk=pk)
    tried = try_out(request.POST)
    return JsonResponse({"kept": tried.kept, "problem": tried.problem})


def _save(request: HttpRequest, form: TracingForm) -> None:
    changes = tracing.save(form.save(commit=False), by=request.user)
    if changes:
        messages.success(request, _("Saved. Every process follows it within a second."))
    else:
        messages.info(request, _("Nothing was changed."))
