"""
Feedback tokens: one run, one key, for some time, for whoever has them.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from channels.testing import WebsocketCommunicator
from django.core import signing
from django.utils import timezone
from langchain_core.runnables import RunnableLambda

from feedback.models import Feedback
from feedback.tokens import SALT
from runnables import database
from runnables.models import Deployment
from tests.conftest import Site, events
from tests.fakes import Waiting, add_one, echo, failing, failing_midway
from tests.feedback.conftest import TOKENS
from tests.runnables.asgi import hang_up

STREAMS = ("stream", "stream_log", "stream_events")
NAMED = {"X-Run-Id": "0f8fad5b-d9cb-469f-a165-70867728950e"}


def only_token(metadata: dict[str, Any]) -> dict[str, Any]:
    (token,) = metadata["feedback_tokens"]
    assert isinstance(token, dict)
    return token


def token_of(site: Site, path: str = "/it") -> dict[str, Any]:
    return only_token(site.post(f"{path}/invoke", {"input": 1}).json()["metadata"])


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


# Where they come from


def test_invoke_and_batch_bring_a_token_per_run(site: Site, rated: Deployment) -> None:
    token = token_of(site)
    metadata = site.post("/it/batch", {"inputs": [1, 2]}).json()["metadata"]
    two = [only_token(response)["token_url"] for response in metadata["responses"]]

    assert token["key"] == "correctness"
    assert token["token_url"].startswith("http://localhost/it/token_feedback?token=")
    left = datetime.fromisoformat(token["expires_at"]) - timezone.now()
    assert timedelta(hours=2, minutes=59) < left <= timedelta(hours=3)
    for url, run_id in zip(two, metadata["run_ids"], strict=True):
        assert site.post(url, {"score": 1}).status_code == 200
        assert Feedback.objects.filter(run_id=run_id).count() == 1


def test_token_costs_no_query(site: Site, rated: Deployment) -> None:
    token_of(site)
    # Its threads are made at the next query; on the loop itself Django refuses any.
    database.close()
    token_of(site)

    assert database._pool is None


def test_token_knows_the_prefix_it_is_served_under(
    site: Site, rated: Deployment, settings: Any
) -> None:
    settings.FORCE_SCRIPT_NAME = "/pre/fix"
    found = site.post("/pre/fix/it/invoke", {"input": 1}).json()["metadata"]

    url = only_token(found)["token_url"]
    assert url.startswith("http://localhost/pre/fix/it/token_feedback?token=")


def test_deployment_without_config_gives_out_none(site: Site) -> None:
    site.serve("it", echo())
    site.serve("off", echo(), token_feedback_config=TOKENS, disabled_endpoints=["token_feedback"])

    for path in ("/it", "/off"):
        metadata = site.post(f"{path}/invoke", {"input": 1}).json()["metadata"]
        assert metadata["feedback_tokens"] == []


# Streams: whole, refused before headers, failing midway, client gone


@pytest.mark.parametrize("door", STREAMS)
def test_stream_brings_its_token_first_and_loses_no_chunk(site: Site, door: str) -> None:
    site.serve("it", RunnableLambda(add_one), token_feedback_config=TOKENS)
    site.serve("plain", RunnableLambda(add_one))
    body = {"input": 1}

    ours = site.post(f"/it/{door}", body, headers=NAMED)
    without = site.post(f"/plain/{door}", body, headers=NAMED)

    (name, metadata), *rest = events(ours)
    assert (name, metadata["run_id"]) == ("metadata", NAMED["X-Run-Id"])
    assert site.post(only_token(metadata)["token_url"], {"score": 0}).status_code == 200
    others = [one for one in events(without) if one[0] != "metadata"]
    assert [kind for kind, _ in rest] == [kind for kind, _ in others]
    if door == "stream":
        assert rest == [("data", 2), ("end", None)]


@pytest.mark.parametrize("door", STREAMS)
def test_stream_without_tokens_is_as_ever(site: Site, door: str) -> None:
    site.serve("number", RunnableLambda(add_one))
    golden = Path(__file__).parent.parent / "golden" / "stream_number.txt"

    response = site.post(f"/number/{door}", {"input": 1}, headers=NAMED)

    assert "feedback_tokens" not in response.text
    if door == "stream":
        assert response.content == golden.read_bytes()


def test_refused_stream_brings_no_token(site: Site) -> None:
    site.serve("it", failing(), token_feedback_config=TOKENS)

    response = site.post("/it/stream", {"input": 1})

    assert response.status_code == 500
    assert "token_feedback" not in response.text


def test_stream_that_fails_midway_has_brought_its_token(site: Site) -> None:
    site.serve("it", failing_midway(), token_feedback_config=TOKENS)

    names = [name for name, _ in events(site.post("/it/stream", {"input": 1}))]

    assert (names[0], names[-1]) == ("metadata", "error")


def test_client_that_leaves_ends_the_run_all_the_same(site: Site) -> None:
    waiting = Waiting()
    site.serve("it", waiting, token_feedback_config=TOKENS)

    sent = asyncio.run(hang_up(site, "/it/stream", {"input": 1}, when=waiting.begun))

    assert waiting.ended
    assert b"feedback_tokens" in sent[1]["body"]


def test_socket_brings_tokens_too(site: Site, rated: Deployment) -> None:
    async def talk() -> list[dict[str, Any]]:
        socket = WebsocketCommunicator(site.application, "/it/ws", [(b"host", b"localhost")])
        await socket.connect()
        await socket.send_json_to({"id": 1, "method": "invoke", "params": {"input": 1}})
        frames = [await socket.receive_json_from()]
        await socket.send_json_to({"id": 2, "method": "stream_events", "params": {"input": 1}})
        frames += [await socket.receive_json_from() for _ in range(2)]
        await socket.disconnect()
        return frames

    invoked, begun, metadata = asyncio.run(talk())

    assert only_token(invoked["result"]["metadata"])
    assert only_token(begun["result"]) == only_token(metadata["data"])
    assert metadata["event"] == "metadata"


# What they are good for


def test_token_or_its_url_says_something_about_its_run(site: Site, rated: Deployment) -> None:
    reply = site.post("/it/invoke", {"input": 1}).json()["metadata"]
    url = only_token(reply)["token_url"]
    bare = url.partition("?token=")[2]
    more = {"comment": "Right.", "correction": {"output": 2}, "metadata": {"app": "mine"}}

    answers = [
        site.post(url, {"score": 0}),
        site.post("/it/token_feedback", {"token_or_url": url, "score": 0}),
        site.post("/it/token_feedback", {"token_or_url": bare, "score": 1, **more}),
    ]

    assert [(one.status_code, one.content) for one in answers] == [(200, b"null")] * 3
    row = Feedback.objects.get()
    assert (str(row.run_id), row.key, row.author) == (reply["run_id"], "correctness", "token")
    assert (row.score, row.comment, row.correction) == (1, "Right.", {"output": 2})
    assert row.source_info == {"app": "mine", "from_langserve": True, "version": 1}


def test_token_is_for_post_alone(site: Site, rated: Deployment) -> None:
    url = token_of(site)["token_url"]

    assert site.get(url).status_code == 405
    assert Feedback.objects.count() == 0


def test_token_opens_a_deployment_to_nobody_else(site: Site, rated: Deployment) -> None:
    url = token_of(site)["token_url"]
    site.change("it", access="staff", listed=False)

    assert site.post("/it/invoke", {"input": 1}).status_code == 404
    assert site.post("/it/token_feedback", {"score": 1}).status_code == 404
    assert site.post("/it/token_feedback?token=cats", {"score": 1}).status_code == 404
    assert site.post(url, {"score": 1}).status_code == 200


def test_token_that_was_tampered_with_does_not_count(site: Site, rated: Deployment) -> None:
    token = token_of(site)["token_url"].partition("?token=")[2]
    foreign = signing.dumps(["0" * 32, rated.pk, 1, "k", 2**40], salt="another")
    contents: list[Any] = [[], {}, 7, ["x", 1, 1, "k", 1]]
    odd = [signing.dumps(content, salt=SALT) for content in contents]

    for bad in (token[:-1], token[1:], "A" + token, "", "?token=", "x" * 5000, foreign, *odd):
        response = site.post("/it/token_feedback", {"token_or_url": bad, "score": 1})
        assert code_of(response) == (403, "invalid_feedback_token"), bad


def test_token_is_of_its_run_key_and_deployment_alone(site: Site, rated: Deployment) -> None:
    site.serve("other", echo(), token_feedback_config=TOKENS)
    url = token_of(site)["token_url"]

    elsewhere = site.post("/other/token_feedback", {"token_or_url": url, "score": 1})
    assert code_of(elsewhere) == (403, "invalid_feedback_token")
    for field, value in (("run_id", NAMED["X-Run-Id"]), ("key", "tone")):
        response = site.post(url, {"score": 1, field: value})
        assert response.json()["detail"][0]["loc"] == ["body", field]
    assert Feedback.objects.count() == 0


def test_expired_token_does_not_count(site: Site, rated: Deployment, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "FEEDBACK_TOKEN_SECONDS": 0}
    url = token_of(site)["token_url"]

    assert code_of(site.post(url, {"score": 1})) == (403, "expired_feedback_token")


def test_token_of_what_is_switched_off_does_not_count(site: Site, rated: Deployment) -> None:
    url = token_of(site)["token_url"]
    on = site.row("it").endpoints

    site.change("it", endpoints=[one for one in on if one != "token_feedback"])
    assert code_of(site.post(url, {"score": 1})) == (404, "unknown_endpoint")
    site.change("it", endpoints=on, is_enabled=False)
    assert site.post(url, {"score": 1}).status_code == 404


def test_not_configured_it_is_400_with_a_text(site: Site) -> None:
    site.serve("it", echo())

    response = site.post("/it/token_feedback", {"token_or_url": "x"})

    assert code_of(response) == (400, "endpoint_off")
    assert isinstance(response.json()["detail"], str)


def test_bad_body_says_where(site: Site, rated: Deployment) -> None:
    url = token_of(site)["token_url"]

    assert site.post(url, content='{"score": NaN}').json()["code"] == "invalid_number"
    for path, body, field in (
        ("/it/token_feedback", {"score": 1}, "token_or_url"),
        ("/it/token_feedback", {"token_or_url": 7}, "token_or_url"),
        (url, {"score": 1e9}, "score"),
        (url, {"metadata": [1]}, "metadata"),
    ):
        response = site.post(path, body)
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["body", field]
