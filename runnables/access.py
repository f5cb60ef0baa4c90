"""
Who is calling, and may they: the one gate, asked at every door.

Channels consumers pass by Django's middleware, and our DRF views run without it, so
nothing here is left to middleware. Anonymous callers cost no query, others one.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth import get_user as user_of_session
from django.contrib.auth.models import AnonymousUser, Group
from django.db.models import Exists, OuterRef, Value
from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.datastructures import MultiValueDict
from django.utils.http import is_same_domain
from django.utils.module_loading import import_string
from knox.crypto import hash_token

from runnables import database, sessions
from runnables.exceptions import (
    CsrfFailed,
    NotAuthenticated,
    NotPermitted,
    ServingError,
    UnknownDeployment,
)
from runnables.models import ApiToken, Session

if TYPE_CHECKING:
    from runnables.snapshot import ServedDeployment

logger = logging.getLogger(__name__)

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
LAST_USED_EVERY = timedelta(minutes=1)
ANONYMOUS = AnonymousUser()


class CallerRequest:
    """
    Who calls and with what: given to config modifiers, callback factories and permissions.

    `user` is a Django user or AnonymousUser, `auth` the API token or None, `data` the
    decoded JSON body. It reads like a DRF request, and `await request.json()` works too.
    """

    def __init__(
        self, request: HttpRequest, user: Any = ANONYMOUS, auth: ApiToken | None = None
    ) -> None:
        self.http = request
        self.user = user
        self.auth = auth
        self.data: Any = None
        self.raw_body = b""
        self.in_groups = False

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
        return f"u{_plain_key(self.user.pk)}" if self.user.is_authenticated else ""

    @cached_property
    def run_id(self) -> UUID | None:
        """
        The run id that the caller chose, if it is one; a door may set it.
        """
        try:
            return UUID(self.http.META["HTTP_X_RUN_ID"])
        except (KeyError, ValueError):
            return None


async def admit(request: HttpRequest, deployment: ServedDeployment) -> CallerRequest:
    """
    The caller, if they may use this deployment.

    Raises NotAuthenticated, NotPermitted, CsrfFailed, or UnknownDeployment where the
    caller may not even know that it exists.
    """
    caller = await identify(request, deployment.group_ids)
    await let_in(caller, deployment)
    return caller


async def let_in(caller: CallerRequest, deployment: ServedDeployment) -> None:
    """
    Raise what `admit` raises if this caller may not use the deployment.
    """
    if reason := refusal(caller, deployment):
        raise _refused(caller, deployment, reason)
    for permission in deployment.options.permission_classes:
        await _ask(permission(), caller)


def refusal(caller: CallerRequest, deployment: ServedDeployment) -> str:
    """
    Why this caller may not run the deployment, or an empty text.
    """
    if deployment.access == "public" or caller.user.is_superuser:
        return ""
    if not caller.user.is_authenticated:
        return "sign in first"
    if deployment.access == "staff" and not caller.user.is_staff:
        return "it is for staff"
    if deployment.access == "groups" and not caller.in_groups:
        return "it is for members of certain groups"
    return ""


async def identify(request: HttpRequest, group_ids: Iterable[int] = ()) -> CallerRequest:
    """
    Who calls: by token, else by session with its CSRF token, else anonymous.

    A request with a token is judged by the token alone. `in_groups` of the result says
    whether the user is in any of `group_ids`.
    """
    meta = request.META
    authorization = meta.get("HTTP_AUTHORIZATION", "")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer" or "HTTP_X_API_KEY" in meta:
        return await _by_token(request, token.strip() or meta.get("HTTP_X_API_KEY", ""), group_ids)
    if "HTTP_COOKIE" in meta and (key := request.COOKIES.get(settings.SESSION_COOKIE_NAME)):
        return await _by_session(request, key, group_ids)
    return CallerRequest(request)


async def identify_socket(request: HttpRequest, group_ids: Iterable[int] = ()) -> CallerRequest:
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
    caller = await identify(request, group_ids)
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


async def may_use(
    caller: CallerRequest, deployments: Iterable[ServedDeployment]
) -> list[ServedDeployment]:
    """
    Those of the deployments that this caller may use. Not for the hot path: it asks the
    caller's groups, and every deployment's own permissions.
    """
    groups = await database.query(lambda: _group_ids(caller))
    allowed = []
    for deployment in deployments:
        caller.in_groups = bool(groups & deployment.group_ids)
        try:
            await let_in(caller, deployment)
        except ServingError:
            continue
        allowed.append(deployment)
    return allowed


def _group_ids(caller: CallerRequest) -> set[int]:
    if not caller.user.is_authenticated:
        return set()
    return set(caller.user.groups.values_list("pk", flat=True))


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


def _refused(caller: CallerRequest, deployment: ServedDeployment, reason: str) -> Exception:
    if not deployment.listed:
        return UnknownDeployment()
    if not caller.user.is_authenticated:
        return NotAuthenticated(headers={"WWW-Authenticate": "Bearer"})
    return NotPermitted(f"You may not run {deployment.name!r} (permission: run): {reason}.")


async def _ask(permission: Any, caller: CallerRequest) -> None:
    has_permission = permission.has_permission
    if not inspect.iscoroutinefunction(has_permission):
        has_permission = sync_to_async(has_permission)
    if not await has_permission(caller, None):
        message = getattr(permission, "message", None) or "You may not do this."
        if caller.user.is_authenticated:
            raise NotPermitted(str(message), code=getattr(permission, "code", None))
        raise NotAuthenticated(str(message), headers={"WWW-Authenticate": "Bearer"})


async def _by_token(request: HttpRequest, token: str, group_ids: Iterable[int]) -> CallerRequest:
    row = await database.query(lambda: _token_row(token, group_ids)) if token else None
    if row is None:
        raise NotAuthenticated(
            "The token is unknown, expired or revoked.",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    caller = CallerRequest(request, row.user, row)
    caller.in_groups = row.in_groups
    return caller


def _token_row(token: str, group_ids: Iterable[int]) -> Any:
    now = timezone.now()
    tokens = ApiToken.objects.select_related("user").annotate(in_groups=_in_groups(group_ids))
    row = tokens.filter(digest=hash_token(token)).first()
    if row is None or not row.user.is_active or (row.expiry and row.expiry < now):
        return None
    if row.last_used_at is None or now - row.last_used_at > LAST_USED_EVERY:
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
    return row


async def _by_session(request: HttpRequest, key: str, group_ids: Iterable[int]) -> CallerRequest:
    user, in_groups = await database.query(lambda: _session_user(request, key, group_ids))
    if not user.is_authenticated:
        return CallerRequest(request)
    check_csrf(request)
    caller = CallerRequest(request, user)
    caller.in_groups = in_groups
    return caller


def _session_user(request: HttpRequest, key: str, group_ids: Iterable[int]) -> tuple[Any, bool]:
    engine = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    if not issubclass(engine, sessions.SessionStore):
        return _session_user_of_any_engine(request, engine(key), group_ids)
    rows = Session.objects.select_related("user").annotate(in_groups=_in_groups(group_ids))
    row = rows.filter(session_key=key, expire_date__gt=timezone.now()).first()
    if row is None or row.user is None:
        return ANONYMOUS, False
    data = row.get_decoded()
    if data.get(BACKEND_SESSION_KEY) != "django.contrib.auth.backends.ModelBackend":
        return _session_user_of_any_engine(request, engine(key), group_ids)
    if str(row.user.pk) != str(data.get(SESSION_KEY)) or not row.user.is_active:
        return ANONYMOUS, False
    if not _hash_matches(row.user, data.get(HASH_SESSION_KEY, "")):
        return ANONYMOUS, False
    return row.user, row.in_groups


def _session_user_of_any_engine(
    request: HttpRequest, session: Any, group_ids: Iterable[int]
) -> tuple[Any, bool]:
    request.session = session
    user = user_of_session(request)
    wanted = set(group_ids)
    in_groups = (
        bool(wanted) and user.is_authenticated and user.groups.filter(pk__in=wanted).exists()
    )
    return user, in_groups


def _hash_matches(user: Any, session_hash: str) -> bool:
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(session_hash, known) for known in hashes)


def _in_groups(group_ids: Iterable[int]) -> Any:
    wanted = list(group_ids)
    if not wanted:
        return Value(False)
    memberships: Any = Group.user_set.through.objects
    return Exists(memberships.filter(user_id=OuterRef("user_id"), group_id__in=wanted))


def _plain_key(key: Any) -> str:
    """
    A user's key in letters, digits and nothing else, so that it can be a prefix.
    """
    text = str(key)
    if isinstance(key, int) or (isinstance(key, UUID) and (text := key.hex)):
        return text
    return "x" + text.encode().hex()
