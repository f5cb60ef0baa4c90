"""
Queries that may take their time, but not more than a page can wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connection, transaction

T = TypeVar("T")

SECONDS = 2.0
QUERY_CANCELED = "57014"
# SQLite asks us once in so many of its steps: about every millisecond.
_STEPS = 10_000


class TooSlow(Exception):
    """
    The database took longer than it was given.
    """


def within(query: Callable[[], T], seconds: float | None = None) -> T:
    """
    What `query`, ORM code that reads, returns; raises TooSlow.
    """
    limits = {"postgresql": _on_postgresql, "sqlite": _on_sqlite}
    limited = limits.get(connection.vendor)
    return limited(query, SECONDS if seconds is None else seconds) if limited else query()


def _on_postgresql(query: Callable[[], T], seconds: float) -> T:
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT current_setting('statement_timeout')")
                (before,) = cursor.fetchone()
            _set_timeout(str(max(1, int(seconds * 1000))))  # zero would be for ever
            result = query()
            # Within a transaction of the caller's ours would stay.
            _set_timeout(before)
            return result
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != QUERY_CANCELED:
            raise
        raise TooSlow from error


def _set_timeout(value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [value])


def _on_sqlite(query: Callable[[], T], seconds: float) -> T:
    deadline = time.monotonic() + seconds
    connection.ensure_connection()
    raw = connection.connection
    raw.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        return query()
    except OperationalError as error:
        if "interrupted" not in str(error):
            raise
        raise TooSlow from error
    finally:
        raw.set_progress_handler(None, 0)
