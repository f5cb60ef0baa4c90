"""
A chart as the page shows it: drawn, with its table, the words of its places and where they
lead to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from runnables.figures import KEPT_DAYS
from traces.changes import Change
from traces.charts import Area, Chart, Drawing, draw
from traces.dashboard import Selection
from traces.periods import Bucket, Period

# Of the width: less between two flags, and they are one. The numbers of those near the end
# stand before them.
CLOSE = 0.12
NEAR_END = 0.82


class Row(NamedTuple):
    """
    A bucket in words.
    """

    label: str
    url: str
    cells: list[str]
    is_so_far: bool


class Hit(NamedTuple):
    """
    Where the pointer finds a bucket, and what it says there.
    """

    area: Area
    title: str
    url: str


class Tick(NamedTuple):
    x: str
    anchor: str
    text: str
    is_minor: bool


class Flag(NamedTuple):
    """
    A line at a moment, or at several close together.
    """

    x: str
    anchor: str
    text: str


@dataclass(frozen=True)
class Panel:
    chart: Chart
    drawing: Drawing
    rows: list[Row]
    hits: list[Hit]
    ticks: list[Tick]
    flags: list[Flag]
    # How much of the period nothing is kept of any more.
    lost: str
    lost_text: str
    csv_url: str


@dataclass(frozen=True)
class Frame:
    """
    What all charts of a page have in common.
    """

    selection: Selection
    changes: Sequence[Change]
    csv_url: str  # but for the name
    # Its name, if there is but one.
    deployment: str = ""

    def panel(self, chart: Chart) -> Panel:
        drawing, period = draw(chart), self.selection.period
        rows = [self._row(chart, at, bucket) for at, bucket in enumerate(chart.buckets)]
        lost = _lost_share(period, chart.buckets)
        return Panel(
            chart=chart,
            drawing=drawing,
            rows=rows,
            hits=[
                Hit(area, _title(chart, row), row.url)
                for area, row in zip(drawing.areas, rows, strict=True)
            ],
            ticks=[
                Tick(label.x, label.anchor, _short(label.bucket, period), label.is_minor)
                for label in drawing.labels
            ],
            flags=list(flags(self.changes, chart.buckets)),
            lost=f"{100 * lost:.2f}%" if lost else "",
            lost_text=_("not kept") if lost else "",
            csv_url=f"{self.csv_url}{chart.name}",
        )

    def _row(self, chart: Chart, at: int, bucket: Bucket) -> Row:
        label = long_label(bucket, self.selection.period)
        cells = [column.text(column.values[at]) for column in chart.columns]
        return Row(label, self.traces_url(bucket), cells, bucket.is_going_on)

    def traces_url(self, bucket: Bucket | Period, **further: str) -> str:
        """
        The list of traces of a bucket, where the site has one.
        """
        try:
            url = reverse("langserve_traces:list")
        except NoReverseMatch:
            return ""
        selection = self.selection
        query = {
            "deployment": self.deployment,
            "version": "" if selection.version is None else str(selection.version),
            "arm": selection.arm,
            "since": bucket.start.isoformat(),
            "until": bucket.end.isoformat(),
            **further,
        }
        return f"{url}?{urlencode({name: value for name, value in query.items() if value})}"


def flags(changes: Sequence[Change], buckets: Sequence[Bucket]) -> list[Flag]:
    """
    The changes by their numbers; those whose numbers would overlap together.
    """
    groups: list[tuple[float, list[int]]] = []
    for number, change in enumerate(changes, 1):
        share = _share_of(change.at, buckets)
        if share is None:
            continue
        room = CLOSE if share <= NEAR_END else 2 * CLOSE
        if groups and share - groups[-1][0] < room:
            groups[-1][1].append(number)
        else:
            groups.append((share, [number]))
    return [_flag(share, numbers) for share, numbers in groups]


def _share_of(moment: datetime, buckets: Sequence[Bucket]) -> float | None:
    for at, bucket in enumerate(buckets):
        if bucket.start <= moment < bucket.end:
            inside = (moment - bucket.start) / (bucket.end - bucket.start)
            return (at + inside) / len(buckets)
    return None


def _flag(share: float, numbers: Sequence[int]) -> Flag:
    text = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
    return Flag(f"{100 * share:.2f}%", "end" if share > NEAR_END else "start", text)


def _lost_share(period: Period, buckets: Sequence[Bucket]) -> float:
    kept = period.now - timedelta(days=KEPT_DAYS)
    return sum(bucket.end <= kept for bucket in buckets) / max(len(buckets), 1)


def _title(chart: Chart, row: Row) -> str:
    named = (
        f"{column.name}: {cell}" for column, cell in zip(chart.columns, row.cells, strict=True)
    )
    return "\n".join((row.label, *named))


def long_label(bucket: Bucket, period: Period) -> str:
    start = bucket.start.astimezone(period.zone)
    label = date_format(start, "D j M") if period.is_daily else date_format(start, "D j M H:i")
    return _("%(time)s, so far") % {"time": label} if bucket.is_going_on else label


def _short(bucket: Bucket, period: Period) -> str:
    start = bucket.start.astimezone(period.zone)
    return date_format(start, "j M") if period.is_daily else date_format(start, "H:i")
