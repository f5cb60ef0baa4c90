"""
Traces go when their days are over: those of each deployment's own, or the site's.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from runnables import hooks
from tests.conftest import Site
from tests.fakes import echo
from tests.traces import rows
from traces import retention
from traces.models import DroppedTraces, Step, Trace, Tracing


class Clock:
    """
    Time as the site sees it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._moved = timedelta()
        self._now = timezone.now
        monkeypatch.setattr(timezone, "now", self)

    def __call__(self) -> datetime:
        return self._now() + self._moved

    def move(self, **span: float) -> None:
        self._moved += timedelta(**span)


@pytest.fixture
def clock(site: Site, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def tidy() -> None:
    """
    What each process does once an hour.
    """
    for hook in hooks.tidied:
        hook()


def count() -> tuple[int, int]:
    return Trace.objects.count(), Step.objects.count()


def test_after_31_days_nothing_is_left(site: Site, clock: Clock) -> None:
    it = site.serve("it", echo())
    for row in (it, None):
        for _ in range(3):
            rows.step(rows.trace(row))
    clock.move(days=29.9)
    tidy()
    assert count() == (6, 6)
    clock.move(days=1.1)
    tidy()
    assert count() == (0, 0)


def test_site_says_how_many_days(site: Site, clock: Clock, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "TRACE_DAYS": 2}
    rows.trace()
    clock.move(days=1.9)
    tidy()
    assert count() == (1, 0)
    clock.move(days=0.2)
    tidy()
    assert count() == (0, 0)


def test_deployment_has_days_of_its_own(site: Site, clock: Clock) -> None:
    short, long, other = (site.serve(name, echo()) for name in ("short", "long", "other"))
    Tracing.objects.create(deployment=short, days=1)
    Tracing.objects.create(deployment=long, days=60)
    Tracing.objects.create(deployment=other)
    for row in (short, long, other, None):
        rows.trace(row, name=str(row))

    left = []
    for days in (2, 29, 30):
        clock.move(days=days)
        tidy()
        left.append(sorted(Trace.objects.values_list("name", flat=True)))
    assert left == [["None", "long", "other"], ["long"], []]


def test_more_than_a_batch_goes(site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        rows.trace()
    clock.move(days=31)
    tidy()
    assert count() == (0, 0)


def test_how_many_were_dropped_in_all_stays_known(site: Site, clock: Clock) -> None:
    DroppedTraces.objects.create(count=3)
    hour = DroppedTraces.objects.get().hour
    clock.move(days=399)
    tidy()
    assert DroppedTraces.objects.get().hour == hour
    clock.move(days=2)
    tidy()
    assert DroppedTraces.objects.get().hour < hour
    assert DroppedTraces.objects.get().count == 3


def test_traces_of_anonymous_callers_belong_to_nobody(site: Site) -> None:
    alice = site.user("alice")
    rows.trace(user=alice)
    rows.trace()
    assert retention.kept_of_user(alice) == {"traces": 1}
    assert retention.forget_user(alice) == {"traces": 1}
    assert count() == (1, 0)
