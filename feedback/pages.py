"""
Where the buttons of `<ls-feedback>` lead: a form that is sent, or the same by a script.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import get_script_prefix
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from feedback.answers import read_answer, read_run_and_key
from feedback.services import REVIEWERS, author_of, record_feedback, trace_of
from feedback.views import content_of, read_body
from runnables import problems
from runnables.exceptions import ServingError, UnknownDeployment
from runnables.identity import groups_of, principal_of
from runnables.models import Deployment
from runnables.pages import secret_page

SOURCE = {"from_page": True}


@secret_page
@require_POST
@login_required
def rate(request: HttpRequest, path: str = "") -> HttpResponseBase:
    """
    Say something about a run as who is signed in; an empty answer takes back what was said.
    For whoever may call the deployment or look at others' runs, whether or not programs may
    send feedback.
    """
    if request.content_type == "application/json":
        return _by_script(request, path)
    try:
        removed = _record(request, path, _of_form(request))["id"] is None
    except ServingError as error:
        messages.error(request, _("Not saved: %(reason)s") % {"reason": error.message})
    else:
        messages.success(request, _("Removed.") if removed else _("Saved. Thank you."))
    return redirect(_way_back(request))


def _by_script(request: HttpRequest, path: str) -> HttpResponse:
    try:
        content = _record(request, path, read_body(request))
    except ServingError as error:
        return problems.response(error)
    return HttpResponse(orjson.dumps(content), content_type=problems.JSON)


def _record(request: HttpRequest, path: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    user: Any = request.user
    deployment = _deployment(path, user)
    run_id, key = read_run_and_key(payload)
    answer = read_answer(payload)
    may = deployment.matrix.permissions(user, groups_of(user))
    feedback = record_feedback(
        run_id=run_id,
        trace_id=trace_of(run_id, deployment=deployment.pk, principal=principal_of(user), may=may),
        deployment=deployment.pk,
        key=key,
        author=author_of(user),
        answer=answer,
        source_info=SOURCE,
    )
    return {**content_of(feedback), **({"id": None} if answer.is_empty else {})}


def _deployment(path: str, user: Any) -> Deployment:
    """
    The enabled deployment at the path; raises UnknownDeployment for who may do nothing with it.
    """
    found = Deployment.objects.enabled().filter(path=path or "").prefetch_related("grants").first()
    if found is None:
        raise UnknownDeployment
    if not {"run", *REVIEWERS} & found.matrix.permissions(user, groups_of(user)):
        raise UnknownDeployment
    return found


def _of_form(request: HttpRequest) -> dict[str, Any]:
    form = request.POST
    score = form.get("score", "")
    payload: dict[str, Any] = {
        "run_id": form.get("run_id", ""),
        "key": form.get("key", ""),
        "score": int(score) if score in ("0", "1") else None,
    }
    if payload["score"] is not None:
        payload["comment"] = form.get("comment", "").strip()
        payload["correction"] = form.get("correction", "").strip() or None
        payload["reasons"] = form.getlist("reasons")
    return payload


def _way_back(request: HttpRequest) -> str:
    for url in (request.POST.get("next", ""), request.headers.get("Referer", "")):
        if url and url_has_allowed_host_and_scheme(
            url, {request.get_host()}, require_https=request.is_secure()
        ):
            return url
    return get_script_prefix()
