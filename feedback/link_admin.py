"""
Who has shared which runs: to be read, and to be ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from feedback import links
from feedback.models import TraceLink
from runnables.conf import conf

if TYPE_CHECKING:
    LinkModelAdmin = admin.ModelAdmin[TraceLink]
else:  # Django's own class takes no subscript at run time.
    LinkModelAdmin = conf.admin_base

CONFIRMED = "confirmed"


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("live", _("Live")), ("expired", _("Expired")), ("revoked", _("Revoked"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        is_over = Q(expires_at__lte=timezone.now())
        kinds = {
            "live": ~is_over & Q(revoked_at=None) | Q(expires_at=None, revoked_at=None),
            "expired": is_over & Q(revoked_at=None),
            "revoked": Q(revoked_at__isnull=False),
        }
        chosen = kinds.get(self.value() or "")
        return queryset.filter(chosen) if chosen else queryset


@admin.action(description=_("Revoke chosen links"), permissions=["revoke"])
def revoke_links(
    modeladmin: TraceLinkAdmin, request: HttpRequest, chosen: QuerySet[TraceLink]
) -> HttpResponse | None:
    """
    After a page that says which.
    """
    if CONFIRMED not in request.POST:
        return modeladmin.confirm(request, chosen)
    count = links.revoke(chosen, by=request.user)
    text = ngettext("%d link is revoked.", "%d links are revoked.", count) % count
    modeladmin.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
    return None


@admin.register(TraceLink)
class TraceLinkAdmin(LinkModelAdmin):
    """
    The addresses themselves are not shown: staff who see this list need not be allowed to see
    what the links show.
    """

    list_display = (
        *("called", "deployment", "created_by", "state"),
        *("views", "created_at", "expires_at", "last_viewed_at"),
    )
    list_filter = (StateFilter, "deployment")
    list_select_related = ("deployment", "created_by")
    search_fields = ("name", "run_id", "created_by__username", "created_by__email")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    actions = (revoke_links,)
    fields = (
        *("run_id", "deployment", "name", "shows", "state", "created_by", "created_at"),
        *("expires_at", "revoked_at", "views", "last_viewed_at"),
    )
    readonly_fields = fields
    change_form_template = "admin/langserve_feedback/tracelink/change_form.html"

    @admin.display(description=_("link"), ordering="name")
    def called(self, link: TraceLink) -> str:
        return link.name or f"{str(link.run_id)[:8]}…"

    @admin.display(description=_("state"))
    def state(self, link: TraceLink) -> str:
        if link.revoked_at:
            return str(_("Revoked"))
        return str(_("Live") if link.is_live else _("Expired"))

    @admin.display(description=_("what it shows"))
    def shows(self, link: TraceLink) -> str:
        labels = dict(TraceLink.Part.choices)
        return ", ".join(str(labels.get(part, part)) for part in link.parts) or "-"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("langserve_feedback.change_tracelink")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_revoke_permission(request)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {
            **(extra_context or {}),
            "may_revoke": self.has_revoke_permission(request),
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        }
        return super().change_view(request, object_id, form_url, context)

    def confirm(self, request: HttpRequest, chosen: QuerySet[TraceLink]) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Revoke links?"),
            "opts": self.opts,
            "links": chosen.select_related("deployment", "created_by"),
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "confirmed": CONFIRMED,
            "media": self.media,
        }
        template = "admin/langserve_feedback/tracelink/revoke.html"
        return TemplateResponse(request, template, context)
