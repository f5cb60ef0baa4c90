"""
Logs without secrets. An exception's text may hold a key that a provider refused, a header, a
connection string: what `redaction.STANDARD` takes out of traces has no place in a log either.
"""

from __future__ import annotations

import logging
from typing import Any

from runnables.redaction import STANDARD

# Of a chain of exceptions: one that goes on for ever is nobody's to read.
MOST_CAUSES = 20


class RedactingFilter(logging.Filter):
    """
    Takes secrets out of messages and exceptions; for a logger, or for a handler in LOGGING.

    `exc_info` stays, for handlers that make their own of it, as stand-ins of the same class
    names and with the same frames, whose texts are redacted. What lies in the frames'
    variables is left to those who look at it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "_is_redacted", False):
            return True
        record.__dict__["_is_redacted"] = True
        record.msg, record.args = STANDARD.text(_message(record)), ()
        if record.exc_info and record.exc_info[1]:
            record.exc_info = _redacted_info(record.exc_info[1])
            # Formatters take this if it is there; lines of code are in it too.
            record.exc_text = STANDARD.text(_FORMATTER.formatException(record.exc_info))
        elif record.exc_text:
            record.exc_text = STANDARD.text(record.exc_text)
        if record.stack_info:
            record.stack_info = STANDARD.text(record.stack_info)
        return True


def logger_for_errors(name: str) -> logging.Logger:
    """
    A logger for exceptions that are not ours.
    """
    logger = logging.getLogger(name)
    if not any(isinstance(one, RedactingFilter) for one in logger.filters):
        logger.addFilter(RedactingFilter())
    return logger


_FORMATTER = logging.Formatter()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - whatever the texts of foreign objects raise
        return str(record.msg)


def _redacted_info(error: BaseException) -> tuple[Any, BaseException, Any]:
    stand_in = _stand_in(error, MOST_CAUSES)
    return type(stand_in), stand_in, stand_in.__traceback__


def _stand_in(error: BaseException, left: int) -> BaseException:
    made = _of_group(error, left) if isinstance(error, BaseExceptionGroup) else _of_one(error)
    made.__traceback__ = error.__traceback__
    made.__suppress_context__ = error.__suppress_context__
    for note in getattr(error, "__notes__", ()):
        made.add_note(STANDARD.text(str(note)))
    if left > 0 and error.__cause__:
        made.__cause__ = _stand_in(error.__cause__, left - 1)
        made.__suppress_context__ = error.__suppress_context__
    elif left > 0 and error.__context__ and not error.__suppress_context__:
        made.__context__ = _stand_in(error.__context__, left - 1)
    return made


def _of_one(error: BaseException) -> BaseException:
    kind = type(error)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    stand_in = type(kind.__name__, (Exception,), names)
    made: BaseException = stand_in(STANDARD.text(_text(error)))
    return made


def _of_group(
    group: BaseExceptionGroup[BaseException], left: int
) -> BaseExceptionGroup[BaseException]:
    inner = [_stand_in(one, left - 1) for one in group.exceptions] if left > 0 else []
    return BaseExceptionGroup(STANDARD.text(group.message), inner or [Exception("…")])


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever the texts of foreign objects raise
        return "<it has no text>"
