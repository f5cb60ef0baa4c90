"""
What is known of one run, by its id: here in memory a moment before it is in the database.
"""

from __future__ import annotations

from uuid import UUID

from runnables.hooks import KnownRun
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
