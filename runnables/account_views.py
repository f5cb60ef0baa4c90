from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _


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
