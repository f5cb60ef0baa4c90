"""
Who is calling: by token, by session or nobody. Anonymous callers cost no query, others one.

Channels consumers pass by Django's middleware, and our DRF views run without it, so
nothing here is left to middleware.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cache, cached_property
from ipaddress import IPv6Address, ip_address
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth import get_user as user_of_session
from django.contrib.auth.models import AnonymousUser
from django.db.models import F
from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.datastructures import MultiValueDict
from django.utils.http import is_same_domain
from django.utils.module_loading import import_string
from knox.crypto import hash_token

from runnables import database, sessions
from runnables.conf import conf
from runnables.exceptions import CsrfFailed, NotAuthenticated, NotPermitted
from runnables.models import ApiToken, Session

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
LAST_USED_EVERY = timedelta(minutes=1)
ANONYMOUS = AnonymousUser()


class CallerRequest:
    """
    Who calls and with what: given to config modifiers, callback factories and permissions.

    `user` is a Django user or AnonymousUser, `auth` the API token or None, `data` the
    decoded JSON body, `groups` the user's groups as {primary key: name}. It reads like a
    DRF request, and `await request.json()` works too.
    """

    def __init__(
        self,
        request: HttpRequest,
        user: Any = ANONYMOUS,
        auth: ApiToken | None = None,
        groups: Mapping[int, str] | None = None,
    ) -> None:
        self.http = request
        self.user = user
        self.auth = auth
        self.groups = groups or {}
        self.data: Any = None
        self.raw_body = b""
        # Whether a run that goes on asks again and again if this caller still may.
        self.is_asked_again = True
        # How the call came: http, websocket or command.
        self.transport = "http"

    @property
    def method(self) -> str:
        return self.http.method or ""

    @property
    def path(self) -> str:
        return self.http.path

    @property
    def headers(self) -> Mapping[str, str]:
        return self.http.headers

    @property
    def META(self) -> dict[str, Any]:
        return self.http.META

    @property
    def cookies(self) -> Mapping[str, str]:
        return self.http.COOKIES

    @property
    def query_params(self) -> QueryDict:
        return self.http.GET

    async def body(self) -> bytes:
        return self.raw_body or orjson.dumps(self.data)

    async def json(self) -> Any:
        return self.data

    @cached_property
    def principal(self) -> str:
        """
        One short text per owner of things; empty for anonymous callers.
        """
        return principal_of(self.user)

    @cached_property
    def run_id(self) -> UUID | None:
        """
        The run id that the caller chose, if it is one; a door may set it.
        """
        try:
            return UUID(self.http.META["HTTP_X_RUN_ID"])
        except (KeyError, ValueError):
            return None

    @property
    def wanted_version(self) -> str:
        """
        The version that the caller asks for by `?version=`, or by a header where the client
        makes the URL; an empty text if none.
        """
        meta = self.http.META
        if "version=" in meta.get("QUERY_STRING", ""):
            return str(self.http.GET.get("version", ""))
        return str(meta.get("HTTP_X_DEPLOYMENT_VERSION", ""))

    @cached_property
    def address(self) -> str:
        """
        Where an anonymous caller calls from; an IPv6 caller's network, which is one customer.
        """
        return client_address(self.http.META)


async def identify(request: HttpRequest) -> CallerRequest:
    """
    Who calls: by token, else by session with its CSRF token, else anonymous.

    A request with a token is judged by the token alone.
    """
    meta = request.META
    authorization = meta.get("HTTP_AUTHORIZATION", "")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer" or "HTTP_X_API_KEY" in meta:
        return await _by_token(request, token.strip() or meta.get("HTTP_X_API_KEY", ""))
    if "HTTP_COOKIE" in meta and (key := request.COOKIES.get(settings.SESSION_COOKIE_NAME)):
        return await _by_session(request, key)
    return CallerRequest(request)


async def identify_socket(request: HttpRequest) -> CallerRequest:
    """
    The same for a WebSocket, where an Origin of our own stands for the CSRF token.

    Programs send no Origin, and then no session counts; a foreign one is always refused.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is not None and not _is_trusted_origin(request, origin):
        raise NotPermitted(
            "WebSockets are not open to pages of this origin. Its operator can add it to "
            "CSRF_TRUSTED_ORIGINS or CORS_ALLOWED_ORIGINS.",
            code="origin_not_allowed",
        )
    caller = await identify(request)
    if origin is None and caller.user.is_authenticated and caller.auth is None:
        raise NotPermitted(
            "A session counts only with an Origin header. Programs call with a token.",
            code="origin_not_allowed",
        )
    return caller


def _is_trusted_origin(request: HttpRequest, origin: str) -> bool:
    if origin == f"{request.scheme}://{request.get_host()}":
        return True
    if origin in settings.CORS_ALLOWED_ORIGINS or origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    scheme, _, host = origin.partition("://")
    # "https://*.example.org" is how Django spells all subdomains.
    patterns = [p.partition("://") for p in settings.CSRF_TRUSTED_ORIGINS if "://*." in p]
    return any(scheme == s and is_same_domain(host, h.removeprefix("*")) for s, _, h in patterns)


