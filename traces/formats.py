"""
Numbers as people read them.
"""

from __future__ import annotations

from decimal import Decimal

from django.utils.formats import number_format
from django.utils.translation import gettext as _

Number = float | int | Decimal
NOTHING = "–"  # noqa: RUF001 - what a table has for nothing


def count(value: Number) -> str:
    return number_format(_rounded(value, 0), 0, force_grouping=True)


def number(value: Number) -> str:
    """
    With one digit behind the point, if there is one.
    """
    return number_format(_rounded(value, 1), _digits(float(value)))


def short_count(value: Number) -> str:
    """
    Three digits at most, for an axis.
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{_plain(float(value) / size)} {letter}"
    return _plain(float(value))


def percent(value: Number) -> str:
    digits = _digits(float(value))
    return _("%(number)s %%") % {"number": number_format(_rounded(value, digits), digits)}


def money(value: Number) -> str:
    """
    A cost; small ones with as many digits as tell something.
    """
    digits = 2 if not value or abs(float(value)) >= 1 else 4
    return number_format(_rounded(value, digits), digits, force_grouping=True)


def duration(milliseconds: Number) -> str:
    """
    850 ms, 1.4 s, 2 m 05 s.
    """
    milliseconds = float(milliseconds)
    if milliseconds < 9.95:
        return _("%s ms") % number_format(round(milliseconds, 1), _digits(milliseconds))
    if milliseconds < 999.5:
        return _("%s ms") % number_format(round(milliseconds), 0)
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return _("%s s") % number_format(round(seconds, 1), _digits(seconds))
    minutes, rest = divmod(round(seconds), 60)
    return _("%(minutes)s m %(seconds)02d s") % {
        "minutes": number_format(minutes, 0, force_grouping=True),
        "seconds": rest,
    }


def _rounded(value: Number, digits: int) -> Decimal:
    return round(Decimal(str(value)), digits)


def _digits(value: float) -> int:
    return 0 if round(value, 1) == round(value) else 1


def _plain(value: float) -> str:
    digits = f"{value:.3g}"
    # Small ones as they are, not as powers of ten.
    behind = len(digits.partition(".")[2]) if "e" not in digits else 6
    return number_format(float(digits), behind)
