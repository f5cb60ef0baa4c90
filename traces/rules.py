"""
What is recorded of each deployment's runs, as this process knows it: read anew whenever a
deployment or its tracing has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import lru_cache

from runnables.conf import conf
from runnables.redaction import STANDARD, BadPattern, Redactor
from traces.models import ModelPrice, Payloads, Tracing

logger = logging.getLogger(__name__)
MILLION = Decimal(1_000_000)
PLACES = 9


@dataclass(frozen=True, slots=True)
class Rules:
    """
    `sample` is a share from 0 to 1. `redactor` is None where payloads are kept as they are.
    """

    is_on: bool = True
    sample: float = 1.0
    payloads: str = Payloads.REDACTED
    redactor: Redactor | None = STANDARD


@dataclass(frozen=True, slots=True)
class _Known:
    rules: Mapping[int, Rules] = field(default_factory=dict)
    prices: Mapping[str, tuple[Decimal, Decimal]] = field(default_factory=dict)


_known = _Known()


def rules_of(deployment: int | None) -> Rules:
    """
    By the deployment's primary key; the site's own where it says nothing else.
    """
    found = _known.rules.get(deployment) if deployment is not None else None
    return found or _default(conf.traces, conf.trace_payloads)


def refresh() -> None:
    """
    Read the rules and prices; two queries.
    """
    global _known
    prices = {
        price.pattern: (price.input_price / MILLION, price.output_price / MILLION)
        for price in ModelPrice.objects.all()
    }
    _known = _Known({row.pk: rules(row) for row in Tracing.objects.all()}, prices)
    _price_of.cache_clear()


def rules(row: Tracing) -> Rules:
    """
    A row as it is followed. What cannot be redacted as asked is kept as shapes only.
    """
    payloads, redactor = row.payloads, None
    if payloads != Payloads.FULL:
        try:
            redactor = Redactor(row.redact_keys, row.redact_patterns)
        except BadPattern as error:
            logger.error("tracing of deployment %s keeps shapes only: %s", row.pk, error)
            payloads, redactor = Payloads.SHAPE, STANDARD
    return Rules(row.is_on, row.sample_percent / 100, payloads, redactor)


def cost(model: str, input_tokens: int, output_tokens: int) -> Decimal | None:
    """
    What so many tokens of the model cost; None where it has no price.
    """
    price = _price_of(model)
    # SQLite would keep more places than the column has, and what is read would equal nothing.
    return price and round(price[0] * input_tokens + price[1] * output_tokens, PLACES)


@lru_cache(maxsize=1024)
def _price_of(model: str) -> tuple[Decimal, Decimal] | None:
    fits = [pattern for pattern in _known.prices if fnmatchcase(model, pattern)]
    return _known.prices[max(fits, key=len)] if fits else None


@lru_cache(maxsize=8)
def _default(is_on: bool, payloads: str) -> Rules:
    return Rules(
        is_on=is_on,
        payloads=payloads,
        redactor=None if payloads == Payloads.FULL else STANDARD,
    )
