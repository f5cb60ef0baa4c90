"""
Many rows in one statement: with Django's own bulk_create, making the objects costs more than
all the rest of recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from django.db import connection, models

# One INSERT of so many rows: SQLite gives its lock on Python's interpreter away once for each.
ROWS = 100
_NANO = Decimal("0.000000001")


def insert(model: type[models.Model], rows: Sequence[dict[str, Any]], *, replace: bool) -> None:
    """
    Insert rows of all the model's columns; with `replace`, over those with the same key.
    """
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        params = [convert(row[name]) for row in some for name, convert in _columns(model)]
        with connection.cursor() as cursor:
            cursor.execute(_statement(model, len(some), replace), params)


@cache
def _columns(model: type[models.Model]) -> list[tuple[str, Callable[[Any], Any]]]:
    return [(field.attname, _converter(field)) for field in model._meta.concrete_fields]


@cache
def _statement(model: type[models.Model], rows: int, replace: bool) -> str:
    quote = connection.ops.quote_name
    names = [quote(str(field.column)) for field in model._meta.concrete_fields]
    values = ", ".join([f"({', '.join(['%s'] * len(names))})"] * rows)
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(names)}) VALUES {values}"  # noqa: S608 - names of our own
    if replace:
        key = quote("id")
        rest = ", ".join(f"{name} = EXCLUDED.{name}" for name in names if name != key)
        statement += f" ON CONFLICT ({key}) DO UPDATE SET {rest}"
    return statement


def _converter(field: models.Field[Any, Any]) -> Callable[[Any], Any]:
    """
    A column's value as the database's driver takes it.
    """
    kind = field.get_internal_type()
    if kind == "ForeignKey":
        return _converter(field.target_field)  # type: ignore[attr-defined]
    if kind == "UUIDField" and not connection.features.has_native_uuid_field:
        return lambda value: value and value.hex
    if kind == "DateTimeField":
        return connection.ops.adapt_datetimefield_value
    if kind == "DecimalField":
        return lambda value: (
            value
            if value is None
            else connection.ops.adapt_decimalfield_value(value.quantize(_NANO))
        )
    return lambda value: value
