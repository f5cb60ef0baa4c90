"""
`/review/`: the queues, the page on which a run is reviewed, and what came out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from feedback.models import Feedback, FeedbackKey
from runnables.identity import principal_of
from runnables.pages import secret_page
from traces.review import exports, services
from traces.review.forms import ReviewForm
from traces.review.models import Review, ReviewItem, ReviewQueue
from traces.review.progress import fillable, held_by_others, progress, queue_of, queues_of
from traces.review.results import MOST_LISTED, Results, in_words, may_open, rating_of
from traces.review.services import ReservationLost, reviewable, take_next
from traces.review.shown import shown
from traces.review.steps import MOST_STEPS, steps_of
from traces.viewers import Viewer

# Name in the address -> (file's ending, content type, what writes it).
EXPORTS: dict[str, tuple[str, str, Callable[[Results], str]]] = {
    "csv": (".csv", "text/csv", exports.as_csv),
    "jsonl": (".jsonl", "application/jsonl", exports.as_jsonl),
    "evaluation": ("-evaluation.jsonl", "application/jsonl", exports.as_evaluation_set),
}


@secret_page
@login_required
@require_GET
def queues(request: HttpRequest) -> HttpResponse:
    """
    The queues that one may review in, with how far one is.
    """
    viewer = Viewer(request.user)
    rows = [(queue, progress(queue, viewer)) for queue in queues_of(viewer)]
    # What waits for one is on top.
    rows.sort(key=lambda row: not row[0].is_open or row[1].left <= 0)
    return render(request, "traces/review/queues.html", {"rows": rows})


@secret_page
@login_required
@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """
    Add runs that were ticked in the traces list.
    """
    slug = request.POST.get("queue", "")
    queue = next((one for one in fillable(request.user) if one.slug == slug), None)
    if queue is None:
        raise Http404
    chosen = _uuids(request.POST.getlist("trace"))
    added = services.add(queue, chosen, by=request.user)
    _say_added(request, queue, added, known=len(chosen) - added)
    return redirect(_list_url())


@secret_page
@login_required
@require_http_methods(["GET", "POST"])
def review(request: HttpRequest, slug: str) -> HttpResponse:
    """
    One run to review: the next, or with `?item=` one that was before.
    """
    viewer = Viewer(request.user)
    queue = queue_of(slug, viewer)
    if not queue.is_open:
        return _closing_page(request, queue, viewer)
    if request.method == "POST":
        return _decide(request, queue, viewer)
    if "item" in request.GET:
        return _focus(request, _seen_item(queue, viewer, request.GET["item"]), viewer)
    item = take_next(queue, viewer)
    if item is None:
        return _closing_page(request, queue, viewer)
    return _focus(request, item, viewer)


@secret_page
@login_required
@require_GET
def results(request: HttpRequest, slug: str) -> HttpResponse:
    """
    Averages, agreement, who did how much, and where reviewers differ.
    """
    viewer = Viewer(request.user)
    queue = queue_of(slug, viewer)
    found = Results(queue, viewer)
    context = {
        "queue": queue,
        "results": found,
        "progress": progress(queue, viewer),
        "disagreements": found.disagreements[:MOST_LISTED],
        "disagreements_count": len(found.disagreements),
        "is_partial": not request.user.is_superuser,
    }
    return render(request, "traces/review/results.html", context)


@secret_page
@login_required
@require_GET
def export(request: HttpRequest, slug: str) -> HttpResponse:
    """
    The results as a file: `?as=csv`, `jsonl` or `evaluation`.
    """
    viewer = Viewer(request.user)
    queue = queue_of(slug, viewer)
    if request.GET.get("as") not in EXPORTS:
        raise Http404
    ending, content_type, write = EXPORTS[request.GET["as"]]
    response = HttpResponse(
        write(Results(queue, viewer)), content_type=f"{content_type}; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="review-{queue.slug}{ending}"'
    return response


def _decide(request: HttpRequest, queue: ReviewQueue, viewer: Viewer) -> HttpResponse:
    item = _seen_item(queue, viewer, request.POST.get("item", ""))
    if request.POST.get("do") == "skip":
        services.skip(item, viewer)
        return redirect("langserve_traces:review", queue.slug)
    form = _form(item, viewer, request.POST)
    if not form.is_valid():
        return _focus(request, item, viewer, form, status=422)
    try:
        services.finish(item, viewer, form.answers)
    except ReservationLost:
        messages.warning(
            request,
            _(
                "Your time for that run had ended and others have reviewed it. "
                "Your answers to it were not saved."
            ),
        )
    return redirect("langserve_traces:review", queue.slug)


def _focus(
    request: HttpRequest,
    item: ReviewItem,
    viewer: Viewer,
    form: ReviewForm | None = None,
    status: int = 200,
) -> HttpResponse:
    trace = item.trace
    own = Review.objects.get(item=item, reviewer=viewer.user.pk)
    context = {
        "queue": item.queue,
        "item": item,
        "trace": trace,
        "own": own,
        "is_done": own.state == Review.State.DONE,
        "is_skipped": own.state == Review.State.SKIPPED,
        "form": form or _form(item, viewer),
        "given": shown(trace.input, trace.input_size),
        "answer": shown(trace.output, trace.output_size),
        "steps": steps_of(trace),
        "most_steps": MOST_STEPS,
        "progress": progress(item.queue, viewer),
        "previous": _previous(own),
        "others": _others(item, viewer) if own.state == Review.State.DONE else [],
        "may_open_trace": may_open(viewer, trace),
    }
    return render(request, "traces/review/focus.html", context, status=status)


def _closing_page(request: HttpRequest, queue: ReviewQueue, viewer: Viewer) -> HttpResponse:
    mine = Review.objects.filter(item__queue=queue, reviewer=viewer.user.pk)
    past = mine.exclude(state=Review.State.RESERVED).order_by("-at", "-pk")
    context = {
        "queue": queue,
        "progress": progress(queue, viewer),
        "held": held_by_others(queue, viewer),
        "previous": past.first(),
    }
    return render(request, "traces/review/done.html", context)


def _form(item: ReviewItem, viewer: Viewer, data: Any = None) -> ReviewForm:
    rows = Feedback.objects.filter(run_id=item.trace_id, author=principal_of(viewer.user))
    return ReviewForm(list(item.queue.keys.all()), {row.key: row for row in rows}, data)


def _seen_item(queue: ReviewQueue, viewer: Viewer, text: str) -> ReviewItem:
    """
    An item that this reviewer has had before them; Http404 for any other.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Http404
    mine = Review.objects.filter(reviewer=viewer.user.pk)
    items = reviewable(queue, viewer).filter(pk__in=mine.values("item"))
    item = items.filter(pk=int(text)).first()
    if item is None:
        raise Http404
    return item


