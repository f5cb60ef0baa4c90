"""
Deployments and runs of theirs, recorded and counted as the site does both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from runnables import figures
from runnables.models import Deployment, DeploymentVersion
from traces.models import Trace

STATES = ["done"] * 14 + ["failed", "failed", "timed_out", "cancelled", "client_gone"]
ERRORS = {"failed": ("ValueError", "RateLimitError"), "timed_out": ("TimeoutError",)}


def deployed(name: str, versions: int = 1) -> Deployment:
    row = Deployment.objects.create(name=name, path=name)
    for number in range(1, versions + 1):
        row.version = DeploymentVersion.objects.create(deployment=row, number=number)
    row.save()
    return row


def run(version: DeploymentVersion, ended_at: datetime, **values: Any) -> Trace:
    """
    A request's run, not saved yet.
    """
    state = values.get("request_state", "done")
    milliseconds = values.pop("ms", 250.0)
    defaults: dict[str, Any] = {
        "id": uuid4(),
        "deployment": version.deployment,
        "deployment_name": version.deployment.name,
        "version": version.number,
        "version_pk": version.pk,
        "endpoint": "invoke",
        "state": state,
        "duration_ms": milliseconds,
        "request_ms": milliseconds,
        "request_state": state,
        "started_at": ended_at - timedelta(milliseconds=milliseconds),
        "ended_at": ended_at,
    }
    return Trace(**{**defaults, **values})


def many(
    versions: Sequence[DeploymentVersion],
    number: int,
    since: datetime,
    until: datetime,
    users: Sequence[Any] = (None,),
    seed: int = 1,
) -> list[Trace]:
    """
    So many runs of all kinds; always the same ones.
    """
    chance = random.Random(seed)
    made = []
    for _ in range(number):
        state, milliseconds = chance.choice(STATES), chance.lognormvariate(6, 1)
        streams = chance.random() < 0.4
        made.append(
            run(
                chance.choice(versions),
                since + chance.random() * (until - since),
                ms=milliseconds,
                request_state=state,
                request_first_chunk_ms=milliseconds / 3 if streams else None,
                endpoint="stream" if streams else "invoke",
                arm=chance.choice(("stable", "stable", "canary")),
                error_class=chance.choice(ERRORS.get(state, ("",))),
                input_tokens=chance.choice((None, 10, 25)),
                output_tokens=chance.choice((None, 7)),
                cost=chance.choice((None, Decimal("0.0125"))),
                user=chance.choice(users),
            )
        )
    return made


def record(runs: Sequence[Trace]) -> None:
    Trace.objects.bulk_create(runs)


def count(runs: Sequence[Trace]) -> None:
    """
    Count them as if they had just been made.
    """
    for one in runs:
        assert one.ended_at is not None
        assert one.deployment_id is not None
        assert one.request_ms is not None
        kind = (one.deployment_id, one.version_pk, one.canary_id, one.arm, one.endpoint)
        first = one.request_first_chunk_ms
        at = one.ended_at.timestamp()
        figures.count(
            kind,
            figures.Finished(
                one.id,
                one.request_state,
                one.request_ms / 1000,
                None if first is None else first / 1000,
                one.error_class,
                at,
            ),
        )
        figures.count_usage(
            kind, at, one.input_tokens or 0, one.output_tokens or 0, one.cost or Decimal(0)
        )
    figures.flush()
