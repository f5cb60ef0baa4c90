"""
`/tokens/`: a signed-in user's own tokens. They are shown once, in the answer that made them.
"""

from __future__ import annotations

import secrets
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from runnables import access, snapshot
from runnables.identity import CallerRequest, groups_of
from runnables.models import ApiToken
from runnables.pages import secret_page
from runnables.token_forms import TokenForm
from runnables.tokens import TokenRefused, create_token, revoke_tokens

# Forms already used, by the marks in them, that a session remembers.
REMEMBERED_FORMS = 50
USED = "token_forms_used"


@secret_page
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """
    The list of one's tokens, with a form that makes one.
    """
    if request.method == "POST":
        return _create(request)
    return _page(request, _form(request))


@secret_page
@login_required
@require_POST
def revoke(request: HttpRequest, public_id: str) -> HttpResponse:
    found = [token for token in _own(request) if token.public_id == public_id]
    if not found:
        raise Http404
    revoke_tokens(found, by=request.user)
    messages.success(request, _("The token “%(name)s” is revoked.") % {"name": found[0]})
    return redirect("langserve:tokens")


@sensitive_variables()
def _create(request: HttpRequest) -> HttpResponse:
    mark = request.POST.get("mark", "")
    used = request.session.get(USED, [])
    if not mark or mark in used:
        # A page reloaded: it neither makes a second token nor shows the first again.
        messages.warning(request, _("This form has been sent before. No token was created now."))
        return redirect("langserve:tokens")
    form = _form(request, request.POST)
    if not form.is_valid():
        return _page(request, form)
    data = form.cleaned_data
    try:
        token, text = create_token(
            user=request.user,
            name=data["name"],
            scopes=data["scopes"],
            expires=data["expires"],
            by=request.user,
        )
    except TokenRefused as error:
        form.add_error(None, str(error))
        return _page(request, form)
    request.session[USED] = [*used, mark][-REMEMBERED_FORMS:]
    return _page(request, _form(request), status=201, created=token, text=text)


def _page(request: HttpRequest, form: TokenForm, status: int = 200, **more: Any) -> HttpResponse:
    context = {
        "form": form,
        "mark": secrets.token_urlsafe(16),
        "tokens": _own(request),
        **more,
    }
    return render(request, "runnables/tokens/tokens.html", context, status=status)


def _form(request: HttpRequest, data: Any = None) -> TokenForm:
    return TokenForm(request.user, async_to_sync(_usable)(request, groups_of(request.user)), data)


async def _usable(request: HttpRequest, groups: dict[int, str]) -> list[str]:
    """
    Names of the deployments that this user may use.
    """
    await snapshot.loaded()
    caller = CallerRequest(request, request.user, None, groups)
    return sorted(d.name for d in await access.may_use(caller, snapshot.all_deployments()))


def _own(request: HttpRequest) -> list[ApiToken]:
    user: Any = request.user
    return list(ApiToken.objects.select_related("user").filter(user=user).order_by("-created"))
