"""
What `manage.py check` says of settings that will not do.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.core.checks import CheckMessage, run_checks

from runnables.checks import TAG


def found(*, deploy: bool = False) -> dict[str, CheckMessage]:
    messages = run_checks(tags=[TAG], include_deployment_checks=deploy)
    return {str(message.id): message for message in messages}


def test_the_sites_own_settings_are_clean() -> None:
    assert found() == {}


def test_a_setting_that_means_nothing_is_named(settings: Any) -> None:
    settings.LANGSERVE = {**site_settings.LANGSERVE, "SYNC_WORKER": 5}
    [(check_id, message)] = found().items()
    assert check_id == "langserve.E006"
    assert "'SYNC_WORKER'" in message.msg
    assert "SYNC_WORKERS" in str(message.hint)


@pytest.mark.parametrize(
    "value",
    [{"TENANT": "nowhere.to_be_found"}, {"POLL_SECONDS": "often"}, {"CALLBACKS": ["os.no_such"]}],
)
def test_a_value_that_cannot_be_used_is_named(settings: Any, value: dict[str, Any]) -> None:
    settings.LANGSERVE = {**site_settings.LANGSERVE, **value}
    [(check_id, message)] = found().items()
    assert check_id == "langserve.E007"
    assert repr(next(iter(value))) in message.msg


def test_sqlite_that_locks_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    monkeypatch.setattr(site_settings, "DATABASES", {"default": plain})
    assert list(found()) == ["langserve.W002"]


def test_every_host_is_too_many(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert "langserve.E010" in found(deploy=True)
    assert "langserve.E010" not in found()


@pytest.mark.parametrize(
    "value",
    [
        {"TRACE_PAYLOADS": "all"},
        {"TRACE_PAYLOADS": None},
        {"TRACE_DAYS": 0},
        {"TRACE_QUEUE": -1},
        {"TRACE_STEPS": True},
        {"TRACE_BYTES": float("nan")},
        {"TRACE_SECONDS": -0.5},
    ],
)
def test_what_traces_cannot_be_kept_by_is_named(settings: Any, value: dict[str, Any]) -> None:
    settings.LANGSERVE = {**site_settings.LANGSERVE, **value}
    assert repr(next(iter(value))) in found()["langserve.E008"].msg


@pytest.mark.parametrize(
    "value", [{"TRACE_PAYLOADS": "shape"}, {"TRACE_DAYS": 1, "TRACE_SECONDS": 0}, {"OTEL": True}]
)
def test_what_traces_can_be_kept_by_is_not(settings: Any, value: dict[str, Any]) -> None:
    settings.LANGSERVE = {**site_settings.LANGSERVE, **value}
    assert found() == {}


def test_spans_without_their_package_are_named(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LANGSERVE = {**site_settings.LANGSERVE, "OTEL": True}
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)
    assert "django-langserve[otel]" in str(found()["langserve.E009"].hint)
