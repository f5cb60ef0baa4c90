"""
manage.py langserve token create | list | revoke
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from knox.crypto import hash_token

from runnables.models import ApiToken
from runnables.scopes import ACTIONS, DEPLOYMENT
from runnables.tokens import TokenRefused, create_token, default_expiry, revoke_tokens

SCOPES = f"{', '.join(ACTIONS)} and {DEPLOYMENT}NAME"


def add_arguments(commands: Any, command: Any) -> None:
    """
    Add `token` and what is below it to the subcommands of a command that can `say`.
    """
    token = commands.add_parser("token", help="create, list or revoke API tokens")
    actions = token.add_subparsers(dest="token_action", required=True)

    def action(name: str, handler: Callable[..., None], text: str) -> Any:
        sub = actions.add_parser(name, help=text)
        sub.set_defaults(handler=partial(handler, command.say))
        sub.add_argument(
            "--json", action="store_true", dest="as_json", help="one JSON object per line"
        )
        return sub

    create = action("create", create_one, "a new token, shown once")
    create.add_argument("username", metavar="USERNAME")
    create.add_argument("--create-user", action="store_true", help="make the user if there is none")
    create.add_argument("--name", default="", help="what it is for")
    create.add_argument(
        "--scopes", default="", help=f"what it may do, by commas: {SCOPES}; all of it without this"
    )
    create.add_argument("--expires", default="", help="30d, 12h, 2027-01-31 (inclusive) or never")
    show = action("list", show_all, "all tokens, none of which can be read")
    show.add_argument("--user", help="those of this user")
    end = action("revoke", revoke, "end a token at once")
    end.add_argument(
        "token", metavar="TOKEN", help="the token, or its beginning as `list` shows it", nargs="?"
    )
    end.add_argument("--user", help="revoke all tokens of this user")


def create_one(
    say: Callable[..., None],
    *,
    username: str,
    create_user: bool,
    name: str,
    scopes: str,
    expires: str,
    as_json: bool,
    **_: Any,
) -> None:
    expiry = parse_expiry(expires)
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    try:
        # A token refused leaves no new user behind.
        with transaction.atomic():
            user = _user(username, create=create_user)
            token, text = create_token(user=user, name=name, scopes=wanted, expires=expiry)
    except TokenRefused as error:
        raise CommandError(str(error)) from None
    say(
        f"{text}\nIt is shown only now. Send it as: Authorization: Bearer <token>",
        as_json,
        username=username,
        token=text,
        **_fields(token),
    )


def show_all(say: Callable[..., None], *, user: str | None, as_json: bool, **_: Any) -> None:
    rows = ApiToken.objects.select_related("user").order_by("-created")
    if user:
        rows = _of_user(rows, user)
    for token in rows:
        username = token.user.get_username()
        expiry = f"{token.expiry:%Y-%m-%d}" if token.expiry else "never"
        state = "expired" if token.is_expired else "valid"
        used = f"used {token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never used"
        say(
            f"{token.token_key:<15} {username:<16} {token.name or '-':<20} {state:<8} "
            f"{expiry:<11} {used:<15} {','.join(token.scopes) or 'everything'}",
            as_json,
            key=token.token_key,
            username=username,
            created=token.created.isoformat(),
            last_used=token.last_used_at and token.last_used_at.isoformat(),
            state=state,
            **_fields(token),
        )


def revoke(
    say: Callable[..., None], *, token: str | None, user: str | None, as_json: bool, **_: Any
) -> None:
    if bool(token) == bool(user):
        raise CommandError("give either a token or --user")
    rows = ApiToken.objects.select_related("user")
    if token:
        rows = rows.filter(Q(digest=hash_token(token)) | Q(token_key=token))
        # Where the site gives its tokens a common prefix, beginnings are short and may be shared.
        if rows.count() > 1:
            raise CommandError("several tokens begin like this; give the whole token or --user")
    else:
        rows = _of_user(rows, str(user))
    count = revoke_tokens(rows)
    if not count:
        raise CommandError("there is no such token")
    say(f"revoked {count}", as_json, revoked=count)


def parse_expiry(text: str) -> datetime | None:
    """
    When a token ends, from `30d`, `12h`, a date, `never`, or nothing for the site's default.
    """
    if not text:
        return default_expiry()
    if text == "never":
        return None
    try:
        if span := re.fullmatch(r"(\d{1,6})([dh])", text):
            number = int(span[1])
            return timezone.now() + timedelta(
                **{"d": {"days": number}, "h": {"hours": number}}[span[2]]
            )
        # The whole of that day.
        last = datetime.combine(date.fromisoformat(text) + timedelta(days=1), time.min)
        return timezone.make_aware(last)
    except (ValueError, OverflowError):
        raise CommandError(
            f"--expires: {text!r} is none of 30d, 12h, 2027-01-31 and never"
        ) from None


def _user(username: str, *, create: bool) -> Any:
    users = get_user_model().objects
    user = users.filter(**{get_user_model().USERNAME_FIELD: username}).first()
    if user is None and not create:
        raise CommandError(f"there is no user {username!r}; add --create-user to make one")
    return user or users.create_user(username, password=secrets.token_urlsafe(24))


def _of_user(rows: QuerySet[ApiToken], username: str) -> QuerySet[ApiToken]:
    return rows.filter(**{f"user__{get_user_model().USERNAME_FIELD}": username})


def _fields(token: ApiToken) -> dict[str, Any]:
    return {
        "name": token.name,
        "scopes": token.scopes,
        "expires": token.expiry and token.expiry.isoformat(),
    }
