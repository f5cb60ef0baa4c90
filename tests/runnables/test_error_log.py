"""
What is a secret in a trace is one in the log too, however a handler makes its text.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

from runnables.error_log import logger_for_errors
from tests.conftest import Site

CANARIES = (
    "sk-canary1234567890abcdef",
    "canary-password",
    "canary.bearer.token.0123456789",
    "canary-user:canary-pass",
)
TEXT = (
    "401 for key sk-canary1234567890abcdef at postgres://canary-user:canary-pass@db/x "
    "with password=canary-password and Authorization: Bearer canary.bearer.token.0123456789"
)


class Refused(Exception):
    pass


class Sentry(logging.Handler):
    """
    A handler that makes its own of exceptions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.kinds: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.exc_info
        kind, error, frames = record.exc_info
        assert kind is not None
        self.kinds.append(f"{kind.__module__}.{kind.__qualname__}")
        self.text += "".join(traceback.format_exception(kind, error, frames)) + repr(error)


@pytest.fixture
def sentry() -> Any:
    handler = Sentry()
    logging.getLogger("runnables.errors").addHandler(handler)
    yield handler
    logging.getLogger("runnables.errors").removeHandler(handler)


def fail(value: Any) -> Any:
    error = Refused(TEXT)
    error.add_note(TEXT)
    try:
        raise ValueError(TEXT)
    except ValueError as cause:
        if value == "group":
            raise ExceptionGroup(TEXT, [error, cause]) from cause
        raise error from cause


@pytest.mark.parametrize("value", ["one", "group"])
@pytest.mark.parametrize("endpoint", ["invoke", "stream", "batch"])
def test_secrets_of_an_exception_are_not_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture, sentry: Sentry, value: str, endpoint: str
) -> None:
    site.serve("it", RunnableLambda(fail))
    body = {"inputs": [value]} if endpoint == "batch" else {"input": value}
    answer = site.post(f"/it/{endpoint}", body)

    logged = caplog.text + sentry.text + answer.text
    assert [canary for canary in CANARIES if canary in logged] == []
    for text in (caplog.text, sentry.text):
        assert "Refused: 401 for key [redacted]" in text
        assert "in fail" in text
        assert "direct cause" in text


def test_handlers_know_the_class_still(site: Site, sentry: Sentry) -> None:
    site.serve("it", RunnableLambda(fail))
    site.post("/it/invoke", {"input": 1})
    assert sentry.kinds == [f"{__name__}.Refused"]


def test_message_is_redacted_with_its_arguments(caplog: pytest.LogCaptureFixture) -> None:
    logger = logger_for_errors("tests.of_error_log")
    assert logger_for_errors("tests.of_error_log").filters == logger.filters
    logger.error("no answer to %s", TEXT)
    assert [canary for canary in CANARIES if canary in caplog.text] == []
    assert "no answer to 401 for key [redacted]" in caplog.text


def test_errors_without_an_end_or_a_text_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    endless = Silent()
    other = ValueError(TEXT)
    endless.__cause__, other.__cause__ = other, endless
    logger_for_errors("tests.of_error_log").error("%d", "x", exc_info=endless)
    assert "<it has no text>" in caplog.text
    assert CANARIES[0] not in caplog.text


def test_everything_that_the_site_logs_is_redacted() -> None:
    [handler] = [one for one in logging.getLogger().handlers if one.filters]
    record = logging.makeLogRecord({"msg": TEXT})
    assert handler.filter(record)
    assert [canary for canary in CANARIES if canary in record.getMessage()] == []
