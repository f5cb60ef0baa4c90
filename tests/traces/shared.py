"""
Traces of runs that never were, and links to them.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django.utils import timezone

from feedback import links
from feedback.models import TraceLink
from runnables import deployments
from runnables.identity import principal_of
from runnables.models import Deployment, Grant
from runnables.permissions import OF_CALLERS
from tests.conftest import Site
from tests.fakes import echo
from traces.models import State, Step, Trace

SHARER = (*OF_CALLERS, "share")


def sharing(site: Site, name: str = "it", *, may: Any = SHARER, **options: Any) -> Deployment:
    """
    A deployment whose runs every signed-in user may share, if they may see them.
    """
    options.setdefault("enable_public_trace_link_endpoint", True)
    site.serve(name, echo(), access="authenticated", **options)
    site.grant(name, "authenticated", may=may)
    return site.row(name)


def also_may(deployment: Deployment, user: Any, *rights: str) -> None:
    Grant.objects.create(
        deployment=deployment, audience="user", user=user, **dict.fromkeys(rights, True)
    )
    deployments.announce_change()


def keep_trace(deployment: Deployment, user: Any = None, **fields: Any) -> Trace:
    """
    A finished run of this user, with `input` and `output` as plain values.
    """
    values: dict[str, Any] = {"input": {"question": "why?"}, "output": "because", **fields}
    for name in ("input", "output", "metadata", "config", "tags"):
        if name in values and not (name in ("input", "output") and values[name] == ""):
            values[name] = json.dumps(values[name])
    for name in ("input", "output"):
        values.setdefault(f"{name}_size", len(values[name]))
    started: datetime = values.pop("started_at", timezone.now() - timedelta(minutes=3))
    return Trace.objects.create(
        **{
            "deployment": deployment,
            "deployment_name": deployment.name,
            "version": 1,
            "endpoint": "invoke",
            "name": "answering",
            "state": State.DONE,
            "duration_ms": 4800.0,
            "input_tokens": 312,
            "output_tokens": 88,
            "cost": Decimal("0.0011"),
            "started_at": started,
            "user": user,
            "principal": principal_of(user) if user else "",
            **values,
        }
    )


def keep_step(trace: Trace, parent: Any = None, **fields: Any) -> Step:
    position = fields.pop("position", None) or trace.steps.count() + 1
    values: dict[str, Any] = {"input": "in", "output": "out", **fields}
    for name in ("input", "output"):
        values[name] = json.dumps(values[name])
        values.setdefault(f"{name}_size", len(values[name]))
    step = Step.objects.create(
        **{
            "id": uuid4(),
            "trace": trace,
            "parent": parent.pk if parent else trace.pk,
            "position": position,
            "name": "Sequence",
            "kind": "chain",
            "state": State.DONE,
            "duration_ms": 1000.0,
            **values,
        }
    )
    Trace.objects.filter(pk=trace.pk).update(steps_count=position)
    return step


def link_to(trace: Trace, by: Any, *parts: str, **options: Any) -> TraceLink:
    assert trace.deployment is not None
    if parts:
        options["parts"] = parts
    return links.share_run(run_id=trace.pk, deployment=trace.deployment, by=by, **options)
