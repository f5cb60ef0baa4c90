"""
`/dashboard/`: how much deployments are used, how long they take, how often they fail, what
they cost and what people say, for who may see what others' runs did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import get_script_prefix
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from runnables.conf import conf
from runnables.figures import PAST
from runnables.models import Deployment, ServerProcess
from runnables.pages import page, refusal
from traces import dashboard_charts as charts
from traces.budget import TooSlow, within
from traces.changes import Change, changes
from traces.charts import Chart, as_csv, csv_text
from traces.dashboard import Group, Numbers, Selection, numbers
from traces.dashboard_cards import Card, cards
from traces.dashboard_forms import Filters
from traces.dashboard_people import Person, Ratings, ratings, top_users
from traces.models import DroppedTraces, ModelPrice, Tracing
from traces.panels import Frame, Panel
from traces.viewers import Viewer

T = TypeVar("T")


@page
@login_required
@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    """
    The page; with `?csv=` and the name of a chart or table, its numbers.
    """
    user: Any = request.user
    visible = Viewer(user).deployments_with("see_traces")
    if not visible and not user.is_superuser:
        return _refused(request)
    names = dict(Deployment.objects.filter(pk__in=visible).values_list("pk", "name"))
    filters = Filters(names, request.GET.dict())
    if not filters.is_valid():
        return render(request, "traces/dashboard.html", {"filters": filters}, status=400)
    board = Board(filters.selection(), compared=not filters.cleaned_data["compare"])
    if wanted := request.GET.get("csv"):
        return _csv(request, board, wanted)
    return render(request, "traces/dashboard.html", _context(request, filters, board))


def _refused(request: HttpRequest) -> HttpResponse:
    return refusal(
        request,
        title=_("There is nothing here for you yet"),
        text=_(
            "The dashboard shows deployments whose traces you may see, and there are none. "
            "Whoever runs this site can give you the right “see what others' runs did”."
        ),
        status=403,
    )


class Board:
    """
    Everything that the page shows, each asked of the database once and only if it is looked
    at. What took too long is None.
    """

    def __init__(self, selection: Selection, *, compared: bool) -> None:
        self.selection = selection
        self.compared = compared

    @cached_property
    def now(self) -> Numbers:
        return numbers(self.selection)

    @cached_property
    def before(self) -> Numbers | None:
        period = self.selection.period.before()
        return numbers(self.selection, period) if self.compared else None

    @cached_property
    def said(self) -> Ratings | None:
        return _in_time(lambda: ratings(self.selection, self.selection.period))

    @cached_property
    def users(self) -> list[Person] | None:
        return _in_time(lambda: top_users(self.selection))

    @cached_property
    def changes(self) -> list[Change]:
        return changes(self.selection.deployments, self.selection.period)

    @property
    def sources(self) -> charts.Sources:
        return charts.Sources(self.now, self.before, bool(self.selection.group_by))

    def charts(self) -> dict[str, Callable[[], Chart | None]]:
        """
        By their names in addresses; None for what took too long or is about nothing.
        """
        return {
            "requests": lambda: charts.requests_chart(self.sources),
            "latency": lambda: charts.latency_chart(self.sources),
            "first_chunk": lambda: charts.first_chunk_chart(self.sources),
            "errors": lambda: charts.errors_chart(self.sources),
            "feedback": self._feedback,
            "tokens": lambda: charts.tokens_chart(self.sources),
            "cost": lambda: charts.cost_chart(self.sources),
        }

    def csv(self, name: str) -> str:
        """
        A chart's or a table's numbers; raises TooSlow, and Http404 for any other name.
        """
        if name in self.charts():
            chart = self.charts()[name]()
            if chart is None and self.said is None:
                raise TooSlow
            return as_csv(chart) if chart else csv_text(["from", "to"], [])
        if name in self.tables():
            return csv_text(*self.tables()[name]())
        raise Http404

    def _feedback(self) -> Chart | None:
        said = self.said
        return charts.feedback_chart(self.sources, said) if said and said.keys else None

    def tables(self) -> dict[str, Callable[[], tuple[list[str], list[list[Any]]]]]:
        """
        Head and rows of what has no chart, by name.
        """
        return {"error_classes": self._classes, "groups": self._groups, "users": self._users}

    def _classes(self) -> tuple[list[str], list[list[Any]]]:
        found = charts.error_classes(self.now)
        return ["class", "errors"], [[one.name, one.count] for one in found]

    def _groups(self) -> tuple[list[str], list[list[Any]]]:
        head = [self.selection.breakdown, "requests", "errors", "p50 ms", "p95 ms"]
        head += ["first chunk p95 ms", "tokens in", "tokens out", "cost"]
        return head, [_group_row(group) for group in self.now.groups]

    def _users(self) -> tuple[list[str], list[list[Any]]]:
        if self.users is None:
            raise TooSlow
        head = ["user", "requests", "errors", "tokens in", "tokens out", "cost"]
        return head, [
            [one.name, one.requests, one.errors, one.input_tokens, one.output_tokens, one.cost]
            for one in self.users
        ]


def _group_row(group: Group) -> list[Any]:
    total = group.total
    return [
        group.name,
        total.sum.requests,
        total.sum.errors,
        total.duration(0.5),
        total.duration(0.95),
        total.first_chunk(0.95),
        total.sum.input_tokens,
        total.sum.output_tokens,
        total.sum.cost,
    ]


def _in_time(query: Callable[[], T]) -> T | None:
    try:
        return within(query)
    except TooSlow:
        return None


def _csv(request: HttpRequest, board: Board, wanted: str) -> HttpResponse:
    try:
        text = board.csv(wanted)
    except TooSlow:
        return refusal(
            request,
            title=_("This took the database too long"),
            text=_("A shorter range may do."),
            status=503,
        )
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{wanted}.csv"'
    return response


def _context(request: HttpRequest, filters: Filters, board: Board) -> dict[str, Any]:
    asked = request.GET
    query = _without(asked, "csv")
    csv_url = f"?{query}&csv=" if query else "?csv="
    names = [filters.deployments[pk] for pk in board.selection.deployments]
    only = names[0] if len(names) == 1 else ""
    frame = Frame(board.selection, board.changes, csv_url, only)
    return {
        "filters": filters,
        "period": board.selection.period,
        "before": board.before and board.before.period,
        "zone": timezone.get_current_timezone_name(),
        "numbers": board.now,
        "cards": _cards(board),
        "changes": board.changes,
        "panels": _panels(board, frame),
        "error_classes": _with_urls(charts.error_classes(board.now), "error", frame),
        "groups": board.now.groups,
        "breakdown": board.selection.breakdown,
        "users": board.users and _with_urls(board.users, "user", frame),
        "users_since": _kept_since(board.selection),
        "said": board.said,
        "has_prices": bool(board.now.total.sum.cost) or ModelPrice.objects.exists(),
        "dropped": _dropped(board.selection) if request.user.is_superuser else 0,
        "reported_at": _reported_at(),
        "csv_url": csv_url,
        "ranged_query": _without(asked, "csv", "range", "since", "until"),
        "example": "" if board.now.total.sum.requests else _example(request, board.selection),
        "kept_query": _without(asked, "csv", "deployment", "version", "versions_of"),
        "is_everything": not board.selection.group_by,
    }


def _with_urls(rows: Sequence[T], filtered_by: str, frame: Frame) -> list[tuple[T, str]]:
    """
    Each with the list of its traces, if it has a name there.
    """
    period = frame.selection.period
    return [
        (row, frame.traces_url(period, **{filtered_by: name}) if name else "")
        for row in rows
        for name in [getattr(row, "known_as", "")]
    ]


def _without(asked: QueryDict, *names: str) -> str:
    kept = asked.copy()
    for name in names:
        kept.pop(name, None)
    return kept.urlencode()


def _example(request: HttpRequest, selection: Selection) -> str:
    """
    The address of something to call.
    """
    found = Deployment.objects.enabled().filter(pk__in=selection.deployments).first()
    if found is None:
        return ""
    path = "/".join(part for part in (conf.prefix, found.path, "invoke") if part)
    return request.build_absolute_uri(f"{get_script_prefix()}{path}")


def _cards(board: Board) -> list[Card]:
    return cards(board.now, board.before, board.said)


def _panels(board: Board, frame: Frame) -> dict[str, Panel]:
    made = {name: chart() for name, chart in board.charts().items()}
    return {name: frame.panel(chart) for name, chart in made.items() if chart}


def _kept_since(selection: Selection) -> datetime | None:
    """
    Since when traces are kept, if that is within the period.
    """
    own = Tracing.objects.filter(deployment__in=selection.deployments)
    days = min(
        own_days or conf.trace_days for own_days in [None, *own.values_list("days", flat=True)]
    )
    kept = selection.period.now - timedelta(days=days)
    return kept if kept > selection.period.start else None


def _dropped(selection: Selection) -> int:
    period = selection.period
    rows = DroppedTraces.objects.filter(hour__gte=period.start, hour__lt=period.end, hour__gt=PAST)
    return sum(rows.values_list("count", flat=True))


def _reported_at() -> datetime | None:
    """
    Up to when figures are known, if no server process has told for a while.
    """
    latest = ServerProcess.objects.order_by("-seen_at").values_list("seen_at", flat=True).first()
    limit = timezone.now() - timedelta(seconds=3 * conf.figures_seconds + 60)
    return latest if latest and latest < limit else None
