"""
The lean ASGI handler in front of Django.

Django's own costs more per request than the whole of LangServe: a thread, signals sent
through it, a database connection. For the programs' doors this one makes the request
object and calls the view or consumer directly; pages and the admin go to Django. What
Django's middleware would do for them (hosts, HTTPS, CORS, headers) is done here; who may
call what is asked of `runnables.access` by every door itself.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property, lru_cache
from io import BytesIO
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.signals import request_finished
from django.db import DatabaseError
from django.http import HttpResponse
from django.urls import Resolver404, URLPattern, resolve, set_script_prefix

from runnables import database, hooks, problems, processes, snapshot, watcher
from runnables.conf import conf
from runnables.connection import read_body, send_response, while_connected
from runnables.consumers import StreamConsumer
from runnables.exceptions import (
    ClientGone,
    HttpsRequired,
    InvalidRequest,
    ServingError,
    UnsupportedEncoding,
    UpgradeRequired,
    WrongMethod,
)
from runnables.pool import use_pool_of_ours
from runnables.routing import STREAMS, Match, match
from runnables.views import VIEWS
from runnables.websocket import SocketConsumer

logger = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]


class LangServeHandler:
    """
    Takes our doors itself; hands everything else to Django's own handler.
    """

    def __init__(self, routes: Sequence[URLPattern] = ()) -> None:
        self._routes = routes
        self._views: dict[str, Any] = {endpoint: view.as_view() for endpoint, view in VIEWS.items()}
        self._stream = StreamConsumer.as_asgi()
        self._socket = SocketConsumer.as_asgi()
        self._cors = CorsMiddleware(lambda _: HttpResponse())
        self._known_hosts: set[str] = set()
        self._headers = _security_headers()
        self._ready = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._ready:
            self._get_ready()
        path = _path_info(scope)
        found = match(path)
        stream = self._stream
        if found is None or not snapshot.serves(found.path):
            own = self._own_stream(path)
            if own is None and (found is None or _is_own_route(path)):
                await self._django(scope, receive, send)
                return
            found, stream = found or Match("", ""), own or stream
        async with _own_thread(self):
            await self._serve(found, stream, scope, receive, send)

    def _own_stream(self, path: str) -> Any:
        """
        The consumer of the site's own that is routed at this path, if any.
        """
        for route in self._routes:
            if route.pattern.match(path.lstrip("/")):
                return route.callback
        return None

    async def _websocket(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._ready:
            self._get_ready()
        found = match(_path_info(scope))
        if found is None or found.endpoint != "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        scope["langserve"] = found
        async with _own_thread(self):
            await self._socket(scope, receive, send)

    async def _serve(self, found: Match, stream: Any, scope: Any, receive: Any, send: Any) -> None:
        set_script_prefix(get_script_prefix(scope))
        extra = self._headers
        try:
            request = _request(scope)
            extra = self._extra_headers(request)
            self._refuse_badly_addressed(request)
            if preflight := self._preflight(request):
                return await send_response(preflight, send, extra)
            if found.endpoint == "websocket":
                raise UpgradeRequired if request.method == "GET" else WrongMethod("GET")
            if found.endpoint in STREAMS or stream is not self._stream:
                scope["langserve"] = (request, found, extra)
                await stream(scope, receive, send)
                return
            body = await read_body(receive, snapshot.largest_body(found.path))
        except ClientGone:
            return
        except ServingError as error:
            return await send_response(problems.response(error), send, extra)
        # What ASGIRequest keeps of its body: the stream that `read()` reads.
        request._stream = BytesIO(body)
        answer = self._views[found.endpoint](request, **_arguments(found))
        response = await while_connected(answer, receive)
        if response is not None:
            await send_response(response, send, extra)

    @cached_property
    def _django(self) -> ASGIHandler:
        """
        Made at the first page: middleware, URLs and the admin are a fifth of the start-up.
        """
        return ASGIHandler()

    def _refuse_badly_addressed(self, request: ASGIRequest) -> None:
        host = request.META.get("HTTP_HOST", "")
        if host not in self._known_hosts:
            try:
                request.get_host()
            except DisallowedHost:
                raise InvalidRequest(
                    "This site is not served under that host name. Its operator can add it to ALLOWED_HOSTS.",
                    code="disallowed_host",
                ) from None
            if len(self._known_hosts) < 1000 and not settings.USE_X_FORWARDED_HOST:
                self._known_hosts.add(host)
        if settings.SECURE_SSL_REDIRECT and not request.is_secure():
            raise HttpsRequired
        if request.META.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
            raise UnsupportedEncoding

    def _preflight(self, request: ASGIRequest) -> HttpResponse | None:
        if request.method != "OPTIONS" or "HTTP_ORIGIN" not in request.META:
            return None
        return self._cors.check_preflight(request)  # type: ignore[return-value]

    def _extra_headers(self, request: ASGIRequest) -> Headers:
        if "HTTP_ORIGIN" not in request.META:
            return self._headers
        cors = self._cors.add_response_headers(request, HttpResponse(content_type=""))
        named = [(name, value) for name, value in cors.items() if name.startswith("access-control")]
        return [*self._headers, *((name.encode(), value.encode("latin1")) for name, value in named)]

    def _get_ready(self) -> None:
        """
        What a server without lifespan events never asked for.
        """
        use_pool_of_ours()
        watcher.watch()
        # What is loaded now stays: a full collection need not walk it while a stream waits.
        gc.freeze()
        self._ready = True

    async def _leave(self) -> None:
        """
        Write what was counted last, and take this process off the list.
        """
        try:
            if conf.poll_seconds:
                await asyncio.to_thread(watcher.stop)
                for hook in hooks.stopping:
                    await database.query(hook)
                await database.query(watcher.write_figures)
                await database.query(processes.leave)
        except DatabaseError:
            logger.exception("the last figures of this process could not be written")
        database.close()

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._get_ready()
                try:
                    await snapshot.loaded()
                except ServingError:
                    # Logged there. The database may come later; until then calls get 503.
                    logger.warning("started without deployments")
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._leave()
                await send({"type": "lifespan.shutdown.complete"})
                return


@asynccontextmanager
async def _own_thread(sender: object) -> AsyncIterator[None]:
    """
    Django's synchronous code of one request shares a thread with no other request.
    """
    async with ThreadSensitiveContext() as context:
        try:
            yield
        finally:
            # Signals and closing connections cost a thread: only where one was used.
            if context in SyncToAsync.context_to_thread_executor:
                await sync_to_async(request_finished.send)(sender=type(sender))


@lru_cache(maxsize=1024)
def _is_own_route(path: str) -> bool:
    """
    Whether the site's URLconf has a view of its own where a deployment could be.
    """
    try:
        return resolve(f"/{path.lstrip('/')}").namespace != "langserve"
    except Resolver404:
        return False


def _path_info(scope: Any) -> str:
    """
    The path below the mount point of our URLs.
    """
    path: str = scope["path"]
    prefix = get_script_prefix(scope).rstrip("/")
    if prefix and path.startswith(prefix):
        path = path[len(prefix) :]
    if conf.prefix:
        inside, matched, below = path.partition(f"/{conf.prefix}/")
        path = below if matched and not inside else "/admin"  # nothing of ours
    return path


def _request(scope: Any) -> ASGIRequest:
    try:
        return ASGIRequest(scope, BytesIO())
    except UnicodeDecodeError:
        raise InvalidRequest("The URL is not valid UTF-8.") from None


def _arguments(found: Match) -> dict[str, str]:
    arguments = {"path": found.path}
    if found.config_hash is not None:
        arguments["config_hash"] = found.config_hash
    if found.run_id is not None:
        arguments["run_id"] = found.run_id
    return arguments


def _security_headers() -> Headers:
    headers = [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"x-frame-options", settings.X_FRAME_OPTIONS.encode()),
        (b"vary", b"origin"),
    ]
    if settings.SECURE_HSTS_SECONDS:
        value = f"max-age={settings.SECURE_HSTS_SECONDS}"
        value += "; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else ""
        value += "; preload" if settings.SECURE_HSTS_PRELOAD else ""
        headers.append((b"strict-transport-security", value.encode()))
    return headers
