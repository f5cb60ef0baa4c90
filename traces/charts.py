"""
Charts as data, and where everything of them lies in their SVG.

A chart is as wide as its place: across, places are shares of the width, and only what is
drawn as a path is stretched, without its strokes. So text and marks keep their size on any
screen, and no script is needed.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from traces import formats
from traces.periods import Bucket

Number = float | int | Decimal
Value = Number | None

HEIGHT = 180
# Of the stretched part.
WIDTH = 1000
TICKS = 4
LABELS = 6
# More marks than that would hide the line.
MOST_MARKS = 31
BAR_SHARE = 0.72


@dataclass(frozen=True, slots=True)
class Unit:
    """
    How its numbers are written, in tables and along an axis. `whole` ones have no halves.
    """

    text: Callable[[Number], str]
    short: Callable[[Number], str]
    whole: bool = False
    most: float | None = None


COUNT = Unit(formats.count, formats.short_count, whole=True)
PERCENT = Unit(formats.percent, formats.percent, most=100)
MILLISECONDS = Unit(formats.duration, formats.duration)
MONEY = Unit(formats.money, formats.short_count)


@dataclass(frozen=True)
class Column:
    """
    One number for each bucket, and that of the whole period. `csv_name` says the unit where
    the number is bare.
    """

    name: str
    values: Sequence[Value]
    total: Value
    unit: Unit
    csv_name: str = ""

    def text(self, value: Value) -> str:
        return formats.NOTHING if value is None else self.unit.text(value)

    @property
    def total_text(self) -> str:
        return self.text(self.total)


@dataclass(frozen=True)
class Chart:
    """
    `name` is its name in addresses. The series are drawn, `further` columns stand beside
    them in the table.
    """

    name: str
    title: str
    summary: str
    buckets: Sequence[Bucket]
    series: Sequence[Column]
    further: Sequence[Column] = ()
    stacked: bool = False
    note: str = ""
    # Beside the chart, such as the classes of errors.
    aside: Any = None

    @property
    def columns(self) -> list[Column]:
        return [*self.series, *self.further]

    @property
    def is_empty(self) -> bool:
        # No count is zero, and no rate is none: a rate of zero is something to see.
        nothing = (None, 0) if self.stacked else (None,)
        return all(value in nothing for column in self.series for value in column.values)


def as_csv(chart: Chart) -> str:
    """
    The numbers of its table, bare.
    """
    head = ["from", "to", *(column.csv_name or column.name for column in chart.columns)]
    rows = (
        [bucket.start.isoformat(), bucket.end.isoformat(), *(c.values[at] for c in chart.columns)]
        for at, bucket in enumerate(chart.buckets)
    )
    return csv_text(head, rows)


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow([_cell(name) for name in head])
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return written.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    # A name that a spreadsheet would take for a formula.
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value


# Drawing. Numbers are texts already: a template would write them in the reader's language.


class Bar(NamedTuple):
    series: int
    x: str
    width: str
    y: str
    height: str
    is_so_far: bool


class Line(NamedTuple):
    series: int
    path: str
    # What leads to the bucket that goes on.
    so_far: str


class Mark(NamedTuple):
    series: int
    x: str
    y: str
    is_so_far: bool


class Label(NamedTuple):
    x: str
    anchor: str
    bucket: Bucket
    is_minor: bool


class Area(NamedTuple):
    x: str
    width: str


@dataclass(frozen=True)
class Drawing:
    """
    `ticks` go from the top down to zero; `areas` are one for each bucket.
    """

    ticks: list[str]
    grid: list[str]
    bars: list[Bar] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    areas: list[Area] = field(default_factory=list)


def draw(chart: Chart) -> Drawing:
    unit = chart.series[0].unit
    step, count = scale(_highest(chart), unit)
    top = step * count
    heights = [(count - number) / count for number in range(count + 1)]
    place = _Place(len(chart.buckets), top)
    drawn = Drawing(
        ticks=[unit.short(step * number) for number in range(count, -1, -1)],
        grid=[_text(HEIGHT * (1 - height)) for height in heights],
        labels=list(_labels(chart.buckets, place)),
        areas=[place.area(at) for at in range(len(chart.buckets))],
    )
    if chart.stacked:
        drawn.bars.extend(_bars(chart, place))
    else:
        for number, column in enumerate(chart.series, 1):
            drawn.lines.append(_line(number, column.values, chart.buckets, place))
            drawn.marks.extend(_marks(number, column.values, chart.buckets, place))
    return drawn


def scale(highest: float, unit: Unit) -> tuple[float, int]:
    """
    A round step of an axis from zero, and how many reach the highest value.
    """
    if highest <= 0:
        return (1, 1) if unit.whole or unit.most is None else (unit.most / TICKS, TICKS)
    rough = highest / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * part for part in (1, 2, 2.5, 5, 10) if power * part >= rough * 0.999)
    if unit.whole:
        step = max(1.0, float(math.ceil(step)))
    count = max(1, math.ceil(highest / step - 1e-9))
    if unit.most is not None and step * count > unit.most:
        return unit.most / TICKS, TICKS
    return step, count


class _Place:
    """
    Where buckets and values lie.
    """

    def __init__(self, buckets: int, top: float) -> None:
        self._buckets, self._top = buckets, top

    def share(self, at: int) -> float:
        return (at + 0.5) / self._buckets

    def percent(self, at: int) -> str:
        return f"{_text(100 * self.share(at))}%"

    def y(self, value: Number) -> float:
        return HEIGHT * (1 - min(float(value) / self._top, 1))

    def point(self, at: int, value: Number) -> str:
        return f"{_text(WIDTH * self.share(at))} {_text(self.y(value))}"

    def area(self, at: int) -> Area:
        return Area(f"{_text(100 * at / self._buckets)}%", f"{_text(100 / self._buckets)}%")

    def bar(self, at: int) -> Area:
        room = 100 / self._buckets
        return Area(f"{_text(room * (at + (1 - BAR_SHARE) / 2))}%", f"{_text(room * BAR_SHARE)}%")


def _highest(chart: Chart) -> float:
    columns = [[float(value or 0) for value in column.values] for column in chart.series]
    if chart.stacked:
        return max((sum(parts) for parts in zip(*columns, strict=True)), default=0.0)
    return max((value for values in columns for value in values), default=0.0)


def _bars(chart: Chart, place: _Place) -> Iterator[Bar]:
    for at, bucket in enumerate(chart.buckets):
        area, below = place.bar(at), 0.0
        for number, column in enumerate(chart.series, 1):
            value = float(column.values[at] or 0)
            if not value:
                continue
            bottom, below = place.y(below), below + value
            top = place.y(below)
            height = max(bottom - top, 0.75)  # what there is, is seen
            yield Bar(number, *area, _text(bottom - height), _text(height), bucket.is_going_on)


def _line(number: int, values: Sequence[Value], buckets: Sequence[Bucket], place: _Place) -> Line:
    solid: list[str] = []
    so_far: list[str] = []
    for at, value in enumerate(values):
        before = values[at - 1] if at else None
        if value is None or before is None:
            continue  # a gap, or what begins after one
        start, end = place.point(at - 1, before), place.point(at, value)
        if buckets[at].is_going_on:
            so_far.append(f"M{start}L{end}")
        elif solid and solid[-1].endswith(f"L{start}"):
            solid.append(f"L{end}")
        else:
            solid.append(f"M{start}L{end}")
    return Line(number, "".join(solid), "".join(so_far))


def _marks(
    number: int, values: Sequence[Value], buckets: Sequence[Bucket], place: _Place
) -> Iterator[Mark]:
    for at, value in enumerate(values):
        if value is None:
            continue
        is_alone = all(
            not 0 <= other < len(values) or values[other] is None for other in (at - 1, at + 1)
        )
        if is_alone or len(values) <= MOST_MARKS or buckets[at].is_going_on:
            yield Mark(number, place.percent(at), _text(place.y(value)), buckets[at].is_going_on)


def _labels(buckets: Sequence[Bucket], place: _Place) -> Iterator[Label]:
    every = math.ceil(len(buckets) / LABELS)
    last = len(buckets) - 1
    shown = range(last % every, len(buckets), every)
    for order, at in enumerate(reversed(shown)):
        near_start, near_end = place.share(at) < 0.1, place.share(at) > 0.9
        anchor = "start" if near_start else "end" if near_end else "middle"
        x = "0%" if near_start else "100%" if near_end else place.percent(at)
        yield Label(x, anchor, buckets[at], is_minor=bool(order % 2))


def _text(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
