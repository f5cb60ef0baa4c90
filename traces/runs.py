"""
What is known of one run, by its id: here in memory a moment before it is in the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from runnables.hooks import KnownRun, RunPayload
from traces import recorder
from traces.models import Step, Trace


def known_run(run_id: UUID) -> KnownRun | None:
    """
    The run, or that of which it is a step.
    """
    if followed := recorder.find(run_id):
        return followed.known_run()
    trace = Trace.objects.filter(pk=run_id).only(*_FIELDS).first()
    if trace is None:
        step = Step.objects.filter(pk=run_id).values_list("trace_id", flat=True).first()
        trace = Trace.objects.filter(pk=step).only(*_FIELDS).first() if step else None
    if trace is None:
        return None
    return KnownRun(trace.pk, trace.deployment_id, trace.version, trace.principal, trace.state)


_FIELDS = ("deployment", "version", "principal", "state")


def payloads(run_ids: Sequence[UUID]) -> Mapping[UUID, RunPayload]:
    """
    What is kept of what these runs and steps were given and said; without those of which no
    input is kept whole.
    """
    columns = ("pk", "input", "output")
    traces = Trace.objects.filter(pk__in=run_ids).values_list("deployment", *columns)
    steps = Step.objects.filter(pk__in=run_ids).values_list("trace__deployment", *columns)
    return {
        pk: RunPayload(deployment, _value(input), _or_none(_value(output)))
        for deployment, pk, input, output in (*traces, *steps)
        if _value(input) is not _CUT
    }


_CUT: Any = object()


def _value(text: str) -> Any:
    """
    The value of a column; _CUT where it was too long to be kept whole, or not to be kept.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _CUT


def _or_none(value: Any) -> Any:
    return None if value is _CUT else value
