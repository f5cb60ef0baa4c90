"""
`/traces/{id}/`: one run, the tree of what happened in it, and one node of that in full.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.apps import apps
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from runnables.conf import conf
from runnables.pages import refusal, secret_page
from traces.models import Step, Trace
from traces.pages import payloads
from traces.pages.addresses import below
from traces.pages.marks import said_about
from traces.pages.seen import may_delete, seen
from traces.pages.tree import Looks, Tree, tree_of
from traces.viewers import Viewer

UNSHOWN = ("input", "output", "error", "metadata")


@secret_page
@login_required
@require_safe
def trace(request: HttpRequest, run_id: UUID) -> HttpResponse:
    viewer = Viewer(request.user)
    row = viewer.traces().filter(pk=run_id).select_related("user", "deployment").defer(*UNSHOWN)
    found = row.first()
    if found is None:
        return _of_a_step(request, viewer, run_id)
    fragment = request.GET.get("fragment", "")
    wanted = _uuid(request.GET.get("node", ""))
    if fragment == "panel":
        # Chosen in a tree that the page has already.
        return render(request, "traces/_panel.html", _panel(found, viewer, wanted or found.pk))
    tree = tree_of(found, _position(request), wanted)
    chosen = wanted if wanted and wanted in tree else tree.broken or found.pk
    context = {
        **_head(request, found, viewer),
        **_tree(request, tree, chosen),
        **_panel(found, viewer, chosen),
    }
    template = "traces/_live.html" if fragment == "live" else "traces/detail.html"
    return render(request, template, context)


def _of_a_step(request: HttpRequest, viewer: Viewer, step: UUID) -> HttpResponse:
    """
    A step's id leads to its run; all else is a page that looks the same whatever the reason.
    """
    run = Step.objects.filter(pk=step).values_list("trace_id", flat=True).first()
    if run and viewer.traces().filter(pk=run).exists():
        return redirect(f"{reverse('langserve_traces:detail', args=[run])}?node={step}")
    days = conf.trace_days
    return refusal(
        request,
        title=_("No such trace"),
        text=ngettext(
            "There is none under this address, or it is not yours to see, or it is deleted: "
            "traces are kept for %(days)d day unless its deployment says otherwise.",
            "There is none under this address, or it is not yours to see, or it is deleted: "
            "traces are kept for %(days)d days unless their deployment says otherwise.",
            days,
        )
        % {"days": days},
        status=404,
    )


def _head(request: HttpRequest, row: Trace, viewer: Viewer) -> dict[str, Any]:
    shows_payloads = viewer.may_see_payloads(row)
    return {
        "trace": row,
        "seen": seen(row, viewer),
        "may_delete": may_delete(request, viewer, row),
        "may_share": viewer.may("share", row),
        "said": said_about(row, viewer, shows_words=shows_payloads),
        "again": _again(request, row, viewer) if shows_payloads else None,
        "playground": _playground(row) if shows_payloads else "",
        "path": row.deployment.path if row.deployment else None,
    }


def _tree(request: HttpRequest, tree: Tree, chosen: UUID) -> dict[str, Any]:
    looks = Looks.of(request.GET)
    return {
        "nodes": looks.at(tree.nodes),
        "pages": tree.pages,
        "looks": looks,
        "chosen": chosen,
    }


def _panel(row: Trace, viewer: Viewer, chosen: UUID) -> dict[str, Any]:
    rows: Any = Trace.objects if chosen == row.pk else Step.objects.filter(trace=row.pk)
    # A node that was never there shows the run.
    node = rows.filter(pk=chosen).first() or Trace.objects.filter(pk=row.pk).first() or row
    shows_payloads = viewer.may_see_payloads(row)
    is_root = isinstance(node, Trace)
    context = {
        "trace": row,
        "node": node,
        "is_root": is_root,
        "path": row.deployment.path if row.deployment else None,
        "shows_payloads": shows_payloads,
        "keeps_payloads": row.kept in (Trace.Kept.FULL, Trace.Kept.REDACTED),
    }
    if not shows_payloads:
        return context
    return {
        **context,
        "input": payloads.shown(node.input, node.input_size),
        "output": payloads.shown(node.output, node.output_size),
        "error_text": node.error[: payloads.SHOWN_BYTES],
        "metadata": payloads.pretty(node.metadata_dict) if node.metadata_dict else "",
        "config": payloads.pretty(row.config_dict) if is_root and row.config_dict else "",
    }


@dataclass(frozen=True, slots=True)
class Again:
    """
    How to have the same run again: the body of the call, and the whole call for a shell.
    """

    body: str
    curl: str
    is_version_pinned: bool
    is_redacted: bool


def _again(request: HttpRequest, row: Trace, viewer: Viewer) -> Again | None:
    """
    None where the exact input is not known: not kept, or cut when it was.
    """
    if row.deployment is None or not row.input or row.input_size > payloads.SHOWN_BYTES:
        return None
    try:
        body = {"input": orjson.loads(row.input), "config": row.config_dict}
    except orjson.JSONDecodeError:
        return None
    is_pinned = viewer.may("pin_version", row)
    url = request.build_absolute_uri(below(row.deployment.path, "invoke"))
    if is_pinned:
        url += f"?version={row.version}"
    compact = orjson.dumps(body).decode()
    parts = ["curl", shlex.quote(url), "-H", shlex.quote("Content-Type: application/json")]
    # The key is the reader's own, so it is not in the text.
    parts += ["-H", '"Authorization: Bearer $TOKEN"', "-d", shlex.quote(compact)]
    return Again(
        body=payloads.pretty(body),
        curl=" ".join(parts),
        is_version_pinned=is_pinned,
        is_redacted=row.kept == Trace.Kept.REDACTED,
    )


def _playground(row: Trace) -> str:
    """
    The deployment's playground with this run's input in it, on sites that have playgrounds.
    """
    if row.deployment is None or not apps.is_installed("playground"):
        return ""
    return f"{below(row.deployment.path, 'playground')}/?trace={row.pk}"


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _position(request: HttpRequest) -> int | None:
    text = request.GET.get("from", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
