"""
`/traces/`: what runs did, newest first, filtered by the address.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from runnables.conf import conf
from runnables.models import Deployment
from runnables.pages import secret_page
from traces.models import DroppedTraces, State
from traces.pages.addresses import below
from traces.pages.filters import Filters
from traces.pages.marks import marks_of
from traces.pages.overview import overview
from traces.pages.paging import SORTS, Page, WrongCursor, page_of
from traces.pages.seen import SeenTrace, seen
from traces.viewers import Viewer

# Long texts that no row of the list shows.
UNSHOWN = ("input", "output", "error", "metadata", "config")


@secret_page
@login_required
@require_safe
def traces(request: HttpRequest) -> HttpResponse:
    if any(value == "" for value in request.GET.values()):
        # A form without scripts sends its empty fields too; an address to share has none.
        return redirect(f"{request.path}?{_without_empty(request)}")
    viewer = Viewer(request.user)
    filters = Filters(request.GET, viewer)
    sort = _sort(request)
    found = filters.traces()
    is_lost = False
    try:
        page = page_of(_as_rows(found), SORTS[sort], request.GET)
    except WrongCursor:
        is_lost, page = True, page_of(_as_rows(found), SORTS[sort], {})
    context = {
        "rows": _seen(page, viewer),
        "page": page,
        "filters": filters,
        "sort": sort,
        "is_first": not page.newer,
        "is_lost": is_lost,
        "has_running": any(row.state == State.RUNNING for row in page.rows),
        **_addresses(page, filters, sort),
    }
    if request.GET.get("fragment") == "rows":
        return render(request, "traces/_table.html", context)
    return render(
        request, "traces/list.html", {**context, **_around(request, viewer, filters, found)}
    )


def _sort(request: HttpRequest) -> str:
    wanted = request.GET.get("sort", "")
    return wanted if wanted in SORTS else "newest"


def _without_empty(request: HttpRequest) -> str:
    query = request.GET.copy()
    for name in [name for name, value in query.items() if value == ""]:
        del query[name]
    return query.urlencode()


def _as_rows(found: Any) -> Any:
    return found.select_related("user").defer(*UNSHOWN)


def _seen(page: Page, viewer: Viewer) -> list[SeenTrace]:
    marks = marks_of([row.pk for row in page.rows], viewer)
    return [seen(row, viewer, marks.get(row.pk)) for row in page.rows]


def _addresses(page: Page, filters: Filters, sort: str) -> dict[str, Any]:
    kept = {} if sort == "newest" else {"sort": sort}
    return {
        "here": filters.query(**kept),
        "newer": filters.query(**kept, before=page.newer) if page.newer else "",
        "older": filters.query(**kept, after=page.older) if page.older else "",
        "chips": filters.chips(**kept),
        "sorts": [
            (name, one.label, filters.query(sort="" if name == "newest" else name))
            for name, one in SORTS.items()
        ],
    }


def _around(request: HttpRequest, viewer: Viewer, filters: Filters, found: Any) -> dict[str, Any]:
    """
    What stands above the table: charts, choices, notes.
    """
    shown = overview(found, filters.start, filters.end)
    filters.offer({*shown.deployments, *_names(viewer)})
    return {
        "overview": shown,
        "dropped": _dropped(filters),
        "call": "" if shown.number else _call(request, viewer),
    }


def _names(viewer: Viewer) -> list[str]:
    seen_ones = viewer.deployments_with("see_traces")
    return list(Deployment.objects.filter(pk__in=seen_ones).values_list("name", flat=True))


def _call(request: HttpRequest, viewer: Viewer) -> str:
    """
    Where a first run may be had.
    """
    usable = Deployment.objects.filter(pk__in=viewer.deployments_with("run")).order_by("name")
    path = usable.values_list("path", flat=True).first()
    return "" if path is None else request.build_absolute_uri(below(path, "invoke"))


def _dropped(filters: Filters) -> int:
    """
    Runs of the shown time that left no trace; no deployment is known of them.
    """
    start = filters.start or timezone.now() - timedelta(days=conf.trace_days)
    rows = DroppedTraces.objects.filter(hour__gte=start - timedelta(hours=1))
    if filters.end:
        rows = rows.filter(hour__lte=filters.end)
    return rows.aggregate(number=Sum("count"))["number"] or 0
