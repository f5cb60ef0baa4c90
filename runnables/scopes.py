"""
What a token may be used for. No scope at all is everything that its user may do.
"""

from __future__ import annotations

from collections.abc import Iterable

ACTIONS = ("invoke", "stream", "threads", "feedback", "admin")
DEPLOYMENT = "deployment:"

_STREAMS = ("stream", "stream_log", "stream_events")
# Endpoint -> the actions any one of which opens it; what is not here, any token may read.
_OPENS: dict[str, tuple[str, ...]] = {
    "invoke": ("invoke",),
    "batch": ("invoke",),
    **dict.fromkeys(_STREAMS, ("stream",)),
    # What is done on the socket is asked again, method by method.
    "websocket": ("invoke", "stream"),
    "cancel": ("invoke", "stream"),
    "feedback": ("feedback",),
    "token_feedback": ("feedback",),
    "public_trace_link": ("feedback",),
    "threads": ("threads",),
    "admin": ("admin",),
}


class BadScope(ValueError):
    """
    A scope that means nothing; the text says which are known.
    """


def check_scopes(scopes: Iterable[str]) -> None:
    """
    Raise BadScope unless each is an action or `deployment:<name>`.
    """
    for scope in scopes:
        named = scope.removeprefix(DEPLOYMENT) if scope.startswith(DEPLOYMENT) else ""
        if scope not in ACTIONS and not named:
            raise BadScope(
                f"unknown scope {scope!r}; known are {', '.join(ACTIONS)} and {DEPLOYMENT}<name>"
            )


def allows(scopes: Iterable[str], endpoint: str, deployment: str) -> bool:
    """
    Whether a token with these scopes opens this endpoint of the deployment of that name.
    """
    scopes = list(scopes)
    deployments = [scope for scope in scopes if scope.startswith(DEPLOYMENT)]
    if deployments and f"{DEPLOYMENT}{deployment}" not in deployments:
        return False
    actions = [scope for scope in scopes if scope in ACTIONS]
    wanted = _OPENS.get(endpoint)
    return not actions or wanted is None or any(action in actions for action in wanted)
