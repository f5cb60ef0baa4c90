"""
Traces, prices and what is recorded, in the admin. Inputs and outputs are shown by the site's
own pages alone, to those who may see payloads.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from runnables.admin.history import BoundedPaginator
from runnables.admin.pieces import duration
from runnables.conf import conf
from runnables.deployments import announce_change
from traces.models import ModelPrice, Step, Trace, Tracing
from traces.tracing_pages import tracing_page, trial

if TYPE_CHECKING:
    PriceModelAdmin = admin.ModelAdmin[ModelPrice]
    TraceModelAdmin = admin.ModelAdmin[Trace]
    TracingModelAdmin = admin.ModelAdmin[Tracing]
else:  # Django's own class takes no subscript at run time.
    PriceModelAdmin = TraceModelAdmin = TracingModelAdmin = conf.admin_base

PAYLOADS = ("input", "output", "error", "metadata", "config", "tags")
PREVIEWS = ("input_preview", "output_preview", "input_shape", "output_shape")


@admin.register(Tracing)
class TracingAdmin(TracingModelAdmin):
    """
    Two pages below each deployment, which its own page leads to; no list.
    """

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        return {}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        page = partial(tracing_page, modeladmin=self)
        return [
            path("<int:pk>/", view(page), name="langserve_traces_tracing"),
            path("<int:pk>/try/", view(trial), name="langserve_traces_tracing_try"),
        ]


@admin.register(ModelPrice)
class ModelPriceAdmin(PriceModelAdmin):
    list_display = ("pattern", "input_price", "output_price")
    search_fields = ("pattern",)

    def save_model(self, request: HttpRequest, obj: ModelPrice, form: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            announce_change()

    def delete_model(self, request: HttpRequest, obj: ModelPrice) -> None:
        with transaction.atomic():
            super().delete_model(request, obj)
            announce_change()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ModelPrice]) -> None:
        with transaction.atomic():
            super().delete_queryset(request, queryset)
            announce_change()


@admin.register(Trace)
class TraceAdmin(TraceModelAdmin):
    list_display = ("started_at", "named", "state", "took", "user", "error_class")
    list_display_links = ("started_at",)
    list_filter = ("state", "deployment", "kept")
    list_select_related = ("user",)
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    search_fields = ("id",)
    search_help_text = gettext_lazy("A run id")
    fields = (
        *("id", "named", "version", "endpoint", "transport", "user", "thread", "state", "kept"),
        *("started_at", "ended_at", "took", "steps_count", "steps_dropped", "input_tokens"),
        *("output_tokens", "cost", "error_class", "page"),
    )
    readonly_fields = fields

    class Media:
        css = {"all": ["runnables/admin.css", "traces/admin-tracing.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Trace | None = None) -> bool:
        # What was done was done.
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Trace]:
        rows = super().get_queryset(request).select_related("user")
        return rows.defer(*PAYLOADS, *PREVIEWS)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Trace], search_term: str
    ) -> tuple[QuerySet[Trace], bool]:
        # Django's own would look through the ids of all as texts.
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            return queryset.none(), False

    @admin.display(description=gettext_lazy("deployment"), ordering="deployment")
    def named(self, trace: Trace) -> str:
        return trace.deployment_name

    @admin.display(description=gettext_lazy("took"), ordering="duration_ms")
    def took(self, trace: Trace) -> str:
        return "-" if trace.duration_ms is None else duration(trace.duration_ms)

    @admin.display(description=gettext_lazy("steps and payloads"))
    def page(self, trace: Trace) -> str:
        try:
            url = reverse("langserve_traces:detail", args=[trace.pk])
        except NoReverseMatch:
            return "-"
        return format_html('<a href="{}">{}</a>', url, _("Open the trace"))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Django would list every step.
        keys = [trace.pk for trace in objs]
        steps = Step.objects.filter(trace__in=keys).count()
        counts = {
            Trace._meta.verbose_name_plural: len(keys),
            Step._meta.verbose_name_plural: steps,
        }
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [str(trace) for trace in objs], counts, lacking, []
