"""
The numbers of the dashboard, as plain data: what was counted by the hour, put into buckets
and groups. Percentiles are read from histograms, or from the runs themselves where those are
few and all of them are recorded.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from runnables import figures
from runnables.figures import Sum, summed
from runnables.models import Deployment, DeploymentVersion, Figures
from traces.budget import TooSlow, within
from traces.models import Trace
from traces.periods import Bucket, Period

EXACT_BELOW = 1000
MOST_GROUPS = 8
# How long before its end a run may have begun, beyond what its deployment allows.
SLACK = timedelta(hours=1)

GroupKey = Any
Cell = tuple[GroupKey, int]


@dataclass(frozen=True)
class Selection:
    """
    What is looked at: `deployments` are keys, and all that the viewer may see of those asked
    for. `group_by` is a name in GROUPS, or empty for charts of everything together.
    """

    deployments: Collection[int]
    period: Period
    version: int | None = None
    arm: str = ""
    group_by: str = ""

    @property
    def breakdown(self) -> str:
        """
        What is told apart in any case, in a table: a name in GROUPS.
        """
        return self.group_by or ("version" if len(self.deployments) == 1 else "deployment")

    def figures(self, period: Period) -> QuerySet[Figures]:
        rows: QuerySet[Figures] = figures.between(period.start, period.end)
        rows = rows.filter(deployment__in=self.deployments)
        if self.version is not None:
            rows = rows.filter(version__number=self.version)
        return rows.filter(arm=self.arm) if self.arm else rows

    def traces(self, period: Period) -> QuerySet[Trace]:
        """
        The runs that ended then.
        """
        rows = Trace.objects.filter(
            deployment__in=self.deployments,
            # What the index knows.
            started_at__gte=period.start - longest_run(self.deployments),
            started_at__lt=period.end,
            ended_at__gte=period.start,
            ended_at__lt=period.end,
        )
        if self.version is not None:
            rows = rows.filter(version=self.version)
        return rows.filter(arm=self.arm) if self.arm else rows


class Run(NamedTuple):
    """
    A request as its trace has it; times in milliseconds.
    """

    ended_at: datetime
    duration: float
    first_chunk: float | None
    deployment_id: int
    version_id: int
    arm: str


@dataclass(frozen=True)
class Stats:
    """
    What was counted, and the times of all the requests where they are known, in order.
    """

    sum: Sum
    durations: Sequence[float] | None = None
    first_chunks: Sequence[float] | None = None

    def duration(self, share: float) -> float | None:
        exact = self.durations
        return self.sum.duration(share) if exact is None else percentile(exact, share)

    def first_chunk(self, share: float) -> float | None:
        exact = self.first_chunks
        return self.sum.first_chunk(share) if exact is None else percentile(exact, share)

    @property
    def error_percent(self) -> float | None:
        return self.sum.error_percent if self.sum.requests else None


@dataclass(frozen=True)
class Group:
    """
    `deployment` is the key of the only one in it, or None.
    """

    name: str
    total: Stats
    buckets: list[Stats]
    deployment: int | None = None


@dataclass(frozen=True)
class Numbers:
    """
    `groups` are those of the selection's breakdown, the largest first.
    """

    period: Period
    is_exact: bool
    total: Stats
    by_bucket: list[Stats]
    groups: list[Group]

    @property
    def buckets(self) -> list[Bucket]:
        return self.period.buckets()


def numbers(selection: Selection, period: Period | None = None) -> Numbers:
    """
    All that the figures tell of the selection; two or three queries.
    """
    period = period or selection.period
    rows = list(figures.hours(selection.figures(period)))
    runs = _runs(selection, period, sum(row.requests for row in rows))
    bucket_of, group_of = period.bucket_of(), GROUPS[selection.breakdown]
    cells: defaultdict[Cell, list[Any]] = defaultdict(list)
    for row in rows:
        cells[group_of(row), bucket_of(row.hour)].append(row)
    counted = {cell: summed(of_cell) for cell, of_cell in cells.items()}
    timed: defaultdict[Cell, list[Run]] = defaultdict(list)
    for run in runs:
        timed[group_of(run), bucket_of(run.ended_at)].append(run)
    exact = timed if _covers(counted, timed) else None
    everything = _Table(counted, exact, len(period.buckets()))
    return Numbers(
        period=period,
        is_exact=exact is not None,
        total=everything.stats(),
        by_bucket=everything.by_bucket(),
        groups=_groups(everything, selection.breakdown),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """
    The smallest that at least `share` of all do not exceed; None without any.
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def longest_run(deployments: Collection[int]) -> timedelta:
    timeouts = Deployment.objects.filter(pk__in=deployments).values_list("timeout", flat=True)
    return SLACK + timedelta(seconds=max(timeouts, default=0.0))


