"""
Feedback tokens: the right to say one thing about one run, for whoever has it. Nothing is
stored; a token is signed, and made on the hot path: no waiting, no query.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from django.core import signing
from django.core.exceptions import DisallowedHost

from feedback.exceptions import ExpiredFeedbackToken, InvalidFeedbackToken
from runnables.conf import conf

if TYPE_CHECKING:
    from runnables.invocation import Invocation
    from runnables.served import ServedDeployment

SALT = "langserve.feedback"
MOST_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class FeedbackToken:
    """
    What a token says. `expires` is in seconds since the epoch.
    """

    run_id: UUID
    deployment: int
    version: int
    key: str
    expires: int

    def signed(self) -> str:
        content = [self.run_id.hex, self.deployment, self.version, self.key, self.expires]
        return signing.dumps(content, salt=SALT)


def feedback_tokens(call: Invocation) -> dict[str, Any]:
    """
    What joins the metadata of a call's answer, where the deployment gives out tokens.
    """
    key = token_key(call.deployment)
    if key is None or call.deployment.pk is None:
        return {}
    expires = int(time.time()) + conf.feedback_token_seconds
    version = call.version.number
    token = FeedbackToken(call.run_id, call.deployment.pk, version, key, expires)
    return {
        "feedback_tokens": [
            {
                "key": key,
                "token_url": _url(call, token.signed()),
                "expires_at": datetime.fromtimestamp(expires, UTC).isoformat(),
            }
        ]
    }


def token_key(deployment: ServedDeployment) -> str | None:
    """
    The key of the deployment's tokens; None where it gives out none.
    """
    config = deployment.options.token_feedback_config
    if not config or "token_feedback" not in deployment.endpoints:
        return None
    return str(config["key_configs"][0]["key"])


def read_token(token_or_url: str, deployment: ServedDeployment) -> FeedbackToken:
    """
    Raises InvalidFeedbackToken and ExpiredFeedbackToken.
    """
    if len(token_or_url) > MOST_CHARACTERS:
        raise InvalidFeedbackToken
    try:
        content = signing.loads(_bare(token_or_url), salt=SALT)
        run_id, *rest = content
        token = FeedbackToken(UUID(run_id), *rest)
    except (signing.BadSignature, ValueError, TypeError):
        raise InvalidFeedbackToken from None
    if token.deployment != deployment.pk:
        raise InvalidFeedbackToken
    if token.expires <= time.time():
        raise ExpiredFeedbackToken
    return token


def _bare(token_or_url: str) -> str:
    if "?" not in token_or_url:
        return token_or_url
    try:
        query = urlsplit(token_or_url).query
    except ValueError:
        raise InvalidFeedbackToken from None
    return parse_qs(query).get("token", [""])[0]


def _url(call: Invocation, token: str) -> str:
    # Not by reverse(): that would load the whole URLconf, and the admin with it.
    request = call.caller.http
    parts = (request.META.get("SCRIPT_NAME", "").strip("/"), conf.prefix, call.deployment.path)
    path = "/".join(("", *filter(None, parts), f"token_feedback?token={token}"))
    try:
        return request.build_absolute_uri(path)
    except (DisallowedHost, KeyError):
        # A call from the command line has no address.
        return path
