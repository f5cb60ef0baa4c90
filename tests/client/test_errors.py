from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from runnables.client import IncompleteStream, RemoteError
from tests.client.conftest import Remote, answering, saying

SECRET = "swordfish"
CATS = {"topic": "cats"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "sent", "status", "code"),
        [
            ("nobody", 1, 404, "unknown_deployment"),
            ("fails", "x", 500, "run_failed"),
            ("refuses", "x", 429, "rate_limited"),
            ("add_one", "not a number", 422, "validation_error"),
            ("private", CATS, 401, "not_authenticated"),
        ],
    )
    async def test_status_and_code_are_told_on_every_call(
        self, remote: Remote, path: str, sent: Any, status: int, code: str
    ) -> None:
        client = remote(path)
        with pytest.raises(RemoteError) as invoked:
            client.invoke(sent)
        with pytest.raises(RemoteError) as awaited:
            await client.ainvoke(sent)
        with pytest.raises(RemoteError) as batched:
            client.batch([sent])
        with pytest.raises(RemoteError) as streamed:
            list(client.stream(sent))
        with pytest.raises(RemoteError) as astreamed:
            [chunk async for chunk in client.astream(sent)]
        with pytest.raises(RemoteError) as events:
            [event async for event in client.astream_events(sent)]
        with pytest.raises(RemoteError) as log:
            [patch async for patch in client.astream_log(sent)]

        for caught in (invoked, awaited, batched, streamed, astreamed, events, log):
            assert (caught.value.status_code, caught.value.code) == (status, code)
            assert caught.value.response.status_code == status
            assert SECRET not in str(caught.value)

    def test_it_is_an_error_of_httpx_that_says_what_is_wrong(self, remote: Remote) -> None:
        with pytest.raises(httpx.HTTPStatusError, match="422 validation_error: Input should be"):
            remote("add_one").invoke("not a number")

    def test_the_detail_says_where(self, remote: Remote) -> None:
        with pytest.raises(RemoteError) as caught:
            remote("point").invoke({"x": "a"})
        assert caught.value.detail[0]["loc"] == ["x"]

    def test_a_failed_run_is_named(self, remote: Remote) -> None:
        run_id = uuid4()
        with pytest.raises(RemoteError, match=f"run {run_id}") as caught:
            remote("fails").invoke("x", {"run_id": run_id})
        assert caught.value.run_id == run_id

    @pytest.mark.parametrize(
        ("path", "status", "code"),
        [("fails_midway", 500, "run_failed"), ("refuses_midway", 429, "rate_limited")],
    )
    async def test_a_stream_fails_after_what_came_before(
        self, remote: Remote, path: str, status: int, code: str
    ) -> None:
        chunks, run_id = [], uuid4()
        stream = remote(path).stream("word", {"run_id": run_id})
        with pytest.raises(RemoteError) as caught:  # noqa: PT012 - the point is what came before
            for chunk in stream:
                chunks.append(chunk)
        assert chunks == ["word"]
        assert (caught.value.status_code, caught.value.code) == (status, code)
        assert caught.value.response.status_code == status
        assert caught.value.run_id == run_id
        with pytest.raises(RemoteError) as caught:
            [event async for event in remote(path).astream_events("word")]
        assert caught.value.code == code

    def test_a_token_is_not_in_the_error(self, remote: Remote) -> None:
        client = remote("add_one", token="a-secret-token", headers={"X-Other": "a-secret-header"})
        with pytest.raises(RemoteError) as caught:
            client.invoke("x")
        error = caught.value
        assert error.code == "not_authenticated"
        shown = f"{error!r}{error.request.headers}{error.response.request.headers}"
        assert "secret" not in shown


