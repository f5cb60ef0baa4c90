"""
May they: the one gate, asked at every door once `runnables.identity` knows who is calling.

A deployment's access matrix says what each audience may do; rights add up. Tokens may be
narrower than their user, and a registration's own permission classes have the last word.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.utils.translation import gettext as _

from runnables import scopes
from runnables.exceptions import (
    EndpointOff,
    InMaintenance,
    NotAuthenticated,
    NotPermitted,
    ServingError,
    UnknownDeployment,
    UnknownEndpoint,
)
from runnables.identity import CallerRequest, groups_of, identify
from runnables.permissions import PERMISSIONS, Permissions

if TYPE_CHECKING:
    from runnables.served import ServedDeployment


async def admit(
    request: HttpRequest,
    deployment: ServedDeployment,
    endpoint: str,
    config_hash: str | None = None,
) -> CallerRequest:
    """
    The caller, if they may use this endpoint of the deployment.

    Raises NotAuthenticated, NotPermitted, CsrfFailed, UnknownEndpoint, EndpointOff,
    InMaintenance, or UnknownDeployment where the caller may not even know that it exists.
    """
    if deployment.listed:
        caller = await identify(request)
    else:
        with hidden(deployment):
            caller = await identify(request)
    await let_in(caller, deployment, endpoint, config_hash)
    return caller


@contextmanager
def hidden(deployment: ServedDeployment) -> Iterator[None]:
    """
    Who is calling is asked within it: what is wrong with the answer does not betray a
    deployment that nobody is told of.
    """
    try:
        yield
    except ServingError:
        if deployment.listed:
            raise
        raise UnknownDeployment from None


async def let_in(
    caller: CallerRequest,
    deployment: ServedDeployment,
    endpoint: str,
    config_hash: str | None = None,
) -> None:
    """
    Raise what `admit` raises if this caller may not use the endpoint.
    """
    if "run" not in deployment.matrix.public or caller.auth:
        _require_run(caller, deployment, endpoint)
    for permission in deployment.options.permission_classes:
        await _ask(permission(), caller)
    # After the gate: who may not know of the deployment learns nothing from these either.
    _require_endpoint(deployment, endpoint, config_hash)
    if deployment.maintenance and endpoint in RUNS:
        raise InMaintenance(*deployment.maintenance)


# Doors of runs that were let in before: no switch closes them.
ALWAYS_ON = frozenset(("cancel", "run"))
# What maintenance closes: schemas still answer, and what goes on can still be cancelled.
RUNS = frozenset(("invoke", "batch", "stream", "stream_log", "stream_events"))
# Routes that are there all the same while a deployment has not switched them on.
OPTIONAL = frozenset(("feedback",))


def permissions(caller: CallerRequest, deployment: ServedDeployment) -> Permissions:
    """
    All that this caller may do with the deployment.
    """
    return deployment.matrix.permissions(caller.user, caller.groups)


def require(caller: CallerRequest, deployment: ServedDeployment, permission: str) -> None:
    """
    Raise NotAuthenticated or NotPermitted, naming the permission, if the caller lacks it.
    """
    if permission in permissions(caller, deployment):
        return
    if not caller.user.is_authenticated:
        raise NotAuthenticated(headers={"WWW-Authenticate": "Bearer"})
    raise NotPermitted(
        f"You may not {PERMISSIONS[permission]} (permission: {permission}) at {deployment.name!r}."
    )


def refusal(caller: CallerRequest, deployment: ServedDeployment) -> str:
    """
    Why this caller may not run the deployment, or an empty text.
    """
    if "run" in permissions(caller, deployment):
        return ""
    audience = deployment.matrix.audience
    if not caller.user.is_authenticated and audience != "nobody":
        return "sign in first"
    return {
        "staff": "it is for staff",
        "groups": "it is for members of certain groups",
    }.get(audience, "it is closed to everybody")


def explain(user: Any, deployment: ServedDeployment) -> dict[str, list[str]]:
    """
    Permission -> where this user has it from, in words; an empty list is "may not". For
    AnonymousUser too. Asks the database for the user's groups.
    """
    groups = groups_of(user)
    words = {
        "public": _("everybody may"),
        "authenticated": _("signed-in users may"),
        "staff": _("staff may"),
        "user": _("this user may"),
        "superuser": _("superusers may do everything"),
    }
    # Neither a session nor a token of theirs counts: not even what everybody may do.
    is_locked_out = user.is_authenticated and not user.is_active
    sources = {} if is_locked_out else deployment.matrix.by_audience(user, groups)
    named = {key: words.get(key) or _("members of %s may") % groups[key] for key in sources}
    return {
        permission: [named[key] for key, may in sources.items() if permission in may]
        for permission in PERMISSIONS
    }


def answer(user: Any, deployment: ServedDeployment) -> ServingError | None:
    """
    What this user would be refused with, as far as the access matrix says; None if they may
    call. Asks the database for the user's groups.
    """
    caller = CallerRequest(HttpRequest(), user, None, groups_of(user))
    try:
        _require_run(caller, deployment, "")
    except ServingError as error:
        return error
    return None


async def may_use(
    caller: CallerRequest, deployments: Iterable[ServedDeployment]
) -> list[ServedDeployment]:
    """
    Those of the deployments that this caller may use, whatever endpoint. Not for the hot
    path: it asks every deployment's own permissions.
    """
    allowed = []
    for deployment in deployments:
        try:
            _require_run(caller, deployment, "")
            for permission in deployment.options.permission_classes:
                await _ask(permission(), caller)
        except ServingError:
            continue
        allowed.append(deployment)
    return allowed


def _require_run(caller: CallerRequest, deployment: ServedDeployment, endpoint: str) -> None:
    if reason := refusal(caller, deployment):
        raise _refused(caller, deployment, reason)
    if caller.auth and not scopes.allows(caller.auth.scopes, endpoint, deployment.name):
        if not deployment.listed:
            raise UnknownDeployment
        raise NotPermitted(
            f"The scopes of this token do not open {endpoint or 'this'} of {deployment.name!r}.",
            code="token_scope",
        )


def _require_endpoint(deployment: ServedDeployment, endpoint: str, config_hash: str | None) -> None:
    """
    Raise UnknownEndpoint where this endpoint, or config in the path, is switched off, and
    EndpointOff where clients of LangServe expect that.
    """
    if endpoint in OPTIONAL and endpoint not in deployment.endpoints:
        raise EndpointOff(f"{endpoint} is not switched on for {deployment.name!r}.")
    if endpoint not in ALWAYS_ON and endpoint not in deployment.endpoints:
        raise UnknownEndpoint
    if config_hash is not None and "config_hashes" not in deployment.endpoints:
        raise UnknownEndpoint


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
