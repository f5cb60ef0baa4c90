"""
Queues are made and filled in the admin; what reviewers do is on the site's own pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from runnables.conf import conf
from traces.review import filters, services
from traces.review.models import Review, ReviewItem, ReviewQueue

if TYPE_CHECKING:
    QueueModelAdmin = admin.ModelAdmin[ReviewQueue]
    QueueModelForm = forms.ModelForm[ReviewQueue]
else:  # Django's own classes take no subscript at run time.
    QueueModelAdmin = conf.admin_base
    QueueModelForm = forms.ModelForm


class FilterField(forms.CharField):
    """
    A filter as it stands in an address.
    """

    def prepare_value(self, value: Any) -> Any:
        return filters.as_query(value) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> Any:
        return filters.parsed(super().to_python(value) or "")

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class QueueForm(QueueModelForm):
    filter = FilterField(
        label=_("Runs that match"),
        required=False,
        max_length=filters.LONGEST,
        widget=forms.TextInput(
            attrs={"class": "vLargeTextField", "placeholder": "deployment=qa&state=failed&range=7d"}
        ),
        help_text=_(
            "Paste the address of the traces list as you have filtered it, or what follows its "
            "question mark. Empty is every run."
        ),
    )

    class Meta:
        model = ReviewQueue
        fields = (
            *("name", "slug", "is_open", "deployments", "filter", "keys", "rubric"),
            *("reviewers", "groups", "reviews_per_item", "reservation_minutes"),
        )

    def clean(self) -> dict[str, Any]:
        super().clean()
        data = self.cleaned_data
        if not data.get("reviewers") and not data.get("groups") and not self.errors:
            self.add_error("reviewers", _("Name a reviewer, here or by a group."))
        return data


@admin.register(ReviewQueue)
class ReviewQueueAdmin(QueueModelAdmin):
    form = QueueForm
    change_form_template = "admin/langserve_traces/reviewqueue/change_form.html"
    list_display = ("name", "is_open", "runs", "reviewed", "reviews_per_item", "pages")
    list_filter = ("is_open",)
    search_fields = ("name", "slug")
    filter_horizontal = ("deployments", "keys", "groups")
    autocomplete_fields = ("reviewers",)
    prepopulated_fields = {"slug": ("name",)}
    fieldsets = (
        (None, {"fields": ("name", "slug", "is_open")}),
        (_("Which runs"), {"fields": ("deployments", "filter")}),
        (_("What is asked"), {"fields": ("keys", "rubric")}),
        (
            _("By whom"),
            {
                "fields": ("reviewers", "groups", "reviews_per_item", "reservation_minutes"),
                "description": _(
                    "They also need the right to review at the deployment. It shows them inputs "
                    "and outputs of the runs in the queue, whether or not they may see others."
                ),
            },
        ),
    )
    actions = ("fill",)

    @admin.display(description=_("runs"))
    def runs(self, queue: ReviewQueue) -> int:
        return ReviewItem.objects.filter(queue=queue).count()

    @admin.display(description=_("reviews"))
    def reviewed(self, queue: ReviewQueue) -> int:
        return Review.objects.filter(item__queue=queue, state=Review.State.DONE).count()

    @admin.display(description=_("pages"))
    def pages(self, queue: ReviewQueue) -> str:
        return format_html(
            '<a href="{}">{}</a> · <a href="{}">{}</a>',
            reverse("langserve_traces:review", args=[queue.slug]),
            _("Review"),
            reverse("langserve_traces:review_results", args=[queue.slug]),
            _("Results"),
        )

    @admin.action(description=_("Add matching runs"), permissions=["change"])
    def fill(self, request: HttpRequest, chosen: QuerySet[ReviewQueue]) -> None:
        for queue in chosen:
            self._fill(request, queue)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if not change or form.has_changed():
            services.record_made(form.instance, by=request.user, is_new=not change)

    def response_add(
        self, request: HttpRequest, obj: ReviewQueue, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._filled(request, obj) or super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: ReviewQueue) -> HttpResponse:
        return self._filled(request, obj) or super().response_change(request, obj)

    def _filled(self, request: HttpRequest, queue: ReviewQueue) -> HttpResponse | None:
        """
        After “Save and add matching runs”.
        """
        if "_fill" not in request.POST:
            return None
        self._fill(request, queue)
        page = f"admin:{queue._meta.app_label}_{queue._meta.model_name}_change"
        return HttpResponseRedirect(reverse(page, args=[queue.pk]))

    def _fill(self, request: HttpRequest, queue: ReviewQueue) -> None:
        added = services.fill(queue, by=request.user)
        text = ngettext(
            "%(count)s run was added to “%(queue)s”.",
            "%(count)s runs were added to “%(queue)s”.",
            added,
        )
        words = text % {"count": added, "queue": queue}
        if added == services.MOST_ADDED:
            words += " " + str(_("That is as many as are added at once; there may be more."))
        self.message_user(request, words, messages.SUCCESS if added else messages.WARNING)