class TestBatches:
    async def test_exceptions_are_returned_where_asked_for(self, remote: Remote) -> None:
        client = remote("fails_on_zero")
        calls = [partial(asyncio.to_thread, client.batch), client.abatch]
        for call in calls:
            outputs = await call([5, 0, 2], return_exceptions=True)
            assert (outputs[0], outputs[2]) == (2, 5)
            assert isinstance(outputs[1], RemoteError)
            assert (outputs[1].status_code, outputs[1].code) == (500, "run_failed")
            assert outputs[1].run_id == client.last_run_ids[1]

    def test_one_failure_fails_the_batch(self, remote: Remote) -> None:
        with pytest.raises(RemoteError) as caught:
            remote("fails_on_zero").batch([5, 0, 2])
        assert caught.value.status_code == 500

    def test_a_refused_batch_is_refused_for_each(self, remote: Remote) -> None:
        first, second = remote("add_one").batch([1, "x"], return_exceptions=True)
        assert first is second
        assert isinstance(first, RemoteError)
        assert first.code == "validation_error"

    def test_an_empty_batch_asks_nothing(self) -> None:
        def unexpected(_: httpx.Request) -> httpx.Response:
            raise AssertionError

        assert answering(unexpected).batch([]) == []


class TestBodies:
    """
    What other servers, and things that are no server of ours, answer.
    """

    @pytest.mark.parametrize(
        ("body", "message", "detail"),
        [
            ({"detail": "Not Found"}, "Not Found", "Not Found"),
            ({"detail": ["Invalid JSON body"]}, "Invalid JSON body", ["Invalid JSON body"]),
            (
                {"detail": [{"loc": ["a", 0], "msg": "Bad"}, {"loc": [], "msg": "Worse"}]},
                "a.0: Bad; Worse",
                [{"loc": ["a", 0], "msg": "Bad"}, {"loc": [], "msg": "Worse"}],
            ),
            ({"detail": {"x": 1}}, "{'x': 1}", {"x": 1}),
            ({"message": "hi", "code": 7, "run_id": "no", "retry_after": "soon"}, "hi", None),
            ({}, "{}", None),
        ],
    )
    def test_a_message_is_made_of_what_there_is(self, body: Any, message: str, detail: Any) -> None:
        with pytest.raises(RemoteError) as caught:
            answering(lambda _: httpx.Response(422, json=body)).invoke(1)
        error = caught.value
        assert (error.message, error.detail) == (message, detail)
        assert (error.code, error.run_id, error.retry_after) == (None, None, None)

    @pytest.mark.parametrize(
        "content", [b"Internal Server Error", b"[1]", b"\xff\xfe", b"[" * 100_000, b""]
    )
    def test_a_body_may_be_anything(self, content: bytes) -> None:
        with pytest.raises(RemoteError) as caught:
            answering(lambda _: httpx.Response(500, content=content)).invoke(1)
        assert caught.value.status_code == 500
        assert 0 < len(caught.value.message) <= 100_000

    def test_a_redirect_is_not_followed_but_named(self) -> None:
        to_login = httpx.Response(302, headers={"Location": "/login/"}, content=b"<html>")
        with pytest.raises(RemoteError, match="redirected to /login/"):
            answering(lambda _: to_login).invoke(1)

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [("7", 7.0), ("-1", 0.0), ("soon", None), ("nan", None), ("Wed, 99 Foo", None)],
    )
    def test_the_header_says_when_to_come_back(self, header: str, seconds: float | None) -> None:
        response = httpx.Response(429, headers={"Retry-After": header})
        with pytest.raises(RemoteError) as caught:
            answering(lambda _: response).invoke(1)
        assert caught.value.retry_after == seconds

    def test_or_does_so_by_date(self) -> None:
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        response = httpx.Response(503, headers={"Retry-After": later})
        with pytest.raises(RemoteError) as caught:
            answering(lambda _: response).invoke(1)
        assert caught.value.retry_after == pytest.approx(100, abs=5)

    @pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"result": 1}', b"[" * 100_000])
    def test_a_success_that_is_no_answer_is_an_error(self, content: bytes) -> None:
        answer = saying(content, kind="text/html")
        with pytest.raises(RemoteError) as caught:
            answering(answer).invoke(1)
        assert caught.value.code == "bad_reply"
        with pytest.raises(RemoteError, match="text/html"):
            list(answering(answer).stream(1))

    @pytest.mark.parametrize("output", [None, 1, [1, 2]])
    def test_a_batch_of_another_size_is_an_error(self, output: Any) -> None:
        client = answering(lambda _: httpx.Response(200, json={"output": output}))
        with pytest.raises(RemoteError, match="list of 1"):
            client.batch([1])


