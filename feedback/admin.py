"""
The keys that staff define, and what people said, to be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from feedback import export
from feedback import link_admin as link_admin
from feedback.answers import MOST_REASON, MOST_REASONS
from feedback.models import Feedback, FeedbackKey
from runnables.admin.history import BoundedPaginator
from runnables.conf import conf

if TYPE_CHECKING:
    KeyModelAdmin = admin.ModelAdmin[FeedbackKey]
    FeedbackModelAdmin = admin.ModelAdmin[Feedback]
    KeyModelForm = forms.ModelForm[FeedbackKey]
else:  # Django's own classes take no subscript at run time.
    KeyModelAdmin = FeedbackModelAdmin = conf.admin_base
    KeyModelForm = forms.ModelForm

# Rows in one download; the command has no such bound.
MOST_EXPORTED = 10_000
MOST_CHOICES = 100


class LinesField(forms.Field):
    """
    A list of texts, one a line.
    """

    widget = forms.Textarea(attrs={"rows": 5, "cols": 40})

    def __init__(self, *, most: int, **options: Any) -> None:
        super().__init__(required=False, **options)
        self.most = most

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        lines = list(dict.fromkeys(line.strip() for line in (value or "").splitlines()))
        lines = [line for line in lines if line]
        if len(lines) > self.most:
            raise ValidationError(_("At most %(count)d lines.") % {"count": self.most})
        if long := [line for line in lines if len(line) > MOST_REASON]:
            text = _("“%(line)s…” is longer than %(count)d characters.")
            raise ValidationError(text % {"line": long[0][:30], "count": MOST_REASON})
        return lines

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial or []) != self.clean(data)


class KeyForm(KeyModelForm):
    categories = LinesField(
        most=MOST_CHOICES,
        label=gettext_lazy("Categories"),
        help_text=gettext_lazy("The choices of a category, one a line."),
    )
    reasons = LinesField(
        most=MOST_REASONS,
        label=gettext_lazy("Reasons"),
        help_text=gettext_lazy("What may be wrong with an answer, one a line: wrong, incomplete."),
    )

    class Meta:
        model = FeedbackKey
        fields = (
            *("key", "title", "kind", "lowest", "highest", "categories", "reasons"),
            *("takes_comment", "takes_correction", "deployments"),
        )


@admin.register(FeedbackKey)
class FeedbackKeyAdmin(KeyModelAdmin):
    form = KeyForm
    list_display = ("key", "title", "kind", "takes_comment", "takes_correction", "asked_about")
    list_filter = ("kind",)
    search_fields = ("key", "title")
    filter_horizontal = ("deployments",)
    fieldsets = (
        (None, {"fields": ("key", "title", "kind", "deployments")}),
        (gettext_lazy("Of a scale"), {"fields": ("lowest", "highest")}),
        (gettext_lazy("Of a category"), {"fields": ("categories",)}),
        (gettext_lazy("Beside it"), {"fields": ("reasons", "takes_comment", "takes_correction")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[FeedbackKey]:
        return super().get_queryset(request).prefetch_related("deployments")

    @admin.display(description=gettext_lazy("deployments"))
    def asked_about(self, key: FeedbackKey) -> str:
        return ", ".join(one.name for one in key.deployments.all()) or _("all")


class AuthorFilter(admin.SimpleListFilter):
    title = gettext_lazy("who")
    parameter_name = "who"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("users", gettext_lazy("Signed-in users")),
            ("token", gettext_lazy("By feedback token")),
            ("anonymous", gettext_lazy("Anonymous")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "users":
            return queryset.exclude(author__in=["token", "anonymous"])
        return queryset.filter(author=self.value()) if self.value() else queryset


class ScoreFilter(admin.SimpleListFilter):
    title = gettext_lazy("score")
    parameter_name = "score_is"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("0", gettext_lazy("0: bad")),
            ("1", gettext_lazy("1: good")),
            ("none", gettext_lazy("None")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "none":
            return queryset.filter(score=None)
        return queryset.filter(score=self.value()) if self.value() in ("0", "1") else queryset


@admin.register(Feedback)
class FeedbackAdmin(FeedbackModelAdmin):
    list_display = ("created_at", "deployment", "said", "short_comment", "who")
    list_filter = (ScoreFilter, AuthorFilter, "deployment", "created_at")
    list_select_related = ("deployment", "user")
    search_fields = ("=run_id", "=trace_id", "=key")
    search_help_text = gettext_lazy("Id of a run, or a key")
    ordering = ("-created_at", "-id")
    list_per_page = 50
    show_full_result_count = False
    paginator = BoundedPaginator
    actions = ("export_csv", "export_jsonl")
    fields = (
        *("deployment", "run_id", "trace_id", "key", "score", "value", "comment", "correction"),
        *("reasons", "who", "source_info", "created_at", "modified_at"),
    )
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # What was said was said.
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("said"), ordering="score")
    def said(self, feedback: Feedback) -> str:
        value = feedback.value if feedback.score is None else f"{feedback.score:g}"
        return f"{feedback.key}: {'-' if value is None else str(value)[:60]}"

    @admin.display(description=gettext_lazy("comment"))
    def short_comment(self, feedback: Feedback) -> str:
        text = feedback.comment
        return text if len(text) <= 60 else f"{text[:59]}…"

    @admin.display(description=gettext_lazy("who"), ordering="author")
    def who(self, feedback: Feedback) -> str:
        if feedback.user:
            return str(feedback.user.get_username())
        words = {"token": _("by feedback token"), "anonymous": _("anonymous")}
        return words.get(feedback.author, feedback.author)

    @admin.action(description=gettext_lazy("Export chosen feedback as CSV"), permissions=["view"])
    def export_csv(self, request: HttpRequest, chosen: QuerySet[Feedback]) -> HttpResponse | None:
        return self._export(request, chosen, "csv")

    @admin.action(description=gettext_lazy("Export chosen feedback as JSONL"), permissions=["view"])
    def export_jsonl(self, request: HttpRequest, chosen: QuerySet[Feedback]) -> HttpResponse | None:
        return self._export(request, chosen, "jsonl")

    def _export(
        self, request: HttpRequest, chosen: QuerySet[Feedback], kind: str
    ) -> HttpResponse | None:
        keys = list(chosen.order_by().values_list("pk", flat=True)[: MOST_EXPORTED + 1])
        if len(keys) > MOST_EXPORTED:
            text = _("At most %(count)d are exported here. For more: manage.py feedback export")
            self.message_user(request, text % {"count": MOST_EXPORTED}, messages.ERROR)
            return None
        rows = Feedback.objects.filter(pk__in=keys)
        content = "".join(export.batches(rows, kind=kind, shape="rows"))
        user: Any = request.user
        LogEntry.objects.log_actions(user.pk, rows, CHANGE, change_message=_("Exported."))
        return HttpResponse(
            content,
            content_type=export.FORMATS[kind],
            headers={
                "Content-Disposition": f'attachment; filename="feedback.{kind}"',
                "Cache-Control": "no-store",
            },
        )
