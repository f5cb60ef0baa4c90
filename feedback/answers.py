"""
What somebody says about a run, out of a payload: within bounds, or refused with the place
that is wrong. LangServe's bodies have these names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from runnables.exceptions import InvalidInput

# The bound of LangSmith, where scores may be copied to.
MOST_SCORE = 99_999.9999
MOST_KEY = 100
MOST_COMMENT = 10_000
MOST_VALUE = 16 * 1024
MOST_CORRECTION = 64 * 1024
MOST_REASONS = 20
MOST_REASON = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    One answer to one key. An empty one takes back what was said.
    """

    score: float | None = None
    value: Any = None
    comment: str = ""
    correction: Any = None
    reasons: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return (
            self.score is None
            and self.value is None
            and self.correction is None
            and not self.comment
            and not self.reasons
        )


class Refused(ValueError):
    """
    Why one field of a payload cannot be taken.
    """


def wrong(field: str, message: str, kind: str = "value_error") -> InvalidInput:
    """
    The error of one field, where LangServe's bodies have it.
    """
    return InvalidInput([{"type": kind, "loc": ["body", field], "msg": message}])


def read_answer(payload: Mapping[str, Any]) -> Answer:
    """
    Raises InvalidInput that lists every field that is wrong.
    """
    return Answer(**_read(payload, _FIELDS))


def read_run_and_key(payload: Mapping[str, Any]) -> tuple[UUID, str]:
    """
    What the answer is about; raises InvalidInput.
    """
    found = _read(payload, {"run_id": read_uuid, "key": _key}, required=True)
    return found["run_id"], found["key"]


def read_uuid(value: Any) -> UUID:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise Refused("the id of a run is a UUID") from None


def read_info(value: Any) -> dict[str, Any]:
    """
    What a client says of itself: an object of modest size.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused("metadata is an object")
    _bounded(value, MOST_VALUE)
    return value


def _read(
    payload: Mapping[str, Any],
    readers: Mapping[str, Callable[[Any], Any]],
    *,
    required: bool = False,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    errors = []
    for field, read in readers.items():
        if required and field not in payload:
            errors.append(
                {"type": "missing", "loc": ["body", field], "msg": f"{field} is required"}
            )
            continue
        try:
            found[field] = read(payload.get(field))
        except Refused as error:
            errors.append({"type": "value_error", "loc": ["body", field], "msg": str(error)})
    if errors:
        raise InvalidInput(errors)
    return found


def _score(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (bool, int, float)):
        raise Refused("score is a number, true, false or null")
    # Compared first: float() of an integer of 300 digits overflows.
    if not -MOST_SCORE <= value <= MOST_SCORE or not math.isfinite(value):
        raise Refused(f"score is a number between -{MOST_SCORE:.0f} and {MOST_SCORE:.0f}")
    return float(value)


def _value(value: Any) -> Any:
    if not isinstance(value, (bool, int, float, str, dict, type(None))):
        raise Refused("value is a number, a text, true, false, an object or null")
    _bounded(value, MOST_VALUE)
    return value


def _comment(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused("comment is a text or null")
    if len(value) > MOST_COMMENT:
        raise Refused(f"comment is longer than {MOST_COMMENT:,} characters")
    return _without_nul(value)


def _correction(value: Any) -> Any:
    if not isinstance(value, (str, dict, type(None))):
        raise Refused("correction is an object, a text or null")
    _bounded(value, MOST_CORRECTION)
    return value


def _reasons(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Refused("reasons is a list of texts")
    if len(value) > MOST_REASONS or any(len(one) > MOST_REASON for one in value):
        raise Refused(f"at most {MOST_REASONS} reasons of {MOST_REASON} characters")
    return tuple(_without_nul(one) for one in dict.fromkeys(value))


def _key(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Refused("key is a text")
    if len(value) > MOST_KEY:
        raise Refused(f"key is longer than {MOST_KEY} characters")
    if not value.isprintable():
        raise Refused("key holds a character that cannot be shown")
    return value


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "score": _score,
    "value": _value,
    "comment": _comment,
    "correction": _correction,
    "reasons": _reasons,
}


def _bounded(value: Any, most: int) -> None:
    for text in _texts(value):
        _without_nul(text)
    try:
        size = len(orjson.dumps(value))
    except TypeError:
        # Integers beyond 64 bits, which databases do not hold either.
        raise Refused("a number here has too many digits") from None
    if size > most:
        raise Refused(f"longer than {most:,} bytes")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise Refused("a NUL character cannot be kept")
    return text
