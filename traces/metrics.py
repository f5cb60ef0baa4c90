"""
The site's numbers for Prometheus, read from the database: of all processes together, so that
it does not matter which of them is asked. Counters never fall, also when hours of long ago
are put together.

Labels are bounded: versions are told apart in one metric alone, and there only the newest.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import QuerySet, Sum
from django.utils import timezone
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from runnables import figures, histogram, processes
from runnables.models import Deployment, DeploymentVersion, Figures
from traces import queue
from traces.models import DroppedTraces

STATES = ("done", *figures.OUTCOMES)
# Of each deployment, the newest that were called.
VERSIONS = 10
# Buckets are summed up by four: 16 instead of 64, each 2.4 times as long as the one before.
EVERY = 4
# Older rows do not change any more but by `rebuild`, and are read once per process.
SETTLED = timedelta(days=2)

# A deployment's name and an endpoint; with the key of a version between them.
Kind = tuple[str, str]
VersionKind = tuple[str, int, str]


class Collected(NamedTuple):
    """
    What was counted under one endpoint.
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
        by_version = _totals()
        totals = _of_all_versions(by_version)
        yield _requests(totals)
        yield _version_requests(by_version)
        yield _times(
            "langserve_request_duration_seconds",
            "How long calls took. The sum is read from the buckets, and close.",
            {kind: counted.durations for kind, counted in totals.items()},
        )
        yield _times(
            "langserve_first_chunk_seconds",
            "How long streams took to their first chunk. The sum is read from the buckets.",
            {kind: counted.first_chunks for kind, counted in totals.items()},
        )
        yield from _usage(totals)
        yield from _going_on()
        yield from _traces()


def gauges() -> dict[str, int]:
    """
    What this process tells of itself.
    """
    return {"trace_queue": queue.length()}


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


def _version_requests(by_version: Mapping[VersionKind, Collected]) -> Metric:
    metric = CounterMetricFamily(
        "langserve_version_requests",
        f"The same by version, of the {VERSIONS} newest that were called.",
        labels=["deployment", "version", "state"],
    )
    numbers = dict(DeploymentVersion.objects.values_list("pk", "number"))
    states: dict[tuple[str, int], Counter[str]] = {}
    for (name, version, _endpoint), counted in by_version.items():
        if version in numbers:
            states.setdefault((name, numbers[version]), Counter()).update(counted.states)
    shown: Counter[str] = Counter()
    for name, number in sorted(states, key=lambda one: (one[0], -one[1])):
        shown[name] += 1
        if shown[name] <= VERSIONS:
            for state in STATES:
                metric.add_metric([name, str(number), state], states[name, number][state])
    return metric


def _times(name: str, help_text: str, counts: Mapping[Kind, list[int]]) -> Metric:
    metric = HistogramMetricFamily(name, help_text, labels=["deployment", "endpoint"])
    for kind, of_kind in counts.items():
        if any(of_kind):
            metric.add_metric([*kind], _buckets(of_kind), sum_value=_seconds(of_kind))
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
    middle = histogram.RATIO**-0.5 / 1000
    ends = [min(histogram.end(number), histogram.LONGEST) for number in range(histogram.BUCKETS)]
    return float(sum(count * end * middle for count, end in zip(counts, ends, strict=True)))


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
_settled: tuple[datetime, dict[VersionKind, Collected]] | None = None


def forget() -> None:
    """
    Read everything again: figures were rebuilt, or a deployment has changed.
    """
    global _settled
    with _lock:
        _settled = None


def _totals() -> dict[VersionKind, Collected]:
    global _settled
    until = timezone.now().replace(minute=0, second=0, microsecond=0) - SETTLED
    with _lock:
        known = _settled
    since, totals = known or (None, {})
    if since is None or since < until:
        rows = Figures.objects.filter(hour__lt=until)
        totals = _with(totals, rows.filter(hour__gte=since) if since else rows)
        with _lock:
            _settled = (until, totals)
    return _with(totals, Figures.objects.filter(hour__gte=max(until, since or until)))


def _with(
    totals: Mapping[VersionKind, Collected], rows: QuerySet[Figures]
) -> dict[VersionKind, Collected]:
    """
    The totals with these rows.
    """
    found: defaultdict[VersionKind, list[figures.Hour]] = defaultdict(list)
    names = dict(Deployment.objects.values_list("pk", "name"))
    for row in figures.hours(rows):
        if row.deployment_id in names:
            found[names[row.deployment_id], row.version_id, row.endpoint].append(row)
    more = {kind: _collected(figures.summed(of_kind)) for kind, of_kind in found.items()}
    return {
        kind: _added([one[kind] for one in (totals, more) if kind in one])
        for kind in sorted({*totals, *more})
    }


def _of_all_versions(by_version: Mapping[VersionKind, Collected]) -> dict[Kind, Collected]:
    found: defaultdict[Kind, list[Collected]] = defaultdict(list)
    for (name, _version, endpoint), counted in by_version.items():
        found[name, endpoint].append(counted)
    return {kind: _added(of_kind) for kind, of_kind in sorted(found.items())}


def _collected(total: figures.Sum) -> Collected:
    return Collected(
        states=Counter({"done": total.done, **total.outcomes}),
        durations=total.durations,
        first_chunks=total.first_chunks,
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        cost=float(total.cost),
    )


def _added(parts: Sequence[Collected]) -> Collected:
    states: Counter[str] = Counter()
    for part in parts:
        states.update(part.states)
    return Collected(
        states,
        histogram.added(part.durations for part in parts),
        histogram.added(part.first_chunks for part in parts),
        sum(part.input_tokens for part in parts),
        sum(part.output_tokens for part in parts),
        sum(part.cost for part in parts),
    )
