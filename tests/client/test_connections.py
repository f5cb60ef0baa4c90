"""
Hanging up, cancelling, loops and threads, retries, identity.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from typing import Any
from uuid import uuid4

import httpx
import pytest

from runnables import client_http
from runnables.client import RemoteError, RemoteRunnable
from tests.client.conftest import Answer, Remote, answering, await_note, connecting, saying
from tests.live import LiveSite, wait_until

CATS = {"topic": "cats"}
TOLD = "You said: Tell me about cats"
CSRF = "0123456789abcdef0123456789abcdef"


@pytest.fixture(params=["uvicorn", "daphne"])
def server(request: pytest.FixtureRequest) -> LiveSite:
    live: LiveSite = request.getfixturevalue({"uvicorn": "site", "daphne": "daphne"}[request.param])
    return live


class TestHangingUp:
    def test_leaving_a_stream_ends_the_run(self, server: LiveSite, key: str) -> None:
        for remote in connecting(server):
            for _ in remote("slow").stream(key):
                break
            await_note(server, key, "finally")

    @pytest.mark.parametrize("call", ["astream", "astream_log", "astream_events"])
    async def test_leaving_an_async_stream_ends_the_run(
        self, server: LiveSite, key: str, call: str
    ) -> None:
        for remote in connecting(server):
            async with aclosing(getattr(remote("slow"), call)(key)) as chunks:
                await anext(chunks)
            await asyncio.to_thread(await_note, server, key, "finally")

    async def test_cancelling_a_call_ends_the_run(self, server: LiveSite, key: str) -> None:
        for remote in connecting(server):
            call = asyncio.create_task(remote("slow_invoke").ainvoke(key))
            await asyncio.to_thread(await_note, server, key, "started")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.to_thread(await_note, server, key, "cancelled")

    async def test_a_batch_that_returns_exceptions_can_be_cancelled(
        self, remote: Remote, site: LiveSite, key: str
    ) -> None:
        slow = remote("slow_invoke")
        call = asyncio.create_task(slow.abatch([key], return_exceptions=True))
        await asyncio.to_thread(await_note, site, key, "started")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(await_note, site, key, "cancelled")

    def test_a_timeout_ends_the_run(self, remote: Remote, site: LiveSite, key: str) -> None:
        with pytest.raises(httpx.ReadTimeout):
            remote("slow_invoke", timeout=1).invoke(key)
        await_note(site, key, "cancelled")


class TestCancelling:
    def test_a_run_is_stopped_by_its_id(self, remote: Remote, site: LiveSite, key: str) -> None:
        client, run_id = remote("slow_invoke"), uuid4()
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.invoke, key, {"run_id": run_id})
            await_note(site, key, "started")
            assert client.cancel(run_id) is True
            with pytest.raises(RemoteError) as caught:
                call.result()
        assert (caught.value.status_code, caught.value.code) == (499, "cancelled")
        assert caught.value.run_id == run_id
        await_note(site, key, "cancelled")
        assert client.cancel(str(run_id)) is False

    async def test_a_stream_is_stopped_by_the_id_it_told(self, remote: Remote, key: str) -> None:
        client = remote("slow")
        async with aclosing(client.astream(key)) as chunks:
            await anext(chunks)
            assert client.last_run_id is not None
            assert await client.acancel(client.last_run_id) is True
            with pytest.raises(RemoteError) as caught:
                [chunk async for chunk in chunks]
        assert caught.value.code == "cancelled"

    def test_config_in_the_path_does_not_matter(self, remote: Remote) -> None:
        assert remote("slow/c/N4IgDiBcAuA").cancel(uuid4()) is False

    def test_what_is_no_deployment_says_so(self, remote: Remote) -> None:
        with pytest.raises(RemoteError) as caught:
            remote("nobody").cancel(uuid4())
        assert caught.value.code == "unknown_deployment"

    def test_only_an_id_can_be_cancelled(self, remote: Remote) -> None:
        with pytest.raises(ValueError, match="UUID"):
            remote("slow").cancel("../../admin")


class TestLoopsAndThreads:
    def test_two_loops_one_after_the_other(self, remote: Remote) -> None:
        client = remote("add_one")
        assert [asyncio.run(client.ainvoke(x)) for x in (1, 2)] == [2, 3]
        del client
        gc.collect()

    def test_two_loops_at_once(self, remote: Remote) -> None:
        client = remote("letters_later")
        both = threading.Barrier(2)

        async def spell(word: str) -> str:
            chunks: list[str] = []
            async for chunk in client.astream(word):
                if not chunks:
                    both.wait(10)
                chunks.append(chunk)
            return "".join(chunks)

        with ThreadPoolExecutor(2) as pool:
            words = ["first", "second"]
            assert list(pool.map(lambda word: asyncio.run(spell(word)), words)) == words

    def test_a_loop_that_ends_closes_its_connections(self, remote: Remote) -> None:
        client = remote("add_one")
        used = []

        async def call() -> None:
            await client.ainvoke(1)
            used.append(await client._wire.http._async_client())
            assert not used[0].is_closed

        asyncio.run(call())
        assert used[0].is_closed

    def test_a_client_that_nobody_needs_closes_its_connections(self, site: LiveSite) -> None:
        async def call() -> None:
            client = RemoteRunnable[int, int](f"{site.url}/add_one")
            await client.ainvoke(1)
            client.invoke(1)
            used = await client._wire.http._async_client()
            del client
            gc.collect()
            await asyncio.to_thread(wait_until, lambda: used.is_closed, 10)

        asyncio.run(call())

    def test_a_stream_may_be_left_open_when_a_loop_ends(
        self, remote: Remote, site: LiveSite, key: str
    ) -> None:
        async def leave() -> None:
            async for _ in remote("slow").astream(key):
                break

        asyncio.run(leave())
        await_note(site, key, "finally")

    def test_threads_may_share_a_client(self, remote: Remote) -> None:
        client = remote("add_one")
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(client.invoke, range(40))) == list(range(1, 41))

    async def test_with_blocks_close_and_it_can_be_used_again(self, remote: Remote) -> None:
        client = remote("add_one")
        with client:
            assert client.invoke(1) == 2
        async with client:
            assert await client.ainvoke(1) == 2
            used = await client._wire.http._async_client()
        assert used.is_closed
        assert (client.invoke(1), await client.ainvoke(1)) == (2, 2)
        client.close()
        await client.aclose()
        await client.aclose()


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_http, "FIRST_PAUSE", 0.0)


def failing(times: int, failure: Any) -> tuple[Answer, list[httpx.Request]]:
    """
    Something that fails so often before it answers, and the requests it got.
    """
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) > times:
            content = {"output": 1} if request.method == "POST" else {"title": "x"}
            return httpx.Response(200, json=content)
        if isinstance(failure, int):
            return httpx.Response(failure, headers={"Retry-After": "0"})
        raise failure("no")

    return answer, asked


@pytest.mark.usefixtures("no_pause")
class TestRetries:
    @pytest.mark.parametrize("failure", [httpx.ConnectError, httpx.ConnectTimeout])
    async def test_a_call_is_repeated_where_nothing_was_sent(self, failure: Any) -> None:
        answer, asked = failing(2, failure)
        assert answering(answer).invoke(1) == 1
        assert len(asked) == 3
        answer, asked = failing(2, failure)
        assert await answering(answer).ainvoke(1) == 1

    @pytest.mark.parametrize(
        "failure", [httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.WriteError, 429, 503]
    )
    async def test_what_may_have_run_is_not_repeated(self, failure: Any) -> None:
        calls: list[Callable[[RemoteRunnable[Any, Any]], Any]] = [
            lambda client: client.invoke(1),
            lambda client: client.batch([1]),
            lambda client: list(client.stream(1)),
            lambda client: client.cancel(uuid4()),
        ]
        for call in calls:
            answer, asked = failing(1, failure)
            with pytest.raises(httpx.HTTPError):
                call(answering(answer))
            assert len(asked) == 1
        answer, asked = failing(1, failure)
        with pytest.raises(httpx.HTTPError):
            await answering(answer).ainvoke(1)
        assert len(asked) == 1

    @pytest.mark.parametrize("failure", [httpx.ReadTimeout, httpx.ReadError, 429, 503])
    async def test_a_schema_is_asked_for_again(self, failure: Any) -> None:
        answer, asked = failing(2, failure)
        assert answering(answer).get_input_jsonschema() == {"title": "x"}
        assert len(asked) == 3
        answer, asked = failing(2, failure)
        assert await answering(answer).aget_input_jsonschema() == {"title": "x"}

    @pytest.mark.parametrize("failure", [404, 500])
    def test_but_not_where_the_answer_would_be_the_same(self, failure: int) -> None:
        answer, asked = failing(1, failure)
        with pytest.raises(RemoteError):
            answering(answer).get_input_jsonschema()
        assert len(asked) == 1

    def test_it_ends_sometime(self) -> None:
        answer, asked = failing(9, httpx.ConnectError)
        with pytest.raises(httpx.ConnectError):
            answering(answer, retries=1).invoke(1)
        assert len(asked) == 2

    def test_a_server_that_asks_for_an_hour_is_not_waited_for(self) -> None:
        busy = httpx.Response(503, headers={"Retry-After": "3600"})
        with pytest.raises(RemoteError) as caught:
            answering(lambda _: busy).get_input_jsonschema()
        assert caught.value.retry_after == 3600


class TestIdentity:
    async def test_a_token_opens_every_door(self, remote: Remote, token: str) -> None:
        private = remote("private", token=token)
        assert private.invoke(CATS) == await private.ainvoke(CATS) == TOLD
        assert "".join(private.stream(CATS)) == TOLD
        assert private.batch([CATS]) == [TOLD]
        assert [event async for event in private.astream_events(CATS)]

    def test_headers_go_with_every_call(self, remote: Remote) -> None:
        tenant = remote("tenant", headers={"X-Tenant": "acme"})
        assert tenant.invoke(1)["metadata"] == {"tenant": "acme"}
        assert [chunk["metadata"] for chunk in tenant.stream(1)] == [{"tenant": "acme"}]

    async def test_a_session_with_its_csrf_cookie_is_enough(
        self, remote: Remote, session: dict[str, str]
    ) -> None:
        private = remote("private", cookies=session)
        assert private.invoke(CATS) == await private.ainvoke(CATS) == TOLD
        assert "".join(private.stream(CATS)) == TOLD

    def test_a_session_without_it_is_refused(self, remote: Remote, session: dict[str, str]) -> None:
        with pytest.raises(RemoteError) as caught:
            remote("private", cookies=session, csrf_cookie="another").invoke(CATS)
        assert caught.value.code == "csrf_failed"

    @pytest.mark.parametrize(
        ("options", "header", "value"),
        [
            ({"cookies": {"csrftoken": CSRF}}, "X-CSRFToken", CSRF),
            ({"cookies": {"csrftoken": CSRF}, "csrf_header": "X-Other"}, "X-Other", CSRF),
            ({"cookies": {"mine": CSRF}, "csrf_cookie": "mine"}, "X-CSRFToken", CSRF),
            ({"headers": {"Cookie": f"a=b; csrftoken={CSRF}"}}, "X-CSRFToken", CSRF),
            ({"cookies": {"csrftoken": CSRF}}, "Referer", "https://u.test/thing/invoke"),
            (
                {"cookies": {"csrftoken": CSRF}, "headers": {"Referer": "https://b.test/"}},
                "Referer",
                "https://b.test/",
            ),
            ({"token": "secret"}, "Authorization", "Bearer secret"),
        ],
    )
    def test_what_is_sent(self, options: dict[str, Any], header: str, value: str) -> None:
        answer, asked = failing(0, None)
        answering(answer, url="https://u.test/thing", **options).invoke(1)
        assert asked[0].headers[header] == value

    def test_a_password_in_the_url_is_not_in_the_referer(self) -> None:
        answer, asked = failing(0, None)
        url = "https://me:pass@u.test/thing"
        answering(answer, url=url, cookies={"csrftoken": CSRF}).invoke(1)
        assert asked[0].headers["Referer"] == "https://u.test/thing/invoke"

    def test_reading_needs_no_csrf_token(self) -> None:
        answer, asked = failing(0, None)
        answering(answer, cookies={"csrftoken": CSRF}).get_input_jsonschema()
        assert "X-CSRFToken" not in asked[0].headers

    @pytest.mark.parametrize(
        ("url", "asked_for"),
        [
            ("http://u.test", "http://u.test/invoke"),
            ("http://u.test/", "http://u.test/invoke"),
            ("http://u.test/a/b/", "http://u.test/a/b/invoke"),
            ("http://u.test/a%2Fb", "http://u.test/a%2Fb/invoke"),
            ("http://u.test/a?version=3", "http://u.test/a/invoke?version=3"),
            ("http://u.test/a/c/N4Ig-+$", "http://u.test/a/c/N4Ig-+$/invoke"),
        ],
    )
    def test_urls(self, url: str, asked_for: str) -> None:
        answer, asked = failing(0, None)
        answering(answer, url=url).invoke(1)
        assert str(asked[0].url) == asked_for

    def test_it_does_not_show_what_it_knows(self) -> None:
        client = answering(saying(b""), url="http://me:pass@u.test/a", token="secret")
        assert repr(client) == "RemoteRunnable('http://u.test/a')"

    def test_a_wrong_certificate_authority_is_noticed_at_once(self, site: LiveSite) -> None:
        client = RemoteRunnable[int, int](f"{site.url}/add_one", verify="/nowhere.pem")
        with pytest.raises(OSError, match="No such file"):
            client.invoke(1)

    def test_certificates_may_be_given_in_every_way(self) -> None:
        context = ssl.create_default_context()
        assert client_http.Options(verify=context).tls is context
        assert client_http.Options(verify=False).tls.verify_mode == ssl.CERT_NONE
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert client_http.Options(verify=True).tls.verify_mode == ssl.CERT_REQUIRED


def test_a_stream_is_read_as_it_comes() -> None:
    """
    Chunk by chunk off the wire: the server sends the second one only after the first was read.
    """
    read = threading.Event()

    def body() -> Any:
        yield b"event: data\ndata: 1\n\n"
        assert read.is_set()
        yield b"event: data\ndata: 2\n\nevent: end\n\n"

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(
            200, content=body(), headers={"Content-Type": "text/event-stream; charset=utf-8"}
        )

    with closing(answering(answer).stream(0)) as chunks:
        assert next(chunks) == 1
        read.set()
        assert list(chunks) == [2]
