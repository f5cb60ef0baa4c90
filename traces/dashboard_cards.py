"""
The cards on top of the dashboard: one number each, and how it moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from traces import formats
from traces.charts import COUNT, MILLISECONDS, MONEY, PERCENT, Unit, Value
from traces.dashboard import Numbers, Stats
from traces.dashboard_people import Ratings

SHORT = Unit(formats.short_count, formats.short_count, whole=True)
# Less is told as none.
LEAST_PERCENT = 0.5


@dataclass(frozen=True)
class Delta:
    """
    How a number moved, in words. `arrow` is up, down or none; `tone` is good, bad or none.
    """

    text: str
    arrow: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Card:
    title: str
    value: str
    detail: str = ""
    delta: Delta | None = None


@dataclass(frozen=True)
class Words:
    more: str
    less: str
    more_is: str = ""

    def delta(self, amount: str, is_more: bool) -> Delta:
        other = {"bad": "good", "good": "bad"}.get(self.more_is, "")
        text = f"{amount} {self.more if is_more else self.less}"
        return Delta(text, "up" if is_more else "down", self.more_is if is_more else other)


def cards(now: Numbers, before: Numbers | None, said: Ratings | None) -> list[Card]:
    """
    `said` is None where it could not be asked in time.
    """
    number = Words(_("more"), _("fewer"))
    amount = Words(_("more"), _("less"))
    rate = Words(_("higher"), _("lower"), "bad")
    time = Words(_("slower"), _("faster"), "bad")
    of = _Cards(now, before)
    found = [
        of.card(_("Requests"), lambda stats: stats.sum.requests, COUNT, number),
        of.card(_("Error rate"), lambda stats: stats.error_percent, PERCENT, rate, _errors),
        of.card(_("Latency p95"), _duration(0.95), MILLISECONDS, time, _with(_duration(0.5))),
    ]
    if sum(now.total.sum.first_chunks):
        title = _("First chunk p95")
        first = of.card(title, _first(0.95), MILLISECONDS, time, _with(_first(0.5)))
        found.append(first)
    if said and said.everything.share is not None:
        detail = _("n = %(n)s") % {"n": formats.count(said.everything.n)}
        positive = formats.percent(said.everything.share)
        found.append(Card(_("Positive feedback"), positive, detail))
    if _tokens(now.total):
        found.append(of.card(_("Tokens"), _tokens, SHORT, amount, _in_and_out))
    if now.total.sum.cost:
        found.append(of.card(_("Cost"), lambda stats: stats.sum.cost, MONEY, amount))
    return found


@dataclass(frozen=True)
class _Cards:
    now: Numbers
    before: Numbers | None

    def card(
        self,
        title: str,
        read: Callable[[Stats], Value],
        unit: Unit,
        words: Words,
        detail: Callable[[Stats], str] = lambda _stats: "",
    ) -> Card:
        value = read(self.now.total)
        text = formats.NOTHING if value is None else unit.text(value)
        delta = delta_of(value, read(self.before.total), unit, words) if self.before else None
        return Card(title, text, detail(self.now.total), delta)


def delta_of(now: Value, before: Value, unit: Unit, words: Words) -> Delta | None:
    """
    How far it is from the number of the period before; a rate in points.
    """
    if now is None:
        return None
    if before is None or (not before and unit is not PERCENT):
        return Delta(_("nothing before to compare with"))
    now, before = float(now), float(before)
    if unit is PERCENT:
        if round(now, 1) == round(before, 1):
            return Delta(_("as before"))
        points = formats.number(abs(round(now, 1) - round(before, 1)))
        return words.delta(_("%(points)s points") % {"points": points}, now > before)
    percent = 100 * (now - before) / before
    if abs(percent) < LEAST_PERCENT:
        return Delta(_("as before"))
    return words.delta(formats.percent(round(abs(percent))), percent > 0)


def _errors(stats: Stats) -> str:
    return _("%(errors)s of %(requests)s") % {
        "errors": formats.count(stats.sum.errors),
        "requests": formats.count(stats.sum.requests),
    }


def _duration(share: float) -> Callable[[Stats], Value]:
    return lambda stats: stats.duration(share)


def _first(share: float) -> Callable[[Stats], Value]:
    return lambda stats: stats.first_chunk(share)


def _with(read: Callable[[Stats], Value]) -> Callable[[Stats], str]:
    def text(stats: Stats) -> str:
        value = read(stats)
        return "" if value is None else _("p50 %(time)s") % {"time": formats.duration(value)}

    return text


def _tokens(stats: Stats) -> Value:
    return stats.sum.input_tokens + stats.sum.output_tokens


def _in_and_out(stats: Stats) -> str:
    return _("%(input)s in, %(output)s out") % {
        "input": formats.short_count(stats.sum.input_tokens),
        "output": formats.short_count(stats.sum.output_tokens),
    }
