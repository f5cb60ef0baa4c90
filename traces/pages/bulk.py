"""
What is done with traces ticked in the list: taken away as JSONL, or deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import orjson
from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from runnables.pages import secret_page
from traces.models import Step, Trace
from traces.pages.paging import SIZE
from traces.pages.seen import may_delete, seen
from traces.viewers import Viewer

_PLAIN = (
    *("id", "name", "state", "duration_ms", "input_size", "output_size", "input_shape"),
    *("output_shape", "input_tokens", "output_tokens", "cost", "error_class"),
)
_OF_TRACE = (
    *("deployment_name", "version", "arm", "endpoint", "thread", "kept", "started_at"),
    *("ended_at", "first_chunk_ms", "steps_count", "steps_dropped"),
)
_OF_STEP = ("parent", "position", "kind", "offset_ms", "first_token_ms", "model")


@secret_page
@login_required
@require_POST
def export(request: HttpRequest) -> HttpResponseBase:
    """
    The ticked traces with their steps, a line each; payloads only where they may be seen.
    """
    viewer = Viewer(request.user)
    chosen = _chosen(request, viewer)
    if not chosen:
        return _nothing_ticked(request)
    lines = (_line(row, viewer) for row in chosen)
    # Django takes one kind under ASGI and the other elsewhere; the wrong one it reads whole.
    content = _in_threads(lines) if isinstance(request, ASGIRequest) else lines
    response = StreamingHttpResponse(content, content_type="application/x-ndjson")
    name = f"traces-{timezone.now():%Y-%m-%d-%H%M}.jsonl"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@secret_page
@login_required
@require_POST
def delete(request: HttpRequest) -> HttpResponse:
    """
    First a page that lists what would go; the form there says it is meant.
    """
    viewer = Viewer(request.user)
    chosen = _chosen(request, viewer)
    if not chosen:
        return _nothing_ticked(request)
    doomed = [row for row in chosen if may_delete(request, viewer, row)]
    if request.POST.get("confirmed") != "yes":
        context = {
            "rows": [seen(row, viewer) for row in doomed],
            "kept": len(chosen) - len(doomed),
        }
        return render(request, "traces/delete.html", context)
    Trace.objects.filter(pk__in=[row.pk for row in doomed]).delete()
    number = len(doomed)
    messages.success(
        request,
        ngettext("%(number)d trace is deleted.", "%(number)d traces are deleted.", number)
        % {"number": number},
    )
    return redirect("langserve_traces:list")


def _nothing_ticked(request: HttpRequest) -> HttpResponse:
    messages.warning(request, _("Tick some traces first."))
    return redirect("langserve_traces:list")


def _chosen(request: HttpRequest, viewer: Viewer) -> list[Trace]:
    """
    Those of the ticked ones that the viewer may see; a page at most.
    """
    keys = []
    for text in request.POST.getlist("run")[:SIZE]:
        try:
            keys.append(UUID(text))
        except ValueError:
            continue
    rows = viewer.traces().filter(pk__in=keys).select_related("user")
    return list(rows.defer("input", "output", "error", "metadata", "config"))


def _line(row: Trace, viewer: Viewer) -> bytes:
    # Read when its turn comes, so that memory holds one trace at a time.
    whole = Trace.objects.filter(pk=row.pk).first()
    if whole is None:
        return b""
    shows_payloads = viewer.may_see_payloads(row)
    steps = Step.objects.filter(trace=row.pk).iterator(chunk_size=500)
    document = {
        **_plain(whole, shows_payloads, _OF_TRACE),
        "deployment": whole.deployment_name,
        "user": row.user.get_username() if row.user else None,
        "config": whole.config_dict if shows_payloads else None,
        "steps": [_plain(step, shows_payloads, _OF_STEP) for step in steps],
    }
    return orjson.dumps(document, default=str) + b"\n"


def _plain(row: Any, shows_payloads: bool, more: tuple[str, ...]) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in (*_PLAIN, *more)}
    found["tags"] = row.tag_list
    if shows_payloads:
        found["input"], found["output"] = _json(row.input), _json(row.output)
        found["error"], found["metadata"] = row.error, row.metadata_dict
    return found


def _json(text: str) -> Any:
    """
    The value, or the text of one that was cut when it was kept.
    """
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


async def _in_threads(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (line := await sync_to_async(_next)(lines)) is not None:
        yield line


def _next(lines: Iterator[bytes]) -> bytes | None:
    return next(lines, None)
