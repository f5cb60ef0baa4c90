"""
The public page of a shared trace, and the pages of who shares.

The public page is made without the request: nothing of whoever looks can be in it, and all
that is not there is one page, to the byte.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from feedback import links as trace_links
from feedback.models import TraceLink
from runnables import limits
from runnables.conf import conf
from runnables.identity import client_address
from runnables.pages import CONTENT_SECURITY_POLICY, secret_page
from traces.models import Trace
from traces.share_forms import ShareForm
from traces.sharing import shared_trace
from traces.viewers import Viewer

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
}


def for_strangers(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """
    No cache keeps the page, no search engine lists it, and no other site learns its address.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        for name, value in HEADERS.items():
            response[name] = value
        return response

    return guarded


@for_strangers
@require_safe
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """
    A trace for whoever has the link; each look at it is counted, its owner's too.
    """
    address = client_address(request.META)
    wait = limits.wait_of(f"shared:{address}", conf.trace_link_views_per_minute)
    if wait is not None:
        return _too_many(wait)
    link = trace_links.find(token)
    trace = Trace.objects.select_related("user").filter(pk=link.run_id).first() if link else None
    if link is None or trace is None:
        return _nothing()
    if request.method == "GET":
        trace_links.count_view(link)
    context = {
        "link": link,
        "shared": shared_trace(trace, link.parts),
        "report": _report(request.build_absolute_uri(trace_links.path_of(link))),
    }
    return _page("traces/shared.html", context)


@secret_page
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def share(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """
    Choose what of a trace to show, see it as strangers will, and make the link.
    """
    viewer = Viewer(request.user)
    trace = _trace(viewer, run_id)
    is_open = trace_links.is_open(trace.deployment)
    own = _rows(request, trace_links.links_of(request.user).filter(run_id=trace.pk))
    made = next((link for link in own if str(link.pk) == request.GET.get("made")), None)
    form = ShareForm(
        sees_payloads=viewer.may_see_payloads(trace),
        data=request.POST or None,
        parts=made.parts if made else trace_links.USUAL_PARTS,
    )
    valid = form.is_bound and form.is_valid()
    if valid and is_open and "create" in request.POST:
        link = _create(request.user, trace, form)
        return redirect(f"{reverse('langserve_traces:share', args=[trace.pk])}?made={link.pk}")
    context = {
        "trace": trace,
        "form": form,
        "is_open": is_open,
        "links": own,
        "made": made,
        "shared": shared_trace(trace, form.chosen_parts),
    }
    status = 422 if form.is_bound and not valid else 200
    return render(request, "traces/share.html", context, status=status)


@secret_page
@login_required
@require_safe
def links(request: HttpRequest) -> HttpResponse:
    """
    All links that a user has made.
    """
    rows = _rows(request, trace_links.links_of(request.user))
    return render(request, "traces/links.html", {"links": rows})


@secret_page
@login_required
@require_POST
def revoke_link(request: HttpRequest, pk: int) -> HttpResponse:
    link = TraceLink.objects.filter(pk=pk, created_by=request.user.pk).first()
    if link is None:
        raise Http404
    if trace_links.revoke([link], by=request.user):
        messages.success(request, _("The link is revoked. It opens nothing any more."))
    if request.POST.get("from") == "share":
        return redirect("langserve_traces:share", link.run_id)
    return redirect("langserve_traces:links")


def _trace(viewer: Viewer, run_id: UUID) -> Trace:
    """
    One that they may share; whatever else it is, it is not there.
    """
    trace = viewer.traces().select_related("deployment", "user").filter(pk=run_id).first()
    if trace is None or trace.deployment is None or not viewer.may("share", trace):
        raise Http404
    return trace


def _create(user: Any, trace: Trace, form: ShareForm) -> TraceLink:
    assert trace.deployment is not None  # noqa: S101 - `_trace` finds no other
    return trace_links.share_run(
        run_id=trace.pk,
        deployment=trace.deployment,
        by=user,
        parts=form.cleaned_data["parts"],
        name=form.cleaned_data["name"],
        lives=form.cleaned_data["lives"],
    )


def _rows(request: HttpRequest, found: Any) -> list[Any]:
    """
    Links with the address that strangers open, and whether there is anything to see.
    """
    rows = list(found)
    runs = {row.run_id for row in rows}
    kept = set(Trace.objects.filter(pk__in=runs).values_list("pk", flat=True))
    for row in rows:
        row.has_trace = row.run_id in kept
        row.opens = row.has_trace and trace_links.is_open(row.deployment)
        row.url = request.build_absolute_uri(trace_links.path_of(row))
    return rows


def _page(template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    content = render_to_string(template, {"site_name": conf.site_name, **context})
    return HttpResponse(content, status=status)


def _nothing() -> HttpResponse:
    context = {
        "title": _("There is nothing here"),
        "text": _("The link may be wrong, have ended, or have been taken back."),
    }
    response = _page("traces/shared_nothing.html", context, status=404)
    # Django would log the address, which opens again once a deployment that is off is on.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _too_many(wait: float) -> HttpResponse:
    context = {
        "title": _("Too many at once"),
        "text": _("This address has opened many links within a minute. Try again a little later."),
    }
    response = _page("traces/shared_nothing.html", context, status=429)
    response["Retry-After"] = str(math.ceil(wait))
    return response


def _report(url: str) -> str:
    """
    A mail to whoever looks after the site, if there is an address for it.
    """
    if not conf.trace_link_report_email:
        return ""
    subject = quote(_("A shared trace"))
    return f"mailto:{quote(conf.trace_link_report_email, safe='@')}?subject={subject}&body={quote(url)}"
