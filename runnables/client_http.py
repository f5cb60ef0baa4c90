"""
How the Python client speaks HTTP: its httpx clients, CSRF, retries.

A call is repeated only when that cannot run anything twice: a GET, or a POST for which no
connection was made.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import threading
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from runnables import __version__
from runnables.client_errors import bad_reply, refusal, retry_after

CONNECT_SECONDS = 10.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
BUSY = frozenset({429, 503})
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
SSE = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream",
    "Cache-Control": "no-store",
    # A proxy that compresses tends to hold chunks back.
    "Accept-Encoding": "identity",
}


@dataclass(frozen=True, slots=True)
class Call:
    """
    One request. A call that streams has its body read by whoever asked for it.
    """

    method: str
    url: str
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def streams(self) -> bool:
        return self.headers.get("Accept") == SSE["Accept"]


@dataclass(frozen=True)
class Options:
    """
    What every request of one `RemoteRunnable` has in common.
    """

    timeout: float | httpx.Timeout | None = None
    auth: Any = None
    headers: Any = None
    cookies: Any = None
    verify: ssl.SSLContext | str | bool = True
    cert: str | tuple[str, ...] | None = None
    client_kwargs: Mapping[str, Any] = field(default_factory=dict)
    token: str | None = None
    retries: int = 2
    csrf_cookie: str = "csrftoken"
    csrf_header: str = "X-CSRFToken"

    def of_client(self) -> dict[str, Any]:
        """
        Arguments for `httpx.Client` and `httpx.AsyncClient`.
        """
        # None is no limit, as in LangServe; but a host that is not there should be noticed.
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        return {
            "timeout": timeout if self.timeout is None else self.timeout,
            "auth": self.auth,
            "headers": self._headers(),
            "cookies": self.cookies,
            "verify": self.tls,
            **self.client_kwargs,
        }

    def _headers(self) -> httpx.Headers:
        headers = httpx.Headers({"User-Agent": f"django-langserve/{__version__}"})
        headers.update(self.headers)
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """
        Made once for all clients: to read the certificates takes longer than most calls.
        """
        if isinstance(self.verify, str):
            folder = Path(self.verify).is_dir()
            context = ssl.create_default_context(
                cafile=None if folder else self.verify, capath=self.verify if folder else None
            )
        elif isinstance(self.verify, ssl.SSLContext):
            context = self.verify
        else:
            context = httpx.create_ssl_context(verify=self.verify)
        if self.cert:
            parts = (self.cert,) if isinstance(self.cert, str) else self.cert
            context.load_cert_chain(*parts)
        return context

    def prepared(self, request: httpx.Request) -> httpx.Request:
        """
        The request with the CSRF token of the cookies that go with it, as Django wants it.
        """
        token = _cookie(request.headers.get("cookie", ""), self.csrf_cookie)
        if token and request.method == "POST":
            request.headers.setdefault(self.csrf_header, token)
            if request.url.scheme == "https":
                request.headers.setdefault("Referer", str(request.url.copy_with(userinfo=b"")))
        return request

    def pause(self, attempt: int, call: Call, outcome: httpx.Response | Exception) -> float | None:
        """
        Seconds until this call may be tried again, or None for never.
        """
        if attempt >= self.retries or not _may_repeat(call, outcome):
            return None
        asked = retry_after(outcome) if isinstance(outcome, httpx.Response) else None
        if asked is None:
            return FIRST_PAUSE * 2.0**attempt * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        return asked if asked <= LONGEST_PAUSE else None


class Http:
    """
    The httpx clients of one `RemoteRunnable`: one for threads, one for each event loop,
    since connections belong to the loop that opened them. Made when first needed.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = (
            weakref.WeakKeyDictionary()
        )

    def send(self, call: Call) -> httpx.Response:
        """
        The answer, whatever its status.
        """
        client = self._sync_client()
        for attempt in count():
            try:
                response = client.send(self._request(client, call), stream=call.streams)
            except httpx.TransportError as error:
                pause = self.options.pause(attempt, call, error)
                if pause is None:
                    raise
            else:
                pause = self.options.pause(attempt, call, response)
                if pause is None:
                    return response
                response.close()
            time.sleep(pause)
        raise AssertionError("unreachable")

    async def asend(self, call: Call) -> httpx.Response:
        client = await self._async_client()
        for attempt in count():
            try:
                response = await client.send(self._request(client, call), stream=call.streams)
            except httpx.TransportError as error:
                pause = self.options.pause(attempt, call, error)
                if pause is None:
                    raise
            else:
                pause = self.options.pause(attempt, call, response)
                if pause is None:
                    return response
                await response.aclose()
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    def ask(self, call: Call) -> httpx.Response:
        """
        The answer, if it is a success; raises RemoteError.
        """
        response = self.send(call)
        if not response.is_success:
            raise refusal(response)
        return response

    async def aask(self, call: Call) -> httpx.Response:
        response = await self.asend(call)
        if not response.is_success:
            raise refusal(response)
        return response

    @contextmanager
    def streaming(self, call: Call) -> Iterator[httpx.Response]:
        """
        An answer whose body is still to come. Leaving the block early hangs up.
        """
        response = self.send(call)
        try:
            if not response.is_success:
                response.read()
            _require_events(response)
            yield response
        finally:
            response.close()

    @asynccontextmanager
    async def astreaming(self, call: Call) -> AsyncIterator[httpx.Response]:
        response = await self.asend(call)
        try:
            if not response.is_success:
                await response.aread()
            _require_events(response)
            yield response
        finally:
            await response.aclose()

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client:
            client.close()

    async def aclose(self) -> None:
        """
        Close what this loop has opened, and what threads have.
        """
        self.close()
        if kept := self._by_loop.pop(asyncio.get_running_loop(), None):
            await kept.keeper.aclose()

    def _request(self, client: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
        request = client.build_request(
            call.method, call.url, content=call.content, headers=dict(call.headers)
        )
        return self.options.prepared(request)

    def _sync_client(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(**self.options.of_client())
                weakref.finalize(self, self._client.close)
            return self._client

    async def _async_client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if kept := self._by_loop.get(loop):
            return kept.client
        with self._lock:
            for other in [known for known in self._by_loop if known.is_closed()]:
                del self._by_loop[other]
            client = httpx.AsyncClient(**self.options.of_client())
            kept = self._by_loop[loop] = _Kept(client, _keep(client))
        await anext(kept.keeper)
        return client


@dataclass(frozen=True, slots=True)
class _Kept:
    client: httpx.AsyncClient
    keeper: AsyncGenerator[None, None]


async def _keep(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    """
    Closes the client when the loop ends or forgets it: a loop closes the generators that
    were begun in it, which is the only farewell that it offers.
    """
    try:
        yield
    finally:
        await client.aclose()


def _may_repeat(call: Call, outcome: httpx.Response | Exception) -> bool:
    if isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout):
        return True
    if call.method != "GET":
        return False
    return isinstance(outcome, Exception) or outcome.status_code in BUSY


def _require_events(response: httpx.Response) -> None:
    if not response.is_success:
        raise refusal(response)
    kind = response.headers.get("content-type", "nothing")
    if "text/event-stream" not in kind:
        raise bad_reply(response, f"Expected a stream of events, not {kind}.")


def _cookie(header: str, name: str) -> str | None:
    """
    A cookie by its name as Django reads them: of two, the later one.
    """
    pairs = (part.partition("=") for part in header.split(";"))
    return {key.strip(): value.strip() for key, _, value in pairs}.get(name)