def check_csrf(request: HttpRequest) -> None:
    """
    What Django's middleware checks for a view; raises CsrfFailed.
    """
    if request.method in SAFE_METHODS:
        return
    # The token comes by header. Django would look for it in the body too, and use that up.
    request._post = QueryDict()  # type: ignore[attr-defined]
    request._files = MultiValueDict()  # type: ignore[attr-defined]
    check = _CsrfCheck(_nothing)
    check.process_request(request)
    reason = check.process_view(request, _nothing, (), {})
    if reason:
        raise CsrfFailed(
            f"CSRF check failed: {reason} Send the token of the csrftoken cookie as X-CSRFToken, "
            "or call with an API token instead of a session."
        )


def _nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


class _CsrfCheck(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


async def _by_token(request: HttpRequest, token: str) -> CallerRequest:
    rows = await database.query(lambda: _token_rows(token)) if token else []
    if not rows:
        raise NotAuthenticated(
            "The token is unknown, expired or revoked.",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    return CallerRequest(request, rows[0].user, rows[0], _groups(rows))


def _token_rows(token: str) -> list[Any]:
    """
    The token with its user, once for each of the user's groups.
    """
    now = timezone.now()
    rows = list(_with_groups(ApiToken).filter(digest=hash_token(token)))
    if not rows or not rows[0].user.is_active or (rows[0].expiry and rows[0].expiry < now):
        return []
    if rows[0].last_used_at is None or now - rows[0].last_used_at > LAST_USED_EVERY:
        ApiToken.objects.filter(pk=rows[0].pk).update(last_used_at=now)
    return rows


async def _by_session(request: HttpRequest, key: str) -> CallerRequest:
    user, groups = await database.query(lambda: _session_user(request, key))
    if not user.is_authenticated:
        return CallerRequest(request)
    check_csrf(request)
    return CallerRequest(request, user, None, groups)


def _session_user(request: HttpRequest, key: str) -> tuple[Any, dict[int, str]]:
    engine = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    if not issubclass(engine, sessions.SessionStore):
        return _session_user_of_any_engine(request, engine(key))
    kept = _with_groups(Session)
    rows: list[Any] = list(kept.filter(session_key=key, expire_date__gt=timezone.now()))
    if not rows or rows[0].user is None:
        return ANONYMOUS, {}
    user, data = rows[0].user, rows[0].get_decoded()
    if data.get(BACKEND_SESSION_KEY) != "django.contrib.auth.backends.ModelBackend":
        return _session_user_of_any_engine(request, engine(key))
    if str(user.pk) != str(data.get(SESSION_KEY)) or not user.is_active:
        return ANONYMOUS, {}
    if not _hash_matches(user, data.get(HASH_SESSION_KEY, "")):
        return ANONYMOUS, {}
    return user, _groups(rows)


def _session_user_of_any_engine(request: HttpRequest, session: Any) -> tuple[Any, dict[int, str]]:
    request.session = session
    user: Any = user_of_session(request)
    return user, groups_of(user)


def principal_of(user: Any) -> str:
    """
    One short text per owner of things; empty for AnonymousUser.
    """
    return f"u{_plain_key(user.pk)}" if user.is_authenticated else ""


def groups_of(user: Any) -> dict[int, str]:
    """
    A user's groups as {primary key: name}; asks the database.
    """
    return dict(user.groups.values_list("pk", "name")) if user.is_authenticated else {}


@cache
def _with_groups(model: Any) -> Any:
    """
    All rows with their users, once for each of the user's groups: one query tells who
    calls. Made once, since finding the way to the groups costs as much as the query.
    """
    rows = model._default_manager.select_related("user")
    return rows.annotate(group_id=F("user__groups__pk"), group_name=F("user__groups__name"))


def _groups(rows: list[Any]) -> dict[int, str]:
    return {row.group_id: row.group_name for row in rows if row.group_id is not None}


def _hash_matches(user: Any, session_hash: str) -> bool:
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(session_hash, known) for known in hashes)


def client_address(meta: Mapping[str, Any]) -> str:
    """
    The address of the client, behind as many proxies as `TRUSTED_PROXIES` says.
    """
    forwarded = [part.strip() for part in meta.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    proxies = conf.trusted_proxies
    address = meta.get("REMOTE_ADDR") or ""
    if proxies and forwarded[-1]:
        address = forwarded[-min(proxies, len(forwarded))]
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64)
    return str(parsed)


def _plain_key(key: Any) -> str:
    """
    A user's key in letters, digits and nothing else, so that it can be a prefix.
    """
    text = str(key)
    if isinstance(key, int) or (isinstance(key, UUID) and (text := key.hex)):
        return text
    return "x" + text.encode().hex()
