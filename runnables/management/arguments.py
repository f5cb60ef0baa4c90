"""
What the commands ask for in the same words: how long ago, when, whom, and whether really.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import datetime, time, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([hdw])", text)
    if not found:
        raise ArgumentTypeError("should be a number and h, d or w: 30d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def beginning(text: str) -> datetime:
    """
    `--since`: so long ago, a day from its beginning, or a time.
    """
    return _moment(text, end_of_day=False)


def end(text: str) -> datetime:
    """
    `--until`: so long ago, a day to its end, or a time.
    """
    return _moment(text, end_of_day=True)


def user_named(name: str) -> Any:
    model = get_user_model()
    user = model._default_manager.filter(**{model.USERNAME_FIELD: name}).first()
    if user is None:
        raise CommandError(f"there is no user {name!r}")
    return user


def confirm(command: BaseCommand, question: str) -> None:
    """
    Ask, and raise CommandError unless it is a yes.
    """
    command.stderr.write(f"{question} [y/N] ", str, ending="")
    command.stderr.flush()
    try:
        answer = input()
    except EOFError:
        raise CommandError("nobody is there to ask; add --no-input") from None
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was changed")


def _moment(text: str, *, end_of_day: bool) -> datetime:
    try:
        if re.fullmatch(r"\d{1,6}[hdw]", text):
            return timezone.now() - duration(text)
        found = datetime.fromisoformat(text)
        if end_of_day and len(text) <= len("2027-01-31") and found.time() == time():
            found += timedelta(days=1)
        return found if timezone.is_aware(found) else timezone.make_aware(found)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            "should be 30d (so long ago), 2027-01-31 or 2027-01-31T12:00"
        ) from None
