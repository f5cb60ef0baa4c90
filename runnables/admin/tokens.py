from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import cache_control
from django.views.decorators.debug import sensitive_variables

from runnables.conf import conf
from runnables.models import ApiToken, Deployment
from runnables.token_forms import TokenFields
from runnables.tokens import create_token, revoke_tokens, valid

if TYPE_CHECKING:
    TokenModelAdmin = admin.ModelAdmin[ApiToken]
    TokenModelForm = forms.ModelForm[ApiToken]
else:  # Django's own classes take no subscript at run time.
    TokenModelAdmin = conf.admin_base
    TokenModelForm = forms.ModelForm


class NewTokenForm(TokenFields, TokenModelForm):
    """
    A token for somebody else, which is a key to all that they may do.
    """

    creator: Any = None

    class Meta:
        model = ApiToken
        fields = ("user", "name")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.offer(Deployment.objects.order_by("name").values_list("name", flat=True))

    def clean_user(self) -> Any:
        user = self.cleaned_data["user"]
        if user.is_superuser and not self.creator.is_superuser:
            raise ValidationError(_("Only superusers make tokens for superusers."))
        return user

    def clean(self) -> dict[str, Any]:
        super().clean()
        self.clean_token(self.cleaned_data.get("user"))
        return self.cleaned_data


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("valid", _("Valid")), ("expired", _("Expired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "valid":
            return queryset.filter(valid())
        return queryset.exclude(valid()) if self.value() == "expired" else queryset


@admin.register(ApiToken)
class ApiTokenAdmin(TokenModelAdmin):
    list_display = (
        *("__str__", "user", "beginning", "may", "state"),
        *("created", "expiry", "last_used_at"),
    )
    list_filter = (StateFilter,)
    list_select_related = ("user",)
    search_fields = ("name", "token_key", "user__username", "user__email")
    date_hierarchy = "created"
    ordering = ("-created",)
    autocomplete_fields = ("user",)
    fields = ("name", "user", "beginning", "may", "state", "created", "expiry", "last_used_at")
    readonly_fields = fields[1:]
    add_fields = ("user", "name", "life", "actions", "deployments")

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        return self.fields if obj else self.add_fields

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        return self.readonly_fields if obj else ()

    def get_form(
        self, request: HttpRequest, obj: ApiToken | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj:
            return super().get_form(request, obj, change, **kwargs)
        form = super().get_form(request, obj, change, form=NewTokenForm, fields=("user", "name"))
        form.creator = request.user  # type: ignore[attr-defined]
        return form

    @admin.display(description=_("token"), ordering="token_key")
    def beginning(self, token: ApiToken) -> str:
        return token.beginning

    @admin.display(description=_("may"))
    def may(self, token: ApiToken) -> str:
        actions = ", ".join(token.actions) or _("everything")
        if not token.deployments:
            return str(actions)
        return _("%(actions)s at %(deployments)s") % {
            "actions": actions,
            "deployments": ", ".join(token.deployments),
        }

    @admin.display(description=_("state"))
    def state(self, token: ApiToken) -> str:
        return str(_("Expired") if token.is_expired else _("Valid"))

    @sensitive_variables("text")
    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        data = form.cleaned_data
        made, text = create_token(
            user=data["user"],
            name=data["name"],
            scopes=data["scopes"],
            expires=data["expires"],
            by=request.user,
        )
        # What the admin goes on with is the row that was made.
        obj.__dict__.update(made.__dict__)
        request._new_token = text  # type: ignore[attr-defined]

    @method_decorator(cache_control(no_store=True))
    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().add_view(request, *args, **kwargs)

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """
        The token, once: as a message it would be kept until it is read.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": _("The token is ready"),
            "opts": self.opts,
            "created": obj,
            "text": request._new_token,  # type: ignore[attr-defined]
        }
        return render(request, "runnables/tokens/admin_created.html", context)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """
        Nothing: `create_token` has, in words.
        """

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """
        Nothing: `revoke_tokens` does, in words.
        """

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        revoke_tokens([obj], by=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        revoke_tokens(queryset, by=request.user)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """
        Deleting is what ends a token; say so. Django 6.1 asks for each place of actions.
        """
        place = {} if action_location is None else {"action_location": action_location}
        actions: dict[str, Any] = super().get_actions(request, **place)
        if delete := actions.get("delete_selected"):
            actions["delete_selected"] = _renamed(delete, _("Revoke chosen tokens"))
        return actions


def _renamed(action: Any, text: Any) -> Any:
    # A tuple before Django 6.1, and a dataclass since.
    if isinstance(action, tuple):
        return (*action[:2], text)
    return replace(action, description=text, plural_description=text)