class TestStreamBodies:
    @pytest.mark.parametrize(
        "body", [b"", b"event: data\ndata: 1\n\n", b"event: data\ndata: 1\n\nevent: end\n"]
    )
    async def test_a_stream_without_its_end_is_incomplete(self, body: bytes) -> None:
        with pytest.raises(IncompleteStream):
            list(answering(saying(body)).stream(1))
        with pytest.raises(httpx.RemoteProtocolError):
            [chunk async for chunk in answering(saying(body)).astream(1)]

    async def test_so_is_one_that_breaks(self) -> None:
        run_id = uuid4()

        async def body() -> Any:
            yield b"event: data\ndata: 1\n\n"
            raise httpx.RemoteProtocolError("peer closed connection")

        def answer(_: httpx.Request) -> httpx.Response:
            headers = {"Content-Type": "text/event-stream", "X-Run-Id": str(run_id)}
            return httpx.Response(200, content=body(), headers=headers)

        async with aclosing(answering(answer).astream(1)) as chunks:
            assert await anext(chunks) == 1
            with pytest.raises(IncompleteStream, match="cut off") as caught:
                await anext(chunks)
        assert caught.value.run_id == run_id

    def test_what_follows_the_end_is_not_read(self) -> None:
        body = b"event: end\n\nevent: data\ndata: 1\n\n"
        assert list(answering(saying(body)).stream(1)) == []

    def test_events_that_nobody_knows_are_passed_over(self) -> None:
        body = b"event: new\ndata: {\n\nevent: metadata\ndata: [1]\n\ndata: 2\n\nevent: end\n\n"
        assert list(answering(saying(body)).stream(1)) == []

    @pytest.mark.parametrize(
        ("data", "status", "message"),
        [
            (b'{"status_code": 418, "message": "tea"}', 418, "tea"),
            (b'{"status_code": 200, "message": "odd"}', 500, "odd"),
            (b'{"status_code": "many", "x": NaN}', 500, "Internal Server Error"),
            (b"broken", 500, "broken"),
            (b"[1]", 500, "[1]"),
        ],
    )
    def test_an_error_event_may_say_anything(self, data: bytes, status: int, message: str) -> None:
        with pytest.raises(RemoteError) as caught:
            list(answering(saying(b"event: error\ndata: " + data + b"\n\n")).stream(1))
        assert (caught.value.status_code, caught.value.message) == (status, message)

    def test_data_that_is_no_json_is_an_error(self) -> None:
        with pytest.raises(RemoteError, match="not JSON"):
            list(answering(saying(b"event: data\ndata: {\n\n")).stream(1))

    @pytest.mark.parametrize("data", [b"1", b"{}", b'{"ops": 1}', b'{"ops": [{"op": "add"}]}'])
    async def test_a_log_without_patches_is_an_error(self, data: bytes) -> None:
        body = b"event: data\ndata: " + data + b"\n\nevent: end\n\n"
        with pytest.raises(ValueError, match="patches"):
            await anext(answering(saying(body)).astream_log(1))

    def test_hostile_values_stay_data(self) -> None:
        value = {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"c": "x"}}
        body = b"event: data\ndata: " + json.dumps(value).encode() + b"\n\nevent: end\n\n"
        assert list(answering(saying(body)).stream(1)) == [value]
