"""
Traces as the writer leaves them, made by hand.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
from django.utils import timezone

from runnables.models import Deployment
from traces.models import Step, Trace


def trace(
    deployment: Deployment | None = None, *, days: float = 0, user: Any = None, **fields: Any
) -> Trace:
    """
    A run that ended so many days ago.
    """
    at = fields.pop("started_at", timezone.now() - timedelta(days=days))
    values = {
        "deployment_name": deployment.name if deployment else "gone",
        "version": 1,
        "endpoint": "invoke",
        "user": user,
        "principal": f"u{user.pk}" if user else "",
        "name": "chain",
        "state": "done",
        "duration_ms": 120.0,
        "started_at": at,
        "ended_at": at + timedelta(milliseconds=120),
        "input": '{"question":"why?"}',
        "output": '"because"',
        "input_size": 19,
        "output_size": 9,
    }
    return Trace.objects.create(deployment=deployment, **{**values, **fields})


def step(of: Trace, position: int = 1, parent: Step | None = None, **fields: Any) -> Step:
    values: dict[str, Any] = {
        "name": f"step {position}",
        "kind": "chain",
        "state": "done",
        "duration_ms": 50.0,
        "offset_ms": 10.0 * position,
        "input": orjson.dumps(position).decode(),
        "output": orjson.dumps(position + 1).decode(),
    }
    return Step.objects.create(
        id=uuid4(),
        trace=of,
        parent=parent.pk if parent else of.pk,
        position=position,
        **{**values, **fields},
    )
