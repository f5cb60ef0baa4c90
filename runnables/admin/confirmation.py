"""
Before something is done to many deployments, a page says what will stop and what is
running; then it is done to all or none, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from runnables import processes
from runnables.admin.bulk_actions import BULK_ACTIONS, BulkAction
from runnables.admin.deployment_list import url_of
from runnables.models import Deployment
from runnables.registry import ENDPOINTS

CONFIRMED = "confirmed"


def as_admin_action(bulk: BulkAction) -> Callable[..., HttpResponse | None]:
    """
    The function that Django's list of actions takes.
    """

    @admin.action(description=bulk.label, permissions=["change"])
    def act(
        modeladmin: Any, request: HttpRequest, chosen: QuerySet[Deployment]
    ) -> HttpResponse | None:
        form = bulk.form(request.POST) if CONFIRMED in request.POST else bulk.form()
        if form.is_bound and form.is_valid():
            keys = list(chosen.values_list("pk", flat=True))
            _perform(modeladmin, request, bulk, keys, form.cleaned_data)
            return None
        return _confirm_page(modeladmin, request, bulk, chosen, form)

    act.__name__ = bulk.name
    return act


def _perform(
    modeladmin: Any, request: HttpRequest, bulk: BulkAction, keys: list[Any], chosen: dict[str, Any]
) -> None:
    """
    All of them or, if one fails, none; then say what was done to which.
    """
    done, left = [], []
    with transaction.atomic():
        # By key: a list that was searched may be of rows that cannot be locked.
        rows = Deployment.objects.select_for_update(of=("self",)).filter(pk__in=keys)
        for row in rows:
            if reason := bulk.perform(row, chosen, request.user):
                left.append(f"{row.name} {reason}")
            else:
                done.append(row.name)
    if done:
        text = ngettext(
            "%(action)s: done for %(count)d deployment: %(names)s.",
            "%(action)s: done for %(count)d deployments: %(names)s.",
            len(done),
        )
        values = {"action": bulk.label, "count": len(done), "names": ", ".join(done)}
        modeladmin.message_user(request, text % values, messages.SUCCESS)
    if left:
        text = _("Left as it was: %(names)s.") % {"names": "; ".join(left)}
        modeladmin.message_user(request, text, messages.WARNING)


def _confirm_page(
    modeladmin: Any,
    request: HttpRequest,
    bulk: BulkAction,
    chosen: QuerySet[Deployment],
    form: forms.Form,
) -> TemplateResponse:
    running = processes.running_now()
    rows = [
        {
            "deployment": row,
            "url": url_of(row),
            "endpoints": [name for name in ENDPOINTS if name in row.endpoints],
            "running": running.get(row.pk, 0),
        }
        for row in chosen
    ]
    context = {
        **modeladmin.admin_site.each_context(request),
        "title": bulk.label,
        "bulk": bulk,
        "opts": modeladmin.opts,
        "rows": rows,
        "running": sum(row["running"] for row in rows),
        "form": form,
        "media": modeladmin.media + form.media,
        "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        "confirmed": CONFIRMED,
    }
    return TemplateResponse(request, "admin/langserve/deployment/confirm.html", context)


def admin_actions() -> Sequence[Callable[..., HttpResponse | None]]:
    return [as_admin_action(bulk) for bulk in BULK_ACTIONS]
