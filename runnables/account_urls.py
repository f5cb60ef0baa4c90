"""
Signing in and out, and passwords: Django's own views in our pages. And what the site keeps.
"""

from typing import Any

from django.contrib.auth import views
from django.urls import path, reverse_lazy
from django.utils.translation import gettext_lazy as _

from runnables.account_views import SignOutView, my_data
from runnables.pages import page, secret_page

app_name = "accounts"


def _form(view: Any, intro: Any, submit: Any, **options: Any) -> Any:
    context = {"intro": intro, "submit": submit}
    options.setdefault("template_name", "runnables/accounts/form.html")
    return page(view.as_view(extra_context=context, **options))


def _done(view: Any, text: Any, **more: Any) -> Any:
    context = {"text": text, **more}
    return page(view.as_view(template_name="runnables/accounts/done.html", extra_context=context))


urlpatterns = [
    path(
        "login/",
        page(views.LoginView.as_view(template_name="runnables/accounts/login.html")),
        name="login",
    ),
    path("logout/", page(SignOutView.as_view()), name="logout"),
    path("data/", my_data, name="data"),
    path(
        "password/",
        _form(
            views.PasswordChangeView,
            _("You stay signed in here and are signed out everywhere else."),
            _("Change password"),
            template_name="runnables/accounts/password_change.html",
            success_url=reverse_lazy("accounts:password_change_done"),
        ),
        name="password_change",
    ),
    path(
        "password/changed/",
        _done(views.PasswordChangeDoneView, _("From now on, sign in with the new one.")),
        name="password_change_done",
    ),
    path(
        "reset/",
        _form(
            views.PasswordResetView,
            _("Tell us the e-mail address of your account, and we send a link to it."),
            _("Send the link"),
            email_template_name="runnables/accounts/reset_mail.txt",
            subject_template_name="runnables/accounts/reset_subject.txt",
            success_url=reverse_lazy("accounts:password_reset_done"),
        ),
        name="password_reset",
    ),
    path(
        "reset/sent/",
        _done(
            views.PasswordResetDoneView,
            _(
                "If there is an account with this address, a link is on its way to it. "
                "Nothing there after a few minutes? Look among the spam, and try another address."
            ),
        ),
        name="password_reset_done",
    ),
    path(
        "reset/done/",
        _done(
            views.PasswordResetCompleteView, _("You can sign in with the new one."), sign_in=True
        ),
        name="password_reset_complete",
    ),
    path(
        "reset/<uidb64>/<token>/",
        secret_page(
            views.PasswordResetConfirmView.as_view(
                template_name="runnables/accounts/new_password.html",
                success_url=reverse_lazy("accounts:password_reset_complete"),
            )
        ),
        name="password_reset_confirm",
    ),
]
