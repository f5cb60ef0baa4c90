"""
The steps of a run as a reviewer reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models.functions import Substr

from traces.models import Step, Trace
from traces.review.shown import Shown, shown

MOST_STEPS = 100
MOST_CHARACTERS = 4000
DEEPEST = 6


@dataclass(frozen=True, slots=True)
class ShownStep:
    step: Step
    depth: int
    given: Shown
    answer: Shown


def steps_of(trace: Trace) -> list[ShownStep]:
    """
    The first so many, in the order they began.
    """
    rows = (
        Step.objects.filter(trace=trace)
        .order_by("position")
        .defer("input", "output", "error", "metadata", "tags")
        # Not whole: a hundred of them may be many megabytes.
        .annotate(
            given=Substr("input", 1, MOST_CHARACTERS + 1),
            answer=Substr("output", 1, MOST_CHARACTERS + 1),
        )[:MOST_STEPS]
    )
    depths: dict[UUID, int] = {trace.pk: -1}
    found = []
    for row in rows:
        depths[row.pk] = depth = min(depths.get(row.parent, -1) + 1, DEEPEST)
        given = shown(row.given, row.input_size, MOST_CHARACTERS)
        answer = shown(row.answer, row.output_size, MOST_CHARACTERS)
        found.append(ShownStep(row, depth, given, answer))
    return found
