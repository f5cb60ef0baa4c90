"""
Many rows in one statement: with Django's own bulk_create, making the objects costs more than
all the rest of recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection, models

# One INSERT of so many rows: SQLite gives its lock on Python's interpreter away once for each.
ROWS = 100
_NANO = Decimal("0.000000001")


def insert(
    model: type[models.Model], rows: Sequence[dict[str, Any]], *, on_conflict: str = ""
) -> int:
    """
    Insert rows of all the model's columns, and say how many. With `on_conflict`, those whose key
    is there already are left out ("skip") or written over ("replace").
    """
    names, converters = _columns(model)
    inserted = 0
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        params: list[Any] = []
        for row in some:
            values = [row[name] for name in names]
            for place, convert in converters:
                if values[place] is not None:
                    values[place] = convert(values[place])
            params += values
        inserted += _execute(_statement(model, len(some), on_conflict), params)
    return inserted


def _execute(statement: str, params: list[Any]) -> int:
    if connection.vendor == "sqlite":
        # Django's cursor would rewrite thousands of placeholders each time.
        connection.ensure_connection()
        with connection.wrap_database_errors:
            return int(connection.connection.execute(statement, params).rowcount)
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return int(cursor.rowcount)


@cache
def _columns(
    model: type[models.Model],
) -> tuple[list[str], list[tuple[int, Callable[[Any], Any]]]]:
    """
    Their names, and the places of those whose values the driver does not take as they are.
    """
    fields = model._meta.concrete_fields
    converters = [(place, _converter(field)) for place, field in enumerate(fields)]
    return (
        [field.attname for field in fields],
        [(place, convert) for place, convert in converters if convert],
    )


@cache
def _statement(model: type[models.Model], rows: int, on_conflict: str) -> str:
    quote = connection.ops.quote_name
    names = [quote(str(field.column)) for field in model._meta.concrete_fields]
    place = "?" if connection.vendor == "sqlite" else "%s"
    values = ", ".join([f"({', '.join([place] * len(names))})"] * rows)
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(names)}) VALUES {values}"  # noqa: S608 - names of our own
    if on_conflict == "skip":
        return f"{statement} ON CONFLICT DO NOTHING"
    if on_conflict == "replace":
        key = quote("id")
        rest = ", ".join(f"{name} = EXCLUDED.{name}" for name in names if name != key)
        return f"{statement} ON CONFLICT ({key}) DO UPDATE SET {rest}"
    return statement


def _converter(field: models.Field[Any, Any]) -> Callable[[Any], Any] | None:
    """
    Makes of a column's value what the database's driver takes; None if that is the same.
    """
    kind = field.get_internal_type()
    if kind == "ForeignKey":
        return _converter(field.target_field)  # type: ignore[attr-defined]
    if kind == "UUIDField" and not connection.features.has_native_uuid_field:
        return _hex
    if kind == "DateTimeField":
        in_utc = connection.vendor == "sqlite" and connection.timezone == UTC
        return _utc_text if in_utc else connection.ops.adapt_datetimefield_value
    return _decimal if kind == "DecimalField" else None


def _hex(value: UUID) -> str:
    return value.hex


def _utc_text(value: datetime) -> str:
    """
    A time in UTC as Django's adapter for SQLite spells it, in a fifth of its time.
    """
    return str(value.replace(tzinfo=None))


def _decimal(value: Decimal) -> Any:
    return connection.ops.adapt_decimalfield_value(value.quantize(_NANO))
