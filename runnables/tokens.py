"""
API tokens are made and revoked here: by their owner's page, the admin and the command line alike.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib.admin.models import ADDITION, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from knox.settings import knox_settings

from runnables.models import ApiToken, Deployment
from runnables.scopes import DEPLOYMENT, BadScope, check_scopes

logger = logging.getLogger(__name__)

# Valid ones; two made at the same moment may pass it by one.
MOST_PER_USER = 50
LONGEST_NAME = 100


class TokenRefused(ValueError):
    """
    No such token is made; `field` says which of its values is wrong, if it is one.
    """

    def __init__(self, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


def longest_life() -> timedelta | None:
    """
    How long a new token lives unless told otherwise, and at most; None is for ever.
    """
    life: timedelta | None = knox_settings.TOKEN_TTL
    return life


def default_expiry() -> datetime | None:
    life = longest_life()
    return None if life is None else timezone.now() + life


def valid() -> Q:
    """
    Tokens that have not expired.
    """
    return Q(expiry=None) | Q(expiry__gte=timezone.now())


@transaction.atomic
def create_token(
    *,
    user: Any,
    expires: datetime | None,
    name: str = "",
    scopes: Sequence[str] = (),
    by: Any = None,
) -> tuple[ApiToken, str]:
    """
    A new token as its row and its text, which is kept nowhere; raises TokenRefused.

    `expires` None is never. `by` is the user who does it, for the admin's log.
    """
    name, scopes = name.strip(), list(dict.fromkeys(scopes))
    check_token(user=user, expires=expires, name=name, scopes=scopes)
    life = None if expires is None else expires - timezone.now()
    token: ApiToken
    token, text = ApiToken.objects.create(user, expiry=life, name=name, scopes=scopes)
    until = f"until {token.expiry:%Y-%m-%d %H:%M} UTC" if token.expiry else "without an end"
    _note(ADDITION, token, f"Created {_described(token)}, {until}.", by)
    return token, text


@transaction.atomic
def revoke_tokens(tokens: Iterable[ApiToken], *, by: Any = None) -> int:
    """
    End these tokens at once; returns how many.
    """
    chosen = list(tokens)
    for token in chosen:
        _note(DELETION, token, f"Revoked {_described(token)}.", by)
    ApiToken.objects.filter(pk__in=[token.pk for token in chosen]).delete()
    return len(chosen)


def check_token(
    *, user: Any, expires: datetime | None, name: str = "", scopes: Iterable[str] = ()
) -> None:
    """
    Raise TokenRefused unless `create_token` would make this token.
    """
    if not user.is_active:
        raise TokenRefused(_("This user is switched off."), "user")
    if len(name) > LONGEST_NAME:
        text = _("A name has at most %(count)d characters.") % {"count": LONGEST_NAME}
        raise TokenRefused(text, "name")
    _check_scopes(scopes)
    _check_expiry(expires)
    if ApiToken.objects.filter(valid(), user=user).count() >= MOST_PER_USER:
        text = _("There are %(count)d tokens already, and no more are allowed. Revoke one first.")
        raise TokenRefused(text % {"count": MOST_PER_USER})


def _check_scopes(scopes: Iterable[str]) -> None:
    scopes = list(scopes)
    try:
        check_scopes(scopes)
    except BadScope as error:
        raise TokenRefused(str(error), "scopes") from None
    named = {s.removeprefix(DEPLOYMENT) for s in scopes if s.startswith(DEPLOYMENT)}
    known = Deployment.objects.filter(name__in=named).values_list("name", flat=True)
    if unknown := sorted(named - set(known)):
        text = _("There is no deployment with this name: %(names)s.")
        raise TokenRefused(text % {"names": ", ".join(unknown)}, "scopes")


def _check_expiry(expires: datetime | None) -> None:
    now, longest = timezone.now(), longest_life()
    if expires is not None and expires <= now:
        raise TokenRefused(_("The expiry has to be in the future."), "expires")
    if longest is None:
        return
    if expires is None:
        raise TokenRefused(_("Tokens without an end are not allowed here."), "expires")
    if expires - now > longest:
        text = _("Tokens may live for %(days)s days at most.") % {"days": f"{longest.days:d}"}
        raise TokenRefused(text, "expires")


def _described(token: ApiToken) -> str:
    named = f"the token {token.name!r}" if token.name else "a token"
    scopes = ", ".join(token.scopes) or "everything"
    return f"{named} of {token.user} for {scopes} ({token.beginning})"


def _note(flag: int, token: ApiToken, text: str, by: Any) -> None:
    if by is None:
        return
    logger.info("%s By: %s.", text, by)
    LogEntry.objects.create(
        user_id=by.pk,
        content_type=ContentType.objects.get_for_model(ApiToken),
        object_id=token.pk,
        object_repr=str(token)[:200],
        action_flag=flag,
        change_message=text,
    )
