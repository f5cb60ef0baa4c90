"""
"Check a user": what somebody may do with a deployment, why, and what a call would answer.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from runnables import access
from runnables.admin import pieces
from runnables.admin.rights_field import columns
from runnables.models import Deployment
from runnables.registry import default_registry
from runnables.served import ServedDeployment, row_values

TEMPLATE = "admin/langserve/deployment/check_user.html"


def check_user_page(modeladmin: Any, request: HttpRequest, row: Deployment) -> TemplateResponse:
    name = request.GET.get("username", "").strip()
    user = _user(name)
    context = {
        **modeladmin.admin_site.each_context(request),
        "title": _("Check a user: %s") % row,
        "opts": modeladmin.opts,
        "original": row,
        "media": modeladmin.media,
        "username": name,
        "user_checked": user,
        "is_unknown": user is None,
        "preserved_filters": modeladmin.get_preserved_filters(request),
    }
    if user is not None:
        context |= _findings(row, user)
    return TemplateResponse(request, TEMPLATE, context)


def served_of(row: Deployment) -> ServedDeployment | None:
    """
    The deployment as a process would serve it, were it switched on; None without a version.
    """
    if row.version is None:
        return None
    return ServedDeployment(row_values(row), default_registry.find(row.name))


def _user(name: str) -> Any:
    """
    The user of this name, a visitor without one, or None.
    """
    if not name:
        return AnonymousUser()
    model: Any = get_user_model()
    return model._default_manager.filter(**{model.USERNAME_FIELD: name}).first()


def _findings(row: Deployment, user: Any) -> dict[str, Any]:
    served = served_of(row)
    if served is None:
        return {"answers": [_("404: it has no version yet.")]}
    reasons = access.explain(user, served)
    return {
        "rows": [_row(column, reasons[column["name"]]) for column in columns()],
        "answers": list(_answers(row, user, served)),
        "more_rules": [rule.__name__ for rule in served.options.permission_classes],
    }


def _row(column: dict[str, Any], reasons: list[str]) -> dict[str, Any]:
    badge = pieces.badge("yes", _("Yes")) if reasons else pieces.badge("no", _("No"))
    return {**column, "reasons": reasons, "badge": badge}


def _answers(row: Deployment, user: Any, served: ServedDeployment) -> list[str]:
    """
    What a call by this user gets, the first reason first.
    """
    found = []
    if served.registration is None:
        found.append(_("Its code is missing: nobody gets an answer but 503."))
    if not row.is_enabled:
        found.append(_("It is switched off: everybody gets 404."))
    if row.in_maintenance:
        found.append(_("It is in maintenance: whoever may call it gets 503."))
    if user.is_authenticated and not user.is_active:
        found.append(
            _("This user is not active: a token of theirs gets 401, a session counts for nothing.")
        )
        return found
    error = access.answer(user, served)
    if error is None:
        found.append(_("As far as the rights go, calls are answered."))
    else:
        found.append(f"{error.status_code}: {error.message}")
    return found
