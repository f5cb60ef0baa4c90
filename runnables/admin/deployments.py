from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from runnables import deployments
from runnables.admin.version_urls import version_urls
from runnables.conf import conf
from runnables.models import Deployment
from runnables.registry import ENDPOINTS, default_registry

if TYPE_CHECKING:
    DeploymentModelAdmin = admin.ModelAdmin[Deployment]
else:  # Django's own class takes no subscript at run time.
    DeploymentModelAdmin = conf.admin_base


@admin.register(Deployment)
class DeploymentAdmin(DeploymentModelAdmin):
    list_display = ("name", "url_path", "state", "endpoints_on", "access", "updated_at")
    list_filter = ("is_enabled",)
    search_fields = ("name", "path", "description")
    actions = ("enable", "disable")
    readonly_fields = ("name", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "path", "description", "is_enabled", "endpoints")}),
        (_("Access"), {"fields": ("listed",)}),
        (
            _("Input and output"),
            {
                "fields": (
                    "include_callback_events",
                    "stream_log_name_allow_list",
                    "astream_events_version",
                    "playground_type",
                    "error_detail",
                )
            },
        ),
        (
            _("Limits"),
            {"fields": ("max_batch_size", "batch_concurrency", "max_input_bytes", "timeout")},
        ),
        (_("History"), {"fields": ("created_at", "updated_at")}),
    )

    def get_urls(self) -> list[URLPattern]:
        return [*version_urls(self), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        # A row is the deployment of something registered in code: `langserve sync` makes it.
        return False

    @admin.display(description=_("path"), ordering="path")
    def url_path(self, deployment: Deployment) -> str:
        return f"/{deployment.path}"

    @admin.display(description=_("state"))
    def state(self, deployment: Deployment) -> str:
        if deployment.name not in default_registry:
            return str(_("Code gone"))
        return str(_("On")) if deployment.is_enabled else str(_("Off"))

    @admin.display(description=_("endpoints"))
    def endpoints_on(self, deployment: Deployment) -> str:
        return f"{len(deployment.endpoints)} / {len(ENDPOINTS)}"

    @admin.action(description=_("Switch on"), permissions=["change"])
    def enable(self, request: HttpRequest, chosen: QuerySet[Deployment]) -> None:
        self._switch(request, chosen, on=True)

    @admin.action(description=_("Switch off"), permissions=["change"])
    def disable(self, request: HttpRequest, chosen: QuerySet[Deployment]) -> None:
        self._switch(request, chosen, on=False)

    def _switch(self, request: HttpRequest, chosen: QuerySet[Deployment], *, on: bool) -> None:
        for deployment in chosen:
            deployments.switch(deployment, on=on, by=request.user)
        word = _("on") if on else _("off")
        count = len(chosen)
        text = ngettext(
            "%(count)d deployment switched %(word)s.",
            "%(count)d deployments switched %(word)s.",
            count,
        )
        self.message_user(request, text % {"count": count, "word": word})

    def save_related(
        self, request: HttpRequest, form: ModelForm[Deployment], formsets: Any, change: bool
    ) -> None:
        super().save_related(request, form, formsets, change)
        deployments.announce_change()

    def delete_model(self, request: HttpRequest, obj: Deployment) -> None:
        super().delete_model(request, obj)
        deployments.announce_change()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> None:
        super().delete_queryset(request, queryset)
        deployments.announce_change()
