from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from runnables import forgetting
from runnables.pages import secret_page


class SignOutView(LogoutView):
    """
    Signs out by POST. An address typed in only asks, as a link anywhere could hold it.
    """

    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return render(request, "runnables/accounts/sign_out.html")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        was_in = request.user.is_authenticated
        response: HttpResponse = super().post(request, *args, **kwargs)
        if was_in:
            messages.success(request, _("You are signed out."))
        return response


@secret_page
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def my_data(request: HttpRequest) -> HttpResponse:
    """
    What is kept of a signed-in user, and a button that deletes it.
    """
    is_sure = bool(request.POST.get("sure"))
    if request.method == "POST" and is_sure:
        gone = forgetting.forget(request.user, by=request.user)
        messages.success(request, _("Deleted: %s.") % _in_words(gone))
        return redirect("accounts:data")
    kept = forgetting.kept_of(request.user)
    context = {
        "kept": [(_(name), number) for name, number in kept.items()],
        "is_anything": any(kept.values()),
        "was_unsure": request.method == "POST",
    }
    return render(request, "runnables/accounts/data.html", context)


def _in_words(counts: dict[str, int]) -> str:
    return forgetting.in_words({_(name): number for name, number in counts.items()})
