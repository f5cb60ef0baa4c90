from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils.formats import localize
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from runnables.conf import conf
from runnables.history import exported
from runnables.models import ChatMessage, ChatSession

if TYPE_CHECKING:
    ChatSessionModelAdmin = admin.ModelAdmin[ChatSession]
    SessionPaginator = Paginator[ChatSession]
else:  # Django's own classes take no subscript at run time.
    ChatSessionModelAdmin = conf.admin_base
    SessionPaginator = Paginator

# Rows that the list can page to, messages on a page, conversations in one download.
MOST_LISTED = 10_000
MOST_SHOWN = 500
MOST_EXPORTED = 1_000


class BoundedPaginator(SessionPaginator):
    """
    Counts no further than it needs to: the table may have millions of rows.
    """

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[:MOST_LISTED].count())


@admin.register(ChatSession)
class ChatSessionAdmin(ChatSessionModelAdmin):
    list_display = ("session_id", "deployment", "whose", "message_count", "updated_at")
    list_filter = ("deployment",)
    list_select_related = ("user",)
    search_fields = ("session_id", f"user__{get_user_model().USERNAME_FIELD}")
    search_help_text = gettext_lazy("Session id or user name")
    show_full_result_count = False
    paginator = BoundedPaginator
    actions = ("export",)
    fields = ("deployment", "session_id", "whose", "created_at", "updated_at", "conversation")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ChatSession | None = None) -> bool:
        # What was said was said.
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChatSession]:
        # A subquery is asked for the rows of the page alone; a join would group the whole table.
        own = ChatMessage.objects.filter(session=OuterRef("pk")).order_by().values("session")
        counted = Subquery(own.annotate(count=Count("pk")).values("count"))
        rows = super().get_queryset(request).select_related("user")
        return rows.annotate(message_count=Coalesce(counted, 0))

    @admin.display(description=gettext_lazy("owner"), ordering="user")
    def whose(self, session: ChatSession) -> str:
        return (
            session.user.get_username() if session.user else session.owner or _("the site's code")
        )

    @admin.display(description=gettext_lazy("messages"), ordering="message_count")
    def message_count(self, session: Any) -> int:
        return int(session.message_count)

    @admin.display(description=gettext_lazy("conversation"))
    def conversation(self, session: ChatSession) -> str:
        newest = list(session.messages.order_by("-pk")[: MOST_SHOWN + 1])
        shown = [(_speaker(row), _time(row), _text(row.message)) for row in newest[:MOST_SHOWN]]
        text = format_html_join(
            "", "<p><strong>{}</strong> <small>{}</small></p><pre>{}</pre>", reversed(shown)
        )
        if len(newest) <= MOST_SHOWN:
            return text or "-"
        note = _("Only the last %(count)d messages are shown; the export has all.")
        return format_html("<p>{}</p>{}", note % {"count": MOST_SHOWN}, text)

    @admin.action(description=gettext_lazy("Export chosen sessions"), permissions=["view"])
    def export(self, request: HttpRequest, chosen: QuerySet[ChatSession]) -> HttpResponse | None:
        keys = list(chosen.values_list("pk", flat=True)[: MOST_EXPORTED + 1])
        if len(keys) > MOST_EXPORTED:
            text = _(
                "At most %(count)d sessions are exported here. For more: "
                "manage.py langserve history export"
            )
            self.message_user(request, text % {"count": MOST_EXPORTED}, messages.ERROR)
            return None
        sessions = ChatSession.objects.filter(pk__in=keys)
        lines = "".join(f"{line}\n" for line in exported(sessions))
        user: Any = request.user
        LogEntry.objects.log_actions(
            user.pk, sessions, CHANGE, change_message=_("Exported the conversation.")
        )
        return HttpResponse(
            lines,
            content_type="application/jsonl; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="chat-sessions.jsonl"'},
        )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Django would list every message of every conversation.
        sessions = ChatSession.objects.filter(pk__in=[session.pk for session in objs])
        counted = sessions.annotate(count=Count("messages"))
        named = [
            ngettext(
                "%(session)s (%(count)d message)", "%(session)s (%(count)d messages)", row.count
            )
            % {"session": row, "count": row.count}
            for row in counted
        ]
        total = sum(row.count for row in counted)
        counts = {
            ChatSession._meta.verbose_name_plural: len(named),
            ChatMessage._meta.verbose_name_plural: total,
        }
        lacking = set()
        if not self.has_delete_permission(request):
            lacking.add(str(ChatSession._meta.verbose_name))
        return named, counts, lacking, []


def _speaker(row: ChatMessage) -> str:
    message = row.message
    named = [message.get(key) for key in ("role", "name")]
    return " ".join(str(part) for part in (message.get("type"), *named) if part)


def _time(row: ChatMessage) -> str:
    when = row.created_at
    return str(localize(localtime(when) if is_aware(when) else when))


def _text(message: dict[str, Any]) -> str:
    """
    What was said, and what was called, as text.
    """
    content = message.get("content")
    said = content if isinstance(content, str) else _json(content)
    calls = [
        f"{call.get('name')}({_json(call.get('args'))})" for call in message.get("tool_calls") or ()
    ]
    return "\n".join(part for part in (said, *calls) if part)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