def _previous(own: Review) -> Review | None:
    """
    What this reviewer did or skipped before that.
    """
    past = Review.objects.filter(
        item__queue=own.item.queue_id, reviewer=own.reviewer_id, at__lt=own.at
    ).exclude(state=Review.State.RESERVED)
    return past.order_by("-at", "-pk").first()


@dataclass(frozen=True, slots=True)
class Other:
    """
    What another reviewer said, as (key's title, answer, comment).
    """

    name: str
    answers: list[tuple[str, str, str]]


def _others(item: ReviewItem, viewer: Viewer) -> list[Other]:
    keys = {key.key: key for key in item.queue.keys.all()}
    rows = list(Feedback.objects.filter(run_id=item.trace_id, key__in=keys))
    found = []
    reviews = Review.objects.filter(item=item, state=Review.State.DONE).select_related("reviewer")
    for one in reviews.exclude(reviewer=viewer.user.pk):
        author = principal_of(one.reviewer)
        theirs = {row.key: row for row in rows if row.author == author}
        answers = [_in_words(keys[name], theirs[name]) for name in keys if name in theirs]
        found.append(Other(str(one.reviewer), answers))
    return found


def _in_words(key: FeedbackKey, row: Feedback) -> tuple[str, str, str]:
    rating = rating_of(row)
    return str(key), "" if rating is None else in_words(key, rating), row.comment


def _say_added(request: HttpRequest, queue: ReviewQueue, added: int, known: int) -> None:
    text = ngettext(
        "%(count)s run was added to “%(queue)s”.",
        "%(count)s runs were added to “%(queue)s”.",
        added,
    )
    words = text % {"count": added, "queue": queue}
    if known > 0:
        words += " " + ngettext(
            "%(count)s was in it already or does not belong there.",
            "%(count)s were in it already or do not belong there.",
            known,
        ) % {"count": known}
    (messages.success if added else messages.warning)(request, words)


def _list_url() -> str:
    return reverse("langserve_traces:review_list")


def _uuids(texts: list[str]) -> list[UUID]:
    found = []
    for text in texts:
        try:
            found.append(UUID(text))
        except ValueError:
            raise Http404 from None
    return found
