"""
The charts of the dashboard, made of its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from traces import formats
from traces.charts import COUNT, MILLISECONDS, MONEY, PERCENT, Chart, Column, Unit, Value
from traces.dashboard import Group, Numbers, Stats
from traces.dashboard_people import Ratings
from traces.models import State

TOP_CLASSES = 8
STATES = ("done", "failed", "timed_out", "cancelled", "client_gone", "client_too_slow")

Read = Callable[[Stats], Value]


@dataclass(frozen=True)
class ErrorClass:
    name: str
    count: int
    percent: float
    # In the filters of traces.
    known_as: str = ""


@dataclass(frozen=True)
class Sources:
    """
    What charts are made of: the numbers of the period, and of the one before if they are
    compared. `grouped` is whether they are to be told apart by group.
    """

    now: Numbers
    before: Numbers | None
    grouped: bool

    def column(
        self, name: str, read: Read, unit: Unit, of: Group | None = None, csv_name: str = ""
    ) -> Column:
        buckets = of.buckets if of else self.now.by_bucket
        total = of.total if of else self.now.total
        return Column(name, [read(stats) for stats in buckets], read(total), unit, csv_name)

    def by_group(self, read: Read, unit: Unit) -> list[Column]:
        return [self.column(group.name, read, unit, group) for group in self.now.groups]

    def chart(
        self,
        name: str,
        title: str,
        summary: str,
        series: Sequence[Column],
        further: Sequence[Column] = (),
        *,
        stacked: bool = False,
        note: str = "",
    ) -> Chart:
        return Chart(name, title, summary, self.now.buckets, series, further, stacked, note)


def requests_chart(of: Sources) -> Chart:
    total = of.column(_("all"), _requests, COUNT)
    if of.grouped:
        series = of.by_group(_requests, COUNT)
    else:
        found = {"done", *of.now.total.sum.outcomes}
        series = [
            of.column(str(State(state).label), _in_state(state), COUNT, csv_name=state)
            for state in STATES
            if state in found
        ]
    sentence = ngettext("%(n)s request", "%(n)s requests", of.now.total.sum.requests)
    summary = sentence % {"n": formats.count(of.now.total.sum.requests)}
    if of.before:
        summary += _("; %(n)s in the period before") % {
            "n": formats.count(of.before.total.sum.requests)
        }
    return of.chart("requests", _("Requests"), f"{summary}.", series, [total], stacked=True)


def latency_chart(of: Sources) -> Chart:
    n = of.column(_("requests"), _requests, COUNT)
    return _times(of, "latency", _("Latency"), Stats.duration, n)


def first_chunk_chart(of: Sources) -> Chart:
    n = of.column(_("streams"), lambda stats: sum(stats.sum.first_chunks), COUNT)
    return _times(of, "first_chunk", _("Time to first chunk"), Stats.first_chunk, n)


def _times(
    of: Sources, name: str, title: str, read: Callable[[Stats, float], Value], n: Column
) -> Chart:
    def share_of(share: float) -> Read:
        return lambda stats: read(stats, share)

    if of.grouped:
        title = _("%(title)s, p95") % {"title": title}
        series = of.by_group(share_of(0.95), MILLISECONDS)
    else:
        series = [
            of.column(f"p{share * 100:g}", share_of(share), MILLISECONDS, None, csv_name)
            for share, csv_name in ((0.5, "p50 ms"), (0.95, "p95 ms"))
        ]
    now = read(of.now.total, 0.95)
    before = read(of.before.total, 0.95) if of.before else None
    return of.chart(name, title, _moved("p95", now, before, MILLISECONDS), series, [n])


def errors_chart(of: Sources) -> Chart:
    series = (
        of.by_group(lambda stats: stats.error_percent, PERCENT)
        if of.grouped
        else [
            of.column(
                _("share of requests"), lambda stats: stats.error_percent, PERCENT, None, "errors %"
            )
        ]
    )
    further = [
        of.column(_("errors"), lambda stats: stats.sum.errors, COUNT),
        of.column(_("requests"), _requests, COUNT),
    ]
    before = of.before.total.error_percent if of.before else None
    summary = _moved(_("The error rate"), of.now.total.error_percent, before, PERCENT)
    return of.chart("errors", _("Errors"), summary, series, further)


def error_classes(numbers: Numbers) -> list[ErrorClass]:
    """
    The classes most errors were of; the others as one.
    """
    found = sorted(numbers.total.sum.error_classes.items(), key=lambda pair: (-pair[1], pair[0]))
    errors = max(numbers.total.sum.errors, 1)
    shown, rest = found[:TOP_CLASSES], sum(count for _name, count in found[TOP_CLASSES:])
    classes = [ErrorClass(name, count, 100 * count / errors, name) for name, count in shown]
    if rest:
        name = _("other (%d)") % len(found[TOP_CLASSES:])
        classes.append(ErrorClass(name, rest, 100 * rest / errors))
    return classes


def tokens_chart(of: Sources) -> Chart:
    if of.grouped:
        series = of.by_group(_tokens, COUNT)
    else:
        series = [
            of.column(_("in"), lambda stats: stats.sum.input_tokens, COUNT, None, "tokens in"),
            of.column(_("out"), lambda stats: stats.sum.output_tokens, COUNT, None, "tokens out"),
        ]
    total = of.now.total.sum
    summary = _("%(input)s tokens in and %(output)s out.") % {
        "input": formats.count(total.input_tokens),
        "output": formats.count(total.output_tokens),
    }
    note = _("Of the runs that are recorded and whose models tell.")
    return of.chart("tokens", _("Tokens"), summary, series, stacked=True, note=note)


def cost_chart(of: Sources) -> Chart:
    series = (
        of.by_group(lambda stats: stats.sum.cost, MONEY)
        if of.grouped
        else [of.column(_("cost"), lambda stats: stats.sum.cost, MONEY)]
    )
    total = of.now.total.sum
    summary = _("%(cost)s in all") % {"cost": formats.money(total.cost)}
    if total.requests and total.cost:
        each = formats.money(1000 * total.cost / Decimal(total.requests))
        summary += _(", %(each)s for a thousand requests") % {"each": each}
    note = _("At the prices that are set in the admin.")
    return of.chart("cost", _("Cost"), f"{summary}.", series, stacked=True, note=note)


def feedback_chart(of: Sources, said: Ratings) -> Chart:
    """
    The share that is positive by key, each with how many said something.
    """
    series = [
        Column(key.name, [tally.share for tally in key.by_bucket], key.total.share, PERCENT)
        for key in said.keys
    ]
    further = [
        Column(
            _("n of %(key)s") % {"key": key.name},
            [tally.n for tally in key.by_bucket],
            key.total.n,
            COUNT,
        )
        for key in said.keys
    ]
    note = _("Positive is a thumb up, or more than the middle of a scale.")
    if said.left_out:
        note += " " + _("%d more keys are not shown.") % said.left_out
    return of.chart(
        "feedback",
        _("Feedback, share positive"),
        feedback_summary(of.now, said),
        [column for column in series if column.total is not None] or series[:1],
        [*(column for column in further)],
        note=note,
    )


def feedback_summary(numbers: Numbers, said: Ratings) -> str:
    share, n = said.everything.share, said.everything.n
    sentence = _("%(runs)s runs were rated, %(percent)s of all requests.") % {
        "runs": formats.count(said.runs),
        "percent": formats.percent(100 * said.runs / max(numbers.total.sum.requests, 1)),
    }
    if share is None:
        return sentence
    positive = _("%(share)s positive (n = %(n)s).") % {
        "share": formats.percent(share),
        "n": formats.count(n),
    }
    return f"{positive} {sentence}"


def _moved(what: str, now: Value, before: Value, unit: Unit) -> str:
    """
    A sentence: "p95 rose from 1.1 s to 1.9 s."
    """
    if now is None:
        return _("%(what)s: nothing to tell it from.") % {"what": what}
    named = {"what": what, "now": unit.text(now)}
    if before is None:
        return _("%(what)s is %(now)s.") % named
    named["before"] = unit.text(before)
    if named["now"] == named["before"]:
        return _("%(what)s is %(now)s, as in the period before.") % named
    if now > before:
        return _("%(what)s rose from %(before)s to %(now)s.") % named
    return _("%(what)s fell from %(before)s to %(now)s.") % named


def _requests(stats: Stats) -> Value:
    return stats.sum.requests


def _tokens(stats: Stats) -> Value:
    return stats.sum.input_tokens + stats.sum.output_tokens


def _in_state(state: str) -> Read:
    if state == "done":
        return lambda stats: stats.sum.done
    return lambda stats: stats.sum.outcomes.get(state, 0)
