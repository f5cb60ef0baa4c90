"""
Samples into rows, rows into a table for the terminal or for the README.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.measures import NO_LATER, Measure, Sample, Samples, Starts, Target

MICRO = 1e6


@dataclass(frozen=True)
class Row:
    """
    One comparison. The ratio is ours to the peer's, a median over the rounds of each round's own ratio.
    """

    label: str
    unit: str
    peer: float
    ours: float
    ratios: tuple[float, ...]
    target: Target | None
    cpu_peer: float | None = None
    cpu_ours: float | None = None

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return f"{self.target} {'ok' if self.target.is_met(self.ratio) else 'MISSED'}"

    def cells(self) -> tuple[str, ...]:
        span = f"{min(self.ratios):.2f}-{max(self.ratios):.2f}"
        amounts = (amount(self.peer), amount(self.ours))
        label = f"{self.label} {self.unit}".strip()
        return (label, *amounts, f"{self.ratio:.2f}", span, self.cpu(), self.verdict)

    def cpu(self) -> str:
        if self.cpu_peer is None or self.cpu_ours is None:
            return ""
        return f"{self.cpu_peer * MICRO:.0f}/{self.cpu_ours * MICRO:.0f}"


@dataclass(frozen=True)
class Added:
    """
    What a check adds to one request of ours, in seconds: on the clock and of the server's CPU.
    """

    label: str
    anonymous: float
    checked: float
    seconds: float
    cpu: float

    def sentence(self) -> str:
        return (
            f"{self.label}: {self.checked:,.0f} req/s against {self.anonymous:,.0f} anonymous, "
            f"{self.seconds * MICRO:+.0f} us a request ({self.cpu * MICRO:+.0f} us CPU)"
        )


def rate_row(
    measure: Measure,
    samples: Samples,
    peer: str,
    ours: str,
    target: Target | None,
    note: str = "",
) -> Row:
    theirs, mine = samples[peer], samples[ours]
    return Row(
        label=measure.label + note,
        unit="ev/s" if measure.counts_events else "req/s",
        peer=median_rate(theirs),
        ours=median_rate(mine),
        ratios=ratios([one.rate for one in mine], [one.rate for one in theirs]),
        target=target,
        cpu_peer=median_cpu(theirs),
        cpu_ours=median_cpu(mine),
    )


def first_event_row(
    measure: Measure,
    samples: Samples,
    peer: str,
    ours: str,
    target: Target | None = NO_LATER,
    note: str = "",
) -> Row:
    theirs = [one.first_event * 1000 for one in samples[peer] if one.first_event]
    mine = [one.first_event * 1000 for one in samples[ours] if one.first_event]
    label = measure.label.replace("stream", "first event", 1) + note
    return plain_row(label, "ms", theirs, mine, target)


def start_rows(
    starts: dict[str, Starts], peer: str, ours: str, time: Target, memory: Target
) -> list[Row]:
    theirs, mine = starts[peer], starts[ours]
    return [
        plain_row("start to answer", "s", theirs.seconds, mine.seconds, time),
        plain_row("idle RSS", "MiB", theirs.mebibytes, mine.mebibytes, memory),
    ]


def plain_row(
    label: str,
    unit: str,
    peer: Sequence[float],
    ours: Sequence[float],
    target: Target | None,
) -> Row:
    medians = (statistics.median(peer), statistics.median(ours))
    return Row(label, unit, *medians, ratios(ours, peer), target)


def added(label: str, anonymous: Sequence[Sample], checked: Sequence[Sample]) -> Added:
    pairs = list(zip(checked, anonymous, strict=True))
    return Added(
        label=label,
        anonymous=median_rate(anonymous),
        checked=median_rate(checked),
        seconds=statistics.median(1 / one.rate - 1 / other.rate for one, other in pairs),
        cpu=median_cpu(checked) - median_cpu(anonymous),
    )


def ratios(ours: Sequence[float], peer: Sequence[float]) -> tuple[float, ...]:
    return tuple(mine / theirs for mine, theirs in zip(ours, peer, strict=True))


def median_rate(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.rate for sample in samples)


def median_cpu(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.cpu_per_operation for sample in samples)


def amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def head(ours: str) -> tuple[str, ...]:
    return ("", "peer", ours, "ratio", "min-max", "CPU us/op", "target")


def plain_table(rows: Sequence[Row], ours: str) -> str:
    """
    At most 80 columns, as long as a label has at most 24 characters.
    """
    form = "{:<25}{:>7}{:>8}{:>6}{:>11}{:>10} {:<12}"
    lines = [form.format(*head(ours)), "-" * 79]
    lines += [form.format(*row.cells()) for row in rows]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def markdown_table(rows: Sequence[Row], ours: str) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in markdown_cells(rows, ours))


def markdown_cells(rows: Sequence[Row], ours: str) -> Iterator[tuple[str, ...]]:
    yield head(ours)
    yield ("---", "--:", "--:", "--:", "--:", "--:", "---")
    for row in rows:
        yield row.cells()
