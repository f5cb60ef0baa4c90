"""
The site's numbers for Prometheus, read from the database: of all processes together, so that
it does not matter which of them is asked. Counters never fall, also when hours of long ago
are put together.

Labels are bounded: versions are told apart in one metric alone, and there only the newest.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Sum
from django.utils import timezone
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from runnables import figures, histogram, processes
from runnables.models import Deployment, Figures
from traces.models import DroppedTraces

STATES = ("done", *figures.OUTCOMES)
# Of each deployment, the newest that were called.
VERSIONS = 10
# Buckets are summed up by four: 16 instead of 64, each 2.4 times as long as the one before.
EVERY = 4
# Older rows do not change any more but by `rebuild`, and are read once per process.
SETTLED = timedelta(days=2)

Kind = tuple[str, str]


class Collected(NamedTuple):
    """
    What was counted of one deployment's endpoint. `seconds` are not known to histograms, and
    are what the middles of their buckets add up to.
    """

    states: Counter[str]
    durations: list[int]
    first_chunks: list[int]
    input_tokens: int
    output_tokens: int
    cost: float


class FiguresCollector(Collector):
    """
    Everything of it, asked anew each time.
    """

    def collect(self) -> Iterator[Metric]:
        totals = _totals()
        yield _requests(totals)
        yield _version_requests()
        yield _times("langserve_request_duration_seconds", "How long calls took.", totals, 1)
        yield _times(
            "langserve_first_chunk_seconds", "How long streams took to their first.", totals, 2
        )
        yield from _usage(totals)
        yield from _going_on()
        yield from _traces()


def _requests(totals: Mapping[Kind, Collected]) -> Metric:
    metric = CounterMetricFamily(
        "langserve_requests",
        "Calls that have ended, by how.",
        labels=["deployment", "endpoint", "state"],
    )
    for kind, counted in totals.items():
        for state in STATES:
            metric.add_metric([*kind, state], counted.states[state])
    return metric


def _version_requests() -> Metric:
    metric = CounterMetricFamily(
        "langserve_version_requests",
        f"The same by version, of the {VERSIONS} newest that were called.",
        labels=["deployment", "version", "state"],
    )
    rows = (
        Figures.objects.order_by()
        .values("deployment__name", "version__number")
        .annotate(all=Sum("requests"), **{name: Sum(name) for name in figures.OUTCOMES})
        .order_by("deployment__name", "-version__number")
    )
    shown: Counter[str] = Counter()
    for row in rows:
        name = row["deployment__name"]
        shown[name] += 1
        if shown[name] > VERSIONS:
            continue
        others = {state: row[state] for state in figures.OUTCOMES}
        for state, number in {"done": row["all"] - sum(others.values()), **others}.items():
            metric.add_metric([name, str(row["version__number"]), state], number)
    return metric


def _times(name: str, help_text: str, totals: Mapping[Kind, Collected], which: int) -> Metric:
    metric = HistogramMetricFamily(name, help_text, labels=["deployment", "endpoint"])
    for kind, counted in totals.items():
        counts: list[int] = counted[which]  # type: ignore[assignment]
        if which == 1 or sum(counts):
            metric.add_metric([*kind], _buckets(counts), sum_value=_seconds(counts))
    return metric


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """
    How many took at most so many seconds, as Prometheus has it.
    """
    found: list[tuple[str, float]] = []
    for last in range(EVERY - 1, histogram.BUCKETS, EVERY):
        end = histogram.end(last)
        bound = "+Inf" if last == histogram.BUCKETS - 1 else f"{end / 1000:.6g}"
        found.append((bound, sum(counts[: last + 1])))
    return found


def _seconds(counts: list[int]) -> float:
    middle = histogram.RATIO**-0.5
    ends = [min(histogram.end(number), histogram.LONGEST) for number in range(histogram.BUCKETS)]
    return sum(count * end * middle / 1000 for count, end in zip(counts, ends, strict=True))


def _usage(totals: Mapping[Kind, Collected]) -> Iterator[Metric]:
    tokens = CounterMetricFamily(
        "langserve_tokens", "Tokens of recorded runs.", labels=["deployment", "direction"]
    )
    cost = CounterMetricFamily(
        "langserve_cost", "Cost of recorded runs, at the prices set.", labels=["deployment"]
    )
    by_name: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for (name, _endpoint), counted in totals.items():
        for at, number in enumerate((counted.input_tokens, counted.output_tokens, counted.cost)):
            by_name[name][at] += number
    for name, (input_tokens, output_tokens, money) in by_name.items():
        tokens.add_metric([name, "in"], input_tokens)
        tokens.add_metric([name, "out"], output_tokens)
        cost.add_metric([name], money)
    yield tokens
    yield cost


def _going_on() -> Iterator[Metric]:
    names = dict(Deployment.objects.values_list("pk", "name"))
    for name, help_text, numbers in (
        ("open_runs", "Calls that go on, streams and those in line too.", processes.running_now()),
        ("waiting_runs", "Runs that wait in line.", processes.waiting_now()),
    ):
        metric = GaugeMetricFamily(f"langserve_{name}", help_text, labels=["deployment"])
        for pk, deployment in names.items():
            metric.add_metric([deployment], numbers.get(pk, 0))
        yield metric
    yield GaugeMetricFamily(
        "langserve_processes", "Server processes heard of lately.", value=len(processes.alive())
    )


def _traces() -> Iterator[Metric]:
    dropped = DroppedTraces.objects.aggregate(count=Sum("count"))["count"] or 0
    yield CounterMetricFamily("langserve_dropped_traces", "Runs that left no trace.", value=dropped)
    for name, number in sorted(processes.gauges_now().items()):
        yield GaugeMetricFamily(f"langserve_{name}", "Told by each process.", value=number)


# Totals. Rows of long ago are many, and stay as they are.

_lock = threading.Lock()
_settled: tuple[datetime, dict[Kind, Collected]] | None = None


def forget() -> None:
    """
    Read everything again: figures were rebuilt, or a deployment has changed.
    """
    global _settled
    with _lock:
        _settled = None


def _totals() -> dict[Kind, Collected]:
    global _settled
    until = timezone.now().replace(minute=0, second=0, microsecond=0) - SETTLED
    with _lock:
        known = _settled
    since, totals = known or (None, {})
    if since is None or since < until:
        between = Figures.objects.filter(hour__lt=until)
        totals = _added(totals, between.filter(hour__gte=since) if since else between)
        with _lock:
            _settled = (until, totals)
    return _added(totals, Figures.objects.filter(hour__gte=max(until, since or until)))


def _added(totals: Mapping[Kind, Collected], rows: Iterable[Any]) -> dict[Kind, Collected]:
    """
    The totals with these rows of Figures.
    """
    found: defaultdict[Kind, list[Any]] = defaultdict(list)
    names = dict(Deployment.objects.values_list("pk", "name"))
    queryset: Any = rows
    for row in queryset.iterator():
        if row.deployment_id in names:
            found[names[row.deployment_id], row.endpoint].append(row)
    return {kind: _sum(totals.get(kind), found.get(kind, [])) for kind in sorted({*totals, *found})}


def _sum(before: Collected | None, rows: list[Any]) -> Collected:
    total = figures.summed(rows)
    now = Collected(
        states=Counter({"done": total.done, **total.outcomes}),
        durations=total.durations,
        first_chunks=total.first_chunks,
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        cost=float(total.cost),
    )
    if before is None:
        return now
    return Collected(
        before.states + now.states,
        histogram.added([before.durations, now.durations]),
        histogram.added([before.first_chunks, now.first_chunks]),
        before.input_tokens + now.input_tokens,
        before.output_tokens + now.output_tokens,
        before.cost + now.cost,
    )