class _Table:
    """
    What was counted, and perhaps how long each run took, by group and bucket.
    """

    def __init__(
        self,
        counted: Mapping[Cell, Sum],
        timed: Mapping[Cell, list[Run]] | None,
        buckets: int,
    ) -> None:
        self._counted, self._timed, self._buckets = counted, timed, buckets

    def stats(self, cells: Iterable[Cell] | None = None) -> Stats:
        wanted = list(self._counted if cells is None else cells)
        total = summed(self._counted[cell] for cell in wanted if cell in self._counted)
        if self._timed is None:
            return Stats(total)
        runs = [run for cell in wanted for run in self._timed.get(cell, ())]
        return Stats(
            total,
            sorted(run.duration for run in runs),
            sorted(run.first_chunk for run in runs if run.first_chunk is not None),
        )

    def by_bucket(self, groups: Collection[GroupKey] | None = None) -> list[Stats]:
        wanted = self.groups() if groups is None else groups
        return [self.stats((group, at) for group in wanted) for at in range(self._buckets)]

    def groups(self) -> list[GroupKey]:
        """
        Those with the most requests first.
        """
        requests: defaultdict[GroupKey, int] = defaultdict(int)
        for (group, _at), counted in self._counted.items():
            requests[group] += counted.requests
        return sorted(requests, key=lambda group: (-requests[group], str(group)))

    def group(self, name: str, keys: Collection[GroupKey], deployment: int | None) -> Group:
        cells = [cell for cell in self._counted if cell[0] in keys]
        return Group(name, self.stats(cells), self.by_bucket(keys), deployment)


def _runs(selection: Selection, period: Period, requests: int) -> list[Run]:
    """
    The requests one by one, if they are few.
    """
    if not 0 < requests < EXACT_BELOW:
        return []
    rows = (
        selection.traces(period)
        .filter(request_ms__isnull=False)
        .exclude(request_state="")
        .values_list(
            "ended_at",
            "request_ms",
            "request_first_chunk_ms",
            "deployment_id",
            "version_pk",
            "arm",
        )
    )
    try:
        found: list[Any] = within(lambda: list(rows[: EXACT_BELOW + 1]))
    except TooSlow:
        return []
    return [Run(*row) for row in found]


def _covers(counted: Mapping[Cell, Sum], timed: Mapping[Cell, list[Run]]) -> bool:
    """
    Whether the runs are just those that were counted, cell by cell.
    """
    if not timed or counted.keys() != timed.keys():
        return False
    return all(
        len(runs) == counted[cell].requests
        and sum(run.first_chunk is not None for run in runs) == sum(counted[cell].first_chunks)
        for cell, runs in timed.items()
    )


def _groups(table: _Table, breakdown: str) -> list[Group]:
    keys = table.groups()
    shown, rest = keys[:MOST_GROUPS], keys[MOST_GROUPS:]
    named = NAMES[breakdown](shown)
    groups = [table.group(name, {key}, pk) for key in shown for name, pk in [named[key]]]
    if rest:
        name = _("other (%d)") % len(rest)
        groups.append(table.group(name, set(rest), None))
    return groups


GROUPS: Mapping[str, Callable[[Any], GroupKey]] = {
    "deployment": lambda row: row.deployment_id,
    "version": lambda row: (row.deployment_id, row.version_id),
    "arm": lambda row: row.arm,
}
Named = dict[GroupKey, tuple[str, int | None]]


def _deployment_names(keys: Iterable[GroupKey]) -> Named:
    rows = Deployment.objects.filter(pk__in=keys).values_list("pk", "name")
    return {pk: (name, pk) for pk, name in rows}


def _version_names(keys: Iterable[GroupKey]) -> Named:
    rows = DeploymentVersion.objects.filter(pk__in=[version for _deployment, version in keys])
    return {
        (row.deployment_id, row.pk): (f"{row.deployment.name} v{row.number}", row.deployment_id)
        for row in rows.select_related("deployment")
    }


def _arm_names(keys: Iterable[GroupKey]) -> Named:
    return {key: (str(Figures.Arm(key).label), None) for key in keys}


NAMES: Mapping[str, Callable[[Iterable[GroupKey]], Named]] = {
    "deployment": _deployment_names,
    "version": _version_names,
    "arm": _arm_names,
}
