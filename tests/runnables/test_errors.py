from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langchain_core.runnables import RunnableLambda

from runnables import PublicError
from tests.conftest import Site, events


class ProviderLimited(Exception):
    """
    As the clients of OpenAI and Anthropic raise it.
    """

    def __init__(self) -> None:
        super().__init__("sk-secret is over its quota")
        request = httpx.Request("POST", "https://api.example.org")
        self.status_code = 429
        self.response = httpx.Response(429, headers={"retry-after": "7"}, request=request)


class TooLong(Exception):
    pass


def translate(error: Exception) -> Exception | None:
    if isinstance(error, TooLong):
        return PublicError("The question is too long for the model.", status=413, code="too_long")
    return None


def failing(error: Exception) -> RunnableLambda[Any, Any]:
    def fail(value: Any) -> Any:
        raise error

    return RunnableLambda(fail)


def failing_midway(error: Exception) -> RunnableLambda[Any, Any]:
    async def fail(value: Any) -> AsyncIterator[Any]:
        yield value
        await asyncio.sleep(0.15)
        raise error

    return RunnableLambda(fail)


@pytest.mark.parametrize("endpoint", ["invoke", "stream", "stream_events", "stream_log"])
def test_a_providers_429_is_ours(site: Site, endpoint: str) -> None:
    site.serve("limited", failing(ProviderLimited()))
    answer = site.post(f"/limited/{endpoint}", {"input": 1})
    if answer.status_code == 200:  # an event was on its way already
        name, problem = events(answer)[-1]
        assert (name, problem["status_code"]) == ("error", 429)
    else:
        problem = answer.json()
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "7"
    assert problem["code"] == "upstream_rate_limited"
    assert problem["run_id"]
    assert "sk-secret" not in answer.text


def test_a_translator_speaks_for_its_deployment_on_every_door(site: Site) -> None:
    site.serve("long", failing(TooLong("secret")), translate_error=translate)
    for endpoint in ("invoke", "stream"):
        answer = site.post(f"/long/{endpoint}", {"input": 1})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_long")
    batch = site.post("/long/batch", {"inputs": [1], "return_exceptions": True}).json()
    assert batch["errors"][0]["code"] == "too_long"


def test_a_translator_speaks_midway_too(site: Site) -> None:
    site.serve("long", failing_midway(TooLong("secret")), translate_error=translate)
    name, problem = events(site.post("/long/stream", {"input": 1}))[-1]
    assert (name, problem["status_code"], problem["code"]) == ("error", 413, "too_long")


def test_what_a_translator_does_not_know_stays_hidden(site: Site) -> None:
    site.serve("broken", failing(RuntimeError("secret")), translate_error=translate)
    answer = site.post("/broken/invoke", {"input": 1})
    assert (answer.status_code, answer.json()["code"]) == (500, "run_failed")
    assert "secret" not in answer.text


def test_a_translator_that_fails_hides_the_error_as_before(site: Site) -> None:
    def translate_badly(error: Exception) -> Exception:
        raise KeyError("secret")

    site.serve("broken", failing(RuntimeError("secret")), translate_error=translate_badly)
    answer = site.post("/broken/invoke", {"input": 1})
    assert (answer.status_code, answer.json()["code"]) == (500, "run_failed")
    assert "secret" not in answer.text
