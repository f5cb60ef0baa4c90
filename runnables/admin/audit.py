"""
What was done to deployments, by whom: to be read, never to be changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from runnables.conf import conf
from runnables.models import AuditEntry

if TYPE_CHECKING:
    AuditModelAdmin = admin.ModelAdmin[AuditEntry]
else:  # Django's own class takes no subscript at run time.
    AuditModelAdmin = conf.admin_base


class NameFilter(admin.SimpleListFilter):
    """
    By the deployment's name, which stays when the deployment is deleted.
    """

    title = _("deployment")
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = (
            AuditEntry.objects.exclude(name="")
            .order_by("name")
            .values_list("name", flat=True)
            .distinct()
        )
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(name=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(AuditModelAdmin):
    list_display = ("at", "name", "by", "text")
    list_display_links = None
    list_filter = (NameFilter, "at")
    search_fields = ("name", "by", "text")
    search_help_text = _("Search in deployments, people and what they did")
    fields = ("at", "name", "by", "text")
    show_full_result_count = False

    class Media:
        css = {"all": ["runnables/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
