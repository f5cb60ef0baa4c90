"""
Deployments in the admin: staff look at them, switch them and edit them. Whatever is done
is done by the functions of `runnables.deployments`, which tell every process and keep who
did what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from runnables import deployments
from runnables.admin import sections
from runnables.admin.check_user import check_user_page
from runnables.admin.confirmation import admin_actions
from runnables.admin.deployment_form import DeploymentForm
from runnables.admin.deployment_list import DeploymentChangeList, ListColumns
from runnables.admin.export import export
from runnables.admin.filters import CanaryFilter, ErrorFilter, GroupFilter, StatusFilter
from runnables.admin.health_check import run_check
from runnables.admin.version_urls import version_urls
from runnables.conf import conf
from runnables.models import (
    AuditEntry,
    Canary,
    Deployment,
    DeploymentVersion,
    Figures,
    Grant,
)

if TYPE_CHECKING:
    DeploymentModelAdmin = admin.ModelAdmin[Deployment]
    Form = ModelForm[Deployment]
else:  # Django's own class takes no subscript at run time.
    DeploymentModelAdmin = conf.admin_base
    Form = ModelForm


@admin.register(Deployment)
class DeploymentAdmin(ListColumns, sections.ReadOnlyColumns, DeploymentModelAdmin):
    form = DeploymentForm
    list_display = (
        "named",
        "status",
        "endpoints_on",
        "version_shown",
        "requests",
        "errors",
        "p95",
        "last_error",
        "audience",
        "row_actions",
    )
    list_filter = (
        StatusFilter,
        GroupFilter,
        "playground_type",
        CanaryFilter,
        ErrorFilter,
        "is_enabled",
    )
    list_select_related = ("version",)
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("name", "path", "description")
    search_help_text = gettext_lazy("Search in names, paths and descriptions")
    actions = (*admin_actions(), export)
    readonly_fields = ("name",)

    class Media:
        css = {"all": ["runnables/admin.css"]}

    # Who may what

    def has_add_permission(self, request: HttpRequest) -> bool:
        # A row is the deployment of something registered in code: `langserve sync` makes it.
        return False

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return DeploymentChangeList

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path(
                "<path:object_id>/switch/",
                view(require_POST(self.switch_view)),
                name="langserve_deployment_switch",
            ),
            path(
                "<path:object_id>/check/",
                view(require_POST(self.check_view)),
                name="langserve_deployment_check",
            ),
            path(
                "<path:object_id>/check-user/",
                view(self.check_user_view),
                name="langserve_deployment_check_user",
            ),
            *version_urls(self),
            *super().get_urls(),
        ]

    def switch_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """
        The button of a row of the list.
        """
        on = bool(request.POST.get("on"))
        with transaction.atomic():
            row = self._row_or_404(request, object_id, "change")
            deployments.switch(row, on=on, by=request.user)
        text = _("Switched on: %s.") if on else _("Switched off: %s. Its callers get 404.")
        self.message_user(request, text % row, messages.SUCCESS)
        query = request.POST.get("query", "")
        url = reverse("admin:langserve_deployment_changelist")
        return HttpResponseRedirect(f"{url}?{query}" if query else url)

    def check_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._row_or_404(request, object_id, "change")
        passed, text = run_check(row, by=request.user)
        self.message_user(request, text, messages.SUCCESS if passed else messages.ERROR)
        return HttpResponseRedirect(reverse("admin:langserve_deployment_change", args=[row.pk]))

    def check_user_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return check_user_page(self, request, self._row_or_404(request, object_id, "view"))

    def _row_or_404(self, request: HttpRequest, object_id: str, permission: str) -> Deployment:
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        may = (
            self.has_change_permission(request, row)
            if permission == "change"
            else self.has_view_or_change_permission(request, row)
        )
        if not may:
            raise PermissionDenied
        return row

    # The form

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Deployment | None:
        row: Deployment | None = super().get_object(request, object_id, from_field)
        if row and request.method == "POST" and transaction.get_connection().in_atomic_block:
            # Whoever saves at the same moment waits, and then hears of the conflict.
            return Deployment.objects.select_for_update().filter(pk=row.pk).first()
        return row

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        return super().get_queryset(request).select_related("version")

    def get_fieldsets(self, request: HttpRequest, obj: Deployment | None = None) -> Any:
        may_change = self.has_change_permission(request, obj)
        return sections.FIELDSETS if may_change else sections.READ_ONLY_FIELDSETS

    def get_form(
        self,
        request: HttpRequest,
        obj: Deployment | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (form,), {"actor": request.user})

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        obj = kwargs.get("obj")
        if obj is not None:
            context |= sections.context(self, request, obj, context["adminform"])
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Deployment, form: Any, change: bool) -> None:
        form.changes = deployments.edit(
            obj,
            before=form.before,
            wanted=form.cleaned_data["rights"],
            by=request.user,
            log=False,
        )

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        return form.changes

    def log_change(self, request: HttpRequest, obj: Deployment, message: Any) -> Any:
        # The same words as in the history; and nothing where nothing was changed.
        return super().log_change(request, obj, message) if message else None

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """
        What goes with the rows, by number: Django would list each hour of their figures.
        """
        rows = list(objs)
        gone = (DeploymentVersion, Grant, Canary, Figures)
        counts = {
            model._meta.verbose_name_plural: model._default_manager.filter(
                deployment__in=rows
            ).count()
            for model in gone
        }
        forbidden = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        counts = {self.opts.verbose_name_plural: len(rows), **counts}
        return [str(row) for row in rows], counts, forbidden, []

    def delete_model(self, request: HttpRequest, obj: Deployment) -> None:
        deployments.delete(obj, by=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> None:
        with transaction.atomic():
            for row in queryset:
                deployments.delete(row, by=request.user)

    # The history

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        entries = AuditEntry.objects.filter(deployment=row) if row else AuditEntry.objects.none()
        page = self.get_paginator(request, entries, 100).get_page(request.GET.get("p", 1))
        context = {**(extra_context or {}), "entries": page, "media": self.media}
        return super().history_view(request, object_id, context)
