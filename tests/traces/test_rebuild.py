"""
Figures made again from the recorded runs.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from runnables import figures
from runnables.models import Figures
from tests.traces.seeded import count, deployed, many, record, run
from traces.models import Trace
from traces.rebuild import Progress, rebuild

pytestmark = pytest.mark.django_db


def hours_ago(hours: float) -> datetime:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    return now - timedelta(hours=hours)


def all_figures() -> list[dict[str, Any]]:
    fields = [field.attname for field in Figures._meta.concrete_fields if field.name != "id"]
    rows = Figures.objects.order_by("hour", "deployment", "version", "arm", "endpoint")
    return list(rows.values(*fields))


def rebuilt(**options: Any) -> list[Progress]:
    return list(rebuild(hours_ago(10), timezone.now(), **options))


def test_figures_made_again_are_those_that_were_counted() -> None:
    row = deployed("it", versions=2)
    runs = many(list(row.versions.all()), 200, hours_ago(9), hours_ago(1))
    record(runs)
    count(runs)
    counted = all_figures()
    Figures.objects.all().delete()
    progress = rebuilt()
    assert all_figures() == counted
    assert sum(hour.changed for hour in progress) == len(counted)
    assert [hour.number for hour in progress] == list(range(1, progress[0].hours + 1))


def test_twice_is_as_good_as_once() -> None:
    record(many(list(deployed("it").versions.all()), 30, hours_ago(3), hours_ago(1)))
    rebuilt()
    once = all_figures()
    assert [hour.changed for hour in rebuilt() if hour.changed] == []
    assert all_figures() == once


def test_what_is_not_recorded_is_not_lost() -> None:
    (version,) = deployed("it").versions.all()
    runs = [run(version, hours_ago(2)), run(version, hours_ago(2)), run(version, hours_ago(3))]
    count(runs)
    record(runs[1:])
    counted = all_figures()
    progress = {hour.hour: hour for hour in rebuilt()}
    assert all_figures() == counted
    assert (progress[hours_ago(2)].rebuilt, progress[hours_ago(2)].left) == (0, 1)
    assert (progress[hours_ago(3)].rebuilt, progress[hours_ago(3)].left) == (1, 0)


def test_tokens_that_are_not_recorded_are_not_lost() -> None:
    (version,) = deployed("it").versions.all()
    one = run(version, hours_ago(2), input_tokens=5)
    count([one])
    one.input_tokens = None
    record([one])
    assert sum(hour.left for hour in rebuilt()) == 1
    assert Figures.objects.get().input_tokens == 5


def test_figures_without_any_recorded_run_are_left() -> None:
    (version,) = deployed("it").versions.all()
    count([run(version, hours_ago(2))])
    assert sum(hour.left for hour in rebuilt()) == 1
    assert Figures.objects.get().requests == 1


def test_runs_of_a_batch_are_one_request_with_all_their_tokens() -> None:
    (version,) = deployed("it").versions.all()
    used = {"input_tokens": 2, "output_tokens": 3, "cost": Decimal("0.5")}
    none = {"request_ms": None, "request_state": ""}
    record([run(version, hours_ago(2), **used), run(version, hours_ago(2), **used, **none)])
    rebuilt()
    row = Figures.objects.get()
    assert (row.requests, row.input_tokens, row.output_tokens, row.cost) == (1, 4, 6, Decimal(1))


def test_the_hour_that_goes_on_is_not_touched() -> None:
    (version,) = deployed("it").versions.all()
    record([run(version, timezone.now())])
    list(rebuild(hours_ago(1), timezone.now() + timedelta(hours=5)))
    assert not Figures.objects.exists()


def test_a_run_that_began_an_hour_before_counts_when_it_ended() -> None:
    (version,) = deployed("it").versions.all()
    record([run(version, hours_ago(2), started_at=hours_ago(2.2))])
    rebuilt()
    assert Figures.objects.get().hour == hours_ago(2)


def test_only_the_deployment_asked_for_is_rebuilt() -> None:
    one, other = deployed("one"), deployed("other")
    record([run(row.versions.get(), hours_ago(2)) for row in (one, other)])
    rebuilt(deployment=one)
    assert Figures.objects.get().deployment == one


def test_runs_of_what_is_gone_make_no_figures() -> None:
    row = deployed("it", versions=2)
    first = row.versions.get(number=1)
    record([run(first, hours_ago(2)), run(row.versions.get(number=2), hours_ago(2))])
    first.delete()
    Trace.objects.create(
        deployment_name="gone", state="done", started_at=hours_ago(2), ended_at=hours_ago(2)
    )
    rebuilt()
    assert Figures.objects.get().version == row.version


def test_what_is_past_is_not_rebuilt() -> None:
    (version,) = deployed("it").versions.all()
    Figures.objects.create(
        deployment=version.deployment,
        version=version,
        endpoint="invoke",
        hour=figures.PAST,
        requests=9,
    )
    list(rebuild(figures.PAST, figures.PAST + timedelta(hours=3)))
    assert Figures.objects.get().requests == 9
